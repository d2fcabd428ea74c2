// The script of the console. The pages can be read, and every action done, without it.

// Runs what nobody waits for when the page is on the screen: until then, the script holds
// it up.
function whenShown(work) {
  if (document.hidden) setTimeout(work);
  else requestAnimationFrame(() => setTimeout(work));
}

// A button beside each text that people copy.
for (const text of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  text.after(button);
}

// Relative times stay true while the page is open. The title has the local time, too.
const UNITS = [[172800, 86400, "d"], [7200, 3600, "h"], [120, 60, "min"], [0, 1, "s"]];
function words(milliseconds) {
  const seconds = Math.floor(Math.abs(milliseconds) / 1000);
  const [, size, unit] = UNITS.find(([least]) => seconds >= least);
  const span = `${Math.floor(seconds / size)} ${unit}`;
  return milliseconds > 0 ? `in ${span}` : `${span} ago`;
}
const times = [...document.querySelectorAll("time[datetime]")].filter((time) => / ago$|^in /.test(time.textContent));
// The words for a local time take longer than all else in this script.
whenShown(() => {
  for (const time of times) time.title += `\n${new Date(time.dateTime).toLocaleString()}`;
});
// The clock of the service, as far as the page tells, and not that of this machine.
const made = Date.parse(document.body.dataset.now);
const opened = performance.now();
setInterval(() => {
  if (document.hidden || Number.isNaN(made)) return;
  const now = made + performance.now() - opened;
  for (const time of times) time.textContent = words(Date.parse(time.dateTime) - now);
}, 10000);

// Views of the grid that a person has saved in this browser. A view is the query of its
// address, so it can be sent to others, and needs no script to be shown.
const VIEWS = "drumline-views";
const MOST_VIEWS = 50;
function readViews() {
  try {
    const known = JSON.parse(localStorage.getItem(VIEWS) ?? "[]");
    return known.filter(({ name, query }) => typeof name === "string" && typeof query === "string");
  } catch {
    return [];
  }
}
function writeViews(views) {
  try {
    localStorage.setItem(VIEWS, JSON.stringify(views));
    return true;
  } catch {
    return false;
  }
}
// The query of a view: the conditions alone, in one order.
function queryOf(search) {
  const query = new URLSearchParams(search);
  for (const other of ["cursor", "done"]) query.delete(other);
  query.sort();
  return query.toString();
}
const saved = document.querySelector("[data-saved]");
if (saved) {
  const here = queryOf(location.search);
  const folded = make("details");
  folded.className = "saved";
  const summary = make("summary");
  const list = make("ul");
  list.className = "actions";
  const said = make("p");
  said.setAttribute("aria-live", "polite");
  const form = make("form");
  form.className = "save";
  const label = make("label", "Name for this view");
  label.htmlFor = "view-name";
  const name = make("input");
  name.id = "view-name";
  name.required = true;
  name.maxLength = 60;
  name.autocomplete = "off";
  form.append(label, name, make("button", "Save this view"));
  folded.append(summary, list, form, said);
  saved.append(folded);

  function showViews() {
    const views = readViews();
    summary.textContent = views.length === 0 ? "Saved views" : `Saved views (${views.length})`;
    list.replaceChildren(...views.map((view) => {
      const row = make("li");
      const link = make("a", view.name);
      link.className = "button";
      link.href = view.query ? `/operations?${view.query}` : "/operations";
      if (view.query === here) link.setAttribute("aria-current", "true");
      const remove = make("button", "Delete");
      remove.type = "button";
      remove.setAttribute("aria-label", `Delete the view ${view.name}`);
      remove.addEventListener("click", () => {
        const rest = readViews().filter((other) => other.name !== view.name);
        keep(rest, `The view ${view.name} was deleted.`);
        summary.focus();
      });
      row.append(link, remove);
      return row;
    }));
  }
  function keep(views, text) {
    said.textContent = writeViews(views) ? text : "This browser keeps nothing for this page.";
    showViews();
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const title = name.value.trim();
    if (!title) return;
    const others = readViews().filter((other) => other.name !== title);
    if (others.length >= MOST_VIEWS) {
      said.textContent = `There are ${MOST_VIEWS} views already: delete one first.`;
      return;
    }
    const views = [...others, { name: title, query: here }];
    views.sort((one, other) => one.name.localeCompare(other.name));
    keep(views, `The view ${title} was saved in this browser.`);
    name.value = "";
  });
  // Another page of this browser has changed them.
  addEventListener("storage", (event) => { if (event.key === VIEWS) showViews(); });
  showViews();
}

