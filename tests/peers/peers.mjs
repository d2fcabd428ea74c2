// The peers: how each is started, as its users do, and with which settings.
//
// A peer has
//   name, version  for people
//   settings       what a reader must know to judge the figures
//   start          starts its programs for a case: { producer, managers, workers }
//   lacks          why a case cannot be measured, by the name of the case
//   share          the share of the operations that it gets, if it is much slower

import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { Program } from "./program.mjs";

const here = dirname(fileURLToPath(import.meta.url));
// The environment without settings of Drumline: those of a fleet are not for this.
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(DRUMLINE|PEERS)_/.test(name)),
);

// The things that the programs of one case share: the servers, the folder of their logs, and the
// listener to the lines of workers.
export class Place {
  constructor({ redis, amqp, modules, python, run }) {
    Object.assign(this, { redis, amqp, modules, python, run });
  }

  // Starts a program.
  start(name, command, { env = {}, ready, heard } = {}) {
    return new Program(name, command, {
      env: { ...environment, PEERS_MODULES: this.modules, PEERS_REDIS_URL: this.redis, PEERS_AMQP_URL: this.amqp, ...env },
      log: join(this.run, `${name}.log`),
      ready,
      heard,
    });
  }

  // Starts so many of a kind, side by side, and waits until all are ready.
  async many(count, one) {
    const programs = Array.from({ length: count }, (_, number) => one(number + 1));
    await Promise.all(programs.map((program) => program.ready()));
    return programs;
  }
}

// The version of a package of npm that is installed.
const packageVersion = (modules, name) => JSON.parse(readFileSync(join(modules, "node_modules", name, "package.json"))).version;

// The version of a package of PyPI that is pinned.
const pinnedVersion = (name) => new RegExp(`^${name}==(\\S+)`, "m").exec(readFileSync(join(here, "python/requirements.txt"), "utf8"))[1];

export const drumline = {
  name: "Drumline",
  version: () => spawnSync("drumline", ["--version"], { encoding: "utf8" }).stdout.trim().split(" ").pop(),
  settings: [
    "One queue manager with its defaults, and workers on the SDK with one function as the handler.",
    "Created over HTTP with the client of the SDK. Each create is answered when Redis has it.",
    "Messages go through durable quorum queues, with confirms.",
  ],
  lacks: {},
  async start(place, { managers = 1, workers, concurrency, http, heard }) {
    const servers = { DRUMLINE_REDIS_URL: place.redis, DRUMLINE_AMQP_URL: place.amqp };
    const all = await place.many(managers, (number) => place.start(
      `drumline-manager-${number}`,
      ["drumline", "queue-manager", "--listen", "127.0.0.1:0"],
      { env: servers, ready: /^ready (http\S+)$/ },
    ));
    const url = await all[0].ready();
    return {
      managers: all,
      producer: http
        ? await load(place, "drumline", `${url}/v1/operations`, (data) => ({ messageName: "Note", data }))
        : (await place.many(1, () => place.start("drumline-producer", ["drumline-peer", "produce", url])))[0],
      workers: () => place.many(workers, (number) => place.start(
        `drumline-worker-${number}`,
        ["drumline-peer", "work"],
        { env: { ...servers, DRUMLINE_CONCURRENCY: String(concurrency) }, ready: / ready$/, heard },
      )),
    };
  },
};

const bullmq = {
  name: "BullMQ",
  version: (place) => packageVersion(place.modules, "bullmq"),
  settings: [
    "No service: producer and workers talk to Redis themselves. Each worker is a process of Node. Finished jobs are kept, as they are by default.",
    "The free edition has no groups: each key is a queue, with a worker that takes one job at a time. All of these workers are in one process.",
    "It has no HTTP: a server of Node that adds a job for each request stands in (under manager).",
  ],
  lacks: {},
  async start(place, { workers, concurrency, keys, http, heard }) {
    const node = (program, ...args) => [process.execPath, join(here, "bullmq", program), ...args.map(String)];
    const managers = http ? await place.many(1, () => place.start("bullmq-http", node("http.mjs"))) : [];
    return {
      managers,
      producer: http
        ? await load(place, "bullmq", await managers[0].ready(), (data) => data)
        : (await place.many(1, () => place.start("bullmq-producer", node("produce.mjs", keys))))[0],
      workers: () => place.many(workers, (number) => place.start(
        `bullmq-worker-${number}`,
        node("work.mjs", keys, concurrency),
        { heard },
      )),
    };
  },
};

// A peer of Python: a module that produces, and its own command that works.
const onPython = (folder, work, peer) => ({
  version: () => pinnedVersion(folder),
  async start(place, { workers, heard, ...rest }) {
    const bin = (name) => join(place.python, "bin", name);
    const env = {
      PYTHONPATH: [join(here, folder), join(here, "python")].join(":"),
      // Not beside the sources.
      PYTHONPYCACHEPREFIX: join(place.run, "pycache"),
    };
    const [producer] = await place.many(1, () => place.start(`${folder}-producer`, [bin("python"), "-m", "produce"], { env }));
    return {
      managers: [],
      producer,
      workers: () => place.many(workers, (number) => place.start(
        `${folder}-worker-${number}`,
        work({ ...rest, bin, number, place }),
        { env, heard, ready: peer.ready },
      )),
    };
  },
  ...peer,
});

