// A person and their browser.
//
//   node console.mjs ISSUER AUDIENCE AGENT PORT      with LINK (of `ada`) in its environment
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import axe from "axe-core";
import * as client from "openid-client";
import { chromium } from "playwright-core";

const [issuer, audience, agent, port] = process.argv.slice(2);
const redirect = `http://127.0.0.1:${port}/back`;
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 844 };
const shots = process.env.PEER_SHOTS;

// Where the application is, which the browser comes back to.
const landed = [];
const app = createServer((request, answer) => {
  if (request.url.startsWith("/back")) landed.push(new URL(request.url, redirect));
  answer.setHeader("content-type", "text/html").end("<!doctype html><title>back</title>");
});
await new Promise((done) => app.listen(port, "127.0.0.1", done));

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: process.getuid() === 0 ? ["--no-sandbox"] : [],
});
const page = await (await browser.newContext({ viewport: WIDE })).newPage();
page.setDefaultTimeout(10_000);
const complaints = [];
page.on("pageerror", (fault) => complaints.push(`${page.url()}: ${fault}`));
page.on("console", (said) => {
  // What a page of ours refused is said by its status, which Chromium repeats.
  if (said.type() === "error" && !said.text().startsWith("Failed to load resource")) {
    complaints.push(`${page.url()}: ${said.text()}`);
  }
});
const devtools = await page.context().newCDPSession(page);
await devtools.send("WebAuthn.enable");
await devtools.send("WebAuthn.addVirtualAuthenticator", {
  options: {
    protocol: "ctap2",
    transport: "internal",
    hasResidentKey: true,
    hasUserVerification: true,
    isUserVerified: true,
    automaticPresenceSimulation: true,
  },
});
const looked = [];
const problems = [];

try {
  await firstSignIn();
  await signInByPasskey();
  const config = await register();
  const token = await consents(config);
  await answers(config);
  await device(config);
  await agentAsks();
  await operates(token);
  await ends();
} finally {
  await browser.close();
  app.close();
}
assert.deepEqual(problems, [], "axe finds nothing serious, and nothing is cut off");
assert.deepEqual(complaints, [], "no script fails, and no policy of a page is broken");

// Looks at a page: axe in each width and colour scheme, and that nothing stands beside it.
async function look(name) {
  assert.ok(!looked.includes(name), name);
  looked.push(name);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const [width, size] of [["wide", WIDE], ["narrow", NARROW]]) {
      await page.setViewportSize(size);
      const found = await examined();
      for (const { id, impact, nodes } of found.violations) {
        if (impact !== "serious" && impact !== "critical") continue;
        for (const { target, failureSummary } of nodes) {
          problems.push(`${name}, ${width}, ${colorScheme}: ${impact} ${id} at ${target}: ${failureSummary}`);
        }
      }
      const over = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      if (over > 0) problems.push(`${name}, ${width}: ${over} px beside the page`);
      if (shots) {
        mkdirSync(shots, { recursive: true });
        await page.screenshot({ path: `${shots}/${name}-${width}-${colorScheme}.png`, fullPage: true });
      }
    }
  }
  await page.setViewportSize(WIDE);
}

// What axe finds. The list of approvals looks again by itself, and takes axe along when it does.
async function examined() {
  for (let turn = 0; ; turn++) {
    try {
      if (!(await page.evaluate("'axe' in globalThis"))) await page.evaluate(axe.source);
      return await page.evaluate('axe.run({ resultTypes: ["violations"] })');
    } catch (fault) {
      if (turn === 3 || !/context was destroyed|axe is not defined/.test(fault.message)) throw fault;
      await page.waitForLoadState();
    }
  }
}

async function open(path) {
  await page.goto(new URL(path, issuer).href);
}

async function text(id) {
  return page.innerText(`[id="${id}"]`);
}

// Presses a button and waits for the page that comes of it.
async function press(id) {
  await Promise.all([page.waitForNavigation(), page.click(`[id="${id}"]`)]);
}

async function firstSignIn() {
  await open("/console");
  assert.match(page.url(), /\/sign-in\?then=/);
  await look("sign-in-first");
  await open(process.env.LINK);
  await look("link");
  await press("use-link");
  assert.equal(await text("user"), "Ada Lovelace");
  await look("methods-none");
  await page.fill("#name", "Laptop");
  await press("add-passkey");
  assert.match(await text("passkeys"), /Laptop/);
  await look("methods-one");
  await press("sign-out");
  await look("signed-out");
  // The link let in once.
  await open(process.env.LINK);
  await look("link-used");
}

