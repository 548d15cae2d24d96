// A person and their browser.
//
//   node console.mjs ISSUER AUDIENCE BANK AGENT PORT      with LINK (of `ada`) in its environment; PORT and
//                                                         the one after it are the application's and the bank's
import assert from "node:assert/strict";
import { createServer } from "node:http";
import * as client from "openid-client";
import { Agent, claims } from "./agent.mjs";
import { approvedCall, bank, deniedCall } from "./calls.mjs";
import * as chromium from "./chromium.mjs";
import { grantEnds, sessionEnds, signedOut, tokenEnds } from "./endings.mjs";

const [issuer, audience, bankAudience, agentId, port] = process.argv.slice(2);
const redirect = `http://127.0.0.1:${port}/back`;

// Where the application is, which the browser comes back to.
const landed = [];
const app = createServer((request, answer) => {
  if (request.url.startsWith("/back")) landed.push(new URL(request.url, redirect));
  answer.setHeader("content-type", "text/html").end("<!doctype html><title>back</title>");
});
await new Promise((done) => app.listen(port, "127.0.0.1", done));
const { paid, close } = await bank(Number(port) + 1);

const tab = await chromium.open(issuer);
try {
  await firstSignIn();
  await signInByPasskey();
  const config = await register();
  const token = await consents(config);
  await answers(config);
  await device(config);
  const agent = await Agent.start(issuer, agentId, redirect);
  const reads = await agentAsks(agent);
  await calls(agent);
  await operates(token);
  await ends(agent, reads);
} finally {
  await tab.browser.close();
  app.close();
  close();
}
chromium.clean();

async function firstSignIn() {
  await tab.open("/console");
  assert.match(tab.page.url(), /\/sign-in\?then=/);
  await tab.look("sign-in-first");
  await tab.open(process.env.LINK);
  await tab.look("link");
  await tab.press("use-link");
  assert.equal(await tab.text("user"), "Ada Lovelace");
  await tab.look("methods-none");
  await tab.page.fill("#name", "Laptop");
  await tab.press("add-passkey");
  assert.match(await tab.text("passkeys"), /Laptop/);
  await tab.look("methods-one");
  await tab.press("sign-out");
  await tab.look("signed-out");
  // The link let in once.
  await tab.open(process.env.LINK);
  await tab.look("link-used");
}

async function signInByPasskey() {
  await tab.open("/console/sign-in-methods");
  await tab.page.fill("#user-name", "ada");
  await tab.page.fill("#code", "0000-0000-0000");
  await tab.press("use-code");
  await tab.look("sign-in-failed");
  await tab.press("use-passkey");
  assert.match(tab.page.url(), /\/console\/sign-in-methods$/, "where the person wanted to go");
  await tab.open("/console");
  await tab.page.waitForSelector("#no-grants");
  await tab.look("acting-none");
}

async function register() {
  const es256 = { name: "ECDSA", namedCurve: "P-256" };
  const pair = await crypto.subtle.generateKey(es256, false, ["sign", "verify"]);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const metadata = {
    // As long as names may be, without a place to break: no page grows wider by it.
    client_name: `Notebook${"k".repeat(192)}`,
    redirect_uris: [redirect],
    grant_types: [
      "authorization_code",
      "refresh_token",
      "urn:ietf:params:oauth:grant-type:device_code",
      "urn:openid:params:grant-type:ciba",
    ],
    token_endpoint_auth_method: "private_key_jwt",
    jwks: { keys: [{ kty, crv, x, y, alg: "ES256", kid: "1" }] },
    backchannel_token_delivery_mode: "poll",
  };
  const proof = client.PrivateKeyJwt({ key: pair.privateKey, kid: "1" });
  return client.dynamicClientRegistration(new URL(issuer), metadata, proof);
}

// Sends the browser to ask, and gives what redeems the answer.
async function ask(config, more = {}) {
  const verifier = client.randomPKCECodeVerifier();
  const checks = { pkceCodeVerifier: verifier, expectedState: client.randomState() };
  const url = await client.buildAuthorizationUrlWithPAR(config, {
    redirect_uri: redirect,
    scope: "openid profile email offline_access notes:read notes:write",
    resource: audience,
    state: checks.expectedState,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    ...more,
  });
  await tab.page.goto(url.href);
  return checks;
}

