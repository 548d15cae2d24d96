# SPIRE's server, as it is, below ours, and ours below SPIRE's: workloads of the one believe those of
# the other by X.509- and JWT-SVIDs, and who is not registered as a server below gets nothing.
#
# SPIRE_SERVER and SPIRE_AGENT are programs of a release of SPIRE 1.15; nothing here installs them.
# req: CRED-12 (part)
# req: CRED-02 (part), CRED-03 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_command openssl
need_command curl
for program in SPIRE_SERVER SPIRE_AGENT; do
    [[ -x "${!program:-}" ]] || { echo "$program names no program"; exit 77; }
    declare "$program=$(realpath "${!program}")"
done

readonly DOMAIN=nested.example AUDIENCE=https://partner.example
spire_port=$((AIMS_PORT_BASE + 5))
uid=$(id -u)

fail() {
    echo "$*"
    exit 1
}

# spire_server NAME PORT [UPSTREAM]: a server of SPIRE with its own folder, log and socket.
spire_server() {
    local folder="$PEER_DIR/$1"
    mkdir "$folder"
    cat >"$folder/server.conf" <<CONF
server {
    bind_address = "127.0.0.1"
    bind_port = "$2"
    socket_path = "$folder/api.sock"
    trust_domain = "$DOMAIN"
    data_dir = "$folder"
    log_level = "DEBUG"
    ca_ttl = "1h"
    default_x509_svid_ttl = "5m"
}
plugins {
    DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "$folder/data.sqlite3" } }
    NodeAttestor "join_token" { plugin_data {} }
    KeyManager "memory" { plugin_data {} }
    ${3:-}
}
CONF
    start "$1" "$SPIRE_SERVER" run -config "$folder/server.conf"
}

spire() {
    local folder="$PEER_DIR/$1"
    shift
    "$SPIRE_SERVER" "$@" -socketPath "$folder/api.sock"
}

# spire_agent NAME SERVER PORT: an agent of the SPIRE server SERVER.
spire_agent() {
    local folder="$PEER_DIR/$1" token
    mkdir "$folder"
    spire "$2" bundle show >"$folder/bundle.pem"
    token=$(spire "$2" token generate -spiffeID "spiffe://$DOMAIN/host-of-$2" | awk '{print $2}')
    cat >"$folder/agent.conf" <<CONF
agent {
    trust_domain = "$DOMAIN"
    server_address = "127.0.0.1"
    server_port = "$3"
    trust_bundle_path = "$folder/bundle.pem"
    data_dir = "$folder"
    socket_path = "$folder/agent.sock"
    log_level = "DEBUG"
}
plugins {
    NodeAttestor "join_token" { plugin_data {} }
    KeyManager "memory" { plugin_data {} }
    WorkloadAttestor "unix" { plugin_data { discover_workload_path = true } }
}
CONF
    start "$1" "$SPIRE_AGENT" run -config "$folder/agent.conf" -joinToken "$token"
    wait_for "$folder.out" "Starting agent APIs"
}

# entry SERVER ID PATH [MORE...]: a workload of SPIRE's.
entry() {
    local server=$1 id=$2 path=$3
    shift 3
    spire "$server" entry create -parentID "spiffe://$DOMAIN/host-of-$server" \
        -spiffeID "spiffe://$DOMAIN/$id" -selector "unix:uid:$uid" -selector "unix:path:$path" "$@"
}

# What the agent's Workload API gives the program itself: svid.0.pem, bundle.0.pem below its folder.
fetched() {
    "$SPIRE_AGENT" api fetch x509 -socketPath "$PEER_DIR/$1/agent.sock" -write "$PEER_DIR/$1" >/dev/null
}

# aims_at DIR ARGUMENTS...
aims_at() {
    local dir=$1
    shift
    "$AIMS_BIN" --dir "$dir" "$@"
}

# held DIR: what the Workload API of an AIMS installation gives the command line.
held() {
    rm -rf "$1/svid"
    aims_at "$1" svid x509 --write "$1/svid" >/dev/null
}

# believes ROOTS CHAIN: with nothing but the roots, as any TLS library does it.
believes() {
    openssl verify -x509_strict -CAfile "$1" -untrusted "$2" "$2" >/dev/null
}

jwt_of_agent() {
    "$SPIRE_AGENT" api fetch jwt -socketPath "$PEER_DIR/$1/agent.sock" -audience "$AUDIENCE" |
        grep -o 'eyJ[A-Za-z0-9._-]*' | head -n 1
}

# agent_validates AGENT DIR ID: a JWT-SVID of an AIMS installation.
agent_validates() {
    local token
    token=$(aims_at "$2" svid jwt --audience "$AUDIENCE" | grep -o 'eyJ[A-Za-z0-9._-]*' | head -n 1)
    "$SPIRE_AGENT" api validate jwt -socketPath "$PEER_DIR/$1/agent.sock" -audience "$AUDIENCE" \
        -svid "$token" | grep -F "spiffe://$DOMAIN/$3"
}

