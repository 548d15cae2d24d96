# The peers themselves are the pinned ones: a result against another version says nothing.
set -euo pipefail
. "$PEERS/need.bash"
need_command openssl
need_python spiffe
need_node jose

while IFS== read -r name _ version; do
    [[ -n "$name" && "$name" != "#"* ]] || continue
    found=$("$PYTHON" -c "import importlib.metadata as m; print(m.version('$name'))")
    [[ "$found" == "$version" ]] || { echo "$name is $found, pinned $version"; exit 1; }
done <"$PEERS/requirements.txt"

cd "$PEERS/node"
node --input-type=module -e '
import { readFileSync } from "node:fs";
const read = (path) => JSON.parse(readFileSync(path, "utf8"));
for (const [name, pinned] of Object.entries(read("package.json").dependencies)) {
  const { version } = read(`node_modules/${name}/package.json`);
  if (version !== pinned) throw new Error(`${name} is ${version}, pinned ${pinned}`);
}
await import("jose");
await import("oauth4webapi");
await import("@modelcontextprotocol/sdk/client/index.js");
'
"$AIMS_BIN" --help >/dev/null
