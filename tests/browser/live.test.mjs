// Changes, as they happen: what is known changes in place, what is new is announced, and
// what a person does on the page stays.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { launch, Service, Tab } from "./harness.mjs";

let browser;
let service;
let tab;
let first;
let second;

before(async () => {
  service = await Service.start("live");
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

async function hold(name) {
  const { id } = await service.create({ messageName: "Hold", name });
  await service.holder.started(id);
  return id;
}

const row = (id) => tab.page.locator(`tr[data-id="${id}"]`);
const badge = (id) => row(id).locator(".badge");

// A list with two operations that run, in a page that says that it is live.
beforeEach(async () => {
  first = await hold("first");
  second = await hold("second");
  tab = await Tab.open(browser, service);
  await tab.visit("/operations");
  await tab.page.getByText(/^Live since/).waitFor();
  await tab.page.evaluate(() => { globalThis.kept = true; });
});

// The page was not loaded again.
async function stayed() {
  assert.equal(await tab.page.evaluate(() => globalThis.kept), true, "the page was loaded again");
  await tab.close();
}

test("an operation that is created meanwhile is announced, and shown on demand", async () => {
  const rows = await tab.page.locator("tbody tr").count();
  await service.create({ messageName: "Nobody", name: "meanwhile" });
  const news = tab.page.locator("main").getByRole("status");
  await news.getByText("1 new.").waitFor();
  await service.create({ messageName: "Nobody", name: "meanwhile" });
  await news.getByText("2 new.").waitFor();
  assert.equal(await tab.page.locator("tbody tr").count(), rows, "nothing moves");
  assert.equal(await tab.page.evaluate(() => globalThis.kept), true);
  await tab.loads(() => news.getByRole("link").click());
  assert.equal(await tab.page.locator("tbody tr").first().locator("a").first().innerText(), "meanwhile");
  assert.equal(await news.innerText(), "");
  await tab.close();
});

test("a row changes in its place", async () => {
  const element = await row(first).elementHandle();
  assert.match(await badge(first).innerText(), /In progress/);
  service.holder.answer(first);
  await badge(first).getByText("Succeeded").waitFor();
  assert.ok(await element.evaluate((one) => one.isConnected && one.querySelector(".badge.succeeded") !== null));
  assert.match(await badge(second).innerText(), /In progress/);
  await service.completed(first);
  await service.api("DELETE", `/v1/operations/${first}`);
  await row(first).getByText("was deleted").waitFor();
  await stayed();
});

test("a row in which a text is selected waits", async () => {
  const id = row(first).locator(".id");
  await id.evaluate((one) => getSelection().selectAllChildren(one));
  service.holder.answer(first);
  await service.completed(first);
  service.holder.answer(second);
  await badge(second).getByText("Succeeded").waitFor();
  assert.equal(await tab.page.evaluate(() => getSelection().toString()), first);
  assert.match(await badge(first).innerText(), /In progress/);
  await tab.page.evaluate(() => getSelection().removeAllRanges());
  await badge(first).getByText("Succeeded").waitFor();
  await stayed();
});

test("a row that is pointed at waits", async () => {
  await badge(first).hover();
  service.holder.answer(first);
  await service.completed(first);
  service.holder.answer(second);
  await badge(second).getByText("Succeeded").waitFor();
  assert.match(await badge(first).innerText(), /In progress/);
  await tab.page.mouse.move(0, 0);
  await badge(first).getByText("Succeeded").waitFor();
  await stayed();
});

test("what is typed, opened and focused stays", async () => {
  await tab.page.getByText("More conditions").click();
  const field = tab.page.getByLabel("Owner");
  await field.fill("half a na");
  service.holder.answer(first);
  service.holder.answer(second);
  await badge(first).getByText("Succeeded").waitFor();
  await badge(second).getByText("Succeeded").waitFor();
  assert.ok(await field.evaluate((one) => one === document.activeElement));
  assert.equal(await field.inputValue(), "half a na");
  await field.press("m");
  assert.equal(await field.inputValue(), "half a nam");
  await stayed();
});

test("an open dialog stays", async () => {
  await tab.page.getByRole("button", { name: "Keys" }).click();
  const dialog = tab.page.getByRole("dialog");
  service.holder.answer(first);
  await badge(first).getByText("Succeeded").waitFor();
  assert.ok(await dialog.isVisible());
  assert.ok(await dialog.evaluate((one) => one.contains(document.activeElement)), "the focus stays in it");
  await stayed();
});

test("the page of an operation says that it has changed", async () => {
  await tab.visit(`/operations/${first}`);
  await tab.page.getByText(/^Live since/).waitFor();
  service.holder.answer(first);
  const news = tab.page.locator("main").getByRole("status");
  await news.getByText("This operation has changed: Succeeded.").waitFor();
  await tab.loads(() => news.getByRole("link").click());
  assert.match(await tab.page.locator(".sub").innerText(), /Succeeded/);
  await tab.close();
});

test("a page that nobody looks at asks for nothing", async () => {
  const isStream = (request) => new URL(request.url()).pathname === "/live";
  const setHidden = (isHidden) => tab.page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);
  const over = tab.page.waitForEvent("requestfailed", isStream);
  await setHidden(true);
  await over;
  service.holder.answer(first);
  await service.completed(first);
  assert.match(await badge(first).innerText(), /In progress/);
  const again = tab.page.waitForRequest(isStream);
  await setHidden(false);
  await again;
  await badge(first).getByText("Succeeded").waitFor();
  await stayed();
});

test("a page says since when it is not live", async () => {
  const own = await Service.start("live-lost");
  const lost = await Tab.open(browser, own);
  const { id } = await own.create({ messageName: "Nobody" });
  await lost.visit(`/operations/${id}`);
  await lost.page.getByText(/^Live since/).waitFor();
  await own.stop();
  await lost.page.getByText(/^Not live since/).waitFor();
  // The browser reports that the service is gone.
  lost.faults = lost.faults.filter((fault) => !fault.includes("net::ERR_"));
  await lost.close();
  await tab.close();
});
