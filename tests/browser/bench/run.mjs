// Measures the console on a large store: `make bench-console`.
//
//   Chromium ─┐
//   HTTP ─────┼─→ queue manager ─→ Redis, RabbitMQ ←─ two workers ─→ handler (mix.mjs)
//   viewers ──┘
//
// mix.mjs has the operations, measure.mjs the measurements, report.mjs the table. run.sh
// starts the servers, which end with this program.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { launch, run } from "../harness.mjs";
import { listener, machine, memory } from "../../peers/machine.mjs";
import { endAll, Program } from "../../peers/program.mjs";
import { median } from "../../peers/report.mjs";
import { ask, commandRate, cost, Load, pause, served, shown, Viewers } from "./measure.mjs";
import { BATCH, fill, Handler, LONG, nameOf, recordOf, SERVED, tokenOf } from "./mix.mjs";
import { percentile, row, text } from "./report.mjs";

const USAGE = `usage: make bench-console ARGS='[--count 1000000] [--seconds 20] [--rounds 3] [--json FILE]'
       tests/browser/bench/run.sh --show FILE     the table of an earlier run

  --count     operations in the store, in thousands; 20000 for a try
  --requests  requests of each page by plain HTTP [40]
  --loads     warm loads of each page in the browser [25]
  --seconds   seconds of each measurement of what viewers cost [20]
  --rounds    rounds of these measurements; the median counts [3]
  --rate      operations a second that run meanwhile [20]
  --json      file for all figures`;

