// Lines of JSON between the programs of a peer and the driver, for peers on Node.
// README.md has the lines.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

// A module of a peer. They are not beside the sources, so that the checks of the sources do
// not meet them.
export const modules = (name) => createRequire(join(process.env.PEERS_MODULES, "node_modules/"))(name);

// Whole milliseconds are too coarse, and `Date.now` rounds down: the largest difference
// to the monotonic clock is the one that was read right after a step.
let ahead = -Infinity;
for (const end = Date.now() + 20; Date.now() < end;) ahead = Math.max(ahead, Date.now() - performance.now());

// Microseconds since 1970.
export function now() {
  return Math.round((ahead + performance.now()) * 1000);
}

// Writes a line for the driver.
export function tell(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

// Serves orders until standard input ends.
export async function serve(fulfil) {
  tell({ ready: true });
  for await (const line of createInterface(process.stdin)) {
    const start = now();
    await fulfil(JSON.parse(line));
    tell({ start, end: now() });
  }
  // Connections to Redis would keep the process.
  process.exit(0);
}

// Makes payloads of `size` bytes of JSON.
export function payloads({ size, note, sleep }) {
  const task = (key, seq, pad) => ({ key, seq, at: now(), note, sleep, pad });
  const digits = (key, seq) => `${key}${seq}`.length;
  const room = size - JSON.stringify(task(0, 0, "")).length;
  const pad = "x".repeat(Math.max(0, room));
  // Longer numbers take the place of filling.
  return (key, seq) => task(key, seq, pad.slice(digits(key, seq) - digits(0, 0)));
}

// The runs of a worker.
export class Journal {
  #ran = { ran: 0, first: 0, last: 0, noted: [] };

  // The handler of all peers: sleeps if the task says so, and notes the run.
  async run(task) {
    const started = now();
    if (task.sleep > 0) await new Promise((resolve) => { setTimeout(resolve, task.sleep); });
    const ran = this.#ran;
    // Short beside a measurement, and so long that the lines cost the worker nothing to speak of. A
    // worker with nothing to do has no timer here.
    if (ran.ran === 0) setTimeout(() => this.#tell(), 50);
    ran.first = ran.ran === 0 ? started : Math.min(ran.first, started);
    ran.last = Math.max(ran.last, now());
    ran.ran += 1;
    if (task.note) ran.noted.push([task.key, task.seq, task.at, started]);
  }

  #tell() {
    tell(this.#ran);
    this.#ran = { ran: 0, first: 0, last: 0, noted: [] };
  }
}

// The runs of `count` tasks by so many callers at the same time.
export async function share(callers, count, step, call) {
  let next = 0;
  const caller = async () => {
    while (next < count) {
      const first = next;
      next += step;
      await call(first, Math.min(count, first + step));
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

// Calls at a fixed rate, whether or not the calls before have ended.
export async function atRate(rate, count, call) {
  const start = performance.now();
  const calls = [];
  for (let number = 0; number < count; number += 1) {
    const early = start + number * 1000 / rate - performance.now();
    if (early > 0) await new Promise((resolve) => { setTimeout(resolve, early); });
    calls.push(call(number));
  }
  await Promise.all(calls);
}