async function consents(config) {
  const payment = { type: "payment", amount: "€ 120.00", recipient: "Grace Hopper" };
  const details = { authorization_details: JSON.stringify([payment]) };
  const checks = await ask(config, details);
  assert.match(await tab.text("asker"), /Notebook/);
  await tab.look("consent");

  for (const box of ["scope.0.notes:write", "detail.0.0", "openid.email"]) {
    await tab.page.uncheck(`[id="${box}"]`);
  }
  await tab.press("allow");
  const back = landed.pop();
  assert.ok(back, tab.page.url());
  // The back button finds a page that explains.
  await tab.page.goBack();
  await tab.look("consent-over");

  const tokens = await client.authorizationCodeGrant(config, back, checks, { resource: audience });
  assert.equal(tokens.scope, "notes:read");
  assert.equal(tokens.authorization_details, undefined);

  // Another time the person refuses, and the application is told.
  await ask(config);
  await tab.press("deny");
  assert.equal(landed.pop().searchParams.get("error"), "access_denied");

  await tab.open("/authorize?client_id=nobody&response_type=code");
  await tab.look("fault");
  return tokens.access_token;
}

async function answers(config) {
  const asked = await client.initiateBackchannelAuthentication(config, {
    scope: "openid notes:write",
    resource: audience,
    login_hint: "ada",
    binding_message: "Table 4",
  });
  const given = client.pollBackchannelAuthenticationGrant(config, asked);
  await tab.open("/console/approvals");
  await tab.look("approvals-waiting");
  await tab.page.click("#waiting a");
  assert.match(await tab.text("shown"), /Table 4/);
  await tab.look("approval");
  await tab.press("allow");
  await tab.look("approval-done");
  assert.equal((await given).scope, "notes:write");
  await tab.open("/console/approvals");
  await tab.look("approvals-over");
}

async function device(config) {
  const asked = await client.initiateDeviceAuthorization(config, { scope: "notes:read", resource: audience });
  await tab.open("/device");
  await tab.page.fill("#user_code", "BBBB-BBBB");
  await tab.press("continue");
  await tab.look("device-wrong");
  await tab.page.goto(asked.verification_uri_complete);
  await tab.look("device");
  await tab.press("continue");
  assert.equal(await tab.text("code"), asked.user_code);
  await tab.look("device-confirm");
  await tab.press("deny");
  await tab.look("device-denied");
}

// An agent that a node attested: who runs it and how it is attested stands on the page; she takes one
// scope away, and the token has it not.
async function agentAsks(agent) {
  const { url, redeem } = await agent.ask("notes:read notes:write", audience);
  await tab.page.goto(url.href);
  assert.match(await tab.text("asker-owner"), /team-ledger/);
  assert.match(await tab.text("measured"), /program .*\n.*user id \d+\n(.*\n)*process: as expected/);
  await tab.look("consent-agent");
  await tab.page.click("#attested summary");
  assert.match(await tab.text("attested"), /sha-256 of the program [0-9a-f]{64}/);
  // Nothing ticked is no answer.
  const boxes = await tab.page.locator("#consent input[type=checkbox]").all();
  for (const box of boxes) await box.uncheck();
  await tab.press("allow");
  await tab.page.waitForSelector("#nothing");
  await tab.look("consent-nothing");
  // The page keeps it so, and she ticks one.
  assert.equal(await tab.page.locator("#consent input[type=checkbox]:checked").count(), 0);
  await tab.page.check('[id="scope.0.notes:read"]');
  await tab.press("allow");
  const { access_token } = await redeem(landed.pop());
  const said = claims(access_token);
  assert.deepEqual([said.client_id, said.scope, said.aud], [agentId, "notes:read", audience]);
  assert.equal(said.sub, "user:ada");
  const reads = () => call("GET", access_token);
  assert.equal(await reads(), 200);
  assert.equal(await call("POST", access_token), 403, "what she took away");
  return reads;
}

// The status of a call at the gateway.
async function call(method, token) {
  const answer = await fetch(`${audience}/today`, { method, headers: { authorization: `Bearer ${token}` } });
  await answer.arrayBuffer();
  return answer.status;
}

