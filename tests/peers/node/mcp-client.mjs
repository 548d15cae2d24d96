// An MCP client as anyone would write it: it knows one URL, and holds nothing.
//
//   node mcp-client.mjs RESOURCE      with AIMS_URL in its environment
import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const variables = Object.keys(process.env).filter((name) => name.startsWith("AIMS_")).sort();
assert.deepEqual(variables, ["AIMS_AGENT", "AIMS_URL"], "nothing else of ours is handed on");
for (const [name, value] of Object.entries(process.env)) {
  assert.doesNotMatch(value, /eyJ[\w-]+\.[\w-]+\.|PRIVATE KEY|"d":/, `\`${name}\` holds no secret`);
}

const client = new Client({ name: "peer", version: "1" });
const transport = new StreamableHTTPClientTransport(
  new URL(`${process.env.AIMS_URL}/${process.argv[2]}`),
);
await client.connect(transport);
assert.match(client.getServerVersion().name, /everything/);

const { tools } = await client.listTools();
const names = tools.map((tool) => tool.name);
assert.ok(names.includes("echo"), `\`echo\` is among ${names}`);

const told = await client.callTool({ name: "echo", arguments: { message: "hello" } });
assert.deepEqual(told.content, [{ type: "text", text: "Echo: hello" }]);

await assert.rejects(
  client.callTool({ name: "get-env", arguments: {} }),
  (refused) => {
    assert.equal(refused.code, 403);
    const { error } = JSON.parse(refused.message.slice(refused.message.indexOf("{")));
    assert.equal(error.message, "the tool `get-env` is not among the actions of `everything`");
    assert.match(error.data.policy, /^sha256:/);
    assert.match(error.data.audit_id, /^[0-9a-f-]{36}$/);
    return true;
  },
  "policy does not list `get-env`",
);

// The refusal ended nothing.
const again = await client.callTool({ name: "echo", arguments: { message: "again" } });
assert.deepEqual(again.content, [{ type: "text", text: "Echo: again" }]);
await transport.terminateSession();
await client.close();
