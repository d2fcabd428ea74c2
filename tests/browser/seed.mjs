// Operations in every state, with ordinary names and with hostile ones.

export const HOSTILE = {
  script: "<script>window.attacked = 1</script>",
  end: "</script></title></textarea><img src=x onerror=\"window.attacked = 1\">",
  attribute: "\" onfocus=\"window.attacked = 1\" autofocus x='",
  template: "{{ 7 * 7 }} ${7 * 7} %s &lt;b&gt;",
  direction: "invoice_\u202Efdp.exe \u2066\u2067\u200F",
  control: "a\u0000b\u001B[31mred\u0007",
  long: "Wide".repeat(40),
  emoji: "👩‍👩‍👧‍👦 e\u0301 🏳️‍🌈 漢字",
  address: "javascript:window.attacked=1",
};

const day = (days) => new Date(Date.now() + days * 86_400_000).toISOString();

// Makes them, and returns them by name, as they are at the end.
export async function seed(service) {
  const made = {};
  const create = async (name, operation) => {
    made[name] = await service.create({ name, messageName: "Echo", ...operation });
    return made[name].id;
  };

  const succeeded = await create("succeeded", { data: { file: "contoso_1_2.zip" }, primaryEntityType: "solution" });
  const running = await create("running", { messageName: "Hold", dependencyToken: "crm-contoso", data: { step: 1 } });
  const behind = await create("behind", { dependencyToken: "crm-contoso" });
  await create("behind 2", { dependencyToken: "crm-contoso" });
  const child = await create("child", { parentId: running, postponeUntil: day(2) });
  const failed = await create("failed", { messageName: "Fail" });
  const retried = await create("retried", { messageName: "Fail", data: { retry: true }, retryPolicy: { initialMs: 3_600_000 } });
  const person = await create("for a person", { messageName: "Fail", data: { suspend: true } });
  const held = await create("holds its token", { messageName: "Fail", dependencyToken: "erp-fabrikam", tokenPolicy: "hold" });
  await create("behind a held token", { dependencyToken: "erp-fabrikam" });
  const postponed = await create("postponed", { postponeUntil: day(1) });
  const paused = await create("paused", { postponeUntil: day(1) });
  await service.api("POST", `/v1/operations/${paused}/pause`);
  const cancelled = await create("cancelled", { postponeUntil: day(1) });
  await service.api("POST", `/v1/operations/${cancelled}/cancel`);
  await create("series", { recurrencePattern: "FREQ=DAILY;INTERVAL=3", recurrenceStartTime: day(1) });
  await create("unhandled", { messageName: "Nobody" });
  await create("expires", { messageName: "Nobody", notAfter: day(1) });
  await service.api("PUT", "/v1/pauses", { scope: "messageName", name: "SendMail", reason: "the mail server moves", until: day(1) });
  await create("stopped by a pause", { messageName: "SendMail" });

  await service.holder.started(running);
  for (const id of [succeeded, failed, held]) await service.completed(id);
  for (const id of [retried, person]) await service.changed(id, ({ status }) => status === "Waiting");
  for (const name of Object.keys(made)) made[name] = await service.get(made[name].id);
  return made;
}

// Makes operations with hostile texts in every attribute that takes one.
export async function seedHostile(service) {
  const made = [];
  for (const text of Object.values(HOSTILE)) {
    // A character that no attribute takes is refused for names; it is in the payload.
    const name = text.replaceAll("\u0000", "");
    const operation = {
      name: name.slice(0, 256),
      messageName: name.slice(0, 160),
      dependencyToken: name.slice(0, 256),
      primaryEntityType: name.slice(0, 256),
      data: { [text]: text, long: text.repeat(20), deep: [{ text }] },
    };
    made.push(await service.create(operation));
    made.push(await service.create({ ...operation, messageName: "Fail", tokenPolicy: "hold", dependencyToken: `${name.slice(0, 200)} held` }));
    await service.api("PUT", "/v1/pauses", { scope: "dependencyToken", name: name.slice(0, 256), reason: text });
  }
  for (const operation of made) if (operation.messageName === "Fail") await service.completed(operation.id);
  const echo = await service.create({ name: "hostile result", messageName: "Echo", data: HOSTILE });
  await service.completed(echo.id);
  return [...made, echo];
}
