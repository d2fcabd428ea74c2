// A plain load generator over HTTP/1.1, for all peers: load.mjs URL BODY. Its orders name
// the connections, which are kept alive, as callers.

import { modules, serve } from "./node/line.mjs";

const autocannon = modules("autocannon");
const [url, body] = process.argv.slice(2);

await serve(async ({ callers, count }) => {
  const result = await autocannon({
    url,
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
    connections: callers,
    amount: count,
  });
  if (result["2xx"] !== count) throw new Error(`only ${result["2xx"]} of ${count} requests were accepted: ${JSON.stringify(result)}`);
});
