// Signing in, where the service has keys: a key opens the pages, a wrong one does not, and
// a session ends when it is ended or its key is revoked.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { drumline, launch, OtherSite, Service, Tab, until } from "./harness.mjs";

const folder = mkdtempSync(join(tmpdir(), "drumline-keys-"));
const file = join(folder, "auth.toml");

// Makes a key, and returns it.
function newKey(caller, role, ...args) {
  const said = drumline("key", "create", "--auth-file", file, "--org", "default", "--role", role, "--caller", caller, ...args);
  return /\bdrl_\S+/.exec(said)[0];
}

let browser;
let service;
let admin;
let id;

before(async () => {
  admin = newKey("root", "admin");
  service = await Service.start("keys", { args: ["--auth-file", file], key: admin });
  browser = await launch();
  ({ id } = await service.create({ messageName: "Nobody", name: "behind a key" }));
});

after(async () => {
  await browser?.close();
  await service?.stop();
  rmSync(folder, { recursive: true, force: true });
});

// The service reads the file again within some seconds.
function isKnown(key) {
  return until("the service knows the key", async () => {
    const response = await fetch(`${service.url}/v1/whoami`, { headers: { authorization: `Bearer ${key}` } });
    return response.ok;
  });
}

// Revokes a key, and waits until the session of the browser is over.
async function revoke(tab, key) {
  drumline("key", "revoke", "--auth-file", file, /^drl_([^_]+)/.exec(key)[1]);
  const [{ name, value }] = await tab.context.cookies();
  await until("the session ends", async () => {
    const response = await fetch(`${service.url}/operations`, { headers: { cookie: `${name}=${value}` } });
    return response.status === 401;
  });
}

async function signIn(tab, key, status) {
  await tab.page.getByLabel("API key").fill(key);
  await tab.loads(() => tab.page.locator("main").getByRole("button", { name: "Sign in" }).click(), status);
}

test("a key leads to the page that was asked for, and to its actions", async () => {
  const tab = await Tab.open(browser, service, { width: 320 });
  await tab.visit(`/operations/${id}`, 401);
  assert.ok(!(await tab.page.content()).includes("behind a key"));
  await signIn(tab, admin);
  assert.equal(new URL(tab.page.url()).pathname, `/operations/${id}`);
  assert.equal(await tab.page.getByRole("heading", { level: 1 }).innerText(), "behind a key");
  assert.match(await tab.page.locator(".who").innerText(), /root.*default/);

  const [cookie, ...others] = await tab.context.cookies();
  assert.deepEqual(others, []);
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, "Strict", "/"]);
  assert.ok(!cookie.value.includes(admin.slice(13, 40)), "the key is sealed");
  assert.equal(await tab.page.evaluate(() => document.cookie), "");
  const withCookie = await fetch(`${service.url}/v1/operations`, { headers: { cookie: `${cookie.name}=${cookie.value}` } });
  assert.equal(withCookie.status, 401, "the cookie does not open the API");

  await tab.loads(() => tab.page.getByRole("link", { name: "Pause", exact: true }).click());
  await tab.loads(() => tab.page.locator("main").getByRole("button", { name: "Pause" }).click());
  const operation = await service.get(id);
  assert.deepEqual([operation.status, operation.modifiedBy], ["Waiting", "root"]);

  await tab.loads(() => tab.page.getByRole("button", { name: "Sign out" }).click());
  assert.deepEqual(await tab.context.cookies(), []);
  await tab.visit("/", 401);
  await tab.close();
});

test("a wrong key is refused, and not repeated", async () => {
  const tab = await Tab.open(browser, service);
  await tab.visit("/login");
  for (const wrong of ["nonsense", `${admin.slice(0, -4)}0000`, "<script>window.attacked = 1</script>"]) {
    await signIn(tab, wrong, 401);
    const content = await tab.page.content();
    assert.ok(!content.includes(wrong) && !content.includes("window.attacked"));
    assert.match(await tab.page.locator("main").getByRole("status").innerText(), /key/i);
    assert.deepEqual(await tab.context.cookies(), []);
  }
  await tab.close();
});

