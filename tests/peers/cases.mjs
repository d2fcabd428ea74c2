// The cases: what is measured, and how one round of it runs.
//
//   start producer, managers, workers ─> warm up ─┬─> measured ─> end all, empty Redis
//   (drain: fill, then start workers) ────────────┘

import { listener, memory, processorTime } from "./machine.mjs";
import { endAll, within } from "./program.mjs";

// The longest time without a run before a round is given up.
const SILENCE = 60_000;
// Operations before the measurement: connections stand, code is compiled, queues are
// declared, lanes are spread.
const WARM_UP = 500;
// Keys that stay as many in a try.
const MANY_KEYS = 100;
// Operations that a worker runs at the same time, where the peer has such a setting.
const CONCURRENCY = 100;

export const RATE = { unit: "/s", more: true, digits: 0 };
export const MILLISECONDS = { unit: "ms", more: false, digits: 2 };
export const PER_OPERATION = "µs per operation";
export const ORDER = {
  how: "one-by-one", size: 512, callers: 256, batch: 1000, keys: 0, rate: 0, sleep: 0, note: false, later: false,
};
export const BATCHES = { how: "batches", callers: 2 };
const SLEEP = { ...BATCHES, sleep: 200 };

// A case: `count` operations of an order. `figures` are the titles of what a round gives.
export const endToEnd = (name, title, count, order = {}, fleet = {}) => ({
  name, count, order: { ...ORDER, ...order }, fleet, round: throughput, cpuUnit: PER_OPERATION, figures: { rate: { title, ...RATE } },
});

export const CASES = [
  endToEnd("one-by-one", "end to end, submitted one by one", 20_000),
  endToEnd("batches", "end to end, submitted in batches of 1,000", 40_000, BATCHES),
  endToEnd("http", "end to end over plain HTTP, 64 connections", 20_000, { callers: 64 }, { http: true }),
  endToEnd("two-workers", "end to end, one by one, 2 workers", 20_000, {}, { workers: 2 }),
  endToEnd("large", "end to end, payloads of 64 KiB", 2_000, { size: 65_536, callers: 32 }),
  {
    ...endToEnd("drain", "drain of a backlog", 40_000, BATCHES),
    round: drain,
  },
  // Submitted in batches: one caller, one by one, would measure the caller.
  endToEnd("key", "one key in order", 10_000, { ...BATCHES, keys: 1, note: true }),
  endToEnd("keys-one-by-one", "100 keys in order, one by one", 20_000, { keys: 100, note: true }),
  endToEnd("keys-batches", "100 keys in order, batches", 20_000, { ...BATCHES, keys: 100, note: true }),
  ...[1, 2, 4, 8].map((workers) => endToEnd(
    `workers-${workers}`,
    `handlers of 200 ms, 50 at a time, ${workers} worker${workers > 1 ? "s" : ""}`,
    1_000 * workers,
    SLEEP,
    { workers, concurrency: 50 },
  )),
  {
    name: "latency",
    count: 2_000,
    order: { ...ORDER, how: "rate", rate: 200, note: true },
    fleet: {},
    round: latency,
    cpuUnit: PER_OPERATION,
    figures: {
      p50: { title: "submit to start at 200/s, p50", ...MILLISECONDS },
      p99: { title: "submit to start at 200/s, p99", ...MILLISECONDS },
    },
  },
  {
    name: "idle",
    seconds: 10,
    order: ORDER,
    fleet: { managers: 2, workers: 4 },
    round: idle,
    cpuUnit: "% of a core",
    figures: { busy: { title: "idle, 4 workers (Drumline: and 2 managers)", unit: "% of a core", more: false, digits: 2 } },
  },
];

// The runs of which workers have told.
export class Tally {
  #waiting = null;

  constructor() {
    this.reset();
  }

  reset() {
    Object.assign(this, { count: 0, first: Infinity, last: -Infinity, noted: [] });
  }

  // A line of a worker.
  add({ ran, first, last, noted }) {
    this.count += ran;
    this.first = Math.min(this.first, first);
    this.last = Math.max(this.last, last);
    for (const run of noted) this.noted.push(run);
    this.#waiting?.();
  }

  // Resolves when so many have run.
  async until(count) {
    while (this.count < count) {
      const more = new Promise((resolve) => { this.#waiting = resolve; });
      await within(SILENCE, `${this.count} of ${count} operations have run`, more);
    }
  }

  // The runs that started before an earlier one of their key.
  outOfOrder() {
    const latest = new Map();
    let wrong = 0;
    for (const [key, seq] of [...this.noted].sort((one, other) => one[3] - other[3])) {
      if (seq <= (latest.get(key) ?? -1)) wrong += 1;
      else latest.set(key, seq);
    }
    return wrong;
  }
}

// The value that so many percent of the values do not exceed.
export function percentile(values, percent) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil(sorted.length * percent / 100) - 1)] ?? NaN;
}

// Runs a round of a case with a peer. Gives its figures, the processor time of each group in
// microseconds per operation, and the memory of each in MiB.
export async function round(place, peer, one, scale, servers) {
  try {
    return await measuredRound(place, peer, one, scale, servers);
  } finally {
    // Also after a failed start: what is left would be measured with the next round.
    await endAll();
  }
}

