// An application as anyone would write it with `openid-client`, and the person it acts for.
//
//   node openid-client.mjs ISSUER AUDIENCE      with CODE (of `ada`), TOKEN and TOKEN_RS256 (to register) in its
//                                               environment
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as client from "openid-client";
import { Browser, consent, signIn } from "./browser.mjs";

const [issuer, audience] = process.argv.slice(2);
const redirect = "https://app.example/back";
const userinfo = `${issuer}/userinfo`;
const es256 = { name: "ECDSA", namedCurve: "P-256" };

const pair = await crypto.subtle.generateKey(es256, false, ["sign", "verify"]);
const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);

// What went over the wire, for the few things that the library does by itself.
const said = [];
const watched = async (url, options) => {
  const answer = await fetch(url, options);
  said.push({ path: new URL(url).pathname, status: answer.status, body: await answer.clone().text() });
  return answer;
};

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
  require_pushed_authorization_requests: true,
  dpop_bound_access_tokens: true,
  scope: "openid profile offline_access notes:read notes:write",
};
const proof = client.PrivateKeyJwt({ key: pair.privateKey, kid: "1" });
const register = (initialAccessToken, more = {}) =>
  client.dynamicClientRegistration(new URL(issuer), { ...metadata, ...more }, proof, {
    initialAccessToken,
    [client.customFetch]: watched,
  });
await assert.rejects(register("a guess"), (fault) => fault.cause?.status === 401 || fault.status === 401);
const config = await register(process.env.TOKEN);
await assert.rejects(register(process.env.TOKEN), "it let one client in");

const ada = new Browser(issuer);
const tokens = await byCode();
assert.equal(config.clientMetadata().id_token_signed_response_alg, "ES256", "it is told what it did not ask for");
await signed(config);
await byRsa();
await Promise.all([byDevice(), byBackchannel()]);
await refreshed(tokens);

// PAR, PKCE, `state`, `nonce`, `iss`, DPoP with nonces, an ID token, userinfo, and a call.
async function byCode() {
  const key = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));
  const verifier = client.randomPKCECodeVerifier();
  const checks = {
    pkceCodeVerifier: verifier,
    expectedState: client.randomState(),
    expectedNonce: client.randomNonce(),
    idTokenExpected: true,
  };
  const parameters = new URLSearchParams({
    redirect_uri: redirect,
    scope: "openid profile offline_access notes:read notes:write",
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    dpop_jkt: await key.calculateThumbprint(),
  });
  parameters.append("resource", audience);
  const url = await client.buildAuthorizationUrlWithPAR(config, parameters);
  assert.deepEqual([...url.searchParams.keys()].sort(), ["client_id", "request_uri"]);

  // A request of this client that was not pushed leads nowhere.
  const plain = await ada.open(client.buildAuthorizationUrl(config, parameters));
  assert.match(plain.left?.searchParams.get("error_description") ?? plain.text, /`request_uri` is absent/);

  const code = process.env.CODE;
  const back = await consent(ada, url, { user: "ada", code, untick: ["scope.0.notes:write"] });
  const answer = await client.authorizationCodeGrant(config, back, checks, { resource: audience }, { DPoP: key });
  assert.equal(answer.token_type, "dpop");
  assert.equal(answer.claims().sub, "user:ada");
  assert.ok(
    said.some(({ path, body }) => path === "/token" && body.includes("use_dpop_nonce")),
    "a nonce was asked for",
  );
  return { ...answer, key };
}

// The request is an object that the client signed (RFC 9101), the answer one that the server did (JARM).
async function signed(config) {
  const jarm = await client.discovery(new URL(issuer), config.clientMetadata().client_id, config.clientMetadata(), proof, {
    execute: [client.useJwtResponseMode],
  });
  const key = client.getDPoPHandle(jarm, await client.randomDPoPKeyPair("ES256"));
  const checks = {
    pkceCodeVerifier: client.randomPKCECodeVerifier(),
    expectedState: client.randomState(),
  };
  const object = await client.buildAuthorizationUrlWithJAR(
    jarm,
    {
      redirect_uri: redirect,
      scope: "notes:read",
      resource: audience,
      state: checks.expectedState,
      code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
      code_challenge_method: "S256",
    },
    { key: pair.privateKey, kid: "1" },
  );
  const url = await client.buildAuthorizationUrlWithPAR(jarm, object.searchParams);
  const back = await consent(ada, url);
  assert.deepEqual([...back.searchParams.keys()], ["response"]);
  const answer = await client.authorizationCodeGrant(jarm, back, checks, { resource: audience }, { DPoP: key });
  assert.equal(answer.scope, "notes:read");
}

