# What openssl and curl make of an X.509-SVID, and of the HTTPS listener.
# req: CRED-02 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_command openssl
need_command curl

fail() {
    echo "$*"
    exit 1
}

# extension NAME: the lines below the line of the extension NAME, and that line itself.
extension() {
    grep -A 1 "^ *X509v3 $1:" <<<"$TEXT" || fail "no extension \`$1\`"
}

# expect WHAT FOUND WANTED
expect() {
    [[ "$2" == "$3" ]] || fail "$1 is \`$2\`, not \`$3\`"
}

svid_profile() {
    local chain="$PEER_DIR/svid" spiffe_id="spiffe://$domain/service/openssl-peer"
    aims svid x509 --write "$chain"
    for purpose in sslclient sslserver; do
        openssl verify -x509_strict -purpose "$purpose" \
            -CAfile "$chain/bundle.pem" -untrusted "$chain/svid.pem" "$chain/svid.pem"
    done

    # The bundle is what makes it valid, and the key is the leaf's.
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=other" \
        -days 1 -keyout "$PEER_DIR/other.key" -out "$PEER_DIR/other.pem" 2>/dev/null
    ! openssl verify -CAfile "$PEER_DIR/other.pem" "$chain/svid.pem" 2>/dev/null \
        || fail "the chain verifies against somebody else's authority"
    expect "the public key" "$(openssl x509 -in "$chain/svid.pem" -noout -pubkey)" \
        "$(openssl pkey -in "$chain/key.pem" -pubout)"

    TEXT=$(openssl x509 -in "$chain/svid.pem" -noout -text)
    expect "the subject alternative name" \
        "$(extension "Subject Alternative Name" | tr -s ' \n' ' ')" \
        " X509v3 Subject Alternative Name: critical URI:$spiffe_id "
    expect "the number of URIs" "$(grep -o 'URI:' <<<"$TEXT" | wc -l)" 1
    expect "the basic constraints" \
        "$(extension "Basic Constraints" | tr -s ' \n' ' ')" \
        " X509v3 Basic Constraints: critical CA:FALSE "
    expect "the key usage" "$(extension "Key Usage" | tr -s ' \n' ' ')" \
        " X509v3 Key Usage: critical Digital Signature "
    expect "the extended key usage" "$(extension "Extended Key Usage" | tail -n 1 | tr -s ' ')" \
        " TLS Web Server Authentication, TLS Web Client Authentication"
}

https_listener() {
    local address="localhost:$AIMS_PORT_BASE" said
    local connect=(openssl s_client -connect "$address" -verify_return_error
        -verify_hostname localhost -CAfile)
    said=$("${connect[@]}" "$CA" -brief </dev/null 2>&1) || fail "$said"
    grep -q "Protocol version: TLSv1.3" <<<"$said" || fail "not TLS 1.3: $said"
    grep -q "Verification: OK" <<<"$said" || fail "not verified: $said"

    said=$("${connect[@]}" "$PEER_DIR/other.pem" </dev/null 2>&1) \
        && fail "it verifies against somebody else's authority"
    grep -q "unable to get local issuer certificate" <<<"$said" || fail "other than expected: $said"

    # The refusal is the listener's: an alert, not this openssl's own unwillingness.
    said=$("${connect[@]}" "$CA" -tls1_2 </dev/null 2>&1) && fail "it speaks TLS 1.2"
    grep -q "alert protocol version" <<<"$said" || fail "TLS 1.2 ends other than expected: $said"

    said=$(curl --silent --show-error --fail --cacert "$CA" \
        "$ISSUER/.well-known/oauth-authorization-server")
    [[ "$said" == *"\"issuer\":\"$ISSUER\""* ]] || fail "metadata of another issuer: $said"
}

# Over HTTP/2 curl loses an answer that comes before its request was read: refusals wait for that.
refusals() {
    local path told turn
    for path in token userinfo par introspect revoke bc-authorize device_authorization \
        transaction-authorization register access/v1/evaluation access/v1/requests \
        enrol challenge-response/v1/newSession sign-in nothing; do
        for turn in 1 2 3 4 5 6 7 8; do
            told=$(curl --silent --cacert "$CA" --output /dev/null --write-out '%{http_code}' \
                --header 'content-type: text/plain' --data x "$ISSUER/$path") ||
                fail "/$path, try $turn: curl ended with $?"
            [[ "$told" == 4* ]] || fail "/$path: $told"
        done
    done
}

domain=openssl.example
new_policy "$domain"
start_up "$domain"
aims agent register --name openssl-peer --kind service --owner peers --class path \
    --selector "unix:uid:$(id -u)" --selector "unix:path:$AIMS_BIN"
svid_profile
https_listener
refusals