test("a session ends when its key is revoked", async () => {
  const key = newKey("guest", "operator");
  const tab = await Tab.open(browser, service);
  await isKnown(key);
  await tab.visit("/operations", 401);
  await signIn(tab, key);
  await tab.page.getByText(/^Live since/).waitFor();
  await revoke(tab, key);
  await tab.visit("/operations", 401);
  assert.ok(await tab.page.getByLabel("API key").isVisible());
  await tab.close();
});

test("a session that ends before a few are cancelled does not end in a question about all", async () => {
  const postponeUntil = new Date(Date.now() + 86_400_000).toISOString();
  const few = await service.create({ messageName: "Few", postponeUntil });
  const other = await service.create({ messageName: "Other", postponeUntil });
  const key = newKey("leaver", "operator");
  await isKnown(key);
  const tab = await Tab.open(browser, service);
  await tab.visit("/login");
  await signIn(tab, key);
  await tab.visit("/many/cancel?messageName=Few");
  await tab.page.getByLabel("Reason").fill("a test");
  await revoke(tab, key);
  await tab.loads(() => tab.page.getByRole("button", { name: "Cancel them" }).click(), 401);
  await signIn(tab, admin);
  const main = await tab.page.locator("main").innerText();
  assert.ok(!main.includes("every operation"), main);
  for (const { id: one } of [few, other]) assert.equal((await service.get(one)).status, "Waiting");
  await tab.page.getByLabel("Reason").fill("a test");
  await tab.loads(() => tab.page.getByRole("button", { name: "Cancel them" }).click());
  assert.equal((await service.get(few.id)).status, "Canceled");
  assert.equal((await service.get(other.id)).status, "Waiting");
  await tab.close();
});

test("a reader reads, and has no action", async () => {
  const key = newKey("rita", "reader");
  await isKnown(key);
  const tab = await Tab.open(browser, service);
  await tab.visit("/login?next=/operations", 200);
  await signIn(tab, key);
  assert.equal(new URL(tab.page.url()).pathname, "/operations");
  assert.equal(await tab.page.getByText("Act on all that match").count(), 0);
  await tab.visit(`/operations/${id}`);
  assert.equal(await tab.page.getByRole("list", { name: "Actions" }).count(), 0);
  const navigation = await tab.page.getByRole("navigation", { name: "Pages" }).getByRole("link").allInnerTexts();
  assert.ok(!navigation.includes("Workers"), navigation.join());
  for (const path of [`/operations/${id}/cancel`, "/many/cancel", "/workers"]) {
    await tab.visit(path, 403);
    assert.match(await tab.page.locator("main").innerText(), /PrivilegeDenied/);
  }
  for (const link of navigation) await tab.visit(`/${link === "Now" ? "" : link.toLowerCase()}`);
  await tab.close();
});

test("a link from a chat opens the page, and a form from there changes nothing", async () => {
  const tab = await Tab.open(browser, service);
  await tab.visit("/login");
  await signIn(tab, admin);
  const other = await OtherSite.open();
  const page = await tab.context.newPage();
  const path = `/operations/${id}`;
  other.html = `<a href="${service.url}${path}">look</a>`;
  await page.goto(other.url);
  await page.getByRole("link").click();
  await page.getByRole("heading", { name: "behind a key" }).waitFor();

  const { status } = await service.get(id);
  other.html = `<form method="post" action="${service.url}${path}/cancel"><button>Win</button></form>`;
  await page.goto(other.url);
  const [response] = await Promise.all([
    page.waitForResponse((response) => response.request().method() === "POST"),
    page.getByRole("button").click(),
  ]);
  assert.equal(response.status(), 403);
  assert.match(await response.text(), /CrossSiteRequest/);
  assert.equal((await service.get(id)).status, status);
  other.close();
  await tab.close();
});
