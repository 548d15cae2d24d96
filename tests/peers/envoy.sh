# Two Envoys as they are, mutual TLS between them with certificates and trust by SDS, two rotations
# under load without one failed request; and who is not whom it should be is refused.
# req: PROV-08
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_envoy
need_command openssl
need_command curl

readonly X509_SVID_SECONDS=6
readonly ROTATIONS=2
domain=envoy.example
spiffe_id="spiffe://$domain/service/envoy-peer"
readonly INNER=$((AIMS_PORT_BASE + 10)) OUTER=$((AIMS_PORT_BASE + 11)) STRANGER=$((AIMS_PORT_BASE + 12))
readonly TLS_TYPE="type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
readonly HTTP_TYPE="type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"

fail() {
    echo "$*"
    exit 1
}

# source NAME: where a secret of this name comes from.
source_of() {
    echo "{name: \"$1\", sds_config: {resource_api_version: V3, api_config_source: {api_type: GRPC,
      transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: aims_node}}]}}}"
}

# tls_context CERTIFICATE TRUST SPIFFE_ID: both sides have the same.
tls_context() {
    echo "common_tls_context: {
      tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3},
      tls_certificate_sds_secret_configs: [$(source_of "$1")],
      combined_validation_context: {
        default_validation_context: {match_typed_subject_alt_names: [
          {san_type: URI, matcher: {exact: \"$3\"}}]},
        validation_context_sds_secret_config: $(source_of "$2")}}"
}

# listener NAME PORT ROUTE EXTRA: answers HTTP.
listener() {
    echo "{name: $1, address: {socket_address: {address: 127.0.0.1, port_value: $2}},
      filter_chains: [{filters: [{name: http, typed_config: {
        \"@type\": $HTTP_TYPE.HttpConnectionManager, stat_prefix: $1,
        http_filters: [{name: router, typed_config: {
          \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}],
        route_config: {virtual_hosts: [{name: all, domains: ['*'], routes: [$3]}]}}}]${4:+, $4}}]}"
}

# upstream NAME SPIFFE_ID: the inner Envoy, if it is SPIFFE_ID. Each request on a connection of its
# own, and no session is taken up again: each handshake is a whole one.
upstream() {
    echo "{name: $1, connect_timeout: 5s, type: STATIC,
      typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions,
        common_http_protocol_options: {max_requests_per_connection: 1},
        explicit_http_config: {http_protocol_options: {}}}},
      load_assignment: {cluster_name: $1, endpoints: [{lb_endpoints: [{endpoint: {address: {
        socket_address: {address: 127.0.0.1, port_value: $INNER}}}}]}]},
      transport_socket: {name: tls, typed_config: {\"@type\": $TLS_TYPE.UpstreamTlsContext,
        max_session_keys: 0, $(tls_context default ROOTCA "$2")}}}"
}

# configuration LISTENERS CLUSTERS
configuration() {
    echo "node: {id: peer, cluster: peers}
static_resources:
  listeners: [$1]
  clusters:
  - {name: aims_node, connect_timeout: 5s, type: STATIC,
     typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
       \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions,
       explicit_http_config: {http2_protocol_options: {}}}},
     load_assignment: {cluster_name: aims_node, endpoints: [{lb_endpoints: [{endpoint: {address: {
       pipe: {path: $DATA/workload.sock}}}}]}]}}
$2"
}

envoy() {
    start "$1" "$ENVOY" --config-path "$PEER_DIR/$1.yaml" --disable-hot-restart --concurrency 2 \
        --log-level warning
}

new_policy "$domain"
sed -i "s/^x509_svid = .*/x509_svid = $X509_SVID_SECONDS/" "$POLICY/domain.toml"
grep -qx "x509_svid = $X509_SVID_SECONDS" "$POLICY/domain.toml"
start_up "$domain"
aims agent register --name envoy-peer --kind service --owner peers --class path \
    --selector "unix:uid:$(id -u)" --selector "unix:path:$ENVOY"
aims agent register --name other --kind service --owner peers --class path \
    --selector "unix:uid:$(id -u)" --selector "unix:path:$AIMS_BIN"

said="{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: ok}},
  response_headers_to_add: [{header: {key: x-serial, value: '%DOWNSTREAM_PEER_SERIAL%'}},
    {header: {key: x-peer, value: '%DOWNSTREAM_PEER_URI_SAN%'}}]}"
downstream="transport_socket: {name: tls, typed_config: {\"@type\": $TLS_TYPE.DownstreamTlsContext,
  require_client_certificate: true, disable_stateless_session_resumption: true,
  disable_stateful_session_resumption: true,
  $(tls_context "$spiffe_id" ALL "$spiffe_id")}}"
configuration "$(listener inner "$INNER" "$said" "$downstream")" "" >"$PEER_DIR/inner.yaml"
to() { echo "{match: {prefix: /}, route: {cluster: $1}}"; }
configuration "$(listener outer "$OUTER" "$(to inner)"), $(listener strange "$STRANGER" "$(to stranger)")" \
    "  - $(upstream inner "$spiffe_id")
  - $(upstream stranger "spiffe://$domain/service/other")" >"$PEER_DIR/outer.yaml"
envoy inner
envoy outer

answer() {
    curl --silent --show-error --fail --include "http://127.0.0.1:$1/"
}
eventually answer "$OUTER"
[[ "$(answer "$OUTER")" == *"x-peer: $spiffe_id"* ]] || fail "who called: $(answer "$OUTER")"
! answer "$STRANGER" >/dev/null 2>&1 || fail "the outer Envoy takes another for the one it wants"

# The same bundle, another identity: the inner Envoy refuses it, and nobody at all.
aims svid x509 --write "$PEER_DIR/other"
handshake=(openssl s_client -connect "127.0.0.1:$INNER" -CAfile "$PEER_DIR/other/bundle.pem" -quiet
    -verify_return_error)
for shown in "-cert $PEER_DIR/other/svid.pem -key $PEER_DIR/other/key.pem" ""; do
    # shellcheck disable=SC2086
    said=$(printf 'GET / HTTP/1.0\r\n\r\n' | "${handshake[@]}" $shown 2>&1) || true
    grep -q "alert" <<<"$said" && ! grep -q "200 OK" <<<"$said" || fail "the inner Envoy: $said"
done

"$PYTHON" "$PEERS/tls_load.py" "http://127.0.0.1:$OUTER" $((ROTATIONS + 1))
! grep -i "rejected\|critical" "$PEER_DIR/inner.out" "$PEER_DIR/outer.out" || fail "an Envoy complains"
