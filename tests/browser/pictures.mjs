// Writes the pictures in docs/images, which README.md and docs/console.md show:
//
//   .ci/browser tests/browser/hostile.test.mjs      fetches the modules, once
//   node tests/browser/pictures.mjs
//   pngquant --ext .png --force docs/images/console-*.png

import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { launch, Service, Tab, until } from "./harness.mjs";

const images = join(dirname(fileURLToPath(import.meta.url)), "../../docs/images");
mkdirSync(images, { recursive: true });

const service = await Service.start("pictures", { held: ["ImportSolution", "SyncAccounts", "SendInvoice"] });
const alice = { "drumline-caller": "alice" };
const create = async (name, operation) => (await service.create({ name, ...operation }, alice)).id;
const solution = (name, token) => create(name, { messageName: "ImportSolution", dependencyToken: token, tokenPolicy: "hold", data: { file: `${name}.zip` } });

// One token whose head failed, with two behind it; one that runs.
const held = await solution("fabrikam_2_1", "fabrikam");
const behind = await solution("fabrikam_2_2", "fabrikam");
await solution("fabrikam_2_3", "fabrikam");
const running = await solution("contoso_1_4", "contoso");
await solution("contoso_1_5", "contoso");
const sync = await create("accounts of today", { messageName: "SyncAccounts" });
await create("monthly invoices", { messageName: "Echo", recurrencePattern: "FREQ=MONTHLY", recurrenceStartTime: new Date(Date.now() + 1.5e9).toISOString() });
for (let n = 0; n < 12; n += 1) await service.completed(await create(`mail ${n}`, { messageName: "Echo" }));
for (const id of [held, running, sync]) await service.holder.started(id);
service.holder.answer(sync);
await service.completed(sync);
service.holder.answer(held, 422, {
  error: { message: "entity sales_order: column total is missing", friendlyMessage: "The solution does not fit this environment." },
});
await service.completed(held);

// Kinds of failures, one of which is known.
async function fails(messageName, message) {
  const id = await create(messageName, { messageName });
  await service.holder.started(id);
  service.holder.answer(id, 422, { error: { message } });
  await service.completed(id);
}
for (const row of [17, 256, 4031, 5120]) await fails("SyncAccounts", `row ${row}: the account has no owner`);
for (const host of ["db4.contoso.example", "db7.contoso.example"]) await fails("SendInvoice", `cannot connect to '${host}'`);
const kinds = await until("the failures are counted", async () => {
  const { groups } = await service.api("GET", "/v1/failures");
  return groups.length === 3 && groups.reduce((sum, { count }) => sum + count, 0) === 7 && groups;
});
const known = kinds.find(({ messageName }) => messageName === "SyncAccounts");
const monday = new Date(Date.now() + 2.5e8).toISOString();
await service.api("PUT", `/v1/failures/${known.id}/mute`, { reason: "the CRM team repairs the import on Monday", until: monday }, alice);

const browser = await launch();
async function picture(name, path, { width, height, scheme }) {
  const tab = await Tab.open(browser, service, { width, scheme });
  await tab.page.setViewportSize({ width, height });
  await tab.visit(path);
  if (path !== "/failures") await tab.page.getByText(/^Live since/).waitFor();
  else await tab.page.locator("summary").click();
  await tab.page.screenshot({ path: join(images, `console-${name}.png`) });
  await tab.close();
}
await picture("now", "/", { width: 1100, height: 720, scheme: "light" });
await picture("operation", `/operations/${behind}`, { width: 1100, height: 760, scheme: "dark" });
await picture("failures", "/failures", { width: 1100, height: 780, scheme: "light" });
await picture("telephone", `/operations/${held}`, { width: 360, height: 720, scheme: "light" });

await browser.close();
await service.stop();
