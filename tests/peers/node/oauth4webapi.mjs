// A client of OAuth, as anyone would write it.
//
//   node oauth4webapi.mjs key FOLDER                              makes its key and metadata
//   node oauth4webapi.mjs story FOLDER ISSUER DESK AUDIENCE       gets, exchanges, validates
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import * as oauth from "oauth4webapi";

const [act, folder, issuer, desk, audience] = process.argv.slice(2);
const es256 = { name: "ECDSA", namedCurve: "P-256" };
const access = "urn:ietf:params:oauth:token-type:access_token";
const exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
const read = (name) => readFileSync(`${folder}/${name}`, "utf8").trim();

if (act === "key") await makeKey();
else await story();

async function makeKey() {
  const pair = await oauth.generateKeyPair("ES256", { extractable: true });
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const own = await crypto.subtle.exportKey("jwk", pair.privateKey);
  writeFileSync(`${folder}/key.json`, JSON.stringify(own), { mode: 0o600 });
  const metadata = {
    client_name: "Peer",
    token_endpoint_auth_method: "private_key_jwt",
    grant_types: ["client_credentials", exchange],
    scope: "files:read",
    jwks: { keys: [{ kty, crv, x, y, alg: "ES256", kid: "1" }] },
  };
  writeFileSync(`${folder}/client.json`, JSON.stringify(metadata));
  // The same without the exchange.
  const plain = { ...metadata, client_name: "Plain", grant_types: ["client_credentials"] };
  writeFileSync(`${folder}/plain.json`, JSON.stringify(plain));
}

async function story() {
  const url = new URL(issuer);
  const found = await oauth.discoveryRequest(url, { algorithm: "oauth2" });
  const server = await oauth.processDiscoveryResponse(url, found);
  assert.equal(server.token_endpoint, `${issuer}/token`);
  assert.ok(server.token_endpoint_auth_methods_supported.includes("private_key_jwt"));
  assert.ok(server.grant_types_supported.includes(exchange));

  const client = { client_id: JSON.parse(read("registered.json")).client_id };
  const key = await crypto.subtle.importKey("jwk", JSON.parse(read("key.json")), es256, false, [
    "sign",
  ]);
  const proof = oauth.PrivateKeyJwt({ key, kid: "1" });
  const ask = async (proof, scope) =>
    oauth.processClientCredentialsResponse(
      server,
      client,
      await oauth.clientCredentialsGrantRequest(server, client, proof, {
        resource: audience,
        scope,
      }),
    );
  const first = await ask(proof, "files:read");
  const told = await validated(server, first.access_token, audience);
  assert.equal(told.client_id, client.client_id);
  assert.equal(told.scope, "files:read");

  await assert.rejects(ask(proof, "files:write"), { error: "invalid_scope" });
  const stranger = await oauth.generateKeyPair("ES256");
  const forged = oauth.PrivateKeyJwt({ key: stranger.privateKey, kid: "1" });
  await assert.rejects(ask(forged, "files:read"), { error: "invalid_client" });

  // draft-ietf-oauth-spiffe-client-auth: the library has no such method, but a place for one.
  const workload = (name) => (_server, { client_id }, body) => {
    body.set("client_id", client_id);
    body.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe");
    body.set("client_assertion", read(`jwt-${name}/jwt_svid.token`));
  };
  const [batch, service] = [{ client_id: desk.replace(/desk$/, "batch") }, { client_id: desk }];
  const called = await oauth.processClientCredentialsResponse(
    server,
    batch,
    await oauth.clientCredentialsGrantRequest(server, batch, workload("batch"), {
      resource: desk,
      scope: "files:read",
    }),
  );
  const form = {
    subject_token: called.access_token,
    subject_token_type: access,
    resource: audience,
    scope: "files:read",
  };
  const answer = await oauth.genericTokenEndpointRequest(server, service, workload("desk"), exchange, form);
  const second = await oauth.processGenericTokenEndpointResponse(server, service, answer);
  assert.equal(second.issued_token_type, access);
  const claims = await validated(server, second.access_token, audience);
  assert.equal(claims.client_id, desk);
  assert.equal(claims.sub, batch.client_id, "on behalf of the one who called");
  assert.equal(claims.act.sub, desk);

  // Whoever was not called with the token may not exchange it, and who did not register for the
  // exchange may exchange nothing.
  const refused = async (client, expect) => {
    const own = await oauth.genericTokenEndpointRequest(server, client, proof, exchange, form);
    await assert.rejects(oauth.processGenericTokenEndpointResponse(server, client, own), {
      code: oauth.RESPONSE_BODY_ERROR,
      status: 400,
      ...expect,
    });
  };
  await refused(client, {
    error: "invalid_request",
    error_description: `the subject token is for \`${desk}\`, not for the client \`${client.client_id}\``,
  });
  const plain = { client_id: JSON.parse(read("registered-plain.json")).client_id };
  await refused(plain, { error: "unauthorized_client" });
}

// Validates as a resource does (RFC 9068 §4), and for another resource not.
async function validated(server, token, audience) {
  const request = () =>
    new Request("https://resource.example/", { headers: { authorization: `Bearer ${token}` } });
  await assert.rejects(oauth.validateJwtAccessToken(server, request(), "https://other.example"), {
    code: oauth.JWT_CLAIM_COMPARISON,
    message: 'unexpected JWT "aud" (audience) claim value',
  });
  return oauth.validateJwtAccessToken(server, request(), audience);
}