async function measuredRound(place, peer, one, scale, servers) {
  const { count = 0, fleet, round: measure, seconds, waiting = 0 } = one;
  // Many keys are few in a try.
  const keys = one.order.keys > MANY_KEYS ? Math.round(one.order.keys * Math.min(scale, 1)) : one.order.keys;
  const order = { ...one.order, keys };
  const tally = new Tally();
  const wanted = Math.max(order.keys || 1, Math.round(count * scale * (peer.share ?? 1)));
  const settings = { workers: 1, concurrency: CONCURRENCY, keys: order.keys, sleep: order.sleep, ...fleet };
  const started = await peer.start(place, { ...settings, heard: (line) => tally.add(line) });
  let fail;
  const failed = new Promise((_, reject) => { fail = reject; });
  for (const program of [started.producer, ...started.managers]) program.failed.catch(fail);
  const groups = {
    client: [started.producer.id],
    manager: started.managers.map((program) => program.id),
    worker: [],
    redis: [listener(Number(new URL(place.redis).port))],
    rabbitmq: [listener(Number(new URL(place.amqp).port))],
  };
  const setting = {
    producer: started.producer,
    tally,
    order: { ...order, count: wanted },
    // A few ticks of 10 ms would be no measurement, however small the scale.
    seconds: (seconds ?? 0) * Math.max(scale, 0.3),
    share: one.share,
    servers,
    async work() {
      const workers = await started.workers();
      for (const program of workers) program.failed.catch(fail);
      groups.worker = workers.map((program) => program.id);
    },
    async warmUp() {
      const keys = Math.min(order.keys, MANY_KEYS);
      const some = Math.max(keys, Math.min(WARM_UP, wanted));
      await started.producer.order({ ...order, keys, how: "one-by-one", count: some, sleep: 0, note: false, size: 512 });
      await tally.until(some);
      tally.reset();
      if (waiting > 0) {
        await started.producer.order({ ...ORDER, ...BATCHES, count: Math.round(waiting * scale), later: true });
      }
    },
    // The cost of this.
    async measured(work) {
      const redis = await servers.traffic();
      const before = processorTime(groups);
      const start = performance.now();
      const values = await work();
      const took = (performance.now() - start) / 1000;
      const after = processorTime(groups);
      const used = Object.fromEntries(Object.keys(groups).map((name) => [name, after[name] - (before[name] ?? 0)]));
      const now = await servers.traffic();
      return { values, used, took, bytes: Object.fromEntries(Object.keys(redis).map((name) => [name, now[name] - redis[name]])) };
    },
  };
  const result = await Promise.race([measure(setting), failed]);
  const { client, manager, worker, ...backends } = groups;
  return {
    values: result.values,
    operations: result.operations ?? wanted,
    bytes: Object.fromEntries(Object.entries(result.bytes).map(([name, bytes]) => [name, bytes / (result.operations ?? wanted)])),
    cpu: Object.fromEntries(Object.entries(result.used).map(([name, used]) => [name, result.perOperation(used)])),
    memory: { ...memory({ client, manager, worker }, "VmHWM"), ...memory(backends, "VmRSS") },
    outOfOrder: order.note && order.keys > 0 ? tally.outOfOrder() : null,
    ranTwice: count > 0 ? tally.count - (result.operations ?? wanted) : null,
  };
}

export const perOperation = (count) => (seconds) => seconds * 1e6 / count;

// Operations per second from the first submit to the last end.
async function throughput({ producer, tally, order, work, warmUp, measured }) {
  await work();
  await warmUp();
  const result = await measured(async () => {
    const { start } = await producer.order(order);
    await tally.until(order.count);
    return { rate: order.count / ((tally.last - start) / 1e6) };
  });
  return { ...result, perOperation: perOperation(order.count) };
}

// Operations per second from the first start to the last end, of operations that waited.
export async function drain({ producer, tally, order, work, measured }) {
  await producer.order(order);
  const result = await measured(async () => {
    await work();
    await tally.until(order.count);
    return { rate: (order.count - 1) / ((tally.last - tally.first) / 1e6) };
  });
  return { ...result, perOperation: perOperation(order.count) };
}

// Milliseconds from submit to start, at a rate.
async function latency({ producer, tally, order, work, warmUp, measured }) {
  await work();
  await warmUp();
  const result = await measured(async () => {
    await producer.order(order);
    await tally.until(order.count);
    const spans = tally.noted.map(([, , submitted, started]) => (started - submitted) / 1000);
    return { p50: percentile(spans, 50), p99: percentile(spans, 99) };
  });
  return { ...result, perOperation: perOperation(order.count) };
}

// The processor time of a fleet that has nothing to do, all processes but the producer.
async function idle({ seconds, work, warmUp, measured }) {
  const pass = (time) => new Promise((resolve) => { setTimeout(resolve, time * 1000); });
  await work();
  await warmUp();
  // Work that the warm-up has left, as acknowledgements, is not idle.
  await pass(seconds / 5);
  const result = await measured(() => pass(seconds));
  const { client: _, ...used } = result.used;
  const percent = (value) => value * 100 / result.took;
  const busy = percent(Object.values(used).reduce((sum, value) => sum + value, 0));
  return { ...result, values: { busy }, perOperation: percent };
}
