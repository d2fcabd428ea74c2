// The person who was paged: from a link to the remedy in two clicks, also without a mouse.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, Service, Tab, until } from "./harness.mjs";
import { seed } from "./seed.mjs";

let browser;
let service;
let made;

before(async () => {
  service = await Service.start("night");
  browser = await launch();
  made = await seed(service);
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

// Presses Tab until an element with this role and name has the focus.
async function tabTo(page, role, name) {
  const wanted = page.locator("main").getByRole(role, { name }).first();
  const element = await wanted.elementHandle();
  for (let presses = 1; presses <= 60; presses += 1) {
    await page.keyboard.press("Tab");
    const { isThere, outline } = await element.evaluate((one) => {
      const style = getComputedStyle(document.activeElement);
      return { isThere: one === document.activeElement, outline: `${style.outlineStyle} ${style.outlineWidth}` };
    });
    assert.match(outline, /^solid [2-9]px$/, "the focus is visible");
    if (isThere) return presses;
  }
  throw new Error(`60 presses of Tab do not lead to ${name}`);
}

test("the reason on the page is that of the API", async () => {
  const tab = await Tab.open(browser, service);
  const plain = (text) => text.replaceAll("`", "").toLowerCase();
  for (const name of ["unhandled", "expires", "series"]) {
    const { id } = made[name];
    const { waitingFor } = await service.api("GET", `/v1/operations/${id}?explain=true`);
    await tab.visit(`/operations/${id}`);
    const page = plain(await tab.page.locator(".why-box").innerText());
    // A time is written in another way.
    const clauses = waitingFor.detail.split("; ").filter((clause) => !/\d{4}-\d\d/.test(clause));
    assert.ok(clauses.length > 0);
    for (const clause of clauses) assert.ok(page.includes(plain(clause)), `${clause}\n${page}`);
  }
  await tab.close();
});

test("single keys move, unless they are switched off or a text is typed", async () => {
  const tab = await Tab.open(browser, service);
  const { page } = tab;
  const focused = () => page.evaluate(() => document.activeElement.textContent || document.activeElement.name);
  await tab.visit("/operations");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  const rows = await page.locator("tbody th a").allTextContents();
  assert.equal(await focused(), rows[1]);
  await page.keyboard.press("k");
  assert.equal(await focused(), rows[0]);
  await page.keyboard.press("/");
  await page.keyboard.type("gq?j");
  assert.equal(await page.evaluate(() => document.activeElement.value), "gq?j");
  assert.equal(await page.locator("dialog[open]").count(), 0);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("g");
  await tab.loads(() => page.keyboard.press("q"));
  assert.equal(new URL(page.url()).pathname, "/queues");

  await page.keyboard.press("?");
  const list = page.getByRole("dialog", { name: "Keys" });
  await list.getByRole("checkbox").uncheck();
  await page.keyboard.press("Escape");
  assert.equal(await list.count(), 0);
  await tab.visit("/operations");
  await page.keyboard.press("j");
  await page.keyboard.press("?");
  assert.ok(!rows.includes(await focused()));
  assert.equal(await list.count(), 0);
  // The button is the way back.
  await page.getByRole("button", { name: "Keys" }).click();
  await list.getByRole("checkbox").check();
  await list.getByRole("button", { name: "Close" }).click();
  await page.keyboard.press("j");
  assert.equal(await focused(), rows[0]);
  await tab.close();
});

test("an operation that a pause stops: two clicks to lift the pause", async () => {
  const tab = await Tab.open(browser, service, { width: 320 });
  const { page } = tab;
  await tab.visit(`/operations/${made["stopped by a pause"].id}`);
  await tab.loads(() => page.getByRole("link", { name: "Lift the pause" }).click());
  await tab.loads(() => page.locator("main").getByRole("button", { name: "Lift" }).click());
  const { pauses } = await service.api("GET", "/v1/pauses");
  assert.deepEqual(pauses, []);
  await tab.close();
});

test("a failure that is known: two clicks to mute it on a telephone", async () => {
  // A failure is in its kind some seconds later.
  const kind = await until("the failures are counted", async () => {
    const { groups } = await service.api("GET", "/v1/failures");
    return groups.find(({ messageName }) => messageName === "Fail");
  });
  const tab = await Tab.open(browser, service, { width: 320 });
  const { page } = tab;
  await tab.visit("/");
  await tab.loads(() => page.getByRole("link", { name: "Mute these failures of Fail" }).first().click());
  const group = new URL(page.url()).pathname.split("/")[2];
  await page.getByLabel(/^Reason/).fill("the vendor repairs it on Monday");
  await tab.loads(() => page.locator("main").getByRole("button", { name: "Mute" }).click());
  // It is folded, and heard of no more.
  const folded = page.locator("details", { hasText: "Muted failures" });
  assert.equal(await folded.getByText("the vendor repairs it on Monday").isVisible(), false);
  await folded.locator("summary").click();
  assert.equal(await folded.getByText("the vendor repairs it on Monday").isVisible(), true);
  const { groups } = await service.api("GET", "/v1/failures");
  assert.equal(groups.find(({ id }) => id === group).muted.reason, "the vendor repairs it on Monday");
  await tab.visit("/");
  assert.equal(await page.locator(`a[href="/failures/${group}/mute"]`).count(), 0);
  await tab.visit(`/failures/${group}/mute`);
  await tab.loads(() => page.getByRole("button", { name: "End the mute" }).click());
  const after = await service.api("GET", "/v1/failures");
  assert.ok(after.groups.every(({ muted }) => muted === undefined));
  assert.ok(kind.hourly.length === 24);
  await tab.close();
});

test("the keyboard leads from the first page to the remedy", async () => {
  const tab = await Tab.open(browser, service);
  const { page } = tab;
  await tab.visit("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await tabTo(page, "link", "holds its token");
  await tab.loads(() => page.keyboard.press("Enter"));
  assert.match(page.url(), new RegExp(`/operations/${made["holds its token"].id}$`));
  await tabTo(page, "link", /^Resume/);
  await tab.loads(() => page.keyboard.press("Enter"));
  await tabTo(page, "button", /^Resume/);
  await tab.loads(() => page.keyboard.press("Enter"));
  const next = await service.completed(made["behind a held token"].id);
  assert.equal(next.status, "Succeeded");
  await tab.close();
});

const remedies = [
  ["retried", "Resume", (operation) => operation.startCount === 2],
  ["for a person", "Resume", (operation) => operation.startCount === 2],
  ["postponed", "Resume", (operation) => operation.status === "Succeeded"],
  ["unhandled", "Cancel", (operation) => operation.status === "Canceled"],
  ["running", "Cancel", (operation) => operation.status === "Canceled"],
];
for (const [name, label, isDone] of remedies) {
  test(`${name}: two clicks to ${label.toLowerCase()} on a telephone`, async () => {
    const tab = await Tab.open(browser, service, { width: 320, scheme: "dark" });
    const { page } = tab;
    const { id } = made[name];
    await tab.visit(`/operations/${id}`);
    const [headline] = await page.locator(".headline").allInnerTexts();
    assert.ok(headline.length > 10, "a sentence says why");
    const first = page.locator("main").getByRole("link", { name: label, exact: true });
    const { y, height } = await first.boundingBox();
    assert.ok(y + height <= 900, "the remedy is on the first screen");
    await tab.loads(() => first.click());
    await tab.loads(() => page.locator("main").getByRole("button", { name: label }).click());
    assert.match(page.url(), new RegExp(`/operations/${id}\\?done=`));
    let operation = await service.get(id);
    if (!isDone(operation)) operation = await service.changed(id, isDone);
    assert.ok(isDone(operation));
    await tab.close();
  });
}
