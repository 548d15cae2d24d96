// Runs the conformance tests of MCP for clients, as far as they are about authorization.
//
//   node mcp-conformance-client.mjs AIMS FOLDER
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { promisify } from "node:util";

const [aims, folder] = process.argv.slice(2);
const VERSION = "2026-07-28";
// How many run at once.
const AT_ONCE = 4;
// Each must run, and hold.
const SCENARIOS = [
  "auth/metadata-default", "auth/metadata-var1", "auth/metadata-var2", "auth/metadata-var3",
  "auth/basic-cimd", "auth/scope-from-www-authenticate", "auth/scope-from-scopes-supported",
  "auth/scope-omitted-when-undefined", "auth/scope-step-up", "auth/scope-retry-limit",
  "auth/token-endpoint-auth-basic", "auth/token-endpoint-auth-post", "auth/token-endpoint-auth-none",
  "auth/pre-registration", "auth/resource-mismatch", "auth/offline-access-scope",
  "auth/offline-access-not-supported", "auth/authorization-server-migration", "auth/iss-supported",
  "auth/iss-not-advertised", "auth/iss-supported-missing", "auth/iss-wrong-issuer", "auth/iss-unexpected",
  "auth/iss-normalized", "auth/metadata-issuer-mismatch", "auth/client-credentials-jwt",
  "auth/client-credentials-basic", "auth/dpop", "auth/dpop-nonce", "auth/wif-jwt-bearer",
];
// Scenarios in which the client must not go on: that it did not is told by how it ended.
const REFUSED = {
  "auth/scope-retry-limit": "discovery::StepUp",
  "auth/resource-mismatch": "discovery::Resource",
  "auth/iss-supported-missing": "oauth::Response",
  "auth/iss-wrong-issuer": "oauth::Response",
  "auth/iss-unexpected": "oauth::Response",
  "auth/iss-normalized": "oauth::Response",
  "auth/metadata-issuer-mismatch": "oauth::Metadata",
};
const LEFT_OUT = {
  "auth/enterprise-managed-authorization": "identity assertion grants (ID-JAG) are not asked for yet",
  "auth/2025-03-26-oauth-metadata-backcompat": "that version has no metadata of resources, by which we go",
  "auth/2025-03-26-oauth-endpoint-fallback": "that version guesses endpoints, which we do not",
};

const here = (path) => new URL(path, import.meta.url).pathname;
const suite = here("node_modules/@modelcontextprotocol/conformance/dist/index.js");
const run = promisify(execFile);

// What the suite has and this list does not is told, too.
const { stdout } = await run(process.execPath, [suite, "list"]);
const listed = [...stdout.matchAll(/^\s+- (auth\/\S+)/gm)].map(([, name]) => name);
const known = [...SCENARIOS, ...Object.keys(LEFT_OUT)];
assert.deepEqual(listed.toSorted(), known.toSorted(), "the scenarios of this version of the suite");

const failed = [];
const left = [...SCENARIOS];
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  for (let name = left.shift(); name; name = left.shift()) await one(name);
}));
for (const [name, why] of Object.entries(LEFT_OUT)) console.log(`left out ${name}: ${why}`);
assert.deepEqual(failed, [], "scenarios that do not hold");

async function one(name) {
  const results = `${folder}/${name.replaceAll("/", "-")}`;
  mkdirSync(results);
  const command = [process.execPath, here("mcp-conformance-caller.mjs"), aims, results].join(" ");
  const options = ["--command", command, "--scenario", name, "--spec-version", VERSION, "--force"];
  let told = "";
  try {
    const ended = await run(process.execPath, [suite, "client", ...options, "--output-dir", results]);
    told = ended.stderr;
    judge(name, results);
    console.log(`ok ${name}`);
  } catch (error) {
    failed.push(name);
    console.log(`FAILED ${name}: ${error.message}\n${error.stdout ?? ""}${error.stderr ?? told}`);
  }
}

// What the suite says of itself is looked at too: a scenario that was left out is none that passed.
function judge(name, results) {
  const paths = readdirSync(results, { recursive: true });
  const read = (file) => {
    const path = paths.find((path) => path.endsWith(file));
    assert.ok(path, `no ${file} of ${name}`);
    return readFileSync(`${results}/${path}`, "utf8");
  };
  const checks = JSON.parse(read("checks.json"));
  const told = checks.map(({ id, status, errorMessage }) => `${id}: ${status} ${errorMessage ?? ""}`);
  assert.ok(checks.some(({ status }) => status === "SUCCESS"), told.join("\n"));
  assert.ok(checks.every(({ status }) => ["SUCCESS", "INFO", "SKIPPED"].includes(status)), told.join("\n"));
  const said = read("stderr.txt");
  const refused = REFUSED[name];
  if (refused) assert.match(said, new RegExp(`"error": ?"${refused}"`), `not refused by ${refused}`);
  else assert.equal(said, "", `${name} went through`);
}
