// The report of `make bench-peers`: medians, ratios, and the table.

import assert from "node:assert/strict";
import test from "node:test";

import { percentile, Tally } from "./cases.mjs";
import { markdown, median, remarks, rows, summarize, text } from "./report.mjs";

const rate = (value, used = 10) => ({
  values: { rate: value },
  operations: 100,
  cpu: { client: used, manager: 0, worker: used, redis: used, rabbitmq: 0 },
  memory: { client: 1, manager: 20, worker: 30, redis: 5, rabbitmq: 100 },
  bytes: { received: 7 * used, sent: 2 * used, held: used },
  outOfOrder: null,
  ranTwice: 0,
});
const one = { name: "drain", cpuUnit: "µs per operation", figures: { rate: { title: "drain", unit: "/s", more: true, digits: 0 } } };

const TWO = { name: "Two", version: "2", settings: ["As it is."], lacks: {} };

function report(rounds, others = [TWO]) {
  return {
    measured: "2026-01-01", machine: { cores: 2, model: "a machine", kernel: "6" }, redis: { version: "7", appendonly: "yes", appendfsync: "everysec" },
    rabbitmq: "3.10", rounds: 3, scale: 1, systems: [{ name: "One", version: "1", settings: ["As it is."], lacks: { http: "it has no HTTP", drain: "it holds nothing back" } }, ...others],
    cases: [summarize(one, rounds)], failures: [{ system: "Two", name: "drain", round: 2, reason: "nothing for 60 s" }],
  };
}

test("the median is the middle", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1]), 2.5);
});

test("a ratio is the median of the ratios of each round", () => {
  // The machine is half as fast in the second round: the medians alone would say 1.5.
  const [, two] = summarize(one, { One: [rate(1500), rate(800), rate(3000)], Two: [rate(1000), rate(400), rate(2000)] }).systems;
  assert.deepEqual(two.figures.rate.ratio, { median: 1.5, lowest: 1.5, highest: 2 });
  assert.deepEqual([two.figures.rate.median, two.figures.rate.lowest, two.figures.rate.highest], [1000, 400, 2000]);
});

test("processor time is compared as a sum", () => {
  const [first, two] = summarize(one, { One: [rate(1, 10)], Two: [rate(1, 20)] }).systems;
  assert.equal(first.cpu.all, 30);
  assert.equal(first.cpu.ratio, null);
  assert.equal(two.cpu.ratio.median, 0.5);
});

test("a round that failed is left out, and told", () => {
  const rounds = { One: [rate(100), rate(200), rate(300)], Two: [rate(50), null, rate(100)] };
  const [, two] = summarize(one, rounds).systems;
  assert.deepEqual(two.figures.rate.rounds, [50, null, 100]);
  assert.equal(two.figures.rate.ratio.median, 2.5);
  assert.ok(remarks(report(rounds)).includes("Two failed in drain, round 2: nothing for 60 s"));
  assert.equal(summarize(one, { One: [rate(1)], Two: [null] }).systems.length, 1);
});

test("what a peer lacks is told for the cases that were measured", () => {
  const told = remarks(report({ Two: [rate(1)] }));
  assert.ok(told.includes("One is not in drain: it holds nothing back."));
  assert.ok(!told.join().includes("HTTP"));
});

test("the table has a row for each system, and the case once", () => {
  const shown = report({ One: [rate(1234.5)], Two: [rate(500)] });
  assert.deepEqual(rows(shown).map((row) => row.slice(0, 7)), [
    ["drain", "One", "1,235", "1,235", "1,235", "/s", ""],
    ["", "Two", "500", "500", "500", "/s", "2.47"],
  ]);
  assert.match(text(shown), /^measured +system .*\ndrain +One /);
  assert.match(markdown(shown), /\| drain \| One \| 1,235 \|/);
  assert.match(markdown(shown), /- The same Redis 7 for all: appendonly yes, appendfsync everysec\./);
});

test("a system alone is compared with nobody, and shows what Redis gets, sends and keeps", () => {
  const shown = report({ One: [rate(1234.5)] }, []);
  assert.deepEqual(rows(shown), [
    ["drain", "1,235", "1,235", "1,235", "/s", "10", "0", "10", "10", "0", "30", "70", "20", "10", "50"],
  ]);
  const [first] = text(shown).split("\n");
  assert.match(first, /^measured +median .* Redis: bytes received .* MiB$/);
});

test("an operation that starts before an earlier one of its key is out of order", () => {
  const tally = new Tally();
  const ran = (...noted) => tally.add({ ran: noted.length, first: 1, last: 9, noted });
  // Key, place, submit, start. The lines of two workers come as they come.
  ran([1, 1, 0, 20], [2, 0, 0, 10]);
  ran([1, 0, 0, 10], [1, 2, 0, 30]);
  assert.equal(tally.outOfOrder(), 0);
  ran([2, 2, 0, 40], [2, 1, 0, 50]);
  assert.equal(tally.outOfOrder(), 1);
});

test("a tally waits for the lines of all workers", async () => {
  const tally = new Tally();
  const all = tally.until(3);
  tally.add({ ran: 1, first: 5, last: 6, noted: [] });
  tally.add({ ran: 2, first: 4, last: 9, noted: [] });
  await all;
  assert.deepEqual([tally.count, tally.first, tally.last], [3, 4, 9]);
});

test("a percentile is not exceeded by its share", () => {
  const hundred = Array.from({ length: 100 }, (_, number) => 100 - number);
  assert.equal(percentile(hundred, 50), 50);
  assert.equal(percentile(hundred, 99), 99);
  assert.equal(percentile([7], 99), 7);
});
