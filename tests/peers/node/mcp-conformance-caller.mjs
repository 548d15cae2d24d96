// Calls the tools of one resource with MCP's own transport, by tokens of `aims token get --at`; and plays
// the person whom that asks.
//
//   node mcp-conformance-caller.mjs AIMS FOLDER RESOURCE       started by the suite, whose environment says
//                                                              which scenario it is
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { calculateJwkThumbprint, decodeJwt, importJWK, SignJWT } from "jose";

const [aims, folder, resource] = process.argv.slice(2);
const version = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION;
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? "{}");
// What the suite takes for a client that has a document.
const DOCUMENT = "https://conformance-test.local/client-metadata.json";
// A call is tried again with a better token so many times.
const TRIES_MAX = 3;

const dpopKey = `${folder}/dpop.jwk`;
let token;
let nonce;

try {
  const { transport, call } = await connected();
  const { tools } = await call("tools/list", {});
  assert.equal(tools[0].name, "test-tool");
  await call("tools/call", { name: tools[0].name, arguments: {} });
  await transport.close();
} catch (error) {
  console.error(error.told ?? error);
  process.exit(1);
}

// MCP without sessions: each message says by itself which version it is of, and who calls.
async function connected() {
  const transport = new StreamableHTTPClientTransport(new URL(resource), { fetch: authorized });
  transport.setProtocolVersion(version);
  const waiting = new Map();
  transport.onmessage = ({ id, result, error }) => {
    const { done, fail } = waiting.get(id);
    error ? fail(new Error(JSON.stringify(error))) : done(result);
  };
  await transport.start();
  let id = 0;
  const call = async (method, params) => {
    const key = "io.modelcontextprotocol";
    const _meta = {
      [`${key}/protocolVersion`]: version,
      [`${key}/clientInfo`]: { name: "aims", version: "1" },
      [`${key}/clientCapabilities`]: {},
    };
    id += 1;
    const answer = new Promise((done, fail) => waiting.set(id, { done, fail }));
    await transport.send({ jsonrpc: "2.0", id, method, params: { ...params, _meta } });
    return answer;
  };
  return { transport, call };
}

// One request, with the token that there is; and again with the one that the challenge asks for.
async function authorized(url, init) {
  for (let turn = 0; ; turn++) {
    const headers = new Headers(init.headers);
    const { method, params } = JSON.parse(init.body);
    headers.set("mcp-method", method);
    if (params.name) headers.set("mcp-name", params.name);
    if (token) {
      headers.set("authorization", `${token.token_type} ${token.access_token}`);
      if (token.token_type === "DPoP") headers.set("dpop", await proof(url, init.method));
    }
    const answer = await fetch(url, { ...init, headers });
    if (![401, 403].includes(answer.status) || turn === TRIES_MAX) return answer;
    const challenge = answer.headers.get("www-authenticate");
    nonce = answer.headers.get("dpop-nonce") ?? nonce;
    if (!challenge.includes("use_dpop_nonce")) token = await got(challenge);
  }
}

async function got(challenge) {
  const get = ["token", "get", "--at", resource, "--challenge", challenge, "--output", "json"];
  const run = spawn(aims, ["--dir", folder, ...get, ...(await credentials())], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {},
  });
  let text = "";
  run.stdout.on("data", (part) => (text += part));
  const ended = new Promise((done) => run.on("close", done));
  const said = [];
  for await (const line of createInterface({ input: run.stderr })) {
    const [, url] = /^open in a browser: (\S+)$/.exec(line) ?? [];
    // The person allows it: the server asks nothing, and sends the browser back.
    if (url) await (await fetch(url)).text();
    else said.push(line);
  }
  if ((await ended) !== 0) throw Object.assign(new Error("no token"), { told: said.join("\n") });
  const answer = JSON.parse(text);
  if (answer.token_type === "DPoP") await bound(answer.access_token);
  return answer;
}

function given() {
  return ["--client-metadata-url", DOCUMENT, "--save", `${folder}/saved.json`];
}

// What the client was given beforehand, in the scenarios that give it something.
async function credentials() {
  const file = (name, text) => {
    writeFileSync(`${folder}/${name}`, text, { mode: 0o600 });
    return `${folder}/${name}`;
  };
  const id = ["--client-id", context.client_id];
  const key = () => ["--client-key", file("client.pem", context.private_key_pem)];
  const secret = async () => {
    return ["--client-secret-file", file("secret", context.client_secret), "--issuer", await issuer()];
  };
  switch (scenario) {
    case "auth/pre-registration":
      return [...id, ...(await secret())];
    case "auth/client-credentials-basic":
      return ["--own", ...id, ...(await secret())];
    case "auth/client-credentials-jwt":
      return ["--own", ...id, ...key()];
    case "auth/wif-jwt-bearer":
      return ["--assertion", file("workload.jwt", context.valid_jwt), "--issuer", await issuer()];
    case "auth/dpop":
    case "auth/dpop-nonce":
      return [...given(), "--dpop-key", dpopKey];
    default:
      return given();
  }
}

// Whoever was registered by hand knows where.
async function issuer() {
  const { origin, pathname } = new URL(resource);
  const answer = await fetch(`${origin}/.well-known/oauth-protected-resource${pathname}`);
  return (await answer.json()).authorization_servers[0];
}

function key() {
  return JSON.parse(readFileSync(dpopKey, "utf8"));
}

async function bound(text) {
  assert.equal(decodeJwt(text).cnf.jkt, await calculateJwkThumbprint(key()));
}

// RFC 9449 §7: the caller of the resource holds the key, too.
async function proof(url, htm) {
  const { d, ...jwk } = key();
  const ath = createHash("sha256").update(token.access_token).digest("base64url");
  const claims = { htm, htu: String(url), jti: randomUUID(), ath, ...(nonce && { nonce }) };
  const signer = new SignJWT(claims).setIssuedAt();
  signer.setProtectedHeader({ typ: "dpop+jwt", alg: "ES256", jwk });
  return signer.sign(await importJWK({ ...jwk, d }, "ES256"));
}
