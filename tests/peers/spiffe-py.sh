# PyPI's `spiffe`, as it is, on the Workload API: X.509-SVID, JWT-SVID, bundles, and two renewals.
# req: PROV-08 (part)
# req: PROV-02
# req: CRED-02 (part), CRED-03
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_python spiffe

domain=spiffe.example
readonly X509_SVID_SECONDS=20
new_policy "$domain"
sed -i "s/^x509_svid = .*/x509_svid = $X509_SVID_SECONDS/" "$POLICY/domain.toml"
grep -qx "x509_svid = $X509_SVID_SECONDS" "$POLICY/domain.toml"
start_up "$domain"

# register NAME PROGRAM: whoever runs PROGRAM as the user of this test is the service.
register() {
    aims agent register --name "$1" --kind service --owner peers --class path \
        --selector "unix:uid:$(id -u)" --selector "unix:path:$(realpath "$2")"
}

peer() {
    "$PYTHON" "$PEERS/spiffe_peer.py" "unix://$DATA/workload.sock" \
        "spiffe://$domain/service/spiffe-peer" "$PEER_DIR/own/bundle.pem"
}

# The bundle as another program gets it.
register bundle-reader "$AIMS_BIN"
aims svid x509 --write "$PEER_DIR/own"

# Nobody yet: the interpreter gets nothing.
! peer >"$PEER_DIR/nobody" 2>&1 || { echo "an unregistered process gets an SVID"; exit 1; }
grep -qi "permission.\?denied\|no identity" "$PEER_DIR/nobody" || { cat "$PEER_DIR/nobody"; exit 1; }

register spiffe-peer "$PYTHON"
peer
