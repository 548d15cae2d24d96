// People who sign in by their company's provider.
//
//   node staff.mjs ISSUER PROVIDER
import assert from "node:assert/strict";
import { Browser } from "./browser.mjs";

const [issuer, provider] = process.argv.slice(2);

const ada = new Browser(issuer, provider);
const began = await signIn(ada, "ada");
const home = await ada.open("/console");
assert.equal(home.byId("user"), "ada of Example Inc.");
assert.match(home.text, /\bprovider\b/, "by what she signed in");
const methods = await ada.open("/console/sign-in-methods");
assert.match(methods.text, new RegExp(provider));

// The answer of the provider counts once, and in the browser that began alone.
for (const browser of [ada, new Browser(issuer)]) {
  const again = await browser.open(began);
  assert.equal(again.status, 403, again.text);
}

// Who comes again is the same user, in another browser.
const elsewhere = new Browser(issuer, provider);
await signIn(elsewhere, "ada");
const sessions = (await elsewhere.open("/console")).forms.filter((form) => form.action.includes("/sessions/"));
assert.equal(sessions.length, 1, "beside this one");
const grace = new Browser(issuer, provider);
await signIn(grace, "grace");

// Ada leaves at the provider, in each browser: the provider tells us, and her session ends here.
for (const browser of [ada, elsewhere]) {
  const leave = await browser.open(`${provider}/session/end`);
  await browser.send(leave.forms[0]);
  const start = Date.now();
  while (!(await browser.open("/console")).has("by-code")) {
    assert.ok(Date.now() - start < 10_000, "the session ended");
    await new Promise((done) => setTimeout(done, 100));
  }
}
assert.equal((await grace.open("/console")).byId("user"), "grace of Example Inc.");

// Signs in, and gives the address that the provider sent the browser back to.
async function signIn(browser, name) {
  const page = await browser.open("/console");
  const onward = await browser.send(page.form("use-company"), "use-company");
  assert.match(onward.text, /Go on to Example Inc\./);
  const [, to] = /id="onward" href="([^"]+)"/.exec(onward.html);
  let at = await browser.open(to.replaceAll("&#38;", "&").replaceAll("&amp;", "&"));
  for (const typed of [{ login: name, password: "any" }, {}]) {
    if (at.url.origin !== provider) break;
    at = await browser.send(at.forms[0], undefined, { typed });
  }
  assert.equal(at.url.origin, issuer, at.text);
  assert.equal(at.url.pathname, "/console", at.text);
  return browser.passed.findLast((url) => url.searchParams.has("code")).href;
}