const noKeys = "a queue for each key needs a worker process for each";
const noHttp = "it has no HTTP";

const celery = onPython("celery", ({ bin, number, concurrency, sleep, keys }) => [
  bin("celery"), "--app", "tasks", "--quiet", "worker", "--loglevel", "WARNING", "--hostname", `worker-${number}@localhost`,
  ...(sleep > 0 ? ["--pool", "threads", "--concurrency", String(concurrency)] : []),
  // One at a time is the only order that it has.
  ...(keys === 1 ? ["--concurrency", "1"] : []),
], {
  name: "Celery",
  // Much slower than the others: with as many operations, most of the minutes would be its own.
  share: 0.1,
  settings: [
    "On the same RabbitMQ with durable quorum queues and confirms, acknowledged after the run (acks_late); results in the same Redis.",
    `The default pool of processes, one for each core (${cpus().length}); for handlers that sleep the pool of threads.`,
    "One key in order is a worker that runs one at a time. At most 10 callers, each a thread. A tenth of the operations.",
  ],
  lacks: { http: noHttp, "keys-one-by-one": noKeys, "keys-batches": noKeys, batches: "it publishes one message a call" },
});

const rq = onPython("rq", ({ bin, place }) => [
  bin("rq"), "worker", "--url", place.redis, "tasks",
], {
  name: "RQ",
  share: 0.02,
  settings: [
    "On the same Redis. A worker forks for each job, and runs one at a time, as it does by default. At most 10 callers, each a thread. A fiftieth of the operations.",
  ],
  // A line of its log.
  ready: /Listening on/,
  lacks: { http: noHttp, "keys-one-by-one": noKeys, "keys-batches": noKeys },
});

// A port of this machine that is free, for a server that must be told.
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

const oneAddress = "several workers need a load balancer, and none limits what it runs";

const restate = {
  name: "Restate",
  version: (place) => packageVersion(join(place.modules, "restate"), "@restatedev/restate-server"),
  settings: [
    "A server of its own in one binary (under manager), with its own log on disk instead of Redis, which it syncs by default. The worker is a service on its SDK for Node, which logs warnings only.",
    "A key is a virtual object. It takes one invocation a call: one key is submitted by one caller.",
  ],
  lacks: {
    batches: "it takes one invocation a call",
    "keys-batches": "it takes one invocation a call",
    drain: "it accepts nothing before a worker is there",
    ...Object.fromEntries(["two-workers", "workers-1", "workers-2", "workers-4", "workers-8", "idle"].map((name) => [name, oneAddress])),
  },
  async start(place, { http, heard }) {
    const data = join(place.run, "restate");
    rmSync(data, { recursive: true, force: true });
    const [ingress, admin, internal] = [await freePort(), await freePort(), await freePort()];
    // Its packages are in a folder of their own, because they are fetched where they are asked for.
    const modules = join(place.modules, "restate");
    const node = (program, ...args) => [process.execPath, join(here, "restate", program), ...args];
    const server = join(modules, "node_modules/@restatedev", `restate-server-${process.platform}-${process.arch}`, "bin/restate-server");
    const managers = await place.many(1, () => place.start("restate-server", [
      server, "--no-logo", "--listen-mode", "tcp", "--bind-ip", "127.0.0.1", "--base-dir", data, "--node-name", "bench",
    ], {
      env: { RESTATE_INGRESS__BIND_PORT: ingress, RESTATE_ADMIN__BIND_PORT: admin, RESTATE_BIND_PORT: internal, RESTATE_DISABLE_TELEMETRY: "true", RESTATE_LOG_DISABLE_ANSI_CODES: "true" },
      ready: /were started$/,
    }));
    const url = `http://127.0.0.1:${ingress}`;
    return {
      managers,
      producer: http
        ? await load(place, "restate", `${url}/tasks/note/send`, (task) => task)
        : (await place.many(1, () => place.start("restate-producer", node("produce.mjs", url), { env: { PEERS_MODULES: modules } })))[0],
      async workers() {
        const workers = await place.many(1, () => place.start("restate-worker", node("work.mjs"), { env: { PEERS_MODULES: modules, RESTATE_LOGGING: "WARN" }, heard }));
        const answer = await fetch(`http://127.0.0.1:${admin}/deployments`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ uri: await workers[0].ready() }),
        });
        if (!answer.ok) throw new Error(`Restate does not take its worker: ${answer.status} ${await answer.text()}`);
        return workers;
      },
    };
  },
};

// The load generator for a peer over HTTP. All requests have the same body.
async function load(place, name, url, body) {
  const data = { key: 0, seq: 0, at: 0, note: false, sleep: 0, pad: "" };
  data.pad = "x".repeat(512 - JSON.stringify(data).length);
  const [program] = await place.many(1, () => place.start(`${name}-load`, [
    process.execPath, join(here, "load.mjs"), url, JSON.stringify(body(data)),
  ]));
  return program;
}

export const PEERS = { bullmq, celery, rq, restate };
// Peers that run only where they are asked for: see run.sh.
export const ASKED_FOR = ["restate"];
