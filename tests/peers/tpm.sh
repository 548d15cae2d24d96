# A TPM that is not ours: an emulator, with keys made by tpm2-tools and an endorsement certificate by
# the emulator's own maker. A node joins by its DevID, with the right PCRs; and does not otherwise.
# req: ATT-03 (part), ATT-08 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_command swtpm
need_command swtpm_setup
need_command tpm2
need_command openssl
need_command curl

readonly DOMAIN=tpm.example
readonly TPM_PORT=$((AIMS_PORT_BASE + 10))
export TPM2TOOLS_TCTI="swtpm:host=127.0.0.1,port=$TPM_PORT"
# The storage key above a DevID key, as SPIRE's plugin makes it again at each start.
readonly STORAGE='fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt'
readonly DEVID='fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign'

fail() {
    echo "$*"
    exit 1
}

# new_tpm NAME MAKER: a TPM as its maker leaves it, below an authority of this test's own.
new_tpm() {
    local maker="$PEER_DIR/maker-$2" state="$PEER_DIR/$1"
    mkdir -p "$maker" "$state"
    cat >"$maker/localca.conf" <<CONF
statedir = $maker
signingkey = $maker/signkey.pem
issuercert = $maker/issuercert.pem
certserial = $maker/certserial
CONF
    cat >"$maker/setup.conf" <<CONF
create_certs_tool = $(command -v swtpm_localca)
create_certs_tool_config = $maker/localca.conf
create_certs_tool_options = /etc/swtpm-localca.options
active_pcr_banks = sha256
CONF
    swtpm_setup --tpm2 --tpmstate "$state" --config "$maker/setup.conf" \
        --create-ek-cert --create-platform-cert --lock-nvram >"$state.log"
}

# bare_tpm NAME: a TPM as some makers leave it, whose endorsement key is on a curve: the test puts its
# certificate where it belongs.
bare_tpm() {
    local at="$PEER_DIR/$1"
    mkdir "$at"
    swtpm_setup --tpm2 --tpmstate "$at" --pcr-banks sha256 >"$at.log"
    plug "$1"
    tpm2 createek -Q -G ecc -c "$at/ek.ctx" -f pem -u "$at/ek.pem"
    tpm2 flushcontext -t
    openssl x509 -new -force_pubkey "$at/ek.pem" -subj "/CN=ek" -days 2 -outform DER \
        -CA "$PEER_DIR/owner.pem" -CAkey "$PEER_DIR/owner.key" -out "$at/ek.der" -extfile <(
            printf 'keyUsage=critical,keyAgreement\nextendedKeyUsage=2.23.133.8.1\n'
        )
    # Longer than the certificate, as indices are.
    tpm2 nvdefine -Q 0x01c0000a -C o -s 1024 -a 'ownerread|authread|ownerwrite'
    tpm2 nvwrite -Q 0x01c0000a -C o -i "$at/ek.der"
}

# plug NAME: this TPM is the one that answers at the port, freshly started.
plug() {
    if [[ -n "${PLUGGED:-}" ]]; then
        kill "$PLUGGED"
        wait "$PLUGGED" 2>/dev/null || true
    fi
    swtpm socket --tpm2 --tpmstate "dir=$PEER_DIR/$1" --flags not-need-init,startup-clear \
        --server "type=tcp,port=$TPM_PORT" --ctrl "type=tcp,port=$((TPM_PORT + 1))" &
    PLUGGED=$!
    STARTED+=("$PLUGGED")
    eventually tpm2 getrandom --hex 4
}

# new_devid NAME ALGORITHM [ATTRIBUTES]: a DevID key in the TPM that is plugged in, and its
# certificate.
new_devid() {
    local at="$PEER_DIR/devid-$1"
    mkdir "$at"
    tpm2 createprimary -Q -C o -g sha256 -G "${2%%[0-9:]*}" -a "$STORAGE" -c "$at/storage.ctx"
    tpm2 create -Q -C "$at/storage.ctx" -g sha256 -G "$2" -a "${3:-$DEVID}" -u "$at/public" -r "$at/private"
    tpm2 flushcontext -t
    tpm2 print -t TPM2B_PUBLIC -f pem "$at/public" >"$at/public.pem"
    certify "$1" "$at/public.pem"
}

# certify NAME PUBLIC_KEY: the owner's authority gives that key the identity of the device NAME.
certify() {
    openssl x509 -new -force_pubkey "$2" -subj "/CN=$1/serialNumber=$1" -days 2 \
        -CA "$PEER_DIR/owner.pem" -CAkey "$PEER_DIR/owner.key" \
        -extfile <(printf 'keyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n') \
        -out "$PEER_DIR/devid-$1/certificate.pem"
}

# settings NAME MORE: the settings of a node of that name.
settings() {
    mkdir -m 700 "$PEER_DIR/node-$1"
    cp "$CA" "$PEER_DIR/node-$1/ca.pem"
    cat >"$PEER_DIR/node-$1/aims.toml" <<TOML
trust_domain = "$DOMAIN"
name = "$1"
server = "localhost:$((AIMS_PORT_BASE + 2))"
bundle = "$PEER_DIR/bundle.json"
port_base = $((AIMS_PORT_BASE + 4))
$2
TOML
}

# by_tpm NAME DEVID: a node that shows this DevID.
by_tpm() {
    local at="$PEER_DIR/devid-$2"
    settings "$1" "[join_tpm]
tpm = \"tcp:127.0.0.1:$TPM_PORT\"
certificates = \"$at/certificate.pem\"
public = \"$at/public\"
private = \"$at/private\""
}

