// An app without a secret, and a resource server that asks about its tokens.
//
//   node refresh.mjs ISSUER AUDIENCE SERVER SVID      with CODE (of `ada`) in its environment
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as oauth from "oauth4webapi";
import { Browser, consent } from "./browser.mjs";

const [issuer, audience, resourceServer, svid] = process.argv.slice(2);
const redirect = "http://127.0.0.1:4711/back";
const HONEST_RETRY_MS = 10_000;
const SIGNED = "application/token-introspection+jwt";

const url = new URL(issuer);
const server = await oauth.processDiscoveryResponse(
  url,
  await oauth.discoveryRequest(url, { algorithm: "oauth2" }),
);
assert.ok(server.code_challenge_methods_supported.includes("S256"));
const client = await oauth.processDynamicClientRegistrationResponse(
  await oauth.dynamicClientRegistrationRequest(server, {
    client_name: "Pocket vault",
    application_type: "native",
    redirect_uris: [redirect],
    grant_types: ["authorization_code", "refresh_token"],
    token_endpoint_auth_method: "none",
    introspection_signed_response_alg: "ES256",
  }),
);
assert.equal(client.client_secret, undefined);

const ada = new Browser(issuer);
await rotates(await byCode(ada));
await oneCodeOnce(await codeOf(ada));

async function codeOf(browser) {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const asked = new URL(server.authorization_endpoint);
  const parameters = {
    client_id: client.client_id,
    response_type: "code",
    redirect_uri: redirect.replace("4711", "4712"),
    scope: "vault:open vault:fill",
    resource: audience,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(parameters)) asked.searchParams.set(name, value);
  const back = await consent(browser, asked, { user: "ada", code: process.env.CODE });
  // The port is the app's to choose (RFC 8252 §7.3); `state` and `iss` are looked at by the library.
  return { back, verifier, state, redirect: parameters.redirect_uri };
}

async function redeem({ back, verifier, state, redirect }) {
  const answer = oauth.validateAuthResponse(server, client, back, state);
  const request = oauth.authorizationCodeGrantRequest(
    server, client, oauth.None(), answer, redirect, verifier,
  );
  return oauth.processAuthorizationCodeResponse(server, client, await request);
}

async function byCode(browser) {
  const asked = await codeOf(browser);
  const stolen = { ...asked, verifier: oauth.generateRandomCodeVerifier() };
  await assert.rejects(redeem(stolen), { error: "invalid_grant" }, "without its verifier a code is nothing");
  // And whoever tries one does not end it for the app.
  const again = await redeem(asked);
  assert.equal(again.token_type, "bearer");
  assert.match(again.access_token, /^(?!eyJ)/, "opaque");
  return again;
}

async function refresh(token, more = {}) {
  const answer = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, {
    additionalParameters: more,
  });
  return oauth.processRefreshTokenResponse(server, client, answer);
}

async function rotates(first) {
  const narrow = await refresh(first.refresh_token, { scope: "vault:open" });
  assert.equal(narrow.scope, "vault:open");
  assert.notEqual(narrow.refresh_token, first.refresh_token);
  // Whoever did not get the answer asks again, and gets the same successor.
  const [one, other] = await Promise.all([refresh(first.refresh_token), refresh(first.refresh_token)]);
  assert.deepEqual([one.refresh_token, other.refresh_token], [narrow.refresh_token, narrow.refresh_token]);

  const told = await about(narrow.access_token);
  assert.equal(told.active, true);
  assert.deepEqual([told.sub, told.client_id, told.scope], ["user:ada", client.client_id, "vault:open"]);
  assert.equal(told.aud, audience);

  // Long after, somebody shows the first one again: it was stolen, or this one was. All ends.
  await new Promise((done) => setTimeout(done, HONEST_RETRY_MS + 1_000));
  await assert.rejects(refresh(first.refresh_token), { error: "invalid_grant" });
  await assert.rejects(refresh(narrow.refresh_token), { error: "invalid_grant" });
  assert.deepEqual(await about(narrow.access_token), { active: false });
}

async function oneCodeOnce(asked) {
  const tokens = await redeem(asked);
  assert.equal((await about(tokens.access_token)).active, true);
  await assert.rejects(redeem(asked), { error: "invalid_grant" });
  // RFC 6749 §4.1.2: what came of the code is taken back.
  assert.deepEqual(await about(tokens.access_token), { active: false });
}

// What the resource server is told, plainly and signed; both say the same.
async function about(token) {
  const workload = (_server, _client, body) => {
    body.set("client_id", resourceServer);
    body.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe");
    body.set("client_assertion", readFileSync(svid, "utf8").trim());
  };
  const asker = { client_id: resourceServer };
  const ask = async (signed) => {
    const options = { requestJwtResponse: signed };
    const answer = await oauth.introspectionRequest(server, asker, workload, token, options);
    assert.equal(answer.headers.get("content-type").split(";")[0], signed ? SIGNED : "application/json");
    return oauth.processIntrospectionResponse(server, { ...asker, introspection_signed_response_alg: "ES256" }, answer);
  };
  const [plain, signed] = [await ask(false), await ask(true)];
  assert.deepEqual(signed, plain);
  return plain;
}
