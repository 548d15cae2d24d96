# nginx as it is: mutual TLS with the files that `aims svid watch` keeps, ten rotations under load,
# and no failed request; openssl and curl with the same files.
# req: PROV-08 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
PATH="$PATH:/usr/sbin"
need_command nginx
need_command openssl
need_command curl
need_command python3

readonly X509_SVID_SECONDS=5
readonly ROTATIONS=10
readonly TLS="$PEER_DIR/tls"
readonly PORT=$((AIMS_PORT_BASE + 10))
domain=nginx.example
spiffe_id="spiffe://$domain/service/nginx-peer"

fail() {
    echo "$*"
    exit 1
}

configure() {
    local kind
    {
        echo "pid $PEER_DIR/nginx.pid; error_log $PEER_DIR/nginx.log; worker_processes 2; daemon off;"
        echo "events { worker_connections 512; }"
        echo "http {"
        echo "access_log off;"
        for kind in client_body proxy fastcgi uwsgi scgi; do
            echo "${kind}_temp_path $PEER_DIR/nginx-$kind;"
        done
        cat <<CONF
server {
    listen 127.0.0.1:$PORT ssl;
    ssl_protocols TLSv1.3;
    ssl_session_tickets off;
    ssl_certificate $TLS/svid.pem;
    ssl_certificate_key $TLS/key.pem;
    ssl_client_certificate $TLS/bundle.pem;
    ssl_verify_client on;
    location / { return 200 "\$ssl_client_serial \$ssl_client_verify\n"; }
}
}
CONF
    } >"$PEER_DIR/nginx.conf"
}

# openssl: nginx is whom the bundle says, and wants a certificate itself.
by_openssl() {
    local said version
    version="$TLS/$(readlink "$TLS/..data")"
    said=$(printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -connect "127.0.0.1:$PORT" -quiet \
        -verify_return_error -CAfile "$version/bundle.pem" \
        -cert "$version/svid.pem" -key "$version/key.pem" 2>"$PEER_DIR/openssl.err") || true
    grep -q " SUCCESS" <<<"$said" || fail "openssl with the files: $said $(cat "$PEER_DIR/openssl.err")"
    said=$(printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -connect "127.0.0.1:$PORT" -quiet \
        -CAfile "$version/bundle.pem" 2>&1) || true
    grep -q "No required SSL certificate\|certificate required" <<<"$said" \
        || fail "openssl without a certificate: $said"
}

# curl: key and certificate in one file, at the mutual TLS listener of the issuer.
by_curl() {
    local said
    aims svid watch --dir "$PEER_DIR/combined" --format combined --once
    said=$(curl --silent --show-error --cacert "$CA" --cert "$PEER_DIR/combined/identity.pem" \
        --data "grant_type=client_credentials" --data-urlencode "client_id=$spiffe_id" \
        "https://localhost:$((AIMS_PORT_BASE + 1))/token")
    # It is known by its certificate, and told that it named no resource or scope that is its own.
    [[ "$said" == *'"error":"invalid_'* && "$said" != *invalid_client* ]] || fail "curl with the files: $said"
    said=$(curl --silent --show-error --cacert "$CA" \
        --data "grant_type=client_credentials" --data-urlencode "client_id=$spiffe_id" \
        "https://localhost:$((AIMS_PORT_BASE + 1))/token" 2>&1) || true
    [[ "$said" != *'"error":"invalid_'* || "$said" == *invalid_client* ]] \
        || fail "curl without a certificate: $said"
}

new_policy "$domain"
sed -i "s/^x509_svid = .*/x509_svid = $X509_SVID_SECONDS/" "$POLICY/domain.toml"
grep -qx "x509_svid = $X509_SVID_SECONDS" "$POLICY/domain.toml"
start_up "$domain"
aims agent register --name nginx-peer --kind service --owner peers --class path \
    --selector "unix:uid:$(id -u)" --selector "unix:path:$AIMS_BIN"

aims svid watch --dir "$TLS" --once
[[ "$(stat -Lc %a "$TLS/key.pem")" == 600 ]] || fail "the key is open to others"
configure
start nginx nginx -p "$PEER_DIR" -c "$PEER_DIR/nginx.conf"
eventually test -s "$PEER_DIR/nginx.pid"
start watch "$AIMS_BIN" --dir "$DATA" --output json svid watch --dir "$TLS" \
    --exec "nginx -p $PEER_DIR -c $PEER_DIR/nginx.conf -s reload"
wait_for "$PEER_DIR/watch.out" '"event":"done"'
by_openssl
by_curl
python3 "$PEERS/tls_load.py" "https://127.0.0.1:$PORT" $((ROTATIONS + 1)) "$TLS" "$spiffe_id"
[[ $(grep -c '"event":"written"' "$PEER_DIR/watch.out") -gt $ROTATIONS ]] || fail "too few rotations"
! grep '"event":"\(not_done\|waiting\|ending\|expired\)"' "$PEER_DIR/watch.out" \
    || fail "something went wrong in between"
! grep -q "emerg\|alert\|crit" "$PEER_DIR/nginx.log" || fail "$(cat "$PEER_DIR/nginx.log")"
