// How a person signs in who came by their company's provider: passkeys added and lost, the account
// taken away, the last way in kept unless they insist, and the link of an operator after that.
//
//   node methods.mjs ISSUER PROVIDER
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import * as chromium from "./chromium.mjs";

const [issuer, provider] = process.argv.slice(2);
const METHODS = "/console/sign-in-methods";
const NAME = "lin";

const tab = await chromium.open(issuer);
const { page } = tab;
try {
  await byProvider();
  assert.equal(await tab.text("user"), `${NAME} of Example Inc.`);
  await warned();
  await passkeys();
  await lost();
  await recovered();
  await afterwards();
} finally {
  await tab.browser.close();
}
chromium.clean();

async function byProvider() {
  await tab.open("/console");
  await tab.press("use-company");
  // The page leads on by itself.
  const arrived = (url) => url.origin === provider || url.pathname === "/console";
  await page.waitForURL(arrived);
  // The pages of the provider, until it sends the browser back: it may know the person still.
  while (page.url().startsWith(provider)) {
    const login = page.locator("[name=login]");
    if (await login.count()) {
      await login.fill(NAME);
      await page.fill("[name=password]", "any");
    }
    await Promise.all([page.waitForNavigation(), page.click("form button")]);
    await page.waitForURL(arrived);
  }
}

async function ids(list) {
  return page.locator(`#${list} tbody tr`).evaluateAll((rows) => rows.map((row) => row.id.replace(/^\w+-/, "")));
}

// The account is all there is: to take it away is asked twice.
async function warned() {
  await tab.open(METHODS);
  await tab.look("methods-account");
  const [account] = await ids("accounts");
  await tab.press(`remove-${account}`);
  assert.match(await tab.text("warning"), /only an operator/i);
  await tab.look("methods-last");
  await tab.press("keep");
  assert.deepEqual(await ids("accounts"), [account]);
}

async function add(name) {
  await page.fill("#name", name);
  await tab.press("add-passkey");
  assert.match(await tab.text("passkeys"), new RegExp(name));
}

// The first passkey after a sign-in elsewhere; the second after one by the first.
async function passkeys() {
  await add("Laptop");
  assert.match(await tab.text("not-now"), /sign in by a passkey/);
  await tab.look("methods-not-now");
  await page.click("#not-now a");
  await tab.look("sign-in-again");
  await tab.press("use-passkey");
  await tab.unplug(tab.authenticator);
  tab.authenticator = await tab.plugIn("usb");
  await add("Key");
  await tab.look("methods-two");
}

// The laptop is lost, and the company left: what is left is the key.
async function lost() {
  const [laptop] = await ids("passkeys");
  await tab.press(`remove-${laptop}`);
  assert.equal((await ids("passkeys")).length, 1);
  const [account] = await ids("accounts");
  await tab.press(`remove-${account}`);
  assert.match(await tab.text("told"), /signs you in no more/);
  await tab.look("methods-unlinked");
  const [key] = await ids("passkeys");
  await tab.press(`remove-${key}`);
  await tab.press("remove-all-the-same");
  assert.ok(await tab.has("no-passkeys"));
  await tab.press("sign-out");
  // What is known of the key is nothing any more.
  await tab.open(METHODS);
  await tab.press("use-passkey");
  await tab.look("sign-in-unknown-passkey");
  assert.ok(await tab.has("failed"));
}

// An operator gives a link, which lets in once, to add a passkey.
async function recovered() {
  const { stdout } = await promisify(execFile)(process.env.AIMS_BIN, ["user", "link", NAME]);
  await tab.open(stdout.trim());
  await tab.press("use-link");
  await add("New laptop");
  await tab.press("sign-out");
  await tab.open(METHODS);
  await tab.press("use-passkey");
  assert.equal(await tab.text("user"), `${NAME} of Example Inc.`);
  assert.match(await tab.text("passkeys"), /New laptop/);
  assert.ok(await tab.has("no-accounts"));
}

// Whoever comes with the account that was taken away is somebody new.
async function afterwards() {
  await tab.press("sign-out");
  await byProvider();
  await tab.open(METHODS);
  assert.ok(await tab.has("no-passkeys"), "not the one who has a passkey");
}
