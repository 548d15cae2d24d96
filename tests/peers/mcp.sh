# The official MCP client, unmodified and without a secret, reaches the official MCP example server
# through agent proxy and gateway, and no tool that policy does not list.
# req: AUTHZ-26 (part), SEC-01 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_node @modelcontextprotocol/sdk
need_node @modelcontextprotocol/server-everything

domain=mcp.example
upstream_port=$((AIMS_PORT_BASE + 8))
new_policy "$domain"
cat >"$POLICY/resources/everything.toml" <<END
name = "everything"
upstream = "http://127.0.0.1:$upstream_port/mcp"
protocol = "mcp"

[scopes]
"everything:use" = "Use the example server"

[[action]]
tool = "echo"
scope = "everything:use"
read_only = true
END
audience="https://localhost:$((AIMS_PORT_BASE + 3))/everything"
cat >"$POLICY/access/main.cedar" <<END
@id("the-client-may-reach-the-server")
permit(
  principal == Aims::Agent::"spiffe://$domain/agent/mcp-client",
  action in [Aims::Action::"token.issue", Aims::Action::"token.exchange", Aims::Action::"tool.list"],
  resource == Aims::Audience::"$audience"
);

@id("the-client-may-call-what-is-listed")
permit(
  principal == Aims::Agent::"spiffe://$domain/agent/mcp-client",
  action == Aims::Action::"tool.call",
  resource in Aims::Audience::"$audience"
);
END
start_up "$domain"
PORT=$upstream_port start everything \
    node "$PEERS/node/node_modules/@modelcontextprotocol/server-everything/dist/index.js" \
    streamableHttp
wait_for "$PEER_DIR/everything.out" "listening on port"
aims agent register --name mcp-client --kind agent --owner peers \
    --exec "$(realpath "$(command -v node)")" --scope everything:use

aims run --agent mcp-client -- node "$PEERS/node/mcp-client.mjs" everything