async function calls(agent) {
  const { url, redeem } = await agent.ask("bank:pay", bankAudience);
  await tab.page.goto(url.href);
  await tab.press("allow");
  const { access_token } = await redeem(landed.pop());
  await approvedCall(tab, agent, paid, bankAudience, access_token);
  await deniedCall(tab, agent, paid, bankAudience, access_token);
}

async function operates(token) {
  for (const list of ["grants", "approvals", "sessions", "agents", "clients", "users", "trace"]) {
    await tab.open(`/console/operate/${list}`);
    await tab.look(`operate-${list}`);
  }
  // The whole story of a task, by any of its tokens.
  const { jti } = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  await tab.page.goto(`${issuer}/console/operate/trace`);
  await tab.page.fill("#id", jti);
  await tab.press("go");
  assert.match(await tab.text("story"), /Notebook|client-/);
  await tab.look("trace-story");
  await tab.page.fill("#id", "nothing");
  await tab.press("go");
  await tab.look("trace-missing");
  await tab.open("/console/operate/none");
  await tab.look("operate-unknown");
  await tab.open("/console/none");
  await tab.look("unknown");
  await tab.open("/");
  assert.equal(new URL(tab.page.url()).pathname, "/console");
  await finds();
}

// Follows the first of these links.
async function follow(links) {
  await tab.press(await tab.page.locator(links).first().getAttribute("id"));
}

// By a part of a name to a record, and there an order with its reason.
async function finds() {
  await tab.open("/console/operate/grants");
  await tab.page.fill("#find", "clerk");
  await tab.press("go");
  assert.match(await tab.text("rows"), /clerk/);
  await tab.look("operate-found");
  await tab.open("/console/operate/users");
  await tab.page.fill("#find", "user:grace");
  await tab.press("go");
  await tab.press("open-user:grace");
  await tab.look("operate-person");
  await tab.page.fill("#reason", "on leave");
  await tab.press("disable");
  assert.match(await tab.text("record"), /disabled since .*: on leave/);
  await tab.look("operate-person-disabled");
  for (const list of ["agents", "clients"]) {
    await tab.open(`/console/operate/${list}`);
    await follow("#rows a[id^=open-]");
    await tab.look(`operate-${list}-one`);
  }
}

async function ends(agent, reads) {
  await tab.open("/console");
  await tab.look("acting");
  await follow("a[id^=end-all-]");
  await tab.look("end-all");
  await tab.press("keep");
  const grants = tab.page.locator("section.sheet[id^=grant-]");
  const before = await grants.count();
  assert.ok(before >= 3);
  const its = grants.filter({ hasText: "Read your notes" }).filter({ hasText: "clerk" });
  const [, id] = /^grant-(.+)$/.exec(await its.first().getAttribute("id"));
  await grantEnds(tab, id, reads);
  // All that she gave it in browsers goes with that one.
  assert.ok((await grants.count()) < before);
  assert.equal(await tab.page.locator(`section.sheet[id="grant-${id}"]`).count(), 0);
  await tab.look("acting-ended");
  await tab.page.click("#over summary");
  assert.match(await tab.text("over"), /clerk/);

  // What she allows in another browser ends with her session there, from this one.
  const elsewhere = await chromium.open(issuer);
  try {
    await elsewhere.open("/console");
    await elsewhere.page.fill("#user-name", "ada");
    await elsewhere.page.fill("#code", process.env.CODE);
    await elsewhere.press("use-code");
    const { url, redeem } = await agent.ask("notes:read", audience);
    await elsewhere.page.goto(url.href);
    await elsewhere.press("allow");
    const { access_token } = await redeem(landed.pop());
    await tokenEnds(agent, access_token, () => call("GET", access_token));
    const again = await agent.ask("notes:read", audience);
    await elsewhere.page.goto(again.url.href);
    if (await elsewhere.has("allow")) await elsewhere.press("allow");
    const held = (await again.redeem(landed.pop())).access_token;
    await sessionEnds(tab, () => call("GET", held));
    await elsewhere.open("/console");
    assert.match(elsewhere.page.url(), /\/sign-in\?then=/);
  } finally {
    await elsewhere.browser.close();
  }

  await tab.open("/end-session");
  await tab.look("leave");
  await tab.press("stay");
  await signedOut(tab);
  await tab.open("/console");
  assert.match(tab.page.url(), /\/sign-in\?then=/);
}
