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
import { None, dynamicClientRegistration } from "openid-client";
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

// The other way to be known: OpenID discovery, registration (RFC 7591), and what is registered read,
// replaced and deleted by the client itself (RFC 7592).
const config = await dynamicClientRegistration(
  new URL(issuer),
  { client_name: "Second", redirect_uris: metadata.redirect_uris, token_endpoint_auth_method: "none" },
  None(),
);
assert.equal(config.serverMetadata().issuer, issuer);
const { client_id, registration_client_uri, registration_access_token } = config.clientMetadata();
const manage = async (method, body) => {
  const answer = await fetch(registration_client_uri, {
    method,
    headers: { authorization: `Bearer ${registration_access_token}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  return { status: answer.status, told: answer.status === 200 ? await answer.json() : undefined };
};
const { status, told: read } = await manage("GET");
assert.deepEqual([status, read.client_id, read.client_name], [200, client_id, "Second"]);
const { registration_client_uri: _, registration_access_token: __, client_id_issued_at: ___, ...own } = read;
const replaced = await manage("PUT", { ...own, client_name: "Third" });
assert.equal(replaced.told?.client_name, "Third", JSON.stringify(replaced));
assert.equal((await manage("DELETE")).status, 204);
assert.equal((await manage("GET")).status, 401);
