# npm's `oauth4webapi` discovers the server, gets a token by `private_key_jwt`, exchanges one, and
# validates both as a resource would.
# req: AUTHZ-22 (part), AUTHZ-03 (part), AUTHZ-07 (part), AUTHZ-08 (part), AUTHZ-11 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_node oauth4webapi

domain=oauth.example
desk="spiffe://$domain/service/desk"
audience="https://localhost:$((AIMS_PORT_BASE + 3))/files"
new_policy "$domain"
cat >"$POLICY/resources/files.toml" <<END
name = "files"
upstream = "http://127.0.0.1:$((AIMS_PORT_BASE + 8))"
protocol = "http"
proof = "bearer"

[scopes]
"files:read" = "Read files"
"files:write" = "Write files"

[[action]]
method = "GET"
path = "/*"
scope = "files:read"
END
cat >"$POLICY/access/main.cedar" <<END
@id("clients-may-reach-the-files")
permit(
  principal is Aims::Client,
  action == Aims::Action::"token.issue",
  resource == Aims::Audience::"$audience"
);

@id("the-batch-may-ask-the-desk")
permit(
  principal == Aims::Service::"spiffe://$domain/service/batch",
  action == Aims::Action::"token.issue",
  resource == Aims::Audience::"$desk"
);

@id("the-desk-may-reach-the-files")
permit(
  principal == Aims::Service::"$desk",
  action == Aims::Action::"token.exchange",
  resource == Aims::Audience::"$audience"
);
END
start_up "$domain"

# The client makes its own key, and only the public one leaves it.
node "$PEERS/node/oauth4webapi.mjs" key "$PEER_DIR"
aims client register "$PEER_DIR/client.json" >"$PEER_DIR/registered.json"
aims client register "$PEER_DIR/plain.json" >"$PEER_DIR/registered-plain.json"
# The batch calls the desk, and the desk exchanges what it got (S4 §10.3.3).
cp "$AIMS_BIN" "$PEER_DIR/batch"
for pair in "batch $PEER_DIR/batch" "desk $AIMS_BIN"; do
    read -r name program <<<"$pair"
    aims agent register --name "$name" --kind service --owner peers --exec "$program" \
        --scope files:read >/dev/null
    eventually "$program" --dir "$DATA" svid jwt --audience "$ISSUER" --write "$PEER_DIR/jwt-$name"
done
NODE_EXTRA_CA_CERTS="$CA" node "$PEERS/node/oauth4webapi.mjs" story "$PEER_DIR" "$ISSUER" "$desk" \
    "$audience"
