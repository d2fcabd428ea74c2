// The producer of BullMQ: produce.mjs KEYS

import { atRate, payloads, serve, share } from "../node/line.mjs";
import { queues } from "./queues.mjs";

const all = await queues(Number(process.argv[2]));

// The job of this number. The keys take turns.
function jobs(order) {
  const payload = payloads(order);
  return (number) => {
    const key = number % all.length;
    return { queue: all[key], name: "note", data: payload(key, Math.floor(number / all.length)) };
  };
}

// Adds one job.
function adder(order) {
  const job = jobs(order);
  return (number) => {
    const { queue, name, data } = job(number);
    return queue.add(name, data);
  };
}

const ways = {
  "one-by-one": (order) => {
    const add = adder(order);
    if (order.keys === 0) return share(order.callers, order.count, 1, add);
    return Promise.all(all.map(async (_, key) => {
      for (let number = key; number < order.count; number += all.length) await add(number);
    }));
  },
  // A batch is of one queue. With keys, each queue gets its part of the batch.
  batches: (order) => {
    const job = jobs(order);
    return share(order.keys === 0 ? order.callers : 1, order.count, order.batch, async (first, last) => {
      const parts = new Map();
      for (let number = first; number < last; number += 1) {
        const { queue, ...rest } = job(number);
        if (!parts.has(queue)) parts.set(queue, []);
        parts.get(queue).push(rest);
      }
      await Promise.all([...parts].map(([queue, part]) => queue.addBulk(part)));
    });
  },
  rate: (order) => atRate(order.rate, order.count, adder(order)),
};

await serve((order) => ways[order.how](order));
