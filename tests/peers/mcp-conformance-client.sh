# `@modelcontextprotocol/conformance` against our client side: its scenarios of authorization for clients,
# each of which is a resource and one or two authorization servers on this machine. MCP's own transport
# speaks to the resource; each token comes by `aims token get --at`.
# req: AUTHZ-26 (part), AUTHZ-22 (part)
set -euo pipefail
. "$PEERS/need.bash"
need_node @modelcontextprotocol/conformance
need_node @modelcontextprotocol/sdk
need_node jose

node "$PEERS/node/mcp-conformance-client.mjs" "$AIMS_BIN" "$PEER_DIR"