async function signInByPasskey() {
  await open("/console/sign-in-methods");
  await page.fill("#user-name", "ada");
  await page.fill("#code", "0000-0000-0000");
  await press("use-code");
  await look("sign-in-failed");
  await press("use-passkey");
  assert.match(page.url(), /\/console\/sign-in-methods$/, "where the person wanted to go");
  await open("/console");
  await page.waitForSelector("#no-grants");
  await look("acting-none");
}

async function register() {
  const es256 = { name: "ECDSA", namedCurve: "P-256" };
  const pair = await crypto.subtle.generateKey(es256, false, ["sign", "verify"]);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const metadata = {
    client_name: "Notebook",
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
  await page.goto(url.href);
  return checks;
}

async function consents(config) {
  const payment = { type: "payment", amount: "€ 120.00", recipient: "Grace Hopper" };
  const details = { authorization_details: JSON.stringify([payment]) };
  const checks = await ask(config, details);
  assert.match(await text("asker"), /Notebook/);
  await look("consent");

  for (const box of ["scope.0.notes:write", "detail.0.0", "openid.email"]) {
    await page.uncheck(`[id="${box}"]`);
  }
  await press("allow");
  const back = landed.pop();
  assert.ok(back, page.url());
  // The back button finds a page that explains.
  await page.goBack();
  await look("consent-over");

  const tokens = await client.authorizationCodeGrant(config, back, checks, { resource: audience });
  assert.equal(tokens.scope, "notes:read");
  assert.equal(tokens.authorization_details, undefined);

  // Another time the person refuses, and the application is told.
  await ask(config);
  await press("deny");
  assert.equal(landed.pop().searchParams.get("error"), "access_denied");

  await open("/authorize?client_id=nobody&response_type=code");
  await look("fault");
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
  await open("/console/approvals");
  await look("approvals-waiting");
  await page.click("#waiting a");
  assert.match(await text("shown"), /Table 4/);
  await look("approval");
  await press("allow");
  await look("approval-done");
  assert.equal((await given).scope, "notes:write");
  await open("/console/approvals");
  await look("approvals-over");
}

async function device(config) {
  const asked = await client.initiateDeviceAuthorization(config, { scope: "notes:read", resource: audience });
  await open("/device");
  await page.fill("#user_code", "BBBB-BBBB");
  await press("continue");
  await look("device-wrong");
  await page.goto(asked.verification_uri_complete);
  await look("device");
  await press("continue");
  assert.equal(await text("code"), asked.user_code);
  await look("device-confirm");
  await press("deny");
  await look("device-denied");
}

async function agentAsks() {
  const challenge = await client.calculatePKCECodeChallenge(client.randomPKCECodeVerifier());
  const query = new URLSearchParams({
    client_id: agent,
    response_type: "code",
    redirect_uri: "https://clerk.example/back",
    scope: "notes:read notes:write",
    resource: audience,
    code_challenge: challenge,
    code_challenge_method: "S256",
  });
  await open(`/authorize?${query}`);
  assert.match(await text("asker-owner"), /team-ledger/);
  await look("consent-agent");
  // Nothing ticked is no answer.
  for (const box of await page.locator("#consent input[type=checkbox]").all()) await box.uncheck();
  await press("allow");
  await page.waitForSelector("#nothing");
  await look("consent-nothing");
}

async function operates(token) {
  for (const list of ["grants", "approvals", "sessions", "agents", "clients", "users", "trace"]) {
    await open(`/console/operate/${list}`);
    await look(`operate-${list}`);
  }
  // The whole story of a task, by any of its tokens.
  const { jti } = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  await page.goto(`${issuer}/console/operate/trace`);
  await page.fill("#id", jti);
  await press("go");
  assert.match(await text("story"), /Notebook|client-/);
  await look("trace-story");
  await page.fill("#id", "nothing");
  await press("go");
  await look("trace-missing");
  await open("/console/operate/none");
  await look("operate-unknown");
}

async function ends() {
  await open("/console");
  const grants = page.locator("section.sheet[id^=grant-]");
  const before = await grants.count();
  assert.ok(before >= 2);
  await look("acting");
  const first = await page.locator("button[id^=end-]").first().getAttribute("id");
  await press(first);
  assert.equal(await grants.count(), before - 1);
  await look("acting-ended");
  await page.click("#over summary");
  assert.match(await text("over"), /Notebook/);
  await open("/end-session");
  await look("leave");
  await press("leave-now");
  await open("/console");
  assert.match(page.url(), /\/sign-in\?then=/);
}
