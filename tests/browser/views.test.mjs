// Views of the grid that a person saves: kept by name in the browser, chosen by a click,
// and deleted. The address alone is the view.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, Service, Tab } from "./harness.mjs";

let browser;
let service;

before(async () => {
  service = await Service.start("views");
  browser = await launch();
  await service.create({ messageName: "Nobody", name: "one", queue: "mail" });
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

const saved = (tab) => tab.page.locator("details.saved");
const open = (tab) => saved(tab).locator("summary").click();
const link = (tab, name) => saved(tab).getByRole("link", { name, exact: true });

async function save(tab, name) {
  await tab.page.getByLabel("Name for this view").fill(name);
  await tab.page.getByRole("button", { name: "Save this view" }).click();
  await saved(tab).getByText("was saved in this browser").waitFor();
}

test("a view is saved under a name, chosen, replaced and deleted", async () => {
  const tab = await Tab.open(browser, service);
  await tab.visit("/operations?state=Ready&queue=mail&cursor=019a9c1e-7c7d-7e0a-b1f4-1c2d3e4f5a6b");
  await open(tab);
  assert.equal(await saved(tab).getByRole("link").count(), 0);
  await save(tab, "mail that waits");
  await tab.visit("/operations");
  await open(tab);
  assert.equal(await saved(tab).locator("summary").innerText(), "Saved views (1)");
  assert.equal(await link(tab, "mail that waits").getAttribute("aria-current"), null);
  await tab.loads(() => link(tab, "mail that waits").click());
  const address = new URL(tab.page.url());
  assert.equal(address.search, "?queue=mail&state=Ready", "the conditions, and not the place in the list");
  await open(tab);
  assert.equal(await link(tab, "mail that waits").getAttribute("aria-current"), "true");

  // The same name again is the view of now.
  await tab.visit("/operations?status=Failed");
  await open(tab);
  await save(tab, "mail that waits");
  assert.equal(await saved(tab).getByRole("link").count(), 1);
  assert.equal(await link(tab, "mail that waits").getAttribute("href"), "/operations?status=Failed");

  await save(tab, "a view with a hostile name \"><script>alert(1)</script>");
  assert.equal(await saved(tab).getByRole("link").count(), 2);
  await saved(tab).getByRole("button", { name: "Delete the view mail that waits" }).click();
  await saved(tab).getByText("was deleted").waitFor();
  assert.equal(await saved(tab).getByRole("link").count(), 1);
  await tab.visit("/operations");
  await open(tab);
  assert.equal(await link(tab, "mail that waits").count(), 0);
  await tab.close();
});

test("views are kept apart from what else the browser keeps, and a broken list is none", async () => {
  const tab = await Tab.open(browser, service);
  await tab.visit("/operations");
  await tab.page.evaluate(() => localStorage.setItem("drumline-views", "{broken"));
  await tab.visit("/operations");
  await open(tab);
  assert.equal(await saved(tab).getByRole("link").count(), 0);
  await save(tab, "everything");
  await tab.visit("/operations");
  await open(tab);
  assert.equal(await link(tab, "everything").getAttribute("href"), "/operations");
  await tab.close();
});

test("the address of a view needs no script", async () => {
  const tab = await Tab.open(browser, service, { script: false });
  await tab.visit("/operations?queue=mail&state=Ready");
  assert.equal(await tab.page.locator("tbody tr").count(), 1);
  assert.equal(await saved(tab).count(), 0, "a list that only a script can serve");
  await tab.close();
});
