// One call at the gateway that wants a person's word: it is stopped, appears on a page that is open,
// is shown whole, and passes once. And what becomes of it when she says no.
import assert from "node:assert/strict";
import { createServer } from "node:http";

// What "at once" comes to on a page that looks again by itself: its five seconds, and a slow machine.
const APPEARS_MS_MAX = 8_000;
// Longer than a client must wait between two questions.
const POLL_MS = 5_100;

// A bank that speaks MCP: it keeps what was paid.
export async function bank(port) {
  const paid = [];
  const server = createServer(async (request, answer) => {
    let text = "";
    for await (const part of request) text += part;
    const { id, params } = JSON.parse(text);
    paid.push(params.arguments);
    const result = { content: [{ type: "text", text: "paid" }] };
    answer.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id, result }));
  });
  await new Promise((done) => server.listen(port, "127.0.0.1", done));
  return { paid, close: () => server.close() };
}

export async function approvedCall(tab, agent, paid, at, token) {
  const args = { amount: "€ 120.00", recipient: "Grace Hopper", reference: { order: 7 } };
  const { page } = tab;
  await tab.open("/console/approvals");
  assert.ok(await tab.has("none-waiting"));

  const stopped = await agent.call(at, token, "pay", args);
  assert.equal(stopped.status, 401, stopped.text);
  const poll = await agent.handIn(stopped.challenge);
  const asked = Date.now();
  // Nobody touches the page.
  await page.waitForSelector("#waiting", { timeout: APPEARS_MS_MAX });
  console.log(`a question appears on an open page within ${Date.now() - asked} ms`);
  await tab.look("call-waiting");
  await page.click("#waiting a");
  const shown = await tab.text("shown");
  for (const part of ["€ 120.00", "Grace Hopper", "order", "user:ada", "pay", "team-ledger", "through"]) {
    assert.ok(shown.includes(part), `${part} in ${shown}`);
  }
  // Before the buttons: in whose name, how much, to whom.
  const wants = await tab.text("wants");
  for (const part of ["€ 120.00", "Grace Hopper", "your name"]) assert.ok(wants.includes(part), wants);
  assert.match(await tab.text("number"), /^\d\d$/);
  await tab.look("call");
  await tab.press("allow");
  await tab.look("call-allowed");

  const { status, body } = await answered(poll);
  assert.equal(status, 200, JSON.stringify(body));
  const approved = body.access_token;
  const other = await agent.call(at, approved, "pay", { ...args, amount: "€ 1200.00" });
  assert.notEqual(other.status, 200, "another amount");
  assert.equal(paid.length, 0);
  const passed = await agent.call(at, approved, "pay", args);
  assert.equal(passed.status, 200, passed.text);
  const again = await agent.call(at, approved, "pay", args);
  assert.notEqual(again.status, 200, "a second time");
  assert.deepEqual(paid, [args]);
}

export async function deniedCall(tab, agent, paid, at, token) {
  const before = paid.length;
  // What it calls itself and what it wants may hold letters that are not seen, or turn others.
  const args = { amount: "€ 120.00", recipient: "Eve\u202e nevE\u200b" };
  const stopped = await agent.call(at, token, "pay", args);
  const poll = await agent.handIn(stopped.challenge);
  await tab.open("/console/approvals");
  await tab.page.click("#waiting a");
  assert.match(await tab.text("shown"), /\\u\{202e\}/, "it is written out");
  await tab.press("deny");
  await tab.look("call-denied");
  const { status, body } = await answered(poll);
  assert.deepEqual([status, body.error], [400, "access_denied"]);
  assert.equal((await agent.call(at, token, "pay", args)).status, 401, "it wants its approval still");
  assert.equal(paid.length, before);
  // The back button: what was answered is answered.
  await tab.page.goBack();
  assert.ok(!(await tab.has("allow")) || (await refusedNow(tab)));
}

async function refusedNow(tab) {
  await tab.press("allow");
  await tab.look("call-over");
  return /does not count/.test(await tab.page.title());
}

async function answered(poll) {
  for (let turn = 0; ; turn++) {
    const told = await poll();
    if (!["authorization_pending", "slow_down"].includes(told.body.error) || turn === 3) return told;
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}
