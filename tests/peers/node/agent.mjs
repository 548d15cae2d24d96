// An agent that a node attested, as its own code would speak OAuth: it proves who it is by a JWT-SVID,
// gets a person asked, and has a call approved.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import * as client from "openid-client";

const JWT_SVID = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const CHALLENGED = /transaction_challenge="([^"]+)"/;

export class Agent {
  // `redirect` is where it has people sent back.
  static async start(issuer, id, redirect) {
    const { stdout } = await promisify(execFile)(process.env.AIMS_BIN, ["svid", "jwt", "--audience", issuer]);
    const agent = new Agent();
    const assertion = stdout.trim();
    agent.redirect = redirect;
    agent.issuer = issuer;
    agent.proof = { client_id: id, client_assertion_type: JWT_SVID, client_assertion: assertion };
    agent.config = await client.discovery(new URL(issuer), id, {}, (_server, _client, body) => {
      for (const [name, value] of Object.entries(agent.proof)) body.set(name, value);
    });
    return agent;
  }

  // Where a person is sent who is to allow this, and what redeems their answer.
  async ask(scope, resource) {
    const verifier = client.randomPKCECodeVerifier();
    const checks = { pkceCodeVerifier: verifier, expectedState: client.randomState() };
    const url = await client.buildAuthorizationUrlWithPAR(this.config, {
      redirect_uri: this.redirect,
      scope,
      resource,
      state: checks.expectedState,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
    });
    return { url, redeem: (back) => client.authorizationCodeGrant(this.config, back, checks, { resource }) };
  }

  // Calls a tool: the status, and the challenge where there is one.
  async call(at, token, name, args) {
    const body = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args } };
    const answer = await fetch(at, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2025-11-25",
        "accept-txn-challenge": "?1",
      },
      body: JSON.stringify(body),
    });
    const [, challenge] = CHALLENGED.exec(answer.headers.get("www-authenticate") ?? "") ?? [];
    return { status: answer.status, challenge, text: await answer.text() };
  }

  // Hands a challenge in, and gives what asks for the answer to it.
  async handIn(challenge) {
    const { status, body } = await this.#transaction({ transaction_challenge: challenge });
    assert.equal(status, 200, JSON.stringify(body));
    const id = body.transaction_authorization_id;
    return () => this.#transaction({ transaction_authorization_id: id });
  }

  // Gives a token back (RFC 7009).
  async revoke(token) {
    const body = new URLSearchParams({ ...this.proof, token });
    const answer = await fetch(`${this.issuer}/revoke`, { method: "POST", body });
    assert.equal(answer.status, 200, await answer.text());
  }

  async #transaction(parameters) {
    const answer = await fetch(`${this.issuer}/transaction-authorization`, {
      method: "POST",
      body: new URLSearchParams({ ...this.proof, ...parameters }),
    });
    return { status: answer.status, body: await answer.json() };
  }
}

export function claims(token) {
  return JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
}
