// Actions by forms: what a person does on the pages is what the API says afterwards.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { launch, OtherSite, Service, Tab } from "./harness.mjs";

const DAY = 86_400_000;
const tomorrow = () => new Date(Date.now() + DAY).toISOString();

let browser;
let service;

before(async () => {
  service = await Service.start("actions");
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

const act = (tab, label) => tab.loads(() => tab.page.getByRole("list", { name: "Actions" }).getByRole("link", { name: label, exact: true }).click());
const confirm = (tab, label, status) => tab.loads(() => tab.page.locator("main").getByRole("button", { name: label }).click(), status);
const said = (tab) => tab.page.locator("main").getByRole("status").first().innerText();

for (const script of [true, false]) {
  describe(`${script ? "with" : "without"} script`, () => {
    let tab;

    before(async () => { tab = await Tab.open(browser, service, { script, width: 390 }); });
    after(() => tab.close());

    test("a person pauses, resumes, postpones, cancels and deletes an operation", async () => {
      const { id } = await service.create({ messageName: "Nobody", name: "one" });
      const at = `/operations/${id}`;
      await tab.visit(at);

      await act(tab, "Pause");
      assert.equal((await service.get(id)).status, "WaitingForResources", "a question changes nothing");
      await confirm(tab, "Pause");
      assert.match(await said(tab), /paused/);
      assert.deepEqual([(await service.get(id)).status, (await service.get(id)).postponeUntil], ["Waiting", null]);

      await act(tab, "Postpone");
      await tab.page.getByLabel("Until").fill("soon");
      await confirm(tab, "Postpone", 422);
      assert.match(await tab.page.locator("#mistake").innerText(), /must be a time/);
      assert.equal(await tab.page.getByLabel("Until").inputValue(), "soon");
      assert.equal((await service.get(id)).postponeUntil, null);
      await tab.page.getByLabel("Until").fill("2h");
      const before = Date.now();
      await confirm(tab, "Postpone");
      const until = Date.parse((await service.get(id)).postponeUntil);
      assert.ok(until >= before + DAY / 12 - 1000 && until <= Date.now() + DAY / 12 + 1000, "two hours from now");

      await act(tab, "Resume");
      await confirm(tab, "Resume");
      assert.equal((await service.get(id)).state, "Ready");

      await act(tab, "Cancel");
      await confirm(tab, "Cancel");
      assert.match(await said(tab), /cancelled/);
      assert.equal((await service.get(id)).status, "Canceled");

      await act(tab, "Delete");
      await confirm(tab, "Delete");
      assert.match(await said(tab), /deleted/);
      await assert.rejects(service.get(id), /404/);
    });

    test("a handler that runs is stopped", async () => {
      const { id } = await service.create({ messageName: "Hold" });
      await service.holder.started(id);
      await tab.visit(`/operations/${id}`);
      await act(tab, "Cancel");
      assert.match(await tab.page.locator("main").innerText(), /asked to stop/);
      await confirm(tab, "Cancel");
      assert.equal((await service.completed(id)).status, "Canceled");
    });

    test("a token that is held goes on", async () => {
      const token = `held ${script}`;
      const head = await service.create({ messageName: "Fail", dependencyToken: token, tokenPolicy: "hold" });
      const next = await service.create({ messageName: "Echo", dependencyToken: token });
      assert.equal((await service.completed(head.id)).holdsToken, true);
      await tab.visit(`/operations/${head.id}`);
      await act(tab, "Resume");
      await confirm(tab, "Resume");
      assert.equal((await service.completed(next.id)).status, "Succeeded");
    });

    test("an operation runs again as a new one, once for a form that is sent twice", async () => {
      const { id } = await service.create({ messageName: "Echo", name: "again", data: { page: 7 }, dependencyToken: `again ${script}` });
      await service.completed(id);
      await tab.visit(`/operations/${id}`);
      await act(tab, "Run again");
      await tab.page.getByLabel("Without the token").check();
      const fields = await tab.page.locator("main form").evaluate((form) => [...new FormData(form)]);
      await confirm(tab, "Run the operation again");
      const made = new URL(tab.page.url()).pathname.split("/").at(-1);
      assert.notEqual(made, id);
      const operation = await service.completed(made);
      assert.deepEqual([operation.status, operation.data, operation.dependencyToken], ["Succeeded", { page: 7 }, null]);
      const twice = await fetch(`${service.url}/operations/${id}/run-again`, {
        method: "POST",
        redirect: "manual",
        headers: { "sec-fetch-site": "same-origin" },
        body: new URLSearchParams(fields),
      });
      assert.equal(twice.headers.get("location"), `/operations/${made}`);
    });

    test("an action that another person made impossible is refused with its code", async () => {
      const { id } = await service.create({ messageName: "Nobody" });
      await tab.visit(`/operations/${id}`);
      await act(tab, "Pause");
      await service.api("POST", `/v1/operations/${id}/cancel`);
      await confirm(tab, "Pause", 409);
      const refused = await fetch(`${service.url}/v1/operations/${id}/pause`, { method: "POST" });
      const problem = await refused.json();
      const page = await tab.page.locator("main").innerText();
      assert.ok(page.includes(problem.code) && page.includes(problem.name), page);
      assert.ok(page.includes(problem.detail.slice(1)), page);
      await tab.loads(() => tab.page.getByRole("link", { name: "Back to the operation" }).click());
      assert.equal((await service.get(id)).status, "Canceled");
    });

    test("a pause is set with its reason, and lifted", async () => {
      const name = `Mail ${script}`;
      await tab.visit("/pauses");
      await tab.page.getByLabel("What").selectOption("messageName");
      await tab.page.getByLabel("Its name").fill(name);
      await tab.page.getByLabel("Reason").fill("the server moves");
      await tab.page.getByLabel("Until").fill("3h");
      await confirm(tab, "Pause");
      const { pauses } = await service.api("GET", "/v1/pauses");
      const set = pauses.find((pause) => pause.name === name);
      assert.equal(set?.reason, "the server moves");
      const { id } = await service.create({ messageName: name });

      const row = tab.page.getByRole("row").filter({ hasText: name });
      await tab.loads(() => row.getByRole("link", { name: "Lift" }).click());
      await confirm(tab, "Lift");
      const left = await service.api("GET", "/v1/pauses");
      assert.ok(!left.pauses.some((pause) => pause.name === name));
      await service.api("POST", `/v1/operations/${id}/cancel`);
    });
  });
}

test("a few that match are counted first, and then paused", async () => {
  const tab = await Tab.open(browser, service);
  const made = [];
  for (let n = 0; n < 3; n += 1) made.push(await service.create({ messageName: "Few", postponeUntil: tomorrow() }));
  const other = await service.create({ messageName: "Other", postponeUntil: tomorrow() });
  await tab.visit("/operations?messageName=Few");
  await tab.page.getByText("Act on all that match").click();
  await tab.loads(() => tab.page.getByRole("link", { name: "Pause all" }).click());
  const counted = await service.api("POST", "/v1/operations/pause?messageName=Few&dryRun=true");
  assert.equal(counted.done, 3);
  assert.match(await said(tab), /^3 would be changed, 0 would be refused/);
  for (const { id } of made) assert.notEqual((await service.get(id)).postponeUntil, null, "a dry run changes nothing");
  await tab.page.getByLabel("Reason").fill("a test");
  await confirm(tab, "Pause them");
  assert.match(await said(tab), /^3 done/);
  for (const { id } of made) assert.equal((await service.get(id)).postponeUntil, null);
  assert.notEqual((await service.get(other.id)).postponeUntil, null);
  await tab.close();
});

test("the number of many is typed before they are cancelled", async () => {
  const tab = await Tab.open(browser, service);
  const creates = Array.from({ length: 120 }, () => service.create({ messageName: "Many", postponeUntil: tomorrow() }));
  const made = await Promise.all(creates);
  await tab.visit("/many/cancel?messageName=Many");
  assert.match(await said(tab), /^120 would be changed/);
  await tab.page.getByLabel("Reason").fill("a test");
  await tab.page.getByLabel("Type 120 to confirm").fill("12");
  await confirm(tab, "Cancel them", 422);
  assert.match(await tab.page.locator("#mistake").innerText(), /nothing was changed/i);
  assert.equal((await service.get(made[0].id)).status, "Waiting");
  await tab.page.getByLabel("Type 120 to confirm").fill("120");
  await confirm(tab, "Cancel them");
  assert.match(await said(tab), /^120 done/);
  const left = await service.api("GET", "/v1/operations?messageName=Many&state=Suspended");
  assert.deepEqual(left.operations, []);
  await tab.close();
});

test("a page of another site changes nothing", async () => {
  const { id } = await service.create({ messageName: "Nobody", name: "not from there" });
  const other = await OtherSite.open();
  for (const path of [`/operations/${id}/cancel`, `/many/cancel?name=x`, `/v1/operations/${id}/cancel`, "/pauses"]) {
    const page = await browser.newPage();
    other.html = `<form method="post" action="${service.url}${path}"><input name="until" value="2h"><button>Win</button></form>`;
    await page.goto(other.url);
    const [response] = await Promise.all([
      page.waitForResponse((response) => response.url().startsWith(service.url)),
      page.getByRole("button").click(),
    ]);
    assert.equal(response.status(), 403, path);
    assert.match(await response.text(), /CrossSiteRequest/);
    await page.close();
  }
  assert.equal((await service.get(id)).status, "WaitingForResources");
  other.close();
});
