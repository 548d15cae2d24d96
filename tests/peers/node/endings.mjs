// What a person ends stops at once, wherever it acts; and what their browser shows when they are gone.
import assert from "node:assert/strict";

// "within a second", and the time of one call on a slow machine.
const ENDS_MS_MAX = 1_000;

// The status of a call; 200 where its connection was cut as what it came by ended: ask again.
async function called(call) {
  try {
    return await call();
  } catch (fault) {
    if (!(fault instanceof TypeError)) throw fault;
    return 200;
  }
}

// Does `end`, and measures from then until `call` is refused.
async function endsBy(end, call, what) {
  assert.equal(await call(), 200, `${what}: it works before`);
  const pressed = Date.now();
  const gone = end();
  // Whatever fails first is told, and not that the browser was closed then.
  gone.catch(() => {});
  let status;
  do {
    const asked = Date.now();
    status = await called(call);
    assert.ok(asked - pressed <= ENDS_MS_MAX || status !== 200, `${what}: served after a second`);
  } while (status === 200);
  assert.equal(status, 401, what);
  const took = Date.now() - pressed;
  await gone;
  console.log(`${what}: refused ${took} ms after it was ended`);
  await new Promise((done) => setTimeout(done, 200));
  assert.equal(await call(), 401, `${what}: it stays so`);
}

// A grant, by its button under "Acting for me".
export async function grantEnds(tab, id, call) {
  await tab.open("/console");
  await endsBy(() => tab.press(`end-${id}`), call, "grant");
  assert.equal(await tab.text("told"), "It is ended. Nothing acts for you by it any more.");
}

// The session that a grant came of, from another browser of the same person.
export async function sessionEnds(tab, call) {
  await tab.open("/console");
  const button = tab.page.locator("button[id^=end-session-]").first();
  await tab.look("acting-sessions");
  const id = await button.getAttribute("id");
  await endsBy(() => tab.press(id), call, "session");
}

// A token, by the agent that holds it.
export async function tokenEnds(agent, token, call) {
  await endsBy(() => agent.revoke(token), call, "token");
}

// Two tabs: who signs out in one is out in the other, whatever it shows still.
export async function signedOut(tab) {
  const other = await tab.another();
  await tab.open("/console");
  await other.open("/console");
  await tab.press("sign-out");
  await tab.page.goBack();
  // Pages are not kept: the back button asks again, and finds nobody signed in.
  assert.match(tab.page.url(), /\/sign-in\?then=/, "the back button shows nothing of hers");
  await other.press("sign-out");
  await other.look("signed-out-twice");
  await other.page.close();
}
