# Debian's Chromium, driven by Playwright, with a virtual authenticator: a person's first sign-in by
# link and passkey, consent to less than an application and an attested agent asked, an answer to a
# question, a call of the agent that passes once, the end of a grant and of a session within a second;
# and axe-core on every page, wide and narrow, light and dark.
#
# PEER_SHOTS: a folder for a picture of each page; none are taken without it.
# req: AUTHN-11 (part), AUTHZ-06 (part), AUTHZ-17 (part), AUTHZ-18 (part), AUTHZ-31 (part), AUTHZ-32 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_node playwright-core
need_node axe-core
need_node openid-client
command -v chromium >/dev/null || not_here "this machine has no Chromium"
command -v certutil >/dev/null || not_here "this machine has no certutil (libnss3-tools)"

domain=people.example
clerk="spiffe://$domain/agent/clerk"
audience="https://localhost:$((AIMS_PORT_BASE + 3))/notes"
bank="https://localhost:$((AIMS_PORT_BASE + 3))/bank"
new_policy "$domain"
cat >>"$POLICY/domain.toml" <<END

[registration]
dynamic = "open"
methods = ["private_key_jwt"]
grants = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code", "urn:openid:params:grant-type:ciba"]
END
cat >"$POLICY/resources/notes.toml" <<END
name = "notes"
title = "Notes of the team"
upstream = "http://127.0.0.1:$((AIMS_PORT_BASE + 8))"
protocol = "http"
proof = "bearer"

[scopes]
"notes:read" = "Read your notes"
"notes:write" = "Change your notes"

[[action]]
method = "GET"
path = "/*"
scope = "notes:read"
read_only = true

[[action]]
method = "POST"
path = "/*"
scope = "notes:write"

[[authorization_details]]
type = "payment"
[[authorization_details.member]]
name = "amount"
required = true
shape = "text"
[[authorization_details.member]]
name = "recipient"
required = true
shape = "text"
END
cat >"$POLICY/resources/bank.toml" <<END
name = "bank"
title = "The bank"
upstream = "http://127.0.0.1:$((AIMS_PORT_BASE + 10))"
protocol = "mcp"
proof = "bearer"

[scopes]
"bank:pay" = "Pay from your account, each time when you say so"

[[action]]
tool = "pay"
scope = "bank:pay"
END
cat >"$POLICY/agents/clerk.toml" <<END
name = "clerk"
kind = "agent"
owner = "team-ledger"
capabilities = ["invoices", "payments"]
keys = "handed"

[rule]
class = "standard"
selectors = ["unix:uid:$(id -u)", "unix:path:$AIMS_BIN", "unix:sha256:$(sha256sum "$AIMS_BIN" | cut -d' ' -f1)"]

[client]
scope_max = "notes:read notes:write bank:pay"

[client.redirects]
redirect_uris = ["http://127.0.0.1/back"]
END
cat >"$POLICY/access/main.cedar" <<END
@id("whoever-asks-people")
permit(
  principal,
  action in [Aims::Action::"token.issue", Aims::Action::"http.request"],
  resource
);

@id("payments-when-a-person-says-so")
@obligations("approval")
permit(principal, action == Aims::Action::"tool.call", resource);
END
start_up "$domain"

# Passkeys do not work on a page whose certificate is not believed, so Chromium is told of our CA, in
# the profile of this test alone, as people do it.
export HOME="$PEER_DIR/home"
mkdir -p "$HOME"
aims trust --yes

LINK=$(aims user add ada --display-name "Ada Lovelace" --role operator)
# A name without a place to break: no page grows wider by it.
aims user add grace --display-name "Grace$(printf 'W%.0s' {1..195})" >/dev/null
CODE=$(aims user code ada)
export LINK CODE AIMS_DIR="$DATA"
start notes node "$PEERS/node/upstream.mjs" $((AIMS_PORT_BASE + 8)) "$PEER_DIR/notes.json"
wait_for "$PEER_DIR/notes.out" listening
NODE_EXTRA_CA_CERTS="$CA" node "$PEERS/node/console.mjs" "$ISSUER" "$audience" "$bank" "$clerk" \
    $((AIMS_PORT_BASE + 9))
