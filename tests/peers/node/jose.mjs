// Verifies one token of each kind, and sees that a verifier of one kind takes no other.
//
//   node jose.mjs ISSUER TRUST_DOMAIN AUDIENCE FOLDER
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { SignJWT, createLocalJWKSet, importJWK, jwtVerify } from "jose";

const [issuer, domain, audience, folder] = process.argv.slice(2);
const read = (name) => readFileSync(`${folder}/${name}`, "utf8").trim();
const get = async (path) => {
  const answer = await fetch(issuer + path);
  assert.equal(answer.status, 200, path);
  return answer.json();
};

const jwks = await get("/jwks");
const metadata = await get("/.well-known/oauth-authorization-server");
const txnKeys = await get(new URL(metadata.aims_txn_token_jwks_uri).pathname);
const bundle = await get("/bundle");
const uses = new Set(bundle.keys.map((key) => key.use));
const keysFor = (use) =>
  createLocalJWKSet({
    // SPIFFE's values of `use` are not those of RFC 7517, by which `jose` chooses a key.
    keys: bundle.keys.filter((key) => key.use === use).map(({ use: _, ...key }) => key),
  });
for (const key of [...jwks.keys, ...txnKeys.keys, ...bundle.keys]) {
  assert.equal(key.d, undefined, "a published key has no private part");
}

const seen = JSON.parse(read("seen.json"));
assert.equal(seen.authorization, undefined, "the access token stays at the gateway");
const access = read("access.out").match(/eyJ[\w-]+\.[\w-]+\.[\w-]+/)[0];

const agent = `spiffe://${domain}/agent/caller`;
const desk = `spiffe://${domain}/service/desk`;
const kinds = {
  access: {
    token: access,
    keys: createLocalJWKSet(jwks),
    rules: { issuer, audience, typ: "at+jwt", requiredClaims: ["exp", "iat", "jti", "client_id"] },
    claims: { sub: desk, client_id: desk, scope: "upstream:read" },
  },
  txn: {
    token: seen["txn-token"],
    keys: createLocalJWKSet(txnKeys),
    rules: { audience: domain, typ: "txntoken+jwt", requiredClaims: ["exp", "iat", "txn"] },
    claims: { sub: agent, scope: "upstream:read" },
  },
  jwtSvid: {
    token: read("jwt/jwt_svid.token"),
    keys: keysFor("jwt-svid"),
    rules: { audience: "https://reader.example", requiredClaims: ["exp"] },
    claims: { sub: desk },
  },
  wit: {
    token: read("wit/wit.jwt"),
    keys: keysFor("wit-svid"),
    rules: { typ: "wit+jwt", requiredClaims: ["exp", "cnf"] },
    claims: { sub: desk },
  },
};
console.log("uses of keys in the bundle:", [...uses].join(" "));

const verified = {};
for (const [name, { token, keys, rules, claims }] of Object.entries(kinds)) {
  assert.ok(token, `there is a token of kind ${name}`);
  const options = { ...rules, algorithms: ["ES256"] };
  const { payload, protectedHeader } = await jwtVerify(token, keys, options);
  console.log(name, protectedHeader, payload);
  for (const [claim, value] of Object.entries(claims)) {
    assert.equal(payload[claim], value, `${claim} of ${name}`);
  }
  assert.ok(payload.exp * 1000 > Date.now(), `${name} lives`);
  verified[name] = payload;

  const [head, , signature] = token.split(".");
  const other = Buffer.from(JSON.stringify({ ...payload, sub: "x" })).toString("base64url");
  await assert.rejects(
    jwtVerify(`${head}.${other}.${signature}`, keys, options),
    { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" },
    `${name} with another \`sub\``,
  );
}

// What takes one kind takes no other: there is no key for it. A gateway that signs transaction
// tokens could otherwise sign whatever it likes for whoever reads by our key set.
const otherKeys = { code: "ERR_JWKS_NO_MATCHING_KEY" };
for (const [name, { keys, rules }] of Object.entries(kinds)) {
  for (const [other, { token }] of Object.entries(kinds)) {
    if (name === other) continue;
    const taken = jwtVerify(token, keys, { ...rules, algorithms: ["ES256"] });
    await assert.rejects(taken, otherKeys, `${other} is taken for ${name}`);
  }
}

// The WIT's key is the one that was handed over, and signs.
const key = await importJWK(JSON.parse(read("wit/wit_key.jwk")), "ES256");
const proof = await new SignJWT({ hello: 1 }).setProtectedHeader({ alg: "ES256" }).sign(key);
await jwtVerify(proof, await importJWK(verified.wit.cnf.jwk, "ES256"));
