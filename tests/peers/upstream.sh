# An authority above ours that is not ours: openssl makes a company's root and issuing authority, with
# their keys in files and in SoftHSM. Chains that openssl verifies, and authorities that are refused.
# req: CRED-12 (part), CRED-08 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_command openssl
need_command curl
need_command softhsm2-util

readonly DOMAIN=upstream.example PIN=peer-pin-1 CA_DIR="$PEER_DIR/company"
MODULE=/usr/lib/softhsm/libsofthsm2.so
[[ -e $MODULE ]] || MODULE=/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so
[[ -e $MODULE ]] || missing "SoftHSM's module; run tests/peers/install.sh --system"
export SOFTHSM2_CONF="$PEER_DIR/softhsm2.conf"
readonly AUTHORITY='keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n'

fail() {
    echo "$*"
    exit 1
}

# authority NAME ISSUER KEY_OPTIONS EXTENSIONS [DAYS]: an authority below ISSUER; `self` for a root.
authority() {
    local at="$CA_DIR/$1" signer=(-signkey "$CA_DIR/$1.key")
    # shellcheck disable=SC2086 # the options are words
    openssl genpkey $3 -out "$at.key" 2>/dev/null
    chmod 600 "$at.key"
    [[ $2 == self ]] || signer=(-CA "$CA_DIR/$2.pem" -CAkey "$CA_DIR/$2.key" -CAcreateserial)
    openssl req -new -key "$at.key" -subj "/O=Company/CN=$1" -out "$at.csr"
    openssl x509 -req -in "$at.csr" "${signer[@]}" -days "${5:-30}" \
        -extfile <(printf "$4") -out "$at.pem" 2>/dev/null
}

readonly RSA='-algorithm RSA -pkeyopt rsa_keygen_bits:2048' EC='-algorithm EC -pkeyopt ec_paramgen_curve'
mkdir "$CA_DIR"
authority root self "$RSA" "basicConstraints=critical,CA:TRUE\n$AUTHORITY"
authority issuing root "$EC:P-384" "basicConstraints=critical,CA:TRUE,pathlen:1\n$AUTHORITY"
authority second root "$RSA" "basicConstraints=critical,CA:TRUE,pathlen:1\n$AUTHORITY"
authority leafonly root "$EC:P-256" "basicConstraints=critical,CA:TRUE,pathlen:0\n$AUTHORITY"
authority noca root "$EC:P-256" "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
authority named root "$EC:P-256" \
    "basicConstraints=critical,CA:TRUE,pathlen:1\n${AUTHORITY}nameConstraints=critical,permitted;DNS:other.example\n"
authority narrow root "$EC:P-256" "basicConstraints=critical,CA:TRUE,pathlen:0\n$AUTHORITY"
authority below narrow "$EC:P-256" "basicConstraints=critical,CA:TRUE\n$AUTHORITY"
for name in issuing second leafonly noca named; do cat "$CA_DIR/$name.pem" "$CA_DIR/root.pem" >"$CA_DIR/$name.chain"; done
cat "$CA_DIR/below.pem" "$CA_DIR/narrow.pem" "$CA_DIR/root.pem" >"$CA_DIR/below.chain"

# settings DIR TABLE
settings() {
    cat >"$1/aims.toml" <<TOML
trust_domain = "$DOMAIN"
port_base = $AIMS_PORT_BASE
[upstream_authority]
$2
TOML
}

by_file() {
    printf 'kind = "disk"\ncertificates = "%s"\nkey = "%s"\n' "$CA_DIR/$1.chain" "$CA_DIR/$2.key"
}

# The company's own root is all that anybody needs.
believed() {
    local chain="$PEER_DIR/svid" count
    rm -rf "$chain"
    aims svid x509 --write "$chain" >/dev/null
    openssl verify -x509_strict -CAfile "$CA_DIR/root.pem" -untrusted "$chain/svid.pem" "$chain/svid.pem"
    cmp <(openssl x509 -in "$chain/bundle.pem" -outform DER) <(openssl x509 -in "$CA_DIR/root.pem" -outform DER) ||
        fail "the bundle does not hold the company's root"
    count=$(grep -c BEGIN "$chain/svid.pem")
    [[ $count -eq 3 ]] || fail "$count certificates in the chain, not leaf, ours, the company's"
    aims svid wit --output json | grep -q . || fail "no WIT"
}

signer() {
    openssl x509 -in "$PEER_DIR/svid/svid.pem" -noout -ext authorityKeyIdentifier
}

