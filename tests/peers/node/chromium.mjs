// Debian's Chromium with a virtual authenticator, and what every page of ours must be.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import axe from "axe-core";
import { chromium } from "playwright-core";

const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 844 };
const shots = process.env.PEER_SHOTS;
// What colours can make wrong. All other rules see the same page in the light and in the dark.
const COLOURS = { runOnly: ["color-contrast", "link-in-text-block"], resultTypes: ["violations"] };
const ALL = { resultTypes: ["violations"] };

const looked = [];
const problems = [];
const complaints = [];

// A browser with one page, for the paths of `issuer`.
export async function open(issuer) {
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
  const page = await (await browser.newContext({ viewport: WIDE })).newPage();
  return new Tab(browser, page, issuer).prepared();
}

// Short words of tables that stand in more than one line: their column is too narrow to be read.
function brokenWords() {
  const broken = [];
  for (const cell of document.querySelectorAll("td, th")) {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      for (const { 0: word, index } of text.data.matchAll(/(?<!\S)[A-Za-z]{2,10}(?!\S)/g)) {
        const range = document.createRange();
        range.setStart(text, index);
        range.setEnd(text, index + word.length);
        if (range.getClientRects().length > 1) broken.push(word);
      }
    }
  }
  return broken;
}

// Nothing serious was found on any page that was looked at, and no page broke its own rules.
export function clean() {
  assert.deepEqual(problems, [], "axe finds nothing serious, and nothing is cut off");
  assert.deepEqual(complaints, [], "no script fails, and no policy of a page is broken");
}

class Tab {
  constructor(browser, page, issuer) {
    Object.assign(this, { browser, page, issuer });
  }

  async prepared() {
    const { page } = this;
    page.setDefaultTimeout(10_000);
    page.on("pageerror", (fault) => complaints.push(`${page.url()}: ${fault}`));
    page.on("console", (said) => {
      // What a page of ours refused is said by its status, which Chromium repeats.
      if (said.type() === "error" && !said.text().startsWith("Failed to load resource")) {
        complaints.push(`${page.url()}: ${said.text()}`);
      }
    });
    this.devtools = await page.context().newCDPSession(page);
    await this.devtools.send("WebAuthn.enable");
    this.authenticator = await this.plugIn();
    return this;
  }

  // Another authenticator; a device has one that is built in.
  async plugIn(transport = "internal") {
    const added = await this.devtools.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2",
        transport,
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    });
    return added.authenticatorId;
  }

  async unplug(authenticatorId) {
    await this.devtools.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId });
  }

  // A second tab of the same browser.
  async another() {
    return new Tab(this.browser, await this.page.context().newPage(), this.issuer).prepared();
  }

  async open(path) {
    await this.page.goto(new URL(path, this.issuer).href);
  }

  async text(id) {
    return this.page.innerText(`[id="${id}"]`);
  }

  async has(id) {
    return (await this.page.locator(`[id="${id}"]`).count()) > 0;
  }

  // Presses a button and waits for the page that comes of it.
  async press(id) {
    await Promise.all([this.page.waitForNavigation(), this.page.click(`[id="${id}"]`)]);
  }

  // Looks at a page: axe in each width and colour scheme, and that nothing stands beside it.
  async look(name) {
    const { page } = this;
    assert.ok(!looked.includes(name), name);
    looked.push(name);
    for (const [colorScheme, rules] of [["light", ALL], ["dark", COLOURS]]) {
      await page.emulateMedia({ colorScheme });
      for (const [width, size] of [["wide", WIDE], ["narrow", NARROW]]) {
        await page.setViewportSize(size);
        const found = await this.#examined(rules);
        for (const { id, impact, nodes } of found.violations) {
          if (impact !== "serious" && impact !== "critical") continue;
          for (const { target, failureSummary } of nodes) {
            problems.push(`${name}, ${width}, ${colorScheme}: ${impact} ${id} at ${target}: ${failureSummary}`);
          }
        }
        for (const word of found.broken) problems.push(`${name}, ${width}: a cell breaks the word ${word}`);
        const over = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
        if (over > 0) problems.push(`${name}, ${width}: ${over} px beside the page`);
        if (shots) {
          mkdirSync(shots, { recursive: true });
          await page.screenshot({ path: `${shots}/${name}-${width}-${colorScheme}.png`, fullPage: true });
        }
      }
    }
    await page.setViewportSize(WIDE);
  }

  // What axe finds, and which words are broken. The list of approvals looks again by itself, and takes axe along when it does.
  async #examined(rules) {
    for (let turn = 0; ; turn++) {
      try {
        if (!(await this.page.evaluate("'axe' in globalThis"))) await this.page.evaluate(axe.source);
        const found = await this.page.evaluate((rules) => globalThis.axe.run(rules), rules);
        return { ...found, broken: await this.page.evaluate(brokenWords) };
      } catch (fault) {
        if (turn === 3 || !/context was destroyed|axe is not defined/.test(fault.message)) throw fault;
        await this.page.waitForLoadState();
      }
    }
  }
}
