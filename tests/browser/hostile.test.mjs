// Texts of others: whatever names, tokens, payloads and reasons contain, no page runs it,
// and every page shows it as text.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, Service, Tab } from "./harness.mjs";
import { unfold } from "./pages.mjs";
import { HOSTILE, seedHostile } from "./seed.mjs";

let browser;
let service;
let made;

before(async () => {
  service = await Service.start("hostile");
  browser = await launch();
  made = await seedHostile(service);
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

// What a page must not have: elements of the attack, and characters without a glyph.
const attacked = () => ({
  ran: globalThis.attacked ?? null,
  elements: [...document.querySelectorAll("img, iframe, object, [onfocus], [onerror], script:not([type=module][src^='/assets/'])")].map((one) => one.outerHTML),
  addresses: [...document.querySelectorAll("a[href], form[action]")]
    .map((one) => one.getAttribute("href") ?? one.getAttribute("action"))
    .filter((address) => !/^(\/|#)/.test(address) || address.startsWith("//")),
  unseen: document.body.innerText.match(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u200F\u202A-\u202E\u2066-\u2069]/gu) ?? [],
});
const NOTHING = { ran: null, elements: [], addresses: [], unseen: [] };

async function harmless(tab, path, status) {
  await tab.visit(path, status);
  await unfold(tab.page);
  assert.deepEqual(await tab.page.evaluate(attacked), NOTHING, path);
  assert.deepEqual(await tab.wide(), [], path);
}

test("no page runs or hides a text of others", async () => {
  const tab = await Tab.open(browser, service, { width: 320 });
  for (const path of ["/", "/operations", "/tokens", "/failures", "/pauses", "/series", "/queues", "/workers"]) {
    await harmless(tab, path);
  }
  for (const { id } of made) await harmless(tab, `/operations/${id}`);
  for (const { id } of made.slice(0, 6)) await harmless(tab, `/operations/${id}/cancel`);
  await tab.close();
});

test("no address brings a text into a page that runs", async () => {
  const tab = await Tab.open(browser, service, { width: 320 });
  for (const text of Object.values(HOSTILE)) {
    const query = encodeURIComponent(text.replaceAll("\u0000", ""));
    for (const path of [`/operations?name=${query}`, `/tokens?token=${query}`, `/pauses?scope=queue&name=${query}&reason=${query}`, `/many/pause?name=${query}`]) {
      await harmless(tab, path);
    }
    await harmless(tab, `/operations?state=${query}`, 422);
    await harmless(tab, `/operations/${query}`, 404);
  }
  await tab.close();
});

test("the texts are shown as they are", async () => {
  const tab = await Tab.open(browser, service);
  for (const key of ["script", "end", "attribute", "template", "emoji", "address"]) {
    const operation = made.find(({ name }) => name === HOSTILE[key]);
    await tab.visit(`/operations/${operation.id}`);
    const heading = tab.page.getByRole("heading", { level: 1 });
    assert.equal(await heading.textContent(), HOSTILE[key]);
  }
  const direction = made.find(({ name }) => name === HOSTILE.direction);
  await tab.visit(`/operations/${direction.id}`);
  assert.equal(await tab.page.getByRole("heading", { level: 1 }).textContent(), "invoice_\uFFFDfdp.exe \uFFFD\uFFFD\uFFFD");
  await tab.close();
});

test("a change that is shown live runs nothing", async () => {
  const tab = await Tab.open(browser, service);
  const { id } = await service.create({ messageName: "Hold", name: HOSTILE.script });
  await service.holder.started(id);
  await tab.visit("/operations");
  service.holder.answer(id, 500, { message: HOSTILE.end });
  const row = tab.page.locator(`tr[data-id="${id}"]`);
  await row.getByText(/Failed|Suspended/).waitFor();
  assert.deepEqual(await tab.page.evaluate(attacked), NOTHING);
  await tab.close();
});

test("a long text leaves the words of the other columns whole", async () => {
  const tab = await Tab.open(browser, service);
  const broken = () => [...document.querySelectorAll(".grid td bdi")]
    .filter((one) => one.textContent === "anonymous" && one.getClientRects().length > 1).length;
  for (const path of ["/", "/pauses", "/audit"]) {
    await tab.visit(path);
    for (const width of [1024, 1280]) {
      await tab.page.setViewportSize({ width, height: 900 });
      assert.equal(await tab.page.evaluate(broken), 0, `${path}, ${width} px`);
      assert.deepEqual(await tab.wide(), [], `${path}, ${width} px`);
    }
  }
  await tab.close();
});