# by_file NAME DEVID: a node that shows the identity of a device whose key is in a file.
by_file() {
    local at="$PEER_DIR/devid-$2"
    settings "$1" "join_by = \"idevid\"
join_certificates = \"$at/certificate.pem\"
join_key = \"$at/key.pem\""
}

# joins NAME MECHANISM DEVID: the node gets in, and is called by its certificate.
joins() {
    local at="$PEER_DIR/node-$1" digest
    digest=$(openssl x509 -in "$PEER_DIR/devid-$3/certificate.pem" -outform DER | sha256sum)
    start "node-$1" "$AIMS_BIN" --dir "$at" node --config "$at/aims.toml"
    wait_for "$PEER_DIR/node-$1.out" "ready {"
    kill "${STARTED[-1]}"
    wait "${STARTED[-1]}" || true
    unset 'STARTED[-1]'
    aims audit tail --last 50 --output json >"$PEER_DIR/audit"
    grep -qF "spiffe://$DOMAIN/aims/node/$2/${digest%% *}" "$PEER_DIR/audit" \
        || fail "no record of the node: $(cat "$PEER_DIR/audit")"
}

# stays_out NAME WORDS: the node does not get in, and says these words.
stays_out() {
    local at="$PEER_DIR/node-$1"
    if timeout 30 "$AIMS_BIN" --dir "$at" node --config "$at/aims.toml" >"$at/out" 2>&1; then
        fail "the node \`$1\` came in"
    fi
    grep -qF -- "$2" "$at/out" || fail "other words than \`$2\`: $(cat "$at/out")"
}

# stranger NAME WORDS: the same of a node that proved so little that it is told no reason; the words
# are in the server's own log.
stranger() {
    stays_out "$1" "the attempt to join was refused"
    grep -qF -- "$2" "$PEER_DIR/up.err" || fail "the server says other than \`$2\`"
}

# node_policy PCR7: who may join: DevIDs of the owner in TPMs of the maker, with this PCR 7.
node_policy() {
    {
        echo "[node.tpm_devid]"
        echo "anchors = '''"
        cat "$PEER_DIR/owner.pem"
        echo "'''"
        echo "endorsement_anchors = '''"
        cat "$PEER_DIR/maker-trusted/issuercert.pem" "$PEER_DIR/owner.pem"
        echo "'''"
        echo "pcrs = { 7 = [\"$1\"] }"
        echo "[node.idevid]"
        echo "anchors = '''"
        cat "$PEER_DIR/owner.pem"
        echo "'''"
        cat "$PEER_DIR/attestation.toml"
    } >"$POLICY/attestation.toml"
}

pcr_7() {
    tpm2 pcrread -Q sha256:7 -o "$PEER_DIR/pcr"
    od -An -v -tx1 "$PEER_DIR/pcr" | tr -d ' \n'
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=owner" -days 2 \
    -keyout "$PEER_DIR/owner.key" -out "$PEER_DIR/owner.pem" 2>/dev/null
new_tpm first trusted
new_tpm second trusted
new_tpm third other
bare_tpm curve
new_devid host-4 ecc384:ecdsa-sha384
plug third
new_devid elsewhere ecc:ecdsa-sha256
plug second
new_devid host-3 ecc:ecdsa-sha256
plug first
new_devid host-1 ecc:ecdsa-sha256
new_devid host-2 rsa2048:rsassa-sha256
new_devid movable ecc:ecdsa-sha256 'sensitivedataorigin|userwithauth|sign'
mkdir "$PEER_DIR/devid-device"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$PEER_DIR/devid-device/key.pem"
chmod 600 "$PEER_DIR/devid-device/key.pem"
openssl pkey -in "$PEER_DIR/devid-device/key.pem" -pubout -out "$PEER_DIR/devid-device/public.pem"
certify device "$PEER_DIR/devid-device/public.pem"
new_policy "$DOMAIN"
cp "$POLICY/attestation.toml" "$PEER_DIR/attestation.toml"
node_policy "$(pcr_7)"
export AIMS_LOG=warn,link=debug
start_up "$DOMAIN"
curl --silent --fail --cacert "$CA" "$ISSUER/bundle" >"$PEER_DIR/bundle.json"

# Keys on a curve and of RSA, and a device without a TPM that policy takes at its word.
by_tpm one host-1 && joins one tpm_devid host-1
by_tpm two host-2 && joins two tpm_devid host-2
by_file plain device && joins plain idevid device
# Evidence of a good TPM is no use in another one, nor with the certificate of another key.
by_tpm stolen host-3 && stays_out stolen "the blob was not made under this parent"
cp "$PEER_DIR/devid-device/certificate.pem" "$PEER_DIR/devid-host-3/certificate.pem"
by_tpm mixed host-3 && stays_out mixed "the devid key is not the key of the first certificate"
# A key that may leave its TPM, and a TPM of a maker that policy does not name.
by_tpm leaving movable && stranger leaving "the devid key has the attributes"
plug third
by_tpm foreign elsewhere && stranger foreign "the endorsement certificate is not trusted"
# A TPM whose endorsement key is on a curve.
plug curve
by_tpm four host-4 && joins four tpm_devid host-4
# A host that started with something else.
plug first
tpm2 pcrextend "7:sha256=$(printf '%064d' 7)"
by_tpm changed host-1 && stays_out changed "policy does not allow pcr 7"
grep -qF "attestation::Pcr" <<<"$(aims audit tail --last 50 --output json)" || fail "no record of it"
