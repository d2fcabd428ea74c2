// BullMQ has no HTTP. This is the least that a user would put before it: a server of Node
// that adds a job for each request.

import { createServer } from "node:http";

import { tell } from "../node/line.mjs";
import { queues } from "./queues.mjs";

const [queue] = await queues(0);
const server = createServer(async (request, response) => {
  try {
    const parts = [];
    for await (const part of request) parts.push(part);
    const job = await queue.add("note", JSON.parse(Buffer.concat(parts)));
    response.writeHead(201, { "content-type": "application/json" }).end(JSON.stringify({ id: job.id }));
  } catch (error) {
    console.error(error);
    response.writeHead(500).end();
  }
});
server.listen(0, "127.0.0.1", () => tell({ ready: true, url: `http://127.0.0.1:${server.address().port}/` }));
process.once("SIGTERM", () => process.exit(0));