// An empty field of the filter is no condition: the address says only what counts.
document.querySelector("form.filter")?.addEventListener("submit", (event) => {
  for (const field of event.target.elements) {
    if (field.name && field.value === "") field.disabled = true;
  }
});

// Changes, as they happen: values are put in place, and nothing moves. A row that is
// pointed at, or in which something is selected, waits.
const bar = document.querySelector("[data-live]");
if (bar && window.EventSource) {
  const state = bar.querySelector("[data-live-state]");
  const news = bar.querySelector("[data-live-news]");
  const rows = new Map();
  for (const row of document.querySelectorAll("tr[data-id]")) {
    rows.set(row.dataset.id, [...(rows.get(row.dataset.id) ?? []), row]);
  }
  const pending = new Map();
  let source = null;
  let since = null;
  let lost = null;
  let heard = 0;

  // Hours as everywhere on the page, but of the place of the browser.
  const clock = (time) => `${time.toTimeString().slice(0, 8)} (local time)`;
  function say(text, isLost = false) {
    state.textContent = text;
    state.className = isLost ? "lost" : "";
  }
  function alive() {
    heard = Date.now();
    if (lost || !since) since = new Date();
    lost = null;
    say(`Live since ${clock(since)}.`);
  }
  function gone(why) {
    lost ??= new Date();
    say(`Not live since ${clock(lost)}: ${why}`, true);
  }
  function announce(text, label, address) {
    if (news.dataset.text === text) return;
    news.dataset.text = text;
    const link = document.createElement("a");
    link.href = address;
    link.textContent = label;
    news.replaceChildren(`${text} `, link);
  }
  function isBusy(row) {
    const selection = document.getSelection();
    return row.matches(":hover") || (selection && !selection.isCollapsed && selection.containsNode(row, true));
  }
  function put(cell, text) {
    if (cell && cell.textContent !== text) cell.textContent = text;
  }
  function show(row, change) {
    row.dataset.version = change.version;
    const status = row.querySelector("[data-cell=status]");
    const badge = status?.querySelector(".badge");
    if (badge) {
      badge.className = `badge ${change.class}`;
      const sign = document.createElement("span");
      sign.setAttribute("aria-hidden", "true");
      sign.textContent = change.sign;
      badge.replaceChildren(sign, ` ${change.label}`);
    }
    put(status?.querySelector(".why"), change.reason);
    put(row.querySelector("[data-cell=attempt]"), String(change.attempt));
    if (change.host) put(row.querySelector("[data-cell=host]"), change.host);
  }
  function flush() {
    for (const [id, change] of pending) {
      const shown = rows.get(id) ?? [];
      if (shown.some(isBusy)) continue;
      pending.delete(id);
      for (const row of shown) {
        if (change) {
          show(row, change);
        } else {
          row.classList.add("gone");
          row.dataset.version = "";
          put(row.querySelector("[data-cell=status] .why"), "was deleted");
        }
      }
    }
  }
  function note(id, change) {
    if (rows.has(id)) pending.set(id, change);
    if (id === bar.dataset.self && String(change?.version) !== bar.dataset.version) {
      bar.dataset.version = change ? change.version : "";
      announce(change ? `This operation has changed: ${change.label}.` : "This operation was deleted.", "Show it as it is now", bar.dataset.show);
    }
    flush();
  }
  function connect() {
    source?.close();
    const named = [...rows].map(([id, [row]]) => `${id}.${row.dataset.version}`);
    if (bar.dataset.self) named.push(`${bar.dataset.self}.${bar.dataset.version}`);
    const query = new URLSearchParams({ rows: named.join(",") });
    const [newest] = rows.keys();
    if (bar.dataset.new && newest) query.set("newest", newest);
    if (bar.dataset.action) query.set("action", bar.dataset.action);
    const address = bar.dataset.live;
    source = new EventSource(`${address}${address.includes("?") ? "&" : "?"}${query}`);
    source.addEventListener("open", alive);
    source.addEventListener("alive", alive);
    source.addEventListener("away", () => gone("the service cannot read its store."));
    source.addEventListener("row", (event) => {
      alive();
      const change = JSON.parse(event.data);
      note(change.id, change);
    });
    source.addEventListener("gone", (event) => {
      alive();
      note(event.data, null);
    });
    source.addEventListener("new", (event) => {
      alive();
      const count = Number(event.data);
      if (count > 0) announce(`${count >= 50 ? "50 or more" : count} new.`, "Show", bar.dataset.new);
    });
    source.addEventListener("action", (event) => {
      alive();
      const change = JSON.parse(event.data);
      for (const place of document.querySelectorAll("[data-number]")) put(place, change[place.dataset.number]);
      if (!change.isOpen) announce("The action has ended.", "Show it as it is now", bar.dataset.show);
    });
    source.addEventListener("error", () => {
      const isOver = source.readyState === EventSource.CLOSED;
      gone(isOver ? "load the page again." : "trying again.");
    });
  }
  function leave() {
    source?.close();
    source = null;
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : connect()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  setInterval(() => {
    flush();
    // A sign of life comes every ten seconds.
    if (source && !lost && heard && Date.now() - heard > 25000) gone("no word from the service.");
  }, 1000);
  whenShown(() => { if (!document.hidden && !source) connect(); });
}

// Keys for those who look often. They can be switched off, because people who dictate
// type keys without meaning to.
const PAGES = { n: "/", o: "/operations", t: "/tokens", f: "/failures", q: "/queues", w: "/workers", p: "/pauses", s: "/series" };
const HELP = [
  ["/", "to the filter, or to the field that finds an operation"],
  ["j, k", "to the next and the previous row"],
  ["g, then n o t f q w p s", "to Now, Operations, Tokens, Failures, Queues, Workers, Pauses, Series"],
  ["?", "this list"],
];
const SWITCH = "drumline-keys";
function areOn() {
  try {
    return localStorage.getItem(SWITCH) !== "off";
  } catch {
    return true;
  }
}
function make(name, text) {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  return element;
}
const help = make("dialog");
{
  const title = make("h2", "Keys");
  title.id = "keys";
  help.setAttribute("aria-labelledby", "keys");
  const list = make("dl");
  for (const [key, what] of HELP) list.append(make("dt", key), make("dd", what));
  const label = make("label", " Use these keys");
  const box = make("input");
  box.type = "checkbox";
  box.checked = areOn();
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(SWITCH, box.checked ? "on" : "off");
    } catch {
      // Nothing is kept where the browser keeps nothing.
    }
  });
  label.prepend(box);
  const close = make("button", "Close");
  close.type = "button";
  close.addEventListener("click", () => help.close());
  help.append(title, list, label, close);
  const open = make("button", "Keys");
  open.type = "button";
  open.addEventListener("click", () => help.showModal());
  document.querySelector(".foot")?.append(open);
  document.body.append(help);
}
function step(by) {
  const links = [...document.querySelectorAll("tbody th a")];
  const here = links.indexOf(document.activeElement);
  const next = here < 0 ? 0 : Math.min(Math.max(here + by, 0), links.length - 1);
  links[next]?.focus();
}
let afterG = false;
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, select, textarea, [contenteditable]");
  if (isTyping || help.open || event.ctrlKey || event.metaKey || event.altKey || !areOn()) return;
  const key = event.key;
  const wasAfterG = afterG;
  afterG = key === "g";
  if (wasAfterG && PAGES[key]) {
    location.href = PAGES[key];
  } else if (key === "/") {
    event.preventDefault();
    (document.querySelector("form.filter input") ?? document.querySelector("#find"))?.focus();
  } else if (key === "j") {
    step(1);
  } else if (key === "k") {
    step(-1);
  } else if (key === "?") {
    help.showModal();
  }
});