function options() {
  try {
    const text = (value) => ({ type: "string", default: value });
    const { values } = parseArgs({
      options: {
        count: text("1000000"),
        requests: text("40"),
        loads: text("25"),
        seconds: text("20"),
        rounds: text("3"),
        rate: text("20"),
        json: { type: "string" },
        show: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    for (const name of ["count", "requests", "loads", "seconds", "rounds", "rate"]) {
      values[name] = Number(values[name]);
      if (!(values[name] >= 1)) throw new Error(`--${name} is a number from 1 on`);
    }
    values.count = Math.ceil(values.count / BATCH) * BATCH;
    return values;
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    return process.exit(64);
  }
}

const given = options();
if (given.help) {
  console.log(USAGE);
  process.exit(0);
}
if (given.show) {
  console.log(text(JSON.parse(readFileSync(given.show))));
  process.exit(0);
}
// The variables of private servers alone, so that no other Redis is filled.
const { DRUMLINE_TEST_REDIS_URL: redis, DRUMLINE_TEST_AMQP_URL: amqp } = process.env;
if (!redis || !amqp) throw new Error("start it with `make bench-console` or tests/browser/bench/run.sh");

const progress = (line) => process.stderr.write(`${line}\n`);
const report = { measured: new Date().toISOString(), machine: machine(), options: given, rows: [], remarks: [], failures: [] };
const add = (...parts) => report.rows.push(row(...parts));

// --- The fleet.

// The environment without settings of Drumline: those of a fleet are not for this.
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("DRUMLINE_")));
function start(name, args, ready) {
  const log = join(run, `${name}.log`);
  rmSync(log, { force: true });
  return new Program(name, ["drumline", ...args], { env: { ...environment, DRUMLINE_REDIS_URL: redis, DRUMLINE_AMQP_URL: amqp }, log, ready });
}

mkdirSync(run, { recursive: true });
const handler = new Handler();
const handlers = join(run, "handlers.toml");
writeFileSync(handlers, `[[handler]]\nmessage = "*"\nhttp = "${await handler.listen()}"\n`);
const manager = start("manager", ["queue-manager", "--listen", "127.0.0.1:0"], /^ready (http\S+)$/);
const url = await manager.ready();
// A handler that never ends is not waited for at the end.
const short = ["--handlers", handlers, "--stop-grace", "1s", "--drain-timeout", "1s"];
const queues = (names) => names.flatMap((name) => ["--queue", name]);
const workers = [
  start("worker", ["worker", ...short, ...queues(SERVED), "--concurrency", "64"], /^ready$/),
  start("worker-long", ["worker", ...short, ...queues([LONG]), "--concurrency", String(given.count / BATCH + 16)], /^ready$/),
];
await Promise.all(workers.map((worker) => worker.ready()));
const groups = {
  redis: [listener(Number(new URL(redis).port))],
  manager: [manager.id],
  workers: workers.map(({ id }) => id),
};

async function api(method, path, body) {
  const response = await fetch(url + path, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${answer}`);
  return answer ? JSON.parse(answer) : null;
}

const { ids, seconds: filled } = await fill(api, given.count, progress);

// From everywhere in the store.
const some = (number) => (number * 7_919 * 13) % given.count;
const page = { most: { p50: 8, p95: 25 } };
const lookUp = { most: { p50: 10 } };
const PAGES = [
  { name: "Now", path: () => "/", ...page },
  { name: "Operations", path: () => "/operations", ...page },
  { name: "Operation", path: (number) => `/operations/${ids[(number * 31) % ids.length]}`, ...page },
  { name: "Tokens", path: () => "/tokens", ...page },
  { name: "Failures", path: () => "/failures" },
  { name: "Queues", path: () => "/queues" },
  { name: "Workers", path: () => "/workers" },
  { name: "Series", path: () => "/series" },
  { name: "Audit", path: () => "/audit" },
];
const LOOK_UPS = [
  { name: "Look-up by name", path: (number) => `/operations?name=${nameOf(some(number))}`, ...lookUp },
  { name: "Look-up by token", path: (number) => `/operations?dependencyToken=${tokenOf(some(number) - (some(number) % BATCH))}`, ...lookUp },
  { name: "Look-up by record", path: (number) => `/operations?regardingObjectId=${recordOf(some(number))}`, ...lookUp },
];

// The pages, by plain HTTP.
async function plainPages() {
  const html = {};
  for (const { name, path, most } of [...PAGES, ...LOOK_UPS]) {
    const { times, bytes, encoding } = await served(url, path, given.requests);
    add(`${name}: to the first byte`, { p50: median(times), p95: percentile(times, 95), worst: Math.max(...times) }, { unit: "ms", most });
    html[name] = { bytes, encoding };
  }
  for (const { name } of PAGES) add(`${name}: HTML, ${html[name].encoding}`, { bytes: html[name].bytes }, { most: { bytes: 15_000 } });
  const first = (await ask(`${url}/`, { headers: {} })).body.toString();
  for (const [name, pattern, most] of [["Style sheet", /href="([^"]+\.css)"/, 12_000], ["Script", /src="([^"]+\.js)"/, 15_000]]) {
    const { bytes, encoding } = await ask(url + pattern.exec(first)[1]);
    add(`${name}, ${encoding}`, { bytes }, { most: { bytes: most } });
  }
}

const browser = await launch();
const foreign = new Set();
async function openPage() {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.on("request", (request) => { if (!request.url().startsWith(`${url}/`)) foreign.add(request.url()); });
  return context.newPage();
}
const warm = await openPage();

// The pages, in the browser.
async function shownPages() {
  const loads = Object.fromEntries(PAGES.map(({ name }) => [name, { warm: [], cold: [] }]));
  for (let number = -1; number < given.loads; number += 1) {
    for (const { name, path } of PAGES) {
      const found = await shown(warm, url + path(number + 1));
      if (number >= 0) loads[name].warm.push(found);
    }
  }
  // A first visit: nothing is in the cache. The browser itself runs.
  for (let number = 0; number < Math.ceil(given.loads / 3); number += 1) {
    for (const { name, path } of PAGES) {
      const cold = await openPage();
      loads[name].cold.push(await shown(cold, url + path(number)));
      await cold.context().close();
    }
  }
  report.loads = loads;
  const of = (list, value) => list.map((one) => one[value]);
  const paints = (list) => ({
    median: median(of(list, "paint")),
    p90: percentile(of(list, "paint"), 90),
    worst: Math.max(...of(list, "paint")),
    "document ready": median(of(list, "ready")),
  });
  for (const { name } of PAGES) add(`${name}: first contentful paint, warm`, paints(loads[name].warm), { unit: "ms", most: { median: 100, p90: 150 } });
  for (const { name } of PAGES) add(`${name}: first contentful paint, first visit`, paints(loads[name].cold), { unit: "ms" });
  const all = (kind) => PAGES.flatMap(({ name }) => loads[name][kind]);
  const transfer = (kind) => ({ requests: Math.max(...of(all(kind), "requests")), bytes: Math.max(...of(all(kind), "bytes")) });
  add("First visit of a page, at most, with the icon", transfer("cold"), { most: { requests: 3 } });
  add("Warm, at most", transfer("warm"));
  add("Requests to other addresses", { number: foreign.size }, { most: { number: 0 } });
}

// A change, until it is visible.
async function changes() {
  const delays = [];
  for (let number = 0; number < 10; number += 1) {
    const { id } = await api("POST", "/v1/operations", { messageName: "CloseBooks", queue: LONG, data: { ends: "never" } });
    await handler.started(id);
    await warm.goto(`${url}/operations`);
    await warm.getByText(/^Live since/).waitFor();
    // Looks are once a second: each change falls on another part of it.
    await pause(number * 100);
    const visible = warm.evaluate((of) => new Promise((resolve) => {
      const shown = document.querySelector(`tr[data-id="${of}"]`);
      const look = () => { if (shown.querySelector(".badge.succeeded")) resolve(Date.now()); };
      new MutationObserver(look).observe(shown, { subtree: true, childList: true });
      look();
    }), id);
    handler.end(id);
    await api("GET", `/v1/operations/${id}?wait=30s`);
    const committed = Date.now();
    delays.push(await visible - committed);
  }
  add("A change, from commit to visible", { median: median(delays), worst: Math.max(...delays) }, { unit: "ms", most: { worst: 1_200 } });
}

// The cost of viewers.
async function viewers() {
  // Its page would be one more viewer.
  await browser.close();
  const grid = Array(100).fill("/operations");
  const SITUATIONS = [
    { name: "none", paths: [] },
    { name: "1 viewer", paths: grid.slice(0, 1) },
    { name: "20 viewers", paths: grid.slice(0, 20), most: { Redis: 1, manager: 3 } },
    { name: "20 viewers of different pages", paths: grid.slice(0, 20).map((_, number) => `/operations?dependencyToken=${tokenOf(number * 100)}`), most: { Redis: 1, manager: 3 } },
    { name: "100 viewers", paths: grid },
  ];
  async function withViewers({ name, paths }, what, measure) {
    progress(`viewers: ${what}, ${name}`);
    const viewers = await Viewers.open(url, paths);
    // What opening the streams has cost is over.
    await pause(2_000);
    const before = viewers.bytes;
    const found = await measure();
    viewers.close();
    return { found, bytes: (viewers.bytes - before) / given.seconds / Math.max(1, paths.length) };
  }
  // Commands are counted while nothing else happens: those of the load would hide them.
  const commands = {};
  for (const one of SITUATIONS) commands[one.name] = (await withViewers(one, "no load", () => commandRate(redis, given.seconds))).found;
  const rounds = [];
  const load = new Load(api, given.rate);
  try {
    for (let number = 1; number <= given.rounds; number += 1) {
      const round = {};
      for (const one of SITUATIONS) {
        const { found, bytes } = await withViewers(one, `round ${number} of ${given.rounds}`, () => cost(groups, given.seconds));
        round[one.name] = { ...found, bytes };
      }
      rounds.push(round);
    }
  } finally {
    await load.stop();
  }
  Object.assign(report, { commands, rounds });
  // The median over the rounds, of a value or of what it is above that without viewers.
  const middle = (name, value) => median(rounds.map((round) => value(round[name])));
  const above = (name, value) => median(rounds.map((round) => value(round[name]) - value(round.none)));
  add("Without viewers", {
    Redis: middle("none", ({ cpu }) => cpu.redis),
    manager: middle("none", ({ cpu }) => cpu.manager),
    workers: middle("none", ({ cpu }) => cpu.workers),
  }, { unit: "% of a core" });
  for (const { name, most } of SITUATIONS.slice(1)) {
    add(`${name}: more than that`, {
      Redis: above(name, ({ cpu }) => cpu.redis),
      manager: above(name, ({ cpu }) => cpu.manager),
    }, { unit: "% of a core", most });
  }
  const forViewers = (name) => commands[name] - commands.none;
  const [one, twenty, hundred] = ["1 viewer", "20 viewers", "100 viewers"].map(forViewers);
  // On a busy machine the commands of one viewer are lost among the others, and nothing is known.
  const ratio = one > 0 && hundred > 0 ? [{ one, twenty, hundred, "hundred ÷ one": hundred / one }, { most: { "hundred ÷ one": 2 } }] : [{ one, twenty, hundred }];
  add("Commands of Redis a second for viewers of one page", ...ratio);
  add("Live stream, bytes a second for each of 100 viewers", { bytes: middle("100 viewers", ({ bytes }) => bytes) }, { most: { bytes: 2_000 } });
  add("Memory of the manager", {
    "without viewers": middle("none", (one) => one.memory.manager),
    "20 viewers": middle("20 viewers", (one) => one.memory.manager),
    "100 viewers": middle("100 viewers", (one) => one.memory.manager),
    "at most": memory(groups, "VmHWM").manager,
  }, { unit: "MiB" });
}

// An action on many operations.
async function manyAtOnce() {
  const begun = performance.now();
  const since = () => performance.now() - begun;
  const { id: action } = await api("POST", "/v1/actions", { action: "cancel", filter: { messageName: "SendMail", state: "Ready" }, reason: "a measurement" });
  const isOpen = ({ state }) => state === "running" || state === "aborting";
  const acted = {};
  let seen;
  do {
    seen = await api("GET", `/v1/actions/${action}`);
    if (seen.done > 0) acted["first progress"] ??= since();
    await pause(10);
  } while (isOpen(seen) && since() < 10_000);
  const what = `Cancel some ${Math.round(given.count / 9).toLocaleString("en-US")} of a message name`;
  const rate = (1_000 * seen.done) / since();
  if (isOpen(seen)) {
    const asked = since();
    await api("POST", `/v1/actions/${action}/abort`);
    while (isOpen(await api("GET", `/v1/actions/${action}`)) && since() < 60_000) await pause(10);
    acted.abort = since() - asked;
  }
  add(what, acted, { unit: "ms", most: acted.abort ? { "first progress": 1_000, abort: 1_000 } : { "first progress": 1_000 } });
  // Of few operations, the first progress is most of the time.
  add(`${what}, a second`, { operations: rate }, seen.done >= 10_000 ? { least: { operations: 2_000 } } : {});
}

// What is measured so far is of use, too, when a part fails.
const PARTS = {
  "pages, by plain HTTP": plainPages,
  "pages, in the browser": shownPages,
  "changes, until they are visible": changes,
  viewers,
  "an action on many operations": manyAtOnce,
};
for (const [name, measure] of Object.entries(PARTS)) {
  progress(name);
  try {
    await measure();
  } catch (error) {
    progress(`failed: ${error.stack}`);
    report.failures.push(`${name}: ${error.message}`);
  }
}
if (browser.isConnected()) await browser.close();
handler.close();
await endAll();

const { cores, model, kernel } = report.machine;
report.remarks.push(
  `${given.count.toLocaleString("en-US")} operations (0.1 % Locked, 1 % Suspended, 10 % Completed, the others Ready), created in ${filled} s, on ${cores} cores (${model}) for everything, Linux ${kernel}; ${report.measured}.`,
  `Pages ${given.requests} times by plain HTTP over one connection, ${given.loads} times warm and ${Math.ceil(given.loads / 3)} times with an empty cache in Chromium ${browser.version()}.`,
  `Viewers: medians of ${given.rounds} rounds of ${given.seconds} s, while ${given.rate} operations a second are created and run.`,
  ...report.failures.map((failure) => `Failed: ${failure}`),
);
console.log(text(report));
if (given.json) {
  writeFileSync(given.json, `${JSON.stringify(report, null, 2)}\n`);
  progress(`the figures are in ${given.json}`);
}
process.exit(report.failures.length > 0 ? 1 : 0);
