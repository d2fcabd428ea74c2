// A worker of Restate: a service without keys, and an object with keys. The server of
// Restate calls it.

import { once } from "node:events";
import { createServer } from "node:net";

import { Journal, modules, tell } from "../node/line.mjs";

const restate = modules("@restatedev/restate-sdk");
const journal = new Journal();
const note = async (_context, task) => journal.run(task);

// A port that is free: the server must be told of it.
const probe = createServer().listen(0, "127.0.0.1");
await once(probe, "listening");
const { port } = probe.address();
probe.close();
await once(probe, "close");

await restate.serve({
  services: [restate.service({ name: "tasks", handlers: { note } }), restate.object({ name: "keys", handlers: { note } })],
  port,
});
tell({ ready: true, url: `http://127.0.0.1:${port}` });
process.once("SIGTERM", () => process.exit(0));
