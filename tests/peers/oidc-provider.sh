# npm's `oidc-provider` as the company's identity provider: people come by it, it proves to us who they
# are and we to it by `private_key_jwt`, and its back-channel logout ends what came of it. Then as an
# authorization server that our command line gets tokens of. At last in Debian's Chromium: somebody who
# came by it adds passkeys, loses them, and takes the account away.
# req: AUTHN-10, AUTHN-11 (part), AUTHZ-06 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_command openssl
need_node oidc-provider
need_node playwright-core
need_node axe-core

domain=staff.example
port=$((AIMS_PORT_BASE + 8))
provider="https://localhost:$port"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
    -keyout "$PEER_DIR/provider.key" -out "$PEER_DIR/provider.pem" 2>/dev/null
new_policy "$domain"
cat >>"$POLICY/domain.toml" <<END

[[sign_in.upstream]]
name = "company"
title = "Example Inc."
issuer = "$provider"
client_id = "aims"
scopes = ["profile", "email"]
create = true
addresses = ["127.0.0.1/32", "::1/128"]
ca = """
$(cat "$PEER_DIR/provider.pem")
"""
END
start_up "$domain"
NODE_EXTRA_CA_CERTS="$CA" start provider node "$PEERS/node/oidc-provider.mjs" "$provider" "$ISSUER" \
    "$PEER_DIR/provider"
wait_for "$PEER_DIR/provider.out" listening

cat "$CA" "$PEER_DIR/provider.pem" >"$PEER_DIR/both.pem"
NODE_EXTRA_CA_CERTS="$PEER_DIR/both.pem" node "$PEERS/node/staff.mjs" "$ISSUER" "$provider"
aims session list --output json >"$PEER_DIR/sessions.json"
grep -q '"user": *"grace"' "$PEER_DIR/sessions.json" && ! grep -q '"user": *"ada"' "$PEER_DIR/sessions.json" || {
    echo "the sessions are not Grace's alone:"
    cat "$PEER_DIR/sessions.json"
    exit 1
}

# And as an authorization server that is not ours, for our command line.
NODE_EXTRA_CA_CERTS="$PEER_DIR/provider.pem" node "$PEERS/node/foreign.mjs" "$AIMS_BIN" "$provider" \
    "$PEER_DIR/provider.pem"

# And in a browser: how somebody changes how they sign in who came by the provider.
command -v chromium >/dev/null || not_here "this machine has no Chromium; the rest holds"
command -v certutil >/dev/null || not_here "this machine has no certutil (libnss3-tools); the rest holds"
export HOME="$PEER_DIR/home" AIMS_DIR="$DATA"
mkdir -p "$HOME/.pki/nssdb"
certutil -N --empty-password -d "sql:$HOME/.pki/nssdb"
certutil -A -n aims -t C,, -i "$CA" -d "sql:$HOME/.pki/nssdb"
certutil -A -n provider -t P,, -i "$PEER_DIR/provider.pem" -d "sql:$HOME/.pki/nssdb"
node "$PEERS/node/methods.mjs" "$ISSUER" "$provider"
aims session list | grep -F "Chromium on Linux" || { echo "browsers are not named"; exit 1; }
