// A browser without script, as far as a person with forms needs one: it keeps cookies, follows
// redirects within the origins that it is made for, and sends a form with what the page put into it.
import assert from "node:assert/strict";

const REDIRECTS_MAX = 10;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"' };

export class Browser {
  #origins;
  #jars;
  // Where redirects led.
  passed = [];

  constructor(...origins) {
    this.#origins = origins;
    this.#jars = new Map(origins.map((origin) => [origin, new Map()]));
  }

  // Opens a place, at the first origin unless it says another. What comes back is a page, or
  // `{ left }`: the address elsewhere that the browser was sent to.
  async open(url) {
    return this.#follow(new URL(url, this.#origins[0]), {});
  }

  // Sends `form` with the button that has the id `button`; without one, its first. `typed` are texts by field name, `untick`
  // and `choose` say by id what the person changed.
  async send(form, button, { typed = {}, untick = [], choose = {} } = {}) {
    const fields = new URLSearchParams();
    for (const id of [...untick, ...Object.keys(choose)]) {
      assert.ok(form.fields.some((field) => field.id === id), `the form has \`${id}\``);
    }
    for (const field of form.fields) {
      const box = field.type === "checkbox";
      if (!field.name || field.disabled || (box && (!field.checked || untick.includes(field.id)))) continue;
      fields.append(field.name, typed[field.name] ?? choose[field.id] ?? field.value);
    }
    const pressed = form.buttons.find((one) => !button || one.id === button);
    assert.ok(pressed, `a button \`${button}\` among ${form.buttons.map((one) => one.id)}`);
    if (pressed.name) fields.append(pressed.name, pressed.value);
    const to = new URL(form.action, form.at);
    const site = to.origin === form.at.origin ? "same-origin" : "cross-site";
    const headers = { origin: form.at.origin, "sec-fetch-site": site };
    return this.#follow(to, { method: "POST", headers, body: fields });
  }

  async #follow(url, request) {
    for (let turn = 0; turn < REDIRECTS_MAX; turn++) {
      const jar = this.#jars.get(url.origin);
      if (!jar) return { left: url };
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
      const headers = { ...request.headers, ...(cookie && { cookie }) };
      const answer = await fetch(url, { ...request, headers, redirect: "manual" });
      for (const line of answer.headers.getSetCookie()) keep(jar, line);
      const to = answer.headers.get("location");
      if (!to) return page(url, answer.status, await answer.text());
      await answer.arrayBuffer();
      [url, request] = [new URL(to, url), {}];
      this.passed.push(url);
    }
    throw new Error(`more than ${REDIRECTS_MAX} redirects, at last to ${url}`);
  }
}

function keep(jar, line) {
  const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
  if (/; *(max-age=0|expires=Thu, 01 Jan 1970)/i.test(line)) jar.delete(name);
  else jar.set(name, value);
}

// Somebody at the sign-in page types a name and a code.
export async function signIn(browser, page, user, code) {
  return browser.send(page.form("by-code"), "use-code", { typed: { user, code } });
}

// A client sends a person to `url`, who signs in if asked and answers what is asked. Returns the
// address at the client.
export async function consent(browser, url, { user, code, answer = "allow", untick } = {}) {
  let page = await browser.open(url);
  if (page.has?.("by-code")) page = await signIn(browser, page, user, code);
  if (page.has?.("consent")) page = await browser.send(page.form("consent"), answer, { untick });
  assert.ok(page.left, `back at the client, not at: ${page.text}`);
  return page.left;
}

function page(url, status, html) {
  const forms = elements(html, "form").map((one) => readForm(url, one));
  const text = decode(html.replace(/<head>.*?<\/head>/s, "").replace(/<[^>]*>/g, " ")).replace(/\s+/g, " ");
  return {
    url,
    status,
    html,
    text,
    forms,
    has: (id) => forms.some((form) => form.id === id),
    form: (id) => {
      const found = forms.find((form) => form.id === id || form.buttons.some((one) => one.id === id));
      assert.ok(found, `a form \`${id}\` on the page at ${url}: ${text}`);
      return found;
    },
    byId: (id) => {
      const found = new RegExp(`<(\\w+)[^>]* id="${id}"[^>]*>(.*?)</\\1>`, "s").exec(html);
      return found && decode(found[2].replace(/<[^>]*>/g, "")).trim();
    },
  };
}

function readForm(url, { attributes, inner }) {
  const inputs = [...inner.matchAll(/<input\b[^>]*>/g)].map(([tag]) => attributesOf(tag));
  const fields = inputs.map((one) => ({
    ...one,
    value: one.value ?? (one.type === "checkbox" ? "on" : ""),
    checked: "checked" in one,
    disabled: "disabled" in one,
  }));
  for (const select of elements(inner, "select")) {
    const options = [...select.inner.matchAll(/<option\b[^>]*>/g)].map(([tag]) => attributesOf(tag));
    const chosen = options.find((one) => "selected" in one) ?? options[0];
    fields.push({ ...select.attributes, value: chosen.value });
  }
  const buttons = elements(inner, "button").map((one) => one.attributes);
  return { id: attributes.id, action: attributes.action ?? url, at: url, fields, buttons };
}

function elements(html, name) {
  const found = html.matchAll(new RegExp(`(<${name}\\b[^>]*>)(.*?)</${name}>`, "gs"));
  return [...found].map(([, tag, inner]) => ({ attributes: attributesOf(tag), inner }));
}

function attributesOf(tag) {
  const found = tag.matchAll(/\s([\w-]+)(?:="([^"]*)")?/g);
  return Object.fromEntries([...found].map(([, name, value]) => [name, decode(value ?? "")]));
}

function decode(text) {
  return text.replace(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (all, decimal, hex, name) =>
    name ? (ENTITIES[name] ?? all) : String.fromCodePoint(decimal ? Number(decimal) : parseInt(hex, 16)),
  );
}
