// The queues of BullMQ, for its producer and its workers.
//
// The free edition has no groups. So each key is a queue of its own, and its worker takes
// one job at a time.

import { modules } from "../node/line.mjs";

const { Queue, Worker } = modules("bullmq");
const { hostname: host, port } = new URL(process.env.PEERS_REDIS_URL);

// One queue for all jobs, or one for each key.
const names = (keys) => (keys === 0 ? ["tasks"] : Array.from({ length: keys }, (_, key) => `tasks-${key}`));

// The queues for a producer, ready for jobs.
export async function queues(keys) {
  const all = names(keys).map((name) => new Queue(name, { connection: { host, port: Number(port) } }));
  await Promise.all(all.map((queue) => queue.waitUntilReady()));
  return all;
}

// Workers of all queues, ready for jobs.
export async function workers(keys, concurrency, run) {
  // Documented as necessary for workers: they wait for Redis, however long it takes.
  const connection = { host, port: Number(port), maxRetriesPerRequest: null };
  const limit = keys === 0 ? concurrency : 1;
  const all = names(keys).map((name) => new Worker(name, run, { connection, concurrency: limit }));
  for (const worker of all) worker.on("error", (error) => console.error(error));
  await Promise.all(all.map((worker) => worker.waitUntilReady()));
  return all;
}
