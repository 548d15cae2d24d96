# A token that is not ours: SoftHSM 2. Server, node and gateway keep their keys in it; they issue,
# rotate, start again, and survive that it is gone for a while. A wrong PIN is said.
# req: CRED-08
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_command softhsm2-util
need_command openssl
need_command curl

MODULE=/usr/lib/softhsm/libsofthsm2.so
[[ -e $MODULE ]] || MODULE=/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so
[[ -e $MODULE ]] || missing "SoftHSM's module; run tests/peers/install.sh --system"
readonly DOMAIN=pkcs11.example PIN=peer-pin-1
export SOFTHSM2_CONF="$PEER_DIR/softhsm2.conf"

fail() {
    echo "$*"
    exit 1
}

new_token() {
    mkdir "$PEER_DIR/tokens"
    printf 'directories.tokendir = %s\nlog.level = ERROR\n' "$PEER_DIR/tokens" >"$SOFTHSM2_CONF"
    softhsm2-util --init-token --free --label peer --so-pin so-pin-1 --pin "$PIN"
    (umask 077 && printf '%s\n' "$PIN" >"$PEER_DIR/pin")
}

settings() {
    cat >"$PEER_DIR/data/aims.toml" <<TOML
trust_domain = "$DOMAIN"
port_base = $AIMS_PORT_BASE
[keys]
store = "pkcs11"
module = "$MODULE"
token = "peer"
pin_file = "$PEER_DIR/pin"
TOML
}

restart() {
    kill "${STARTED[-1]}"
    wait "${STARTED[-1]}" || fail "it did not stop in good order"
    unset 'STARTED[-1]'
    rm "$PEER_DIR/up.out"
    start_up "$DOMAIN"
}

# An X.509-SVID that openssl verifies, a WIT and a JWT-SVID.
issues() {
    local chain="$PEER_DIR/svid"
    rm -rf "$chain"
    aims svid x509 --write "$chain" >/dev/null
    openssl verify -x509_strict -CAfile "$chain/bundle.pem" "$chain/svid.pem"
    aims svid wit --output json | grep -q . || fail "no WIT"
    aims svid jwt --audience https://peer.example --output json | grep -q . || fail "no JWT-SVID"
}

# What opensc's or SoftHSM's own tool would count: private keys of ours by label.
no_key_on_disk() {
    local found
    found=$(find "$PEER_DIR/data/keys" -name '*.key' -o -name '*.tpm')
    [[ -z $found ]] || fail "private keys on disk: $found"
}

new_token
new_policy "$DOMAIN"
settings
start_up "$DOMAIN"
aims agent register --name peer --kind service --owner peers --class path \
    --selector "unix:uid:$(id -u)" --selector "unix:path:$AIMS_BIN"
issues
no_key_on_disk
aims doctor --all | tee "$PEER_DIR/doctor"
grep -qF 'in the pkcs#11 token `peer`' "$PEER_DIR/doctor" || fail "doctor does not say where keys are"
grep -qF 'private keys lie sealed' "$PEER_DIR/doctor" || fail "doctor does not call them sealed"

# The authority hands over to a new key of the token.
before=$(openssl x509 -in "$PEER_DIR/svid/svid.pem" -noout -ext authorityKeyIdentifier)
aims authority rotate x509-authority --in 1s --reason "peer test"
signer_changed() {
    issues && [[ $(openssl x509 -in "$PEER_DIR/svid/svid.pem" -noout -ext authorityKeyIdentifier) != "$before" ]]
}
old=$(aims authority list --output json | python3 -c '
import json, sys
print([r for r in json.load(sys.stdin) if r["purpose"] == "x509-authority"][0]["keys"][0]["kid"])')
eventually aims authority taint "$old" --reason "peer test"
eventually signer_changed
# As its help says: until node and gateway have replaced theirs, too.
sleep 3
aims authority revoke "$old" --reason "peer test"
eventually issues

# Another start finds its keys in the token.
restart
issues
no_key_on_disk

# The token is away: nothing is issued, the reason is said, and it recovers by itself.
mv "$PEER_DIR/tokens" "$PEER_DIR/away" && mkdir "$PEER_DIR/tokens"
not_issued() { ! aims svid jwt --audience https://peer.example; }
eventually not_issued
curl --silent --fail --cacert "$CA" "$ISSUER/.well-known/oauth-authorization-server" >/dev/null ||
    echo "no new TLS handshakes without the token, as the key of the listener is in it"
rmdir "$PEER_DIR/tokens" && mv "$PEER_DIR/away" "$PEER_DIR/tokens"
eventually issues

# A wrong PIN: said at the start, and the token does not get locked by tries.
kill "${STARTED[-1]}" && wait "${STARTED[-1]}" || true
unset 'STARTED[-1]'
rm "$PEER_DIR/up.out"
printf 'wrong-pin\n' >"$PEER_DIR/pin"
if "$AIMS_BIN" up --dir "$DATA" >"$PEER_DIR/wrong.out" 2>&1; then fail "it starts with a wrong pin"; fi
cat "$PEER_DIR/wrong.out"
grep -qF 'does not take the pin' "$PEER_DIR/wrong.out" || fail "the pin is not named"
grep -qF 'pin_file' "$PEER_DIR/wrong.out" || fail "no hint"
printf '%s\n' "$PIN" >"$PEER_DIR/pin"
start_up "$DOMAIN"
issues
