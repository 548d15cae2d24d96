// An MCP client as anyone would write it: it knows the URL of a server, and has a document about
// itself on the Web.
//
//   node mcp-user.mjs ISSUER SERVER DOCUMENT FILES      with CODE (of `ada`) in its environment, and
//                                                       FILES.key and FILES.pem for the document
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { Browser, consent } from "./browser.mjs";

const [issuer, server, document, files] = process.argv.slice(2);
const metadata = {
  client_name: "Peer",
  redirect_uris: ["http://127.0.0.1:4711/back"],
  grant_types: ["authorization_code", "refresh_token"],
  response_types: ["code"],
  token_endpoint_auth_method: "none",
};
const tls = { key: readFileSync(`${files}.key`), cert: readFileSync(`${files}.pem`) };
let asked = 0;
const web = createServer(tls, (request, answer) => {
  asked += 1;
  assert.equal(request.url, new URL(document).pathname);
  answer.setHeader("content-type", "application/json");
  answer.end(JSON.stringify({ client_id: document, ...metadata }));
});
await new Promise((done) => web.listen(Number(new URL(document).port), "localhost", done));

// What the library keeps with its application.
const kept = {};
const sent = [];
const provider = {
  clientMetadataUrl: document,
  clientMetadata: metadata,
  redirectUrl: metadata.redirect_uris[0],
  state: () => "s-4711",
  clientInformation: () => kept.client,
  saveClientInformation: (client) => (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => (kept.tokens = tokens),
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => (kept.verifier = verifier),
  invalidateCredentials: () => void delete kept.tokens,
  saveDiscoveryState: (found) => (kept.found = found),
  discoveryState: () => kept.found,
  redirectToAuthorization: (url) => void sent.push(url),
};
const transport = () => new StreamableHTTPClientTransport(new URL(server), { authProvider: provider });

const first = transport();
await assert.rejects(new Client({ name: "peer", version: "1" }).connect(first), UnauthorizedError);
const [url] = sent;
assert.equal(url.origin, issuer, "found by RFC 9728 and RFC 8414");
assert.equal(url.searchParams.get("client_id"), document);
assert.equal(url.searchParams.get("resource"), server);
assert.equal(url.searchParams.get("code_challenge_method"), "S256");

const ada = new Browser(issuer);
const back = await consent(ada, url, {
  user: "ada",
  code: process.env.CODE,
  untick: ["scope.0.everything:add"],
});
assert.equal(back.searchParams.get("iss"), issuer);
assert.equal(back.searchParams.get("state"), "s-4711");
assert.ok(asked > 0, "the document was read");
await first.finishAuth(back.searchParams.get("code"));
assert.equal(kept.tokens.scope, "everything:use", "what the person took away is not there");

const client = new Client({ name: "peer", version: "1" });
const second = transport();
await client.connect(second);
const told = await client.callTool({ name: "echo", arguments: { message: "for Ada" } });
assert.deepEqual(told.content, [{ type: "text", text: "Echo: for Ada" }]);

// A tool without its scope: the client is told which, and sends the person again. (With a refresh
// token the library first tries that one, which gives no more than there was, and then gives up.)
const { refresh_token, ...bare } = kept.tokens;
kept.tokens = bare;
await assert.rejects(client.callTool({ name: "get-sum", arguments: { a: 1, b: 2 } }), UnauthorizedError);
assert.equal(sent.length, 2);
assert.match(sent[1].searchParams.get("scope"), /everything:add/);

// A token that is of no use is replaced by the refresh token, and nobody is asked.
kept.tokens = { ...bare, refresh_token, access_token: "worn-out" };
const again = await client.callTool({ name: "echo", arguments: { message: "again" } });
assert.deepEqual(again.content, [{ type: "text", text: "Echo: again" }]);
assert.notEqual(kept.tokens.access_token, "worn-out");
assert.equal(sent.length, 2);

// The person ends it, and the client is sent to ask anew.
const home = await ada.open("/console");
await ada.send(home.forms.find((form) => form.action.includes("/grants/")));
await assert.rejects(async () => {
  for (let turn = 0; turn < 100; turn++) {
    // What flows as it ends is cut.
    const called = client.callTool({ name: "echo", arguments: { message: "still" } });
    await called.catch((fault) => {
      if (!(fault instanceof TypeError)) throw fault;
    });
    await new Promise((done) => setTimeout(done, 100));
  }
}, UnauthorizedError);
await client.close();
web.close();
