// The capacity model of `make bench-growth`.

import assert from "node:assert/strict";
import test from "node:test";

import { foretell, line, model, prediction } from "./model.mjs";

// A report in which an operation costs what `cost` says of its case.
function report(cost) {
  const kinds = {
    "kib-0.5": { how: "one-by-one", kib: 0.5 },
    "kib-4": { how: "one-by-one", kib: 4 },
    "kib-16": { how: "one-by-one", kib: 16 },
    "kib-64": { how: "one-by-one", kib: 64 },
    batches: { how: "batches", kib: 0.5 },
    "tokens-1k": { how: "batches", kib: 0.5, token: true },
    "mixed-one-by-one": { how: "one-by-one", kib: 32 },
    "mixed-batches": { how: "batches", kib: 2, token: true },
  };
  const cases = Object.entries(kinds).map(([name, kind]) => {
    const value = cost(kind);
    const cpu = { client: value, manager: value, worker: value, redis: value, rabbitmq: value, all: 5 * value, ratio: null };
    return { name, systems: [{ cpu, bytes: { received: value, sent: value, held: value } }] };
  });
  return { cases };
}

const straight = ({ how, kib, token }) => (how === "batches" ? 40 : 100) + 3 * (kib - 0.5) + (token ? 20 : 0);

test("a line goes through points that are on one", () => {
  const { slope, start } = line([[0.5, 2], [4, 9], [64, 129]]);
  assert.ok(Math.abs(slope - 2) < 1e-9);
  assert.ok(Math.abs(start - 1) < 1e-9);
});

test("a cost that follows the model is foretold exactly", () => {
  const found = model(report(straight));
  for (const kind of [{ how: "one-by-one", kib: 32, token: false }, { how: "batches", kib: 2, token: true }]) {
    assert.ok(Math.abs(foretell(found.redis, kind) - straight(kind)) < 1e-6);
  }
});

test("the lines compare the model with what was measured, and tell the cores that a rate needs", () => {
  const told = prediction(report((kind) => straight(kind) * (kind.kib === 32 ? 2 : 1)));
  assert.ok(told.includes("| mixed-one-by-one | Redis, µs | 195 | 389 | 0.50 |"));
  assert.ok(told.includes("| mixed-batches | Redis, µs | 65 | 65 | 1.00 |"));
  // 10,000 operations of 100 µs each on cores that are 60 % busy.
  assert.ok(told.includes("| 10,000 /s | 1.7 | 1.7 | 1.7 | 1.7 | 1.7 | 2 |"));
});

test("without all cases there is no model", () => {
  const { cases } = report(straight);
  assert.equal(model({ cases: cases.slice(1) }), null);
  assert.deepEqual(prediction({ cases: cases.slice(1) }), []);
});