// What is signed for it is signed by RS256, the default of OpenID Connect (Registration 1.0 §2), by a key that is
// published: the library reads it and verifies.
async function byRsa() {
  const { jwks_uri } = config.serverMetadata();
  const published = async () => (await (await fetch(jwks_uri)).json()).keys.filter(({ alg }) => alg === "RS256");
  assert.deepEqual(await published(), [], "nobody asked for one");
  const by = { id_token_signed_response_alg: "RS256", authorization_signed_response_alg: "RS256" };
  const rsa = await register(process.env.TOKEN_RS256, by);
  for (const name of Object.keys(by)) assert.equal(rsa.clientMetadata()[name], "RS256");
  const [{ kty, e, n, kid, use }] = await published();
  assert.deepEqual([kty, e, use, Buffer.from(n, "base64url").length * 8], ["RSA", "AQAB", "sig", 3072]);
  client.enableNonRepudiationChecks(rsa);

  const key = client.getDPoPHandle(rsa, await client.randomDPoPKeyPair("ES256"));
  const checks = {
    pkceCodeVerifier: client.randomPKCECodeVerifier(),
    expectedState: client.randomState(),
    expectedNonce: client.randomNonce(),
    idTokenExpected: true,
  };
  const url = await client.buildAuthorizationUrlWithPAR(rsa, {
    redirect_uri: redirect,
    scope: "openid offline_access notes:read",
    resource: audience,
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: "S256",
  });
  const back = await consent(ada, url);
  const answer = await client.authorizationCodeGrant(rsa, back, checks, { resource: audience }, { DPoP: key });
  const header = JSON.parse(Buffer.from(answer.id_token.split(".")[0], "base64url"));
  assert.deepEqual([header.alg, header.kid], ["RS256", kid]);
  const { at_hash, sub } = answer.claims();
  const hash = createHash("sha256").update(answer.access_token).digest().subarray(0, 16).toString("base64url");
  assert.deepEqual([sub, at_hash], ["user:ada", hash]);
  await signed(rsa);

  // Its twin with another signature is refused, so what was above is verified.
  rsa[client.customFetch] = async (url, options) => {
    const given = await fetch(url, options);
    if (new URL(url).pathname !== "/token" || !given.ok) return given;
    const body = await given.json();
    body.id_token = body.id_token.replace(/[^.]+$/, "A".repeat(512));
    return Response.json(body, { headers: given.headers });
  };
  const refresh = client.refreshTokenGrant(rsa, answer.refresh_token, { resource: audience }, { DPoP: key });
  await assert.rejects(refresh, { code: "OAUTH_INVALID_RESPONSE" });
}

// The token serves through the gateway with its key alone; a refresh gives others of the same grant;
// what was taken back serves no more.
async function refreshed({ access_token, refresh_token, scope, key }) {
  assert.equal(scope, "notes:read", "what was not ticked is not there");
  const notes = new URL(`${audience}/today`);
  const call = (token, DPoP) =>
    client.fetchProtectedResource(config, token, notes, "GET", undefined, undefined, { DPoP });
  assert.equal((await call(access_token, key)).status, 200);
  const stranger = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));
  await assert.rejects(call(access_token, stranger), { status: 401 });

  const refresh = (DPoP, more) => client.refreshTokenGrant(config, refresh_token, more, { DPoP });
  // RFC 9449 §5: the client proved itself, so its refresh token is not bound to a DPoP key.
  const moved = await refresh(stranger, { resource: audience });
  assert.equal((await call(moved.access_token, stranger)).status, 200);
  await assert.rejects(call(moved.access_token, key), { status: 401 });
  await assert.rejects(refresh(key, { resource: audience, scope: "notes:write" }), { error: "invalid_scope" });
  const next = await refresh(key, { resource: audience });
  assert.equal((await call(next.access_token, key)).status, 200);
  // And it stays, for the same reason.
  assert.equal(next.refresh_token ?? refresh_token, refresh_token);

  const about = await refresh(key, { resource: userinfo });
  const told = await client.fetchUserInfo(config, about.access_token, "user:ada", { DPoP: key });
  assert.equal(told.name, "Ada Lovelace");

  await client.tokenRevocation(config, refresh_token);
  await assert.rejects(refresh(key, { resource: audience }), { error: "invalid_grant" });
  await assert.rejects(async () => {
    for (let turn = 0; turn < 100; turn++) {
      // What flows as it ends is cut.
      await call(next.access_token, key).catch((fault) => {
        if (!(fault instanceof TypeError)) throw fault;
      });
      await new Promise((done) => setTimeout(done, 100));
    }
  }, { status: 401 });
}

// A device shows a code, and its user types it.
async function byDevice() {
  const key = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));
  const device = await client.initiateDeviceAuthorization(config, { scope: "notes:read", resource: audience });
  const given = client.pollDeviceAuthorizationGrant(config, device, undefined, { DPoP: key });

  const asked = await ada.open(device.verification_uri);
  const typed = { user_code: device.user_code.toLowerCase() };
  const shown = await ada.send(asked.form("device"), "continue", { typed });
  assert.equal(shown.byId("code"), device.user_code);
  await ada.send(shown.form("answer"), "allow");
  const tokens = await given;
  assert.deepEqual([tokens.token_type, tokens.scope], ["dpop", "notes:read"]);

  // No is final.
  const other = await client.initiateDeviceAuthorization(config, { scope: "notes:read", resource: audience });
  const page = await ada.open(other.verification_uri_complete);
  const confirm = page.has("answer") ? page : await ada.send(page.form("device"), "continue");
  await ada.send(confirm.form("answer"), "deny");
  const refused = client.pollDeviceAuthorizationGrant(config, other, undefined, { DPoP: key });
  await assert.rejects(refused, { error: "access_denied" });
}

// A client that knows the person's name asks, and they answer in their own browser.
async function byBackchannel() {
  const key = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));
  const asked = await client.initiateBackchannelAuthentication(config, {
    scope: "openid notes:read",
    resource: audience,
    login_hint: "ada",
    binding_message: "Table 4",
  });
  const given = client.pollBackchannelAuthenticationGrant(config, asked, undefined, { DPoP: key });
  const waiting = await ada.open("/console/approvals");
  const [, path] = /href="(\/console\/approvals\/[^"]+)"/.exec(waiting.html);
  const shown = await ada.open(path);
  assert.match(shown.text, /Table 4/);
  await ada.send(shown.form("answer"), "allow");
  const tokens = await given;
  assert.equal(tokens.claims().sub, "user:ada");
  assert.equal(tokens.scope, "notes:read");
}
