# Keys in a TPM that is not ours, an emulator: server, node and gateway keep theirs below its storage
# key. They issue, start again, and survive that it is gone for a while.
# req: CRED-08
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_command swtpm
need_command openssl

readonly DOMAIN=tpm-keys.example
fail() {
    echo "$*"
    exit 1
}

plug() {
    swtpm socket --tpm2 --tpmstate "dir=$PEER_DIR/$1" --flags not-need-init,startup-clear \
        --server "type=unixio,path=$PEER_DIR/tpm.sock" &
    PLUGGED=$!
    local turn
    for ((turn = 0; turn < 100; turn++)); do
        [[ -S "$PEER_DIR/tpm.sock" ]] && return
        sleep 0.1
    done
    fail "swtpm did not start"
}

unplug() {
    kill "$PLUGGED" && wait "$PLUGGED" 2>/dev/null || true
    rm -f "$PEER_DIR/tpm.sock"
}

issues() {
    local chain="$PEER_DIR/svid"
    rm -rf "$chain"
    aims svid x509 --write "$chain" >/dev/null
    openssl verify -x509_strict -CAfile "$chain/bundle.pem" "$chain/svid.pem"
    aims svid wit --output json | grep -q . || fail "no WIT"
    aims svid jwt --audience https://peer.example --output json | grep -q . || fail "no JWT-SVID"
}

stop_up() {
    kill "${STARTED[-1]}" && wait "${STARTED[-1]}" || true
    unset 'STARTED[-1]'
    rm "$PEER_DIR/up.out"
}

mkdir "$PEER_DIR/tpm" "$PEER_DIR/other"
plug tpm
new_policy "$DOMAIN"
cat >"$PEER_DIR/data/aims.toml" <<TOML
trust_domain = "$DOMAIN"
port_base = $AIMS_PORT_BASE
[keys]
store = "tpm"
tpm = "unix:$PEER_DIR/tpm.sock"
TOML
start_up "$DOMAIN"
trap 'stop_all; kill "$PLUGGED" 2>/dev/null || true' EXIT
aims agent register --name peer --kind service --owner peers --class path \
    --selector "unix:uid:$(id -u)" --selector "unix:path:$AIMS_BIN"
issues
# A TPM makes no Ed25519 keys: those of the logs alone lie in files.
found=$(find "$DATA/keys" -name '*.key' ! -path '*/log/*')
[[ -z $found ]] || fail "private keys on disk: $found"
aims doctor --all | tee "$PEER_DIR/doctor"
grep -qF "in the tpm at \`unix:$PEER_DIR/tpm.sock\`" "$PEER_DIR/doctor" || fail "doctor does not say where keys are"

# Another start, and the TPM away for a while.
stop_up
start_up "$DOMAIN"
trap 'stop_all; kill "$PLUGGED" 2>/dev/null || true' EXIT
issues
unplug
not_issued() { ! aims svid jwt --audience https://peer.example; }
eventually not_issued
plug tpm
eventually issues

# Another TPM does not open them.
stop_up
unplug
plug other
if "$AIMS_BIN" up --dir "$DATA" >"$PEER_DIR/other.out" 2>&1; then fail "it starts with another tpm"; fi
cat "$PEER_DIR/other.out"
grep -qF 'not made under this parent' "$PEER_DIR/other.out" || fail "it is not said why"
