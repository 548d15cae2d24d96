// Runs the conformance tests of MCP for authorization servers, and plays the person that they ask for.
//
//   node mcp-conformance.mjs ISSUER RESOURCE PORT FOLDER      with CLIENT and CODE (of `ada`) in its
//                                                             environment
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Browser, consent } from "./browser.mjs";

const [issuer, resource, port, folder] = process.argv.slice(2);
const EXPECTED = [
  "authorization-code-grant",
  "authorization-server-metadata",
  "authorization-server-metadata-cimd",
];

const suite = new URL("node_modules/@modelcontextprotocol/conformance/dist/index.js", import.meta.url);
const run = spawn(
  process.execPath,
  [
    suite.pathname, "authorization", "--url", issuer, "--client-id", process.env.CLIENT,
    "--resource", resource, "--port", port, "--spec-version", "2026-07-28", "--output-dir", folder,
  ],
  { stdio: ["ignore", "pipe", "inherit"] },
);
const ended = new Promise((done) => run.on("close", done));
for await (const line of createInterface({ input: run.stdout })) {
  console.log(line);
  if (!line.startsWith(`${issuer}/authorize?`)) continue;
  const back = await consent(new Browser(issuer), line, { user: "ada", code: process.env.CODE });
  await fetch(back);
}
assert.equal(await ended, 0, "the suite ends well");

// What it says of itself is looked at too: a test that was left out is none that passed.
const results = readdirSync(folder, { recursive: true }).filter((path) => path.endsWith("checks.json"));
const checks = results.flatMap((path) => JSON.parse(readFileSync(`${folder}/${path}`, "utf8")));
const told = checks.map(({ id, status, errorMessage }) => `${id}: ${status} ${errorMessage ?? ""}`);
assert.ok(checks.every(({ status }) => status === "SUCCESS" || status === "INFO"), told.join("\n"));
for (const id of EXPECTED) assert.ok(checks.some((check) => check.id === id), `${id} among ${told}`);
