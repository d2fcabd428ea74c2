// A worker of BullMQ: work.mjs KEYS CONCURRENCY

import { Journal, tell } from "../node/line.mjs";
import { workers } from "./queues.mjs";

const [keys, concurrency] = process.argv.slice(2).map(Number);
const journal = new Journal();
const all = await workers(keys, concurrency, (job) => journal.run(job.data));
tell({ ready: true });
process.once("SIGTERM", async () => {
  await Promise.all(all.map((worker) => worker.close()));
  process.exit(0);
});
