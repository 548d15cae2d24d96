// A person lets our command line act for them at an authorization server that is not ours; and at a
// resource of which it knows the URL alone.
//
//   node foreign.mjs AIMS PROVIDER CA
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import { decodeJwt } from "jose";
import { Browser } from "./browser.mjs";

const [aims, provider, ca] = process.argv.slice(2);
const typed = { login: "ada", password: "any" };

const bound = await token(["--user"], byBrowser);
assert.equal(bound.token_type.toLowerCase(), "dpop", "bound to a key where the server can");
for (const [way, allow] of [["--user", byBrowser], ["--device", byDevice]]) {
  const answer = await token([way, "--bearer"], allow);
  assert.equal(answer.token_type.toLowerCase(), "bearer");
  const headers = { authorization: `Bearer ${answer.access_token}` };
  const told = await (await fetch(`${provider}/me`, { headers })).json();
  assert.equal(told.sub, "ada");
}

// From the challenge of a resource: the server registers the command line, the person allows it once.
const { resource, close } = await protectedResource();
const known = ["--at", resource, "--save", ca.replace(".pem", ".saved.json")];
const asked = [];
const first = await run(known, async (line) => {
  asked.push(line);
  await byBrowser(line);
});
assert.equal(asked.length, 1, "one thing is asked of the person");
const { aud, scope, client_id } = decodeJwt(first.access_token);
assert.deepEqual([aud, scope], [resource, "files:read"]);
assert.ok(client_id && client_id !== "cli", "a client of its own");
const again = await run(known, (line) => assert.fail(`nobody is asked again: ${line}`));
assert.notEqual(again.access_token, first.access_token);
assert.equal(decodeJwt(again.access_token).client_id, client_id);
close();

// An HTTP API that is protected by the provider, and says so.
async function protectedResource() {
  const { hostname, port } = new URL(provider);
  const origin = `https://${hostname}:${Number(port) + 1}`;
  const resource = `${origin}/files`;
  const path = "/.well-known/oauth-protected-resource/files";
  const document = { resource, authorization_servers: [provider], scopes_supported: ["files:read"] };
  const tls = { key: readFileSync(ca.replace(".pem", ".key")), cert: readFileSync(ca) };
  const server = createServer(tls, (request, answer) => {
    if (request.url === path) {
      answer.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(document));
    } else {
      const challenge = `Basic realm="files", Bearer resource_metadata="${origin}${path}"`;
      answer.writeHead(401, { "www-authenticate": challenge }).end();
    }
  });
  await new Promise((done) => server.listen(Number(port) + 1, hostname, done));
  return { resource, close: () => server.close() };
}

// A token of the client that the provider has had all along.
function token(way, allow) {
  return run(["--issuer", provider, "--client-id", "cli", "--scope", "openid", ...way], allow);
}

// Runs the command, and does what it asks of the person.
async function run(way, allow) {
  const get = ["token", "get", "--ca", ca, "--output", "json"];
  const run = spawn(aims, [...get, ...way], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  run.stdout.on("data", (part) => (text += part));
  const ended = new Promise((done) => run.on("close", done));
  const said = [];
  for await (const line of createInterface({ input: run.stderr })) {
    said.push(line);
    await allow(line);
  }
  assert.equal(await ended, 0, said.join("\n"));
  return JSON.parse(text);
}

async function byBrowser(line) {
  const [, url] = /open in a browser: (\S+)/.exec(line) ?? [];
  if (!url) return;
  const browser = new Browser(provider);
  await fetch((await through(browser, await browser.open(url))).left);
}

async function byDevice(line) {
  const [, url, user_code] = /go to (\S+) and type (\S+)/.exec(line) ?? [];
  if (!url) return;
  const browser = new Browser(provider);
  const page = await browser.open(url);
  const found = await browser.send(page.forms[0], undefined, { typed: { user_code } });
  const end = await through(browser, found);
  assert.equal(end.text, "Connected");
}

// The pages of the provider, until there is nothing more to send.
async function through(browser, page) {
  for (let turn = 0; page.forms?.length; turn++) {
    assert.ok(turn < 5, page.text);
    page = await browser.send(page.forms[0], undefined, { typed });
  }
  return page;
}
