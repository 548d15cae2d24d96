# `@modelcontextprotocol/conformance` in its authorization-server mode, against this server: metadata and
# the code grant.
# req: AUTHZ-26 (part), AUTHZ-22 (part), AUTHZ-06 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_node @modelcontextprotocol/conformance

domain=conformance.example
audience="https://localhost:$((AIMS_PORT_BASE + 3))/notes"
callback_port=$((AIMS_PORT_BASE + 8))
new_policy "$domain"
cat >>"$POLICY/domain.toml" <<END

[registration]
dynamic = "open"
documents = "open"
END
cat >"$POLICY/resources/notes.toml" <<END
name = "notes"
upstream = "http://127.0.0.1:$((AIMS_PORT_BASE + 9))/mcp"
protocol = "mcp"
proof = "bearer"

[scopes]
"notes:read" = "Read your notes"

[[action]]
tool = "read"
scope = "notes:read"
read_only = true
END
cat >"$POLICY/access/main.cedar" <<END
@id("clients-may-ask-people")
permit(
  principal is Aims::Client,
  action == Aims::Action::"token.issue",
  resource == Aims::Audience::"$audience"
);
END
start_up "$domain"
cat >"$PEER_DIR/client.json" <<END
{
  "client_name": "Conformance",
  "redirect_uris": ["http://127.0.0.1:$callback_port/callback"],
  "grant_types": ["authorization_code"],
  "token_endpoint_auth_method": "none"
}
END
CLIENT=$(aims client register "$PEER_DIR/client.json" | node -p 'JSON.parse(fs.readFileSync(0)).client_id')
aims user add ada --display-name "Ada Lovelace" >/dev/null
CODE=$(aims user code ada)
export CLIENT CODE
NODE_EXTRA_CA_CERTS="$CA" node "$PEERS/node/mcp-conformance.mjs" "$ISSUER" "$audience" \
    "$callback_port" "$PEER_DIR/results"
