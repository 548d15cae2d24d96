# npm's `openid-client` registers itself and acts for a person: pushed requests, codes, ID tokens by ES256
# and by RS256, tokens bound by DPoP with nonces, through the gateway, refreshed, taken back; a device; a
# backchannel request. The person is a browser without script.
# req: AUTHZ-01 (part), AUTHZ-06, AUTHZ-10 (part), AUTHZ-17 (part), AUTHZ-19 (part), AUTHZ-22 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_node openid-client

domain=users.example
upstream_port=$((AIMS_PORT_BASE + 8))
audience="https://localhost:$((AIMS_PORT_BASE + 3))/notes"
new_policy "$domain"
cat >>"$POLICY/domain.toml" <<END

[bounds]
dpop_nonces = true

[registration]
dynamic = "token"
grants = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code", "urn:openid:params:grant-type:ciba"]
END
cat >"$POLICY/resources/notes.toml" <<END
name = "notes"
upstream = "http://127.0.0.1:$upstream_port"
protocol = "http"
proof = "dpop"

[scopes]
"notes:read" = "Read your notes"
"notes:write" = "Change your notes"

[[action]]
method = "GET"
path = "/*"
scope = "notes:read"
read_only = true
END
cat >"$POLICY/access/main.cedar" <<END
@id("clients-may-ask-people")
permit(
  principal is Aims::Client,
  action == Aims::Action::"token.issue",
  resource
);

@id("clients-may-read")
permit(
  principal is Aims::Client,
  action == Aims::Action::"http.request",
  resource in Aims::Audience::"$audience"
);
END
start_up "$domain"
start upstream node "$PEERS/node/upstream.mjs" "$upstream_port" "$PEER_DIR/seen.json"
wait_for "$PEER_DIR/upstream.out" listening

aims user add ada --display-name "Ada Lovelace" >/dev/null
CODE=$(aims user code ada --uses 3) TOKEN=$(aims client token) TOKEN_RS256=$(aims client token)
export CODE TOKEN TOKEN_RS256
NODE_EXTRA_CA_CERTS="$CA" node "$PEERS/node/openid-client.mjs" "$ISSUER" "$audience"
