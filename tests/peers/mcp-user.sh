# The official MCP client, unmodified, that nobody registered: from a 401 at the gateway it finds the
# authorization server, is known there by the document at its own URL, sends a person to consent, and
# calls a protected tool in that person's name. Then openid-client: found by OpenID Connect, registered
# and managed by itself.
# req: AUTHZ-26, AUTHZ-22, AUTHZ-06 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_command openssl
need_node @modelcontextprotocol/sdk
need_node @modelcontextprotocol/server-everything
need_node openid-client

domain=mcp-user.example
upstream_port=$((AIMS_PORT_BASE + 8))
document_port=$((AIMS_PORT_BASE + 9))
audience="https://localhost:$((AIMS_PORT_BASE + 3))/everything"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
    -keyout "$PEER_DIR/document.key" -out "$PEER_DIR/document.pem" 2>/dev/null
new_policy "$domain"
cat >>"$POLICY/domain.toml" <<END

[registration]
dynamic = "open"
documents = "listed"
hosts = ["localhost:$document_port"]
addresses = ["127.0.0.1/32", "::1/128"]
ca = """
$(cat "$PEER_DIR/document.pem")
"""
END
cat >"$POLICY/resources/everything.toml" <<END
name = "everything"
title = "The example server"
upstream = "http://127.0.0.1:$upstream_port/mcp"
protocol = "mcp"
proof = "bearer"

[scopes]
"everything:use" = "Use the example server"
"everything:add" = "Add numbers"

[[action]]
tool = "echo"
scope = "everything:use"
read_only = true

[[action]]
tool = "get-sum"
scope = "everything:add"
read_only = true
END
cat >"$POLICY/access/main.cedar" <<END
@id("mcp-clients-may-ask-people")
permit(
  principal is Aims::Client,
  action in [Aims::Action::"token.issue", Aims::Action::"tool.list"],
  resource == Aims::Audience::"$audience"
);

@id("mcp-clients-may-call-what-is-listed")
permit(
  principal is Aims::Client,
  action == Aims::Action::"tool.call",
  resource in Aims::Audience::"$audience"
);
END
start_up "$domain"
PORT=$upstream_port start everything \
    node "$PEERS/node/node_modules/@modelcontextprotocol/server-everything/dist/index.js" \
    streamableHttp
wait_for "$PEER_DIR/everything.out" "listening on port"
aims user add ada --display-name "Ada Lovelace" >/dev/null
CODE=$(aims user code ada)
export CODE
NODE_EXTRA_CA_CERTS="$CA" node "$PEERS/node/mcp-user.mjs" "$ISSUER" "$audience" \
    "https://localhost:$document_port/clients/peer.json" "$PEER_DIR/document"
aims audit export >"$PEER_DIR/log.jsonl"
grep -q "clients/peer.json" "$PEER_DIR/log.jsonl" || { echo "the log does not name the client"; exit 1; }
