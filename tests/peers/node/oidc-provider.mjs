// The identity provider of a company: whoever types a name is it.
//
//   node oidc-provider.mjs PROVIDER ISSUER FILES      with FILES.key and FILES.pem
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { exportJWK, generateKeyPair } from "jose";
import { Provider } from "oidc-provider";

const [provider, issuer, files] = process.argv.slice(2);
const own = `${issuer}/sign-in/upstream/company`;
const signing = async (alg) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: "sig" };
};
// Its forms have their buttons elsewhere on the page; here within them.
const pressed = (form, button = "<button>Go on</button>") => form.replace("</form>", `${button}</form>`);
const op = new Provider(provider, {
  clients: [
    {
      client_id: "aims",
      token_endpoint_auth_method: "private_key_jwt",
      token_endpoint_auth_signing_alg: "ES256",
      jwks_uri: `${issuer}/jwks`,
      redirect_uris: [own],
      id_token_signed_response_alg: "ES256",
      backchannel_logout_uri: `${own}/logout`,
      backchannel_logout_session_required: true,
    },
    // Our command line, where somebody else is the authorization server.
    {
      client_id: "cli",
      application_type: "native",
      token_endpoint_auth_method: "none",
      redirect_uris: ["http://127.0.0.1/callback"],
      grant_types: ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
      id_token_signed_response_alg: "ES256",
    },
  ],
  jwks: { keys: [await signing("RS256"), await signing("ES256")] },
  cookies: { keys: ["of this test"] },
  claims: {
    openid: ["sub"],
    profile: ["name", "preferred_username"],
    email: ["email", "email_verified"],
  },
  findAccount: (_ctx, sub) => ({
    accountId: sub,
    claims: () => ({
      sub,
      name: `${sub} of Example Inc.`,
      preferred_username: sub,
      email: `${sub}@example.com`,
      email_verified: true,
    }),
  }),
  pkce: { required: () => true },
  // Like ours, it reaches no private address by itself.
  fetch: (url, { dispatcher: _guard, ...options }) => fetch(url, options),
  features: {
    backchannelLogout: { enabled: true },
    // Clients that know nothing but the URL of a resource come, too: any is one here.
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, resource) => ({
        scope: "files:read",
        audience: resource,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
    deviceFlow: {
      enabled: true,
      userCodeInputSource: (ctx, form) => void (ctx.body = pressed(form)),
      userCodeConfirmSource: (ctx, form) => void (ctx.body = pressed(form)),
      successSource: (ctx) => void (ctx.body = "Connected"),
    },
    rpInitiatedLogout: {
      logoutSource: (ctx, form) => {
        ctx.body = pressed(form, '<button name="logout" value="yes">Sign out</button>');
      },
    },
  },
});
op.on("backchannel.error", (_ctx, fault) => console.log(`back-channel logout failed: ${fault}`));
op.on("grant.error", (_ctx, fault) => console.log("token request refused:", fault));
op.on("server_error", (_ctx, fault) => console.log(fault));
const tls = { key: readFileSync(`${files}.key`), cert: readFileSync(`${files}.pem`) };
createServer(tls, op.callback()).listen(Number(new URL(provider).port), "localhost", () => console.log("listening"));