bundle_has() {
    curl -sS --cacert "$1/ca.pem" "https://localhost:$2/bundle" | grep -qF "\"$3\""
}

# kid TOKEN
kid() {
    python3 -c '
import base64, json, sys
head = sys.argv[1].split(".")[0]
print(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])' "$1"
}

# installation DIR PORT MORE
installation() {
    "$AIMS_BIN" policy init "$1/policy" --trust-domain "$DOMAIN" >/dev/null
    sed -i '/^\[nested\]/,/^life/d' "$1/policy/domain.toml"
    printf '[nested]\nlevels = 1\nlife = 3600\n' >>"$1/policy/domain.toml"
    printf 'trust_domain = "%s"\nport_base = %s\n%s\n' "$DOMAIN" "$2" "$3" >"$1/aims.toml"
}

# SPIRE below AIMS.
mkdir -m 700 "$PEER_DIR/data"
installation "$PEER_DIR/data" "$AIMS_PORT_BASE" "spire_port = $spire_port"
start_up "$DOMAIN"
upstream="UpstreamAuthority \"spire\" { plugin_data {
        server_address = \"127.0.0.1\" server_port = \"$spire_port\" workload_api_socket = \"$DATA/workload.sock\" } }"
aims agent register --name plain --kind service --owner peers --class path \
    --selector "unix:uid:$uid" --selector "unix:path:$SPIRE_SERVER"
spire_server refused $((AIMS_PORT_BASE + 6)) "$upstream"
refusing=${STARTED[-1]}
eventually grep -F "is no downstream server" "$PEER_DIR/refused.out"
kill "$refusing" 2>/dev/null || true
aims agent revoke plain --reason peers
aims agent register --name below --kind service --owner peers --class path \
    --selector "unix:uid:$uid" --selector "unix:path:$SPIRE_SERVER" --downstream
aims agent register --name here --kind service --owner peers --class path \
    --selector "unix:uid:$uid" --selector "unix:path:$AIMS_BIN"
spire_server lower $((AIMS_PORT_BASE + 7)) "$upstream"
eventually spire lower healthcheck
spire_agent lower-agent lower $((AIMS_PORT_BASE + 7))
entry lower there "$SPIRE_AGENT"
eventually fetched lower-agent
eventually held "$DATA"
believes "$DATA/svid/bundle.pem" "$PEER_DIR/lower-agent/svid.0.pem"
believes "$PEER_DIR/lower-agent/bundle.0.pem" "$DATA/svid/svid.pem"
[[ $(grep -c BEGIN "$PEER_DIR/lower-agent/svid.0.pem") -eq 2 ]] || fail "the chain is not leaf and SPIRE's authority"
eventually agent_validates lower-agent "$DATA" service/here
token=$(jwt_of_agent lower-agent)
eventually bundle_has "$DATA" "$AIMS_PORT_BASE" "$(kid "$token")"
aims agent revoke below --reason peers
eventually eval '! bundle_has "$DATA" "$AIMS_PORT_BASE" "$(kid "$token")"'

# AIMS below SPIRE.
top_port=$((AIMS_PORT_BASE + 8)) base=$((AIMS_PORT_BASE + 9))
spire_server top "$top_port"
eventually spire top healthcheck
spire_agent top-agent top "$top_port"
below="$PEER_DIR/below"
mkdir -m 700 "$below"
installation "$below" "$base" "[upstream_authority]
kind = \"spire\"
server = \"localhost:$top_port\"
socket = \"$PEER_DIR/top-agent/agent.sock\""
if timeout 20 "$AIMS_BIN" up --dir "$below" >"$below/out" 2>&1; then fail "it starts without a record"; fi
grep -F "hint" "$below/out"
entry top aims-below "$AIMS_BIN" -downstream
entry top above "$SPIRE_AGENT"
eventually fetched top-agent
for ((turn = 0; turn < 30; turn++)); do
    "$AIMS_BIN" up --dir "$below" >"$below/out" 2>&1 &
    STARTED+=($!)
    for ((tenth = 0; tenth < 100; tenth++)); do
        grep -qF '"issuer"' "$below/out" && break 2
        kill -0 "${STARTED[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    sleep 1
done
grep -qF '"issuer"' "$below/out" || fail "$(cat "$below/out")"
aims_at "$below" agent register --name deep --kind service --owner peers --class path \
    --selector "unix:uid:$uid" --selector "unix:path:$AIMS_BIN"
eventually held "$below"
believes "$PEER_DIR/top-agent/bundle.0.pem" "$below/svid/svid.pem"
believes "$below/svid/bundle.pem" "$PEER_DIR/top-agent/svid.0.pem"
eventually agent_validates top-agent "$below" service/deep
eventually bundle_has "$below" "$base" "$(kid "$(jwt_of_agent top-agent)")"
aims_at "$below" doctor --all | grep -F 'upstream authority: the server at'
