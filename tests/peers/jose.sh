# npm's `jose` verifies every kind of token that is issued, with the keys that are published.
# req: AUTHZ-03 (part), AUTHZ-12 (part), AUTHZ-20 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_node jose

domain=jose.example
upstream_port=$((AIMS_PORT_BASE + 8))
audience="https://localhost:$((AIMS_PORT_BASE + 3))/upstream"
new_policy "$domain"
cat >"$POLICY/resources/upstream.toml" <<END
name = "upstream"
upstream = "http://127.0.0.1:$upstream_port"
protocol = "http"

[scopes]
"upstream:read" = "Read"

[[action]]
method = "GET"
path = "/seen"
scope = "upstream:read"
read_only = true
END
cat >"$POLICY/access/main.cedar" <<END
@id("tokens")
permit(
  principal,
  action in [Aims::Action::"token.issue", Aims::Action::"token.exchange"],
  resource == Aims::Audience::"$audience"
);

@id("requests")
permit(
  principal == Aims::Agent::"spiffe://$domain/agent/caller",
  action == Aims::Action::"http.request",
  resource in Aims::Audience::"$audience"
);
END
start_up "$domain"
start upstream node "$PEERS/node/upstream.mjs" "$upstream_port" "$PEER_DIR/seen.json"
wait_for "$PEER_DIR/upstream.out" "listening"

# The agent is Node, behind the agent proxy; the service is the command line tool, which is handed
# its credentials.
aims agent register --name caller --kind agent --owner peers \
    --exec "$(realpath "$(command -v node)")" --scope upstream:read >/dev/null
aims agent register --name desk --kind service --owner peers --exec "$AIMS_BIN" \
    --scope upstream:read >/dev/null

eventually aims svid wit
aims svid wit --write "$PEER_DIR/wit" >/dev/null
aims svid jwt --audience https://reader.example --write "$PEER_DIR/jwt" >/dev/null
aims token get --resource "$audience" --scope upstream:read >"$PEER_DIR/access.out"
aims run --agent caller -- node -e '
const answer = await fetch(`${process.env.AIMS_URL}/upstream/seen`);
if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
' --input-type=module

NODE_EXTRA_CA_CERTS="$CA" node "$PEERS/node/jose.mjs" "$ISSUER" "$domain" "$audience" "$PEER_DIR"
