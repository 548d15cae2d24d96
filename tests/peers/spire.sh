# SPIRE's agent, as it is, at our server: it joins by a token and by a certificate, hands SVIDs to a
# workload, renews its own and theirs, and goes on after the server was restarted.
#
# SPIRE_AGENT is the program, of a release of SPIRE 1.15; nothing here installs it.
# req: ATT-02 (part)
# req: PROV-01 (part), PROV-02 (part)
# req: CRED-02 (part), CRED-03 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
[[ -x "${SPIRE_AGENT:-}" ]] || { echo "SPIRE_AGENT names no program"; exit 77; }
SPIRE_AGENT=$(realpath "$SPIRE_AGENT")

domain=spire.example
spire_port=$((AIMS_PORT_BASE + 5))
# Lives of seconds: two renewals come while one waits.
readonly LIFE_SECONDS=20

# A certificate authority, and a host with a certificate of it.
pki() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=vendor \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
        -keyout "$PEER_DIR/ca.key" -out "$PEER_DIR/ca.crt"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=host \
        -keyout "$PEER_DIR/host.key" -out "$PEER_DIR/host.csr"
    printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n' >"$PEER_DIR/host.ext"
    openssl x509 -req -in "$PEER_DIR/host.csr" -CA "$PEER_DIR/ca.crt" -CAkey "$PEER_DIR/ca.key" \
        -days 1 -extfile "$PEER_DIR/host.ext" -out "$PEER_DIR/host.crt"
}

policy() {
    new_policy "$domain"
    sed -i "s/^x509_svid = .*/x509_svid = $LIFE_SECONDS\ncomponent = $LIFE_SECONDS/" \
        "$POLICY/domain.toml"
    {
        printf '[node.join_token]\nspire_agents = true\n[node.x509pop]\nspire_agents = true\n'
        printf "anchors = '''\n%s\n'''\n" "$(<"$PEER_DIR/ca.crt")"
        printf '[class.path]\ndemands = ["unix:uid", "unix:path"]\nissues = ["x509"]\n'
        printf '[class.spire]\ndemands = ["unix:uid", "unix:path"]\nissues = ["x509", "jwt"]\n'
        printf 'spire_agents = true\n'
    } >"$POLICY/attestation.toml"
}

# agent NAME ATTESTOR ARGUMENTS...: an agent of SPIRE with its own folder, log and socket.
agent() {
    local name=$1 attestor=$2 folder="$PEER_DIR/$1"
    shift 2
    mkdir "$folder"
    cat >"$folder/agent.conf" <<CONF
agent {
    trust_domain = "$domain"
    server_address = "127.0.0.1"
    server_port = "$spire_port"
    trust_bundle_path = "$PEER_DIR/bundle.json"
    trust_bundle_format = "spiffe"
    data_dir = "$folder"
    socket_path = "$folder/agent.sock"
    log_level = "DEBUG"
}
plugins {
    NodeAttestor $attestor
    KeyManager "disk" { plugin_data { directory = "$folder" } }
    WorkloadAttestor "unix" { plugin_data { discover_workload_path = true } }
}
CONF
    start "$name" "$SPIRE_AGENT" run -config "$folder/agent.conf" "$@"
    wait_for "$PEER_DIR/$name.out" "Starting agent APIs"
}

# fetch NAME WHAT ARGUMENTS...: what the agent's Workload API gives the program itself.
fetch() {
    local socket="$PEER_DIR/$1/agent.sock" what=$2
    shift 2
    "$SPIRE_AGENT" api fetch "$what" -socketPath "$socket" "$@"
}

serial() {
    fetch "$1" x509 -write "$PEER_DIR/$1" >/dev/null
    openssl verify -CAfile "$PEER_DIR/$1/bundle.0.pem" "$PEER_DIR/$1/svid.0.pem" >/dev/null
    openssl x509 -in "$PEER_DIR/$1/svid.0.pem" -noout -serial
}

is_other() {
    [[ "$(serial "$1")" != "$2" ]]
}

has_none() {
    ! fetch "$1" x509
}

said() {
    [[ "$(grep -cF -- "$2" "$PEER_DIR/$1.out")" -ge "$3" ]]
}

pki
policy
printf 'trust_domain = "%s"\nport_base = %s\nspire_port = %s\n' \
    "$domain" "$AIMS_PORT_BASE" "$spire_port" >"$PEER_DIR/data/aims.toml"
start_up "$domain"
server=${STARTED[-1]}
# The same rule twice, of which registration makes neither stand in the way of the other: for the
# first one no agent of SPIRE is believed.
aims agent register --name measured --kind service --owner peers --class path \
    --selector "unix:uid:$(id -u)" --selector "unix:path:$SPIRE_AGENT"
aims agent suspend measured --reason peers
aims agent register --name worker --kind service --owner peers --class spire \
    --selector "unix:uid:$(id -u)" --selector "unix:path:$SPIRE_AGENT"
aims agent resume measured --reason peers
curl -sS --cacert "$CA" "$ISSUER/bundle" >"$PEER_DIR/bundle.json"
token=$(aims join-token create --role spire-agent --name host-1 | head -n 1)

agent token '"join_token" { plugin_data {} }' -joinToken "$token"
agent pop "\"x509pop\" { plugin_data { private_key_path = \"$PEER_DIR/host.key\" certificate_path = \"$PEER_DIR/host.crt\" } }"

for name in token pop; do
    eventually serial "$name"
    fetch "$name" x509 | grep -F "spiffe://$domain/service/worker"
    ! fetch "$name" x509 | grep -F "spiffe://$domain/service/measured" || exit 1
    jwt=$(fetch "$name" jwt -audience https://partner.example | grep -o 'eyJ[A-Za-z0-9._-]*' | head -n 1)
    "$SPIRE_AGENT" api validate jwt -socketPath "$PEER_DIR/$name/agent.sock" \
        -audience https://partner.example -svid "$jwt" | grep -F "spiffe://$domain/service/worker"
done

# The token serves once.
! "$SPIRE_AGENT" run -config "$PEER_DIR/token/agent.conf" -dataDir "$PEER_DIR/again" \
    -socketPath "$PEER_DIR/again.sock" -joinToken "$token" >"$PEER_DIR/again.out" 2>&1 || exit 1
grep -F "PermissionDenied" "$PEER_DIR/again.out"

# A workload's SVID is renewed; an agent renews its own, or attests again.
first=$(serial token)
eventually is_other token "$first"
eventually said token "Successfully rotated agent SVID" 2
eventually said pop "Successfully reattested node" 2

# They go on after a restart.
kill "$server" && wait "$server" || true
start restarted "$AIMS_BIN" up --dir "$DATA"
wait_for "$PEER_DIR/restarted.out" '"issuer"'
before=$(serial token)
eventually is_other token "$before"
eventually said token "Successfully rotated agent SVID" 4

# What is suspended is withdrawn.
aims agent suspend worker --reason peers
eventually has_none token
aims agent resume worker --reason peers
eventually serial token

! grep -F "Failed to mint" "$PEER_DIR/token.out" "$PEER_DIR/pop.out" || exit 1
