// The table: percentiles, and whether a target is reached.

import assert from "node:assert/strict";
import { test } from "node:test";

import { operation } from "./mix.mjs";
import { percentile, row, text } from "./report.mjs";

test("a percentile is one of the values", () => {
  const values = Array.from({ length: 40 }, (_, number) => 40 - number);
  assert.equal(percentile(values, 95), 38);
  assert.equal(percentile(values, 100), 40);
  assert.equal(percentile([7], 90), 7);
});

test("a target is reached when all of its parts are", () => {
  const targets = { most: { p50: 8, p95: 25 }, least: { rate: 2_000 } };
  assert.equal(row("page", { p50: 8, p95: 25, rate: 2_000 }, targets).reached, true);
  assert.equal(row("page", { p50: 8, p95: 25.1, rate: 2_000 }, targets).reached, false);
  assert.equal(row("page", { p50: 8, p95: 25, rate: 1_999 }, targets).reached, false);
  assert.equal(row("page", { p50: 8, p95: NaN, rate: 2_000 }, targets).reached, false, "what is not known is not reached");
  assert.equal(row("page", { p50: 8 }).reached, null);
});

test("the table says what was missed", () => {
  const rows = [row("page", { p50: 9.126, p95: 20 }, { unit: "ms", most: { p50: 8 } }), row("memory", { MiB: 1_234.5 })];
  const lines = text({ rows, remarks: ["as measured"] }).split("\n").map((line) => line.replaceAll(/ +/g, " "));
  assert.equal(lines[2], "| page | p50 9.13, p95 20 ms | p50 ≤ 8 | **no** |");
  assert.equal(lines[3], "| memory | MiB 1,235 | | |");
  assert.equal(lines.at(-1), "- as measured");
});

test("each thousand has 1 Locked and 10 Suspended operations, and none that starts behind these", () => {
  const all = Array.from({ length: 1_000 }, (_, place) => operation(5_000 + place));
  const ends = (how) => all.filter(({ data }) => data.ends === how);
  const postponed = all.filter((one) => one.postponeUntil);
  const series = all.filter((one) => one.recurrencePattern);
  assert.equal(ends("never").length, 1);
  assert.equal(postponed.length + series.length + ends("for a person").length, 10);
  assert.equal(ends("succeeds").length + ends("fails").length, 100);
  const waits = new Set();
  for (const one of all.filter(({ dependencyToken }) => dependencyToken)) {
    if (one.postponeUntil || one.data.ends) waits.add(one.dependencyToken);
    assert.ok(waits.has(one.dependencyToken), `${one.name} is behind one that waits`);
  }
});
