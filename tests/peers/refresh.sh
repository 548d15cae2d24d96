# npm's `oauth4webapi` as an app on a person's device: registered by itself, rotated refresh tokens, the
# second use of one, and how the resource server is told of it by introspection in both forms.
# req: AUTHZ-04, AUTHZ-06 (part), AUTHZ-09 (part), AUTHZ-22 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_node oauth4webapi

domain=app.example
vault="spiffe://$domain/service/vault"
audience="https://localhost:$((AIMS_PORT_BASE + 3))/vault"
new_policy "$domain"
cat >>"$POLICY/domain.toml" <<END

[registration]
dynamic = "open"
END
cat >"$POLICY/resources/vault.toml" <<END
name = "vault"
upstream = "http://127.0.0.1:$((AIMS_PORT_BASE + 8))"
protocol = "http"
proof = "bearer"
token = "opaque"
introspect = ["$vault"]

[scopes]
"vault:open" = "Open the vault"
"vault:fill" = "Put something into the vault"

[[action]]
method = "GET"
path = "/*"
scope = "vault:open"
END
cat >"$POLICY/access/main.cedar" <<END
@id("apps-may-ask-people")
permit(
  principal is Aims::Client,
  action == Aims::Action::"token.issue",
  resource
);
END
start_up "$domain"

# The resource server is a workload of ours, which proves itself by its JWT-SVID.
cp "$AIMS_BIN" "$PEER_DIR/vault"
aims agent register --name vault --kind service --owner peers --exec "$PEER_DIR/vault" >/dev/null
eventually "$PEER_DIR/vault" --dir "$DATA" svid jwt --audience "$ISSUER" --write "$PEER_DIR/jwt"
aims user add ada --display-name "Ada Lovelace" >/dev/null
CODE=$(aims user code ada)
export CODE
NODE_EXTRA_CA_CERTS="$CA" node "$PEERS/node/refresh.mjs" "$ISSUER" "$audience" "$vault" \
    "$PEER_DIR/jwt/jwt_svid.token"
