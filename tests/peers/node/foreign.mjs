// A person lets our command line act for them at an authorization server that is not ours.
//
//   node foreign.mjs AIMS PROVIDER CA
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Browser } from "./browser.mjs";

const [aims, provider, ca] = process.argv.slice(2);
const typed = { login: "ada", password: "any" };

const bound = await token(["--user"], byBrowser);
assert.equal(bound.token_type.toLowerCase(), "dpop", "bound to a key where the server can");
for (const [way, allow] of [["--user", byBrowser], ["--device", byDevice]]) {
  const answer = await token([way, "--bearer"], allow);
  assert.equal(answer.token_type.toLowerCase(), "bearer");
  const headers = { authorization: `Bearer ${answer.access_token}` };
  const told = await (await fetch(`${provider}/me`, { headers })).json();
  assert.equal(told.sub, "ada");
}

// Runs the command, and does what it asks of the person.
async function token(way, allow) {
  const get = ["token", "get", "--issuer", provider, "--ca", ca, "--client-id", "cli"];
  const more = ["--scope", "openid", "--output", "json", ...way];
  const run = spawn(aims, [...get, ...more], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  run.stdout.on("data", (part) => (text += part));
  const ended = new Promise((done) => run.on("close", done));
  const said = [];
  for await (const line of createInterface({ input: run.stderr })) {
    said.push(line);
    await allow(line);
  }
  assert.equal(await ended, 0, said.join("\n"));
  return JSON.parse(text);
}

async function byBrowser(line) {
  const [, url] = /open in a browser: (\S+)/.exec(line) ?? [];
  if (!url) return;
  const browser = new Browser(provider);
  await fetch((await through(browser, await browser.open(url))).left);
}

async function byDevice(line) {
  const [, url, user_code] = /go to (\S+) and type (\S+)/.exec(line) ?? [];
  if (!url) return;
  const browser = new Browser(provider);
  const page = await browser.open(url);
  const found = await browser.send(page.forms[0], undefined, { typed: { user_code } });
  const end = await through(browser, found);
  assert.equal(end.text, "Connected");
}

// The pages of the provider, until there is nothing more to send.
async function through(browser, page) {
  for (let turn = 0; page.forms?.length; turn++) {
    assert.ok(turn < 5, page.text);
    page = await browser.send(page.forms[0], undefined, { typed });
  }
  return page;
}
