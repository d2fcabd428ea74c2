// Measures Drumline and other queues in the same minutes: `make bench-peers`.
//
//   round 1: case 1: Drumline, BullMQ, …   case 2: Drumline, BullMQ, …   …
//   round 2: case 1: Drumline, BullMQ, …   …
//
// README.md says what is where. run.sh installs the peers and starts the servers.
// The environment: PEERS_MODULES, PEERS_PYTHON, PEERS_RUN are the folders with the
// packages of npm, with those of PyPI, and for logs.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

import { CASES, round as measure } from "./cases.mjs";
import { GROWTH } from "./growth.mjs";
import { machine } from "./machine.mjs";
import { ASKED_FOR, drumline, PEERS, Place } from "./peers.mjs";
import { prediction } from "./model.mjs";
import { markdown, summarize, text } from "./report.mjs";
import { Servers } from "./servers.mjs";

const USAGE = `usage: make bench-peers ARGS='[--only CASE,…] [--peers PEER,…] [--rounds 5] [--scale 1] [--fsync everysec|always] [--json FILE]'
       make bench-growth ARGS='…'          Drumline alone, and how its cost grows
       tests/peers/run.sh --show FILE     the table of an earlier run, as Markdown

  --only    only these cases: ${CASES.map(({ name }) => name).join(", ")};
            with --growth: ${GROWTH.map(({ name }) => name).join(", ")}
  --peers   only these peers: ${Object.keys(PEERS).join(", ")} [all but ${ASKED_FOR.join(", ")}]
  --rounds  rounds of each case; the median counts
  --scale   multiplies the numbers of operations; 0.05 for a try
  --fsync   appendfsync of Redis, for all [everysec, as the peers are usually run]
  --growth  Drumline alone: how its cost grows
  --json    file for the figures [target/run/peers/report.json]`;

function options() {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: "string" },
        peers: { type: "string", default: Object.keys(PEERS).filter((name) => !ASKED_FOR.includes(name)).join(",") },
        rounds: { type: "string", default: "5" },
        scale: { type: "string", default: "1" },
        fsync: { type: "string", default: "everysec" },
        growth: { type: "boolean", default: false },
        json: { type: "string" },
        show: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    const known = (names, all) => names.split(",").map((name) => {
      if (!all[name]) throw new Error(`there is no ${name}`);
      return all[name];
    });
    const number = (name) => {
      const value = Number(values[name]);
      if (!(value > 0)) throw new Error(`--${name} is a number above 0`);
      return value;
    };
    const cases = values.growth ? GROWTH : CASES;
    return {
      ...values,
      rounds: Math.ceil(number("rounds")),
      scale: number("scale"),
      cases: values.only ? known(values.only, Object.fromEntries(cases.map((one) => [one.name, one]))) : cases,
      systems: [drumline, ...(values.growth ? [] : known(values.peers, PEERS))],
    };
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
  const shown = JSON.parse(readFileSync(given.show));
  console.log([markdown(shown), ...prediction(shown)].join("\n"));
  process.exit(0);
}
// An end from outside leaves nothing behind.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

const { PEERS_MODULES: modules, PEERS_PYTHON: python, PEERS_RUN: run } = process.env;
// The variables of private servers alone, so that no other Redis is emptied.
const { DRUMLINE_TEST_REDIS_URL: redis, DRUMLINE_TEST_AMQP_URL: amqp } = process.env;
if (!modules || !run || !redis || !amqp) throw new Error("start it with `make bench-peers` or tests/peers/run.sh");
mkdirSync(run, { recursive: true });
const place = new Place({ redis, amqp, modules: resolve(modules), python: python && resolve(python), run: resolve(run) });
const servers = await Servers.connect(place, given.fsync);

const report = {
  measured: new Date().toISOString(),
  machine: machine(),
  redis: await servers.described(),
  rabbitmq: servers.rabbitmq,
  rounds: given.rounds,
  scale: given.scale,
  systems: given.systems.map((peer) => ({ name: peer.name, version: peer.version(place), settings: peer.settings, lacks: peer.lacks })),
  cases: [],
  failures: [],
};
const file = given.json ?? resolve(run, given.growth ? "growth.json" : "report.json");
// By case and system: the rounds so far.
const found = Object.fromEntries(given.cases.map(({ name }) => [name, {}]));

// Writes what is known so far, so that a run that is ended was not for nothing.
function write() {
  report.cases = given.cases.filter(({ name }) => Object.keys(found[name]).length > 0).map((one) => summarize(one, found[one.name]));
  writeFileSync(`${file}.part`, `${JSON.stringify(report, null, 2)}\n`);
  renameSync(`${file}.part`, file);
}

for (let number = 1; number <= given.rounds; number += 1) {
  for (const one of given.cases) {
    for (const peer of given.systems.filter(({ lacks }) => !lacks[one.name])) {
      process.stderr.write(`round ${number} of ${given.rounds}: ${one.name}, ${peer.name}\n`);
      await servers.empty();
      let result = null;
      try {
        result = await measure(place, peer, one, given.scale, servers);
      } catch (error) {
        report.failures.push({ system: peer.name, name: one.name, round: number, reason: error.message });
        process.stderr.write(`  failed: ${error.message}\n`);
      }
      (found[one.name][peer.name] ??= []).push(result);
      write();
    }
  }
}
await servers.empty();
servers.close();
console.log([text(report), ...prediction(report)].join("\n"));
console.error(`\nthe figures are in ${file}`);
process.exitCode = report.failures.length > 0 ? 1 : 0;
