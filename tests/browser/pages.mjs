// The pages that the tests walk over: every kind of page, and an operation of every state.

// Each page: a name for its picture, its address, and its status.
export function pages(made) {
  const list = [
    ["now", "/"],
    ["operations", "/operations"],
    ["operations filtered", "/operations?state=Suspended&queue=default&createdAfter=2020-01-01T00:00:00Z"],
    ["operations none", "/operations?name=nothing"],
    ["operations wrong", "/operations?createdAfter=yesterday", 422],
    ["tokens", "/tokens"],
    ["tokens by head", "/tokens?order=head"],
    ["token running", "/tokens?token=crm-contoso"],
    ["token held", "/tokens?token=erp-fabrikam"],
    ["token none", "/tokens?token=nothing"],
    ["failures", "/failures"],
    ["queues", "/queues"],
    ["workers", "/workers"],
    ["pauses", "/pauses"],
    ["pauses filled", "/pauses?scope=dependencyToken&name=crm-contoso"],
    ["actions", "/actions"],
    ["audit", "/audit"],
    ["series", "/series"],
    ["settings", "/settings"],
    ["many cancel", "/many/cancel?dependencyToken=crm-contoso"],
    ["many postpone", "/many/postpone?state=Ready"],
    ["many delete", "/many/delete?status=Succeeded"],
    ["many run again", "/many/run-again?status=Failed&messageName=Fail"],
    ["no operation", "/operations/01a2267c-a4dc-7000-8027-d73e89f9e04e", 404],
    ["no id", "/operations/nonsense", 404],
    ["no page", "/nothing", 404],
    ["confirm cancel", `/operations/${made.running.id}/cancel`],
    ["confirm pause", `/operations/${made.running.id}/pause`],
    ["confirm postpone", `/operations/${made.behind.id}/postpone`],
    ["confirm resume", `/operations/${made["holds its token"].id}/resume`],
    ["confirm delete", `/operations/${made.failed.id}/delete`],
    ["confirm run again", `/operations/${made["holds its token"].id}/run-again`],
    ["confirm impossible", `/operations/${made.failed.id}/pause`],
  ];
  const operations = Object.entries(made).map(([name, { id }]) => [`operation ${name}`, `/operations/${id}`]);
  return [...list, ...operations].map(([name, path, status = 200]) => ({ name, path, status }));
}

// Opens all that is folded, so that it is checked, too.
export function unfold(page) {
  return page.evaluate(() => { for (const folded of document.querySelectorAll("details")) folded.open = true; });
}
