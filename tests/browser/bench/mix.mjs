// The operations of the store that is measured: of each thousand 1 is Locked, 10 are
// Suspended and 100 are Completed. The others are Ready: 589 behind a Locked or Suspended
// one of their token, and 300 in queues that no worker serves.

import { once } from "node:events";
import { createServer } from "node:http";

export const BATCH = 1_000;
// Each organization may have two batches at the same time.
const LANES = 2;
// The longest time in which a batch is refused again and again, or in which nothing changes.
const LIMIT = 120_000;

export const SERVED = ["default", "imports", "mails"];
export const LONG = "long";
const UNSERVED = ["night-1", "night-2", "night-3"];

// The operations with which no operation behind them in their token can start.
const HEADS = [0, 100, 200, 300, 400, 500, 600, 700, 800];
const SERIES = 960;
const LOCKED = 550;
// About one in twenty of those that end has Failed, with every error for every message name.
const FAILS = 210;

// None of them is an asynchronous request, which an organization runs one at a time.
const MESSAGES = ["ImportCatalog", "SyncAccounts", "SendInvoice", "SendMail", "RefreshPrices", "CloseBooks", "ExportReport", "CleanUp"];
const RECORDS = ["account", "solution", "invoice", "contact"];
const ERRORS = [
  "the mail server refuses the recipient",
  "the account has no owner",
  "a column of the import is missing",
  "the price list has ended",
  "the invoice was sent before",
  "the currency of the order is unknown",
  "the file is not a solution",
  "the period is closed",
  "the report needs a printer",
  "the contact was merged into another one",
  "the address has no country",
  "the certificate of the partner has expired",
];

const day = (days) => new Date(Date.now() + days * 86_400_000).toISOString();
const pick = (list, number) => list[Math.floor(number) % list.length];

export const tokenOf = (number) => `contoso-${Math.floor(number)}`;
export const recordOf = (number) => `00000000-0000-7000-8000-${Math.floor(number / 10).toString(16).padStart(12, "0")}`;
export const nameOf = (number) => `contoso_${number}`;

// The n-th operation.
export function operation(number) {
  const place = number % BATCH;
  const common = {
    name: nameOf(number),
    messageName: pick(MESSAGES, number / 10),
    primaryEntityType: pick(RECORDS, number / 10),
    regardingObjectId: recordOf(number),
    queue: pick(SERVED, number / 10),
    data: { file: `contoso_${number}.zip`, environment: "https://contoso.example", overwrite: true },
  };
  const ends = (how, error) => ({ ...common, data: { ...common.data, ends: how, error } });
  const token = tokenOf(number - place + Math.max(...HEADS.concat(LOCKED).filter((head) => head <= place)));
  if (place === LOCKED) return { ...ends("never"), queue: LONG, dependencyToken: token };
  if (place === SERIES) return { ...common, recurrencePattern: "FREQ=DAILY;INTERVAL=3", recurrenceStartTime: day(1) };
  if (place === 100 || place === 200) return { ...ends("for a person", pick(ERRORS, number / BATCH)), dependencyToken: token };
  if (HEADS.includes(place)) return { ...common, dependencyToken: token, postponeUntil: day(1 + (number / BATCH) % 30) };
  if (place % 10 === 7) return number % FAILS === 7 ? ends("fails", pick(ERRORS, number / FAILS / MESSAGES.length)) : ends("succeeds");
  if (place % 10 === 1 || place % 10 === 4 || place % 10 === 8) return { ...common, queue: pick(UNSERVED, number) };
  return { ...common, dependencyToken: token };
}

// A web service as the handler of all operations. An operation ends as its data say.
export class Handler {
  #held = new Map();
  #waiting = new Map();

  async listen() {
    this.server = createServer(async (request, response) => {
      let body = "";
      for await (const part of request) body += part;
      const { ends, error } = JSON.parse(body).data ?? {};
      const answer = (status, value) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
      if (ends === "never") {
        const id = request.headers["drumline-operation-id"];
        this.#held.set(id, () => answer(200, {}));
        this.#waiting.get(id)?.();
      } else if (ends === "fails" || ends === "for a person") {
        answer(ends === "fails" ? 422 : 403, { error: { message: error } });
      } else {
        answer(200, {});
      }
    });
    // A connection that the worker would use again must not be closed meanwhile.
    this.server.keepAliveTimeout = 0;
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return `http://127.0.0.1:${this.server.address().port}/`;
  }

  // Resolves when an operation that never ends has been started.
  async started(id) {
    if (!this.#held.has(id)) await new Promise((resolve) => { this.#waiting.set(id, resolve); });
  }

  // Ends it.
  end(id) {
    this.#held.get(id)();
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

// Creates the operations of a batch, and returns their ids. On a machine that is too busy the
// service refuses some. The batch is sent again then: each create has a key.
async function create(api, first, progress) {
  const requests = Array.from({ length: BATCH }, (_, place) => ({
    requestName: "Create",
    parameters: { target: operation(first + place), idempotencyKey: nameOf(first + place) },
  }));
  const batch = { requestName: "ExecuteMultiple", parameters: { requests, settings: { returnResponses: true } } };
  const end = Date.now() + LIMIT;
  for (;;) {
    try {
      const { responses } = (await api("POST", "/v1/execute", batch)).results;
      const fault = responses.find((one) => one.fault);
      if (!fault) return responses.map(({ response }) => response.results.id);
      throw new Error(JSON.stringify(fault));
    } catch (error) {
      if (Date.now() > end) throw error;
      progress(`a batch is sent again: ${error.message}`);
      await pause(2_000);
    }
  }
}

// Creates the operations, waits until all that can end has ended, and returns the ids of some.
export async function fill(api, count, progress) {
  const begun = performance.now();
  const seconds = () => Math.round((performance.now() - begun) / 1_000);
  const ids = [];
  let next = 0;
  let created = 0;
  async function lane() {
    while (next < count) {
      const first = next;
      next += BATCH;
      const made = await create(api, first, progress);
      // Of every kind.
      for (const place of [2, 7, 8, 100, 300, LOCKED]) ids.push(made[place]);
      created += BATCH;
      if (created % Math.max(BATCH, count / 20) < BATCH) progress(`${created} of ${count} operations created, ${seconds()} s`);
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane));

  const thousands = count / BATCH;
  const wanted = { running: thousands, suspended: 10 * thousands, completed: 100 * thousands, ready: 889 * thousands };
  let last = "";
  let changed = Date.now();
  for (;;) {
    const { operations: counts } = await api("GET", "/v1/now");
    if (Object.keys(wanted).every((state) => counts[state] === wanted[state])) break;
    const text = Object.keys(wanted).map((state) => `${counts[state]} of ${wanted[state]} ${state}`).join(", ");
    if (text !== last) changed = Date.now();
    last = text;
    if (Date.now() - changed > LIMIT) throw new Error(`the operations do not become as they should be: ${text}`);
    progress(`${text}, ${seconds()} s`);
    await pause(2_000);
  }
  progress(`${count} operations are there after ${seconds()} s`);
  return { ids, seconds: seconds() };
}
