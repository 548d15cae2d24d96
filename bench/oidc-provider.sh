#!/usr/bin/env bash
# npm oidc-provider on one core, for `cargo run --release -p bench -- versus --peer bench/oidc-provider.sh`.
#
#   bench/oidc-provider.sh install    its packages, below the checkout only
#   bench/oidc-provider.sh            runs it until its standard input ends
set -euo pipefail
readonly FOLDER="$(cd "$(dirname "$0")" && pwd)/oidc-provider"
readonly CORE=0

if [[ ${1:-} == install ]]; then
    cd "$FOLDER"
    exec npm ci --silent --no-audit --no-fund --ignore-scripts
fi
[[ -d $FOLDER/node_modules ]] || { echo "not there: run \`$0 install\`" >&2; exit 1; }

made=$(mktemp -d)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
    -keyout "$made/key.pem" -out "$made/cert.pem" 2>/dev/null
port=$(node -e 'const s = require("node:net").createServer();
    s.listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
NODE_ENV=production exec taskset -c "$CORE" node "$FOLDER/server.mjs" "$made" "$port"