# refused CHAIN KEY WHY: a first start with that authority ends, and says why.
refused() {
    local dir="$PEER_DIR/refused-$1-$2"
    mkdir -m 700 "$dir"
    "$AIMS_BIN" policy init "$dir/policy" --trust-domain "$DOMAIN" >/dev/null
    settings "$dir" "$(by_file "$1" "$2")"
    if timeout 20 "$AIMS_BIN" up --dir "$dir" >"$dir/out" 2>&1; then fail "it starts below $1"; fi
    grep -qF "$3" "$dir/out" || fail "below $1 with the key of $2: $(cat "$dir/out")"
    [[ -z $(find "$dir/keys/server/x509-authority" -name '*.key' 2>/dev/null) ]] || fail "a key is left behind"
}

refused leafonly leafonly "lets no other stand below it"
refused noca noca "not the certificate of an authority"
refused named named "name constraints forbid"
refused below below "more authorities below an issuer than it allows"
refused issuing root "the key is not that of the first certificate"
: >"$CA_DIR/empty.chain"
refused empty root "empty.chain"
openssl x509 -in "$CA_DIR/root.pem" -outform DER -out "$CA_DIR/garbage.chain"
refused garbage root "garbage.chain"

new_policy "$DOMAIN"
settings "$PEER_DIR/data" "$(by_file issuing issuing)"
start_up "$DOMAIN"
aims agent register --name peer --kind service --owner peers --class path \
    --selector "unix:uid:$(id -u)" --selector "unix:path:$AIMS_BIN"
believed
aims doctor --all | grep -F 'upstream authority: the key in' || fail "doctor does not tell of the authority above"
curl --silent --fail --cacert "$CA" "$ISSUER/bundle" | grep -qF "$(openssl x509 -in "$CA_DIR/root.pem" -outform DER | base64 -w0)" ||
    fail "the bundle endpoint does not have the company's root"

# The company's key is away when a new intermediate is wanted: refused, and what there is serves on.
mv "$CA_DIR/issuing.key" "$CA_DIR/away.key"
if aims authority rotate x509-authority --in 1s --reason "peer test"; then fail "rotated without the company's key"; fi
believed
# Its files are read again: another issuing authority, by RSA, below the same root.
before=$(signer)
cp "$CA_DIR/second.chain" "$CA_DIR/issuing.chain"
cp -p "$CA_DIR/second.key" "$CA_DIR/issuing.key"
aims authority rotate x509-authority --in 1s --reason "peer test"
old=$(aims authority list --output json | python3 -c '
import json, sys
print([r for r in json.load(sys.stdin) if r["purpose"] == "x509-authority"][0]["keys"][0]["kid"])')
eventually aims authority taint "$old" --reason "peer test"
changed() { believed && [[ $(signer) != "$before" ]]; }
eventually changed

# The same with the company's key in a token.
kill "${STARTED[-1]}" && wait "${STARTED[-1]}" || true
unset 'STARTED[-1]'
rm "$PEER_DIR/up.out"
mkdir "$PEER_DIR/tokens"
printf 'directories.tokendir = %s\nlog.level = ERROR\n' "$PEER_DIR/tokens" >"$SOFTHSM2_CONF"
softhsm2-util --init-token --free --label company --so-pin so-pin-1 --pin "$PIN"
(umask 077 && printf '%s\n' "$PIN" >"$PEER_DIR/pin")
id=1
for key in second root; do
    openssl pkcs8 -topk8 -nocrypt -in "$CA_DIR/$key.key" -out "$PEER_DIR/import.pem"
    softhsm2-util --import "$PEER_DIR/import.pem" --token company --label "$key" --id "0$id" --pin "$PIN"
    id=$((id + 1))
done
rm -f "$PEER_DIR/import.pem" "$CA_DIR"/*.key
settings "$PEER_DIR/data" "kind = \"pkcs11\"
certificates = \"$CA_DIR/issuing.chain\"
module = \"$MODULE\"
token = \"company\"
pin_file = \"$PEER_DIR/pin\"
key_label = \"second\""
start_up "$DOMAIN"
believed
before=$(signer)
aims authority rotate x509-authority --in 1s --reason "peer test"
sleep 2
aims doctor --all | grep -F 'the key `second` in the pkcs#11 token `company`' || fail "doctor does not name the token"
next=$(aims authority list --output json | python3 -c '
import json, sys
ring = [r for r in json.load(sys.stdin) if r["purpose"] == "x509-authority"][0]["keys"]
print([k["kid"] for k in ring if "tainted" not in k][0])')
eventually aims authority taint "$next" --reason "peer test"
eventually changed
