# What curl and openssl, as a broker, get from the Broker API of a node: SVIDs of another process on
# it, over mutual TLS; and what is refused them. The messages are written byte by byte.
# req: PROV-10
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_command curl
need_command openssl
need_command python3

readonly DOMAIN=broker.example
readonly BROKER="spiffe://$DOMAIN/service/mesh" WORKLOAD="spiffe://$DOMAIN/service/worker"

fail() {
    echo "$*"
    exit 1
}

# request PID [AUDIENCE]: the message of every method, as gRPC frames it.
request() {
    python3 - "$@" <<'PYTHON'
import sys


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number % 128 + 128])
        number //= 128
    return out + bytes([number])


def field(number, value):
    return bytes([number * 8 + 2]) + varint(len(value)) + value


pid = b"\x08" + varint(int(sys.argv[1]))
kind = b"type.googleapis.com/spiffe.broker.WorkloadPIDReference"
message = field(1, field(1, field(1, kind) + field(2, pid)))
for audience in sys.argv[2:]:
    message += field(2, audience.encode())
sys.stdout.buffer.write(b"\0" + len(message).to_bytes(4, "big") + message)
PYTHON
}

# call METHOD PID [AUDIENCE]: its answer in $PEER_DIR/answer, headers and trailers in
# $PEER_DIR/status. A stream is read for two seconds. HEADER may be emptied.
HEADER="broker.spiffe.io: true"
call() {
    local method=$1 code=0
    shift
    request "$@" >"$PEER_DIR/request"
    # Node certificates name no host: whose it is, is checked below.
    curl --silent --http2 --insecure --max-time 2 --unix-socket "$DATA/broker.sock" \
        --cert "$PEER_DIR/own/svid.pem" --key "$PEER_DIR/own/key.pem" \
        --header "content-type: application/grpc" --header "te: trailers" ${HEADER:+--header "$HEADER"} \
        --data-binary "@$PEER_DIR/request" --dump-header "$PEER_DIR/status" \
        --output "$PEER_DIR/answer" "https://node.invalid/spiffe.broker.API/$method" || code=$?
    # 28: a stream that goes on.
    [[ $code -eq 0 || $code -eq 28 ]] || fail "curl ends with $code"
}

# refused CODE METHOD PID [AUDIENCE]
refused() {
    local code=$1
    shift
    call "$@"
    grep -qi "^grpc-status: $code" "$PEER_DIR/status" || { cat "$PEER_DIR/status"; fail "not refused by $code: $*"; }
}

# Whether the process gets an X.509-SVID of the workload.
served() {
    : >"$PEER_DIR/answer"
    call SubscribeToX509SVID "$1"
    grep -qaF "$WORKLOAD" "$PEER_DIR/answer"
}

# token: the claims of the JWT-SVID in the answer.
token() {
    grep -aoE 'eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+' "$PEER_DIR/answer" | cut -d. -f2 |
        python3 -c 'import base64, sys; t = sys.stdin.read().strip(); print(base64.urlsafe_b64decode(t + "=" * (-len(t) % 4)).decode())'
}

new_policy "$DOMAIN"
printf '\n[broker."%s"]\nclasses = ["path"]\n' "$BROKER" >>"$POLICY/attestation.toml"
printf 'trust_domain = "%s"\nport_base = %s\nbroker = true\n' "$DOMAIN" "$AIMS_PORT_BASE" >"$PEER_DIR/data/aims.toml"
start_up "$DOMAIN"
[[ -S "$DATA/broker.sock" ]] || fail "no broker.sock"

register() {
    aims agent register --name "$1" --kind service --owner peers --class path \
        --selector "unix:uid:$(id -u)" --selector "unix:path:$(realpath "$2")"
}
register mesh "$AIMS_BIN"
register worker "$(command -v sleep)"
eventually aims svid x509 --write "$PEER_DIR/own"
start worker sleep 300
worker=${STARTED[-1]}

# On both sides certificates of the trust domain: the node is who it must be.
openssl s_client -unix "$DATA/broker.sock" -cert "$PEER_DIR/own/svid.pem" -key "$PEER_DIR/own/key.pem" \
    -CAfile "$PEER_DIR/own/bundle.pem" -verify_return_error -tls1_3 -showcerts </dev/null >"$PEER_DIR/node" 2>&1 ||
    { cat "$PEER_DIR/node"; fail "the node's certificate does not verify"; }
openssl x509 -in "$PEER_DIR/node" -noout -ext subjectAltName | grep -qF "URI:spiffe://$DOMAIN/aims/node/" ||
    fail "it is no node's"

eventually served "$worker"
call FetchJWTSVID "$worker" https://partner.example
token | tee "$PEER_DIR/claims"
grep -qF "\"$WORKLOAD\"" "$PEER_DIR/claims" && grep -qF https://partner.example "$PEER_DIR/claims" ||
    fail "no JWT-SVID of the workload"
call SubscribeToX509Bundles "$worker"
grep -qaF "spiffe://$DOMAIN" "$PEER_DIR/answer" || grep -qaF "$DOMAIN" "$PEER_DIR/answer" || fail "no bundle"

# 5: no such process. 3: without the header, without an audience. 7: a process of no record.
refused 5 FetchJWTSVID 4194303 https://partner.example
HEADER="" refused 3 FetchJWTSVID "$worker" https://partner.example
refused 3 FetchJWTSVID "$worker"
refused 7 FetchJWTSVID "$$" https://partner.example
grep -qi 'WORKLOAD_NOT_ENTITLED\|grpc-status-details-bin' "$PEER_DIR/status" || fail "no reason"

# Each attestation is in the log, with the broker that asked.
aims audit tail --last 200 --log node --output json >"$PEER_DIR/log" || aims audit tail --last 200 --output json >"$PEER_DIR/log"
grep -F workload_attested "$PEER_DIR/log" | grep -qF "\"transport\":\"$BROKER\"" || { tail -3 "$PEER_DIR/log"; fail "no record of the broker"; }

# A broker that is suspended gets nothing more.
aims agent suspend mesh --reason "peer test"
suspended() { call FetchJWTSVID "$worker" https://partner.example; grep -qi '^grpc-status: \(7\|16\)' "$PEER_DIR/status"; }
eventually suspended
