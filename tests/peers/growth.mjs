// The cases of `make bench-growth`: how the cost of an operation of Drumline grows with
// tokens, workers, bytes and operations that wait; what a start takes under load; and
// mixed cases, which model.mjs must foretell from the others.

import { BATCHES, drain, endToEnd, MILLISECONDS, ORDER, PER_OPERATION, percentile, perOperation, RATE } from "./cases.mjs";

const TOKENS = [1_000, 10_000, 100_000, 1_000_000];
const WORKERS = [1, 2, 4, 8];
const KIB = [0.5, 4, 16, 64];
const WAITING = [10_000, 100_000, 1_000_000];
// Payloads that are this long are sent by fewer callers.
const LARGE = 16;
// Operations at most, for a measurement of some seconds.
const MANY = 20_000;

const number = (value) => value.toLocaleString("en-US");
const ofSize = (kib) => ({ size: kib * 1_024, callers: kib >= LARGE ? 32 : ORDER.callers });

// The operations that show the most that is reached, and goes on for seconds.
const MOST = 60_000;
// The seconds of a load: long enough for Redis to write its file anew in the middle.
const LOAD_SECONDS = 15;

const underLoad = (share) => ({
  name: `load-${share}`,
  count: MOST,
  order: { ...ORDER },
  fleet: {},
  round: load,
  share: share / 100,
  seconds: LOAD_SECONDS,
  cpuUnit: PER_OPERATION,
  figures: {
    p50: { title: `submit to start at ${share} % of the most, p50`, ...MILLISECONDS },
    p99: { title: `submit to start at ${share} % of the most, p99`, ...MILLISECONDS },
    p999: { title: `submit to start at ${share} % of the most, p99.9`, ...MILLISECONDS },
    before: { title: "the same before Redis rewrites its file, p99", ...MILLISECONDS },
    rate: { title: `the rate that is ${share} % of the most`, ...RATE },
  },
});

export const GROWTH = [
  ...KIB.map((kib) => endToEnd(`kib-${kib}`, `one by one, payloads of ${kib} KiB`, kib >= LARGE ? 3_000 : MANY, ofSize(kib))),
  endToEnd("batches", "in batches of 1,000, no tokens", 40_000, BATCHES),
  ...TOKENS.map((keys) => endToEnd(`tokens-${keys / 1_000}k`, `in batches, ${number(keys)} tokens in turn`, Math.max(MANY, keys), { ...BATCHES, keys })),
  ...WORKERS.slice(1).map((workers) => endToEnd(`workers-${workers}`, `one by one, ${workers} workers`, MANY, {}, { workers })),
  ...WAITING.map((waiting) => ({ ...endToEnd(`waiting-${waiting / 1_000}k`, `one by one, ${number(waiting)} others wait`, MANY), waiting })),
  { ...endToEnd("drain", "drain of 40,000", 40_000, BATCHES), round: drain },
  { ...endToEnd("drain-1000k", "drain of 1,000,000", 1_000_000, BATCHES), round: drain },
  underLoad(50),
  underLoad(80),
  endToEnd("mixed-one-by-one", "one by one, 32 KiB, 2 workers", 3_000, { size: 32_768, callers: 32 }, { workers: 2 }),
  endToEnd("mixed-batches", "in batches, 2 KiB, 5,000 tokens, 2 workers", MANY, { ...BATCHES, size: 2_048, keys: 5_000 }, { workers: 2 }),
];

// The milliseconds from submit to start of each run.
const spans = (noted) => noted.map(([, , submitted, started]) => (started - submitted) / 1000);

// Milliseconds from submit to start at a share of the rate that was the most just before,
// while Redis writes its file anew.
async function load({ producer, tally, order, seconds, share, servers, work, warmUp, measured }) {
  await work();
  await warmUp();
  const { start } = await producer.order(order);
  await tally.until(order.count);
  const most = order.count / ((tally.last - start) / 1e6);
  tally.reset();
  const rate = Math.max(1, Math.round(most * share));
  const count = Math.round(rate * seconds);
  const result = await measured(async () => {
    const all = producer.order({ ...order, how: "rate", rate, count, note: true });
    await tally.until(Math.round(count / 3));
    const undisturbed = spans(tally.noted);
    await servers.rewrite();
    await all;
    await tally.until(count);
    const found = spans(tally.noted);
    return {
      p50: percentile(found, 50), p99: percentile(found, 99), p999: percentile(found, 99.9), before: percentile(undisturbed, 99), rate,
    };
  });
  return { ...result, operations: count, perOperation: perOperation(count) };
}
