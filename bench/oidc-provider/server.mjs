// npm oidc-provider as its documentation sets it up, with its store in memory, over HTTPS. It knows
// one client, by its key, which is the first line of standard input, and prints where it listens.
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const [folder, port] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin });
const client = await new Promise((take) => lines.once("line", take));
lines.on("close", () => process.exit(0));
const issuer = `https://localhost:${port}`;
const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "bench",
      token_endpoint_auth_method: "private_key_jwt",
      token_endpoint_auth_signing_alg: "ES256",
      id_token_signed_response_alg: "ES256",
      jwks: { keys: [JSON.parse(client)] },
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
  ],
  jwks: { keys: [{ ...key, alg: "ES256", use: "sig", kid: "1" }] },
  scopes: ["notices.read", "vault.read"],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        scope: resource.endsWith("/vault") ? "vault.read" : "notices.read",
        audience: resource,
        accessTokenTTL: 300,
        accessTokenFormat: resource.endsWith("/vault") ? "opaque" : "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
});

const tls = { key: readFileSync(`${folder}/key.pem`), cert: readFileSync(`${folder}/cert.pem`) };
createServer(tls, provider.callback()).listen(Number(port), "127.0.0.1", () => {
  const ready = {
    port: Number(port),
    ca: tls.cert.toString(),
    issuer,
    client_id: "bench",
    token: "/token",
    introspect: "/token/introspection",
    resources: "https://resources.example",
  };
  console.log(`ready ${JSON.stringify(ready)}`);
});
