// Every page, in light and dark, on a telephone and on a desk, with and without script:
// readable by everyone, without errors, without requests to others, no wider than the
// screen. The pictures are in target/run/browser.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { launch, run, Service, Tab, until } from "./harness.mjs";
import { pages, unfold } from "./pages.mjs";
import { seed } from "./seed.mjs";

const WIDTHS = [320, 1280];
const SCHEMES = ["light", "dark"];
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const pictures = join(run, "pages");

let browser;
let service;
let all;

before(async () => {
  mkdirSync(pictures, { recursive: true });
  service = await Service.start("walk");
  browser = await launch();
  const made = await seed(service);
  const other = await service.create({ name: "another failure", messageName: "Fail", data: { message: "no such host" } });
  await service.completed(other.id);
  // Failures are counted some seconds later. One kind is muted, so that both tables are there.
  const [muted, heard] = await until("the failures are counted", async () => {
    const { groups } = await service.api("GET", "/v1/failures");
    return groups.length >= 2 && groups;
  });
  const day = new Date(Date.now() + 86_400_000).toISOString();
  await service.api("PUT", `/v1/failures/${muted.id}/mute`, { reason: "the vendor repairs it on Monday", until: day });
  const { workers: [worker] } = await service.api("GET", "/v1/workers");
  all = [
    ...pages(made),
    { name: "drain", path: `/workers/${worker.id}/drain`, status: 200 },
    { name: "asked to drain", path: `/workers?asked=${worker.id}`, status: 200 },
    { name: "mute", path: `/failures/${heard.id}/mute`, status: 200 },
    { name: "mute ended", path: `/failures/${muted.id}/mute`, status: 200 },
  ];
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

// Shows a page in every size and theme.
async function dressed(tab, look) {
  for (const width of WIDTHS) {
    await tab.page.setViewportSize({ width, height: 900 });
    for (const scheme of SCHEMES) {
      await tab.page.emulateMedia({ colorScheme: scheme });
      await look({ width, scheme });
    }
  }
}

test("every page fits, and has no error", async () => {
  const tab = await Tab.open(browser, service);
  const wrong = [];
  for (const { name, path, status } of all) {
    await tab.visit(path, status);
    await unfold(tab.page);
    await dressed(tab, async ({ width, scheme }) => {
      wrong.push(...(await tab.wide()).map((what) => `${path}, ${width} px: ${what}`));
      const file = `${name.replaceAll(" ", "-")}-${width}-${scheme}.png`;
      await tab.page.screenshot({ path: join(pictures, file), fullPage: true });
    });
  }
  assert.deepEqual(wrong, []);
  await tab.close();
});

test("rows of a long table are laid out one by one, below their headings", async () => {
  const tab = await Tab.open(browser, service);
  await tab.page.setViewportSize({ width: 1280, height: 900 });
  for (const path of ["/operations", "/failures"]) {
    await tab.visit(path, 200);
    const [headings, ...rows] = await tab.page.locator("table.long").evaluate((table) => [...table.rows].map((row) => ({
      places: [...row.cells].map((cell) => Math.round(cell.getBoundingClientRect().left)),
      visibility: getComputedStyle(row).contentVisibility,
    })));
    assert.ok(rows.length > 0, path);
    for (const row of rows) assert.deepEqual(row, { places: headings.places, visibility: "auto" }, path);
  }
  await tab.close();
});

test("every page fits, and has no error, without script", async () => {
  const tab = await Tab.open(browser, service, { script: false });
  const wrong = [];
  for (const { path, status } of all) {
    await tab.visit(path, status);
    await unfold(tab.page);
    for (const width of WIDTHS) {
      await tab.page.setViewportSize({ width, height: 900 });
      wrong.push(...(await tab.wide()).map((what) => `${path}, ${width} px: ${what}`));
    }
    assert.equal(await tab.page.getByRole("heading", { level: 1 }).count(), 1, path);
    assert.equal(await tab.page.locator("button.copy").count(), 0, "a button that only a script can serve");
  }
  assert.deepEqual(wrong, []);
  await tab.close();
});

test("axe finds nothing on any page", async () => {
  const tab = await Tab.open(browser, service, { withAxe: true });
  const wrong = [];
  for (const { path, status } of all) {
    await tab.visit(path, status);
    await unfold(tab.page);
    await dressed(tab, async ({ width, scheme }) => {
      // Themes differ in their colours alone.
      const rules = scheme === "light" ? RULES : ["color-contrast"];
      wrong.push(...(await tab.broken(rules)).map((what) => `${path}, ${width} px, ${scheme}: ${what}`));
    });
  }
  await tab.page.getByRole("button", { name: "Keys" }).click();
  await dressed(tab, async ({ width, scheme }) => {
    wrong.push(...(await tab.broken(RULES)).map((what) => `the list of keys, ${width} px, ${scheme}: ${what}`));
    wrong.push(...(await tab.wide()).map((what) => `the list of keys, ${width} px: ${what}`));
  });
  assert.deepEqual(wrong, []);
  await tab.close();
});

// The addresses of the links and of the forms that only ask.
const linksOf = (html) => {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  const links = [...parsed.querySelectorAll("[href], [src]")].map((one) => one.getAttribute("href") ?? one.getAttribute("src"));
  const forms = [...parsed.querySelectorAll("form[method=get]")].map((form) => form.getAttribute("action"));
  return [...links, ...forms];
};

test("every link leads to something", async () => {
  // A page without a policy, which reads the others.
  const reader = await browser.newPage();
  const from = new Map([["/", "the address"]]);
  const wrong = [];
  // The map grows while it is walked over.
  for (const [path, by] of from) {
    const response = await fetch(service.url + path, { redirect: "follow" });
    const text = await response.text();
    if (!response.ok) wrong.push(`${path}: ${response.status}, linked by ${by}`);
    if (!response.headers.get("content-type")?.startsWith("text/html")) continue;
    for (const link of await reader.evaluate(linksOf, text)) {
      // The icon, which stands in the page.
      if (link.startsWith("data:image/svg+xml,")) continue;
      const address = new URL(link, service.url + path);
      if (address.origin !== service.url) wrong.push(`${path} leads to ${link}`);
      else if (!from.has(address.pathname + address.search)) from.set(address.pathname + address.search, path);
    }
  }
  assert.deepEqual(wrong, []);
  const met = [...from.keys()];
  for (const { path, status } of all.filter(({ path }) => !path.includes("?"))) {
    if (status === 200 && !path.endsWith("/pause")) assert.ok(met.includes(path), `nothing leads to ${path}`);
  }
  await reader.close();
});
