// The producer of Restate: produce.mjs URL. A batch is as many calls, by one caller where
// the order counts: Restate takes one invocation a call.

import { atRate, modules, payloads, serve, share } from "../node/line.mjs";

const { connect } = modules("@restatedev/restate-sdk-clients");
const ingress = connect({ url: process.argv[2] });
const service = ingress.serviceSendClient({ name: "tasks" });

await serve((order) => {
  const payload = payloads(order);
  if (order.keys === 0) {
    const send = (number) => service.note(payload(0, number));
    return order.how === "rate" ? atRate(order.rate, order.count, send) : share(order.callers, order.count, 1, send);
  }
  const keys = Array.from({ length: order.keys }, (_, key) => ingress.objectSendClient({ name: "keys" }, `key-${key}`));
  return Promise.all(keys.map(async (object, key) => {
    for (let number = key; number < order.count; number += order.keys) await object.note(payload(key, Math.floor(number / order.keys)));
  }));
});
