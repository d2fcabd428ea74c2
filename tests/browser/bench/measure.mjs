// The single measurements: pages by plain HTTP, pages in the browser, and what viewers cost.

import { Agent, get } from "node:http";
import { connect } from "node:net";

import { memory, processorTime } from "../../peers/machine.mjs";
import { median } from "../../peers/report.mjs";

export const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

// The answer to a GET: its status, its bytes, and the milliseconds to its first one.
export function ask(address, { agent, headers = { "accept-encoding": "gzip" } } = {}) {
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    const request = get(address, { agent, headers }, async (response) => {
      const first = performance.now() - begun;
      const parts = [];
      try {
        for await (const part of response) parts.push(part);
      } catch (error) {
        reject(error);
      }
      const body = Buffer.concat(parts);
      if (response.statusCode >= 400) reject(new Error(`${address}: answered ${response.statusCode}`));
      resolve({ first, bytes: body.length, body, encoding: response.headers["content-encoding"] ?? "none" });
    });
    request.on("error", reject);
  });
}

// Asks for a page again and again, over one connection: the times to the first byte, and the
// most bytes. `path` is that of the n-th request.
export async function served(url, path, requests) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const answers = [];
  // The first ones open the connection and warm what is cold.
  for (let number = -3; number < requests; number += 1) {
    const answer = await ask(url + path(number + 3), { agent });
    if (number >= 0) answers.push(answer);
  }
  agent.destroy();
  return { times: answers.map(({ first }) => first), bytes: Math.max(...answers.map(({ bytes }) => bytes)), encoding: answers[0].encoding };
}

// Loads a page in the browser, and returns the times since the start of the navigation, and
// what was transferred for it.
export async function shown(page, address) {
  await page.goto(address);
  return page.evaluate(async () => {
    const paint = await new Promise((resolve) => {
      new PerformanceObserver((list) => {
        const found = list.getEntriesByName("first-contentful-paint")[0];
        if (found) resolve(found.startTime);
      }).observe({ type: "paint", buffered: true });
    });
    const [navigation] = performance.getEntriesByType("navigation");
    const files = performance.getEntriesByType("resource").filter(({ name }) => !new URL(name).pathname.startsWith("/live"));
    const sent = [navigation, ...files].filter(({ transferSize }) => transferSize > 0);
    return {
      firstByte: navigation.responseStart,
      paint,
      ready: navigation.domContentLoadedEventEnd,
      bytes: sent.reduce((sum, { transferSize }) => sum + transferSize, 0),
      requests: sent.length,
    };
  });
}

// The addresses of the live streams that the pages open, as the script of the console does.
async function streamOf(url, path) {
  const html = (await ask(url + path, { headers: {} })).body.toString();
  const attribute = (name) => new RegExp(`${name}="([^"]*)"`).exec(html)?.[1].replaceAll("&#38;", "&").replaceAll("&amp;", "&");
  const rows = [...html.matchAll(/data-id="([^"]+)" data-version="([^"]+)"/g)].map(([, id, version]) => `${id}.${version}`);
  const query = new URLSearchParams({ rows: rows.join(",") });
  if (attribute("data-new") && rows.length > 0) query.set("newest", rows[0].split(".")[0]);
  const address = attribute("data-live");
  return `${url}${address}${address.includes("?") ? "&" : "?"}${query}`;
}

// People who look at pages: each holds the stream of one.
export class Viewers {
  #streams = [];
  bytes = 0;

  static async open(url, paths) {
    const viewers = new Viewers();
    for (const path of paths) {
      const address = await streamOf(url, path);
      const response = await new Promise((resolve, reject) => {
        get(address, { agent: false, headers: { accept: "text/event-stream" } }, resolve).on("error", reject);
      });
      if (response.statusCode !== 200) throw new Error(`${address}: answered ${response.statusCode}`);
      response.on("data", (part) => { viewers.bytes += part.length; });
      response.on("error", () => {});
      viewers.#streams.push(response);
    }
    return viewers;
  }

  close() {
    for (const stream of this.#streams) stream.destroy();
  }
}

// The commands that Redis has executed so far, those of scripts included.
async function commands(redis) {
  const { hostname, port } = new URL(redis);
  const socket = connect(Number(port), hostname);
  socket.write("INFO commandstats\r\nQUIT\r\n");
  let text = "";
  for await (const part of socket) text += part;
  return [...text.matchAll(/calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0);
}

// The commands of Redis in a second: the median of some seconds, one by one. Every few seconds
// the manager looks into its partitions, which takes more commands than all viewers.
export async function commandRate(redis, seconds) {
  const rates = [];
  let last = { at: performance.now(), commands: await commands(redis) };
  for (let number = 0; number < seconds; number += 1) {
    await pause(1_000);
    const next = { at: performance.now(), commands: await commands(redis) };
    rates.push((1_000 * (next.commands - last.commands)) / (next.at - last.at));
    last = next;
  }
  return median(rates);
}

// The cost of some seconds by group: per cent of a core, and MiB.
export async function cost(groups, seconds) {
  const begun = performance.now();
  const first = processorTime(groups);
  await pause(seconds * 1_000);
  const last = processorTime(groups);
  const passed = (performance.now() - begun) / 1_000;
  const percent = Object.keys(groups).map((name) => [name, (100 * (last[name] - first[name])) / passed]);
  return { cpu: Object.fromEntries(percent), memory: memory(groups, "VmRSS") };
}

// A modest load: so many operations a second are created, and run.
export class Load {
  #sent = [];

  constructor(api, rate) {
    let number = 0;
    this.timer = setInterval(() => {
      number += 1;
      this.#sent.push(api("POST", "/v1/operations", { messageName: "Note", name: `load ${number}`, data: { number } }));
      this.#sent.at(-1).catch(() => {});
    }, 1_000 / rate);
  }

  // Ends it, and fails if a create has failed.
  async stop() {
    clearInterval(this.timer);
    await Promise.all(this.#sent);
  }
}
