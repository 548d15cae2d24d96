# A Docker daemon that is not ours: a process in its container gets an identity by what the daemon
# says of the container, and not by a name that a cgroup has, nor while the daemon does not answer.
# req: ATT-02 (part), SEC-04 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
PATH="$PATH:/usr/sbin"
need_command docker
need_command dockerd
need_command containerd
need_command runc
need_command ldd
[[ $(id -u) -eq 0 ]] || missing "root, who may start a Docker daemon"

readonly DOMAIN=docker.example
export DOCKER_HOST="unix://$PEER_DIR/docker.sock"

fail() {
    echo "$*"
    tail -n 20 "$PEER_DIR/dockerd.out" "$PEER_DIR/up.err"
    exit 1
}

# start_daemon: one of this test's own, whose containers have no network.
start_daemon() {
    start dockerd dockerd --data-root "$PEER_DIR/docker" --exec-root "$PEER_DIR/docker-exec" \
        --pidfile "$PEER_DIR/docker.pid" -H "$DOCKER_HOST" --storage-driver vfs \
        --iptables=false --ip6tables=false --bridge=none
    DOCKERD=${STARTED[-1]}
    local turn
    for ((turn = 0; turn < WAIT_TURNS_MAX; turn++)); do
        docker version >"$PEER_DIR/version" 2>&1 && return
        kill -0 "$DOCKERD" 2>/dev/null || missing "a Docker daemon that starts here: $(tail -n 1 "$PEER_DIR/dockerd.out")"
        sleep 0.1
    done
    missing "a Docker daemon that answers here"
}

# An image of a shell and what our binary is linked to; the binary itself is mounted.
make_image() {
    local tree="$PEER_DIR/tree" file
    mkdir -p "$tree/bin"
    for file in /bin/sh /bin/sleep; do cp -L "$file" "$tree/bin/"; done
    ldd "$AIMS_BIN" /bin/sh /bin/sleep | grep -o '/[^ :]*' | grep '\.so' | sort -u | while read -r file; do
        mkdir -p "$tree$(dirname "$file")"
        cp -L "$file" "$tree$file"
    done
    tar -C "$tree" -c . | docker import - aims-peer:1 >"$PEER_DIR/image"
}

# in_container OPTIONS... -- COMMAND...: runs it there.
in_container() {
    local options=()
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    docker run --rm --network none -v "$AIMS_BIN:/aims:ro" -v "$DATA:/run/aims" "${options[@]}" \
        aims-peer:1 "$@"
}

# asks OPTIONS...: a container with these options asks for an identity.
asks() {
    in_container "$@" -- /aims svid x509 --socket /run/aims/workload.sock --output json \
        >"$PEER_DIR/asked" 2>&1
}

# is_recorded TEXT...: the node's log has a record with all of these.
is_recorded() {
    aims audit tail --last 200 --output json >"$PEER_DIR/audit"
    local found text
    found=$(cat "$PEER_DIR/audit")
    for text in "$@"; do found=$(grep -F -- "$text" <<<"$found") || return 1; done
}

start_daemon
make_image
new_policy "$DOMAIN"
cat >>"$POLICY/attestation.toml" <<'TOML'

[class.container]
demands = ["docker:image_config_digest"]
issues = ["x509"]
TOML
cat >"$PEER_DIR/data/aims.toml" <<TOML
trust_domain = "$DOMAIN"
port_base = $AIMS_PORT_BASE
[workloads.docker]
socket = "$PEER_DIR/docker.sock"
TOML
start_up "$DOMAIN"
DIGEST=$(docker image inspect --format '{{.Id}}' aims-peer:1)
aims agent register --name boxed --kind service --owner peers --class container \
    --selector "docker:image_config_digest:$DIGEST" --selector docker:label:team:research \
    --selector docker:env:STAGE=prod >"$PEER_DIR/registered"

# The container's own facts, and nobody's else.
eventually asks --label team=research --env STAGE=prod --env PASSWORD=hidden
grep -qF "spiffe://$DOMAIN/service/boxed" "$PEER_DIR/asked" || fail "$(cat "$PEER_DIR/asked")"
! asks --label team=other --env STAGE=prod || fail "another label got an identity"
! asks --label team=research || fail "no STAGE, and an identity"
! aims svid x509 >"$PEER_DIR/asked" 2>&1 || fail "a process of the host got an identity"
aims agent explain boxed --output json >"$PEER_DIR/explained"
for fact in "$DIGEST" aims-peer:1 team:research STAGE=prod; do
    grep -qF "$fact" "$PEER_DIR/explained" || fail "not explained: $fact"
done
! grep -qF hidden "$PEER_DIR/explained" || fail "a variable that no rule asks for was recorded"

# In a cgroup of its name, and not in the container: it is asked about, and is not there.
start held docker run --rm --network none --label team=research --env STAGE=prod --name held \
    aims-peer:1 /bin/sleep 250
eventually docker inspect --format '{{.State.Running}}' held
ID=$(docker inspect --format '{{.Id}}' held)
TREE=$(awk '$0 ~ / - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
if [[ -n "$TREE" ]] && mkdir -p "$TREE/aims-peer/docker-$ID.scope" 2>/dev/null; then
    FORGED="$TREE/aims-peer/docker-$ID.scope"
    ! (echo "$BASHPID" >"$FORGED/cgroup.procs" && aims svid x509) >"$PEER_DIR/asked" 2>&1 \
        || fail "a cgroup of a container's name got an identity"
    eventually is_recorded measure::Docker "is not where process"
    eventually rmdir "$FORGED" "$TREE/aims-peer"
fi

# While the daemon does not answer nobody is served with less, and the reason is recorded.
cat >"$DATA/wait.sh" <<'SH'
: >/run/aims/there
while [ ! -e /run/aims/go ]; do sleep 0.1; done
/aims svid x509 --socket /run/aims/workload.sock >/run/aims/said 2>&1
echo "code $?" >/run/aims/code
SH
start waits in_container --label team=research --env STAGE=prod -- /bin/sh /run/aims/wait.sh
eventually test -e "$DATA/there"
kill -STOP "$DOCKERD"
: >"$DATA/go"
eventually is_recorded measure::Docker "did not answer within"
kill -CONT "$DOCKERD"
eventually test -e "$DATA/code"
docker rm -f held >/dev/null 2>&1 || true
