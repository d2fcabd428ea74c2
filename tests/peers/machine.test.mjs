// The processes of the machine, and the payloads of the peers.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { dirname } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { listener, memory, parseListener, parseStat, processorTime, tree } from "./machine.mjs";
import { payloads } from "./node/line.mjs";
import { endAll, Program, within } from "./program.mjs";

const here = dirname(fileURLToPath(import.meta.url));

test("a name with blanks and parentheses hides no field", () => {
  const text = "42 (a (b) c) S 7 42 42 0 -1 4194304 1 2 3 4 100 20 30 4 20 0 1 0";
  assert.deepEqual(parseStat(text), { parent: 7, ticks: 154 });
});

test("the tree of a process has its children and theirs", () => {
  const all = new Map([[1, { parent: 0 }], [2, { parent: 1 }], [3, { parent: 2 }], [4, { parent: 1 }]]);
  assert.deepEqual(tree([2], all).sort(), [2, 3]);
  assert.deepEqual(tree([1, 2], all).sort(), [1, 2, 3, 4]);
  assert.deepEqual(tree([9], all), []);
});

test("this process has taken time and memory", () => {
  const groups = { own: [process.pid], none: [] };
  const { own, none } = processorTime(groups);
  assert.ok(own > 0);
  assert.equal(none, 0);
  assert.ok(memory(groups, "VmHWM").own > 1);
});

test("the process that listens on a port is found", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  assert.equal(listener(port), process.pid);
  server.close();
  // Nothing listens on the first of all ports.
  assert.throws(() => listener(1), /no process/);
});

test("a connection from a port is no listener", () => {
  const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
  const row = (state, inode) => `   0: 0100007F:1F90 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1\n`;
  assert.equal(parseListener(head + row("01", 111) + row("0A", 222), 8080), "222");
  assert.equal(parseListener(head + row("01", 111), 8080), null);
});

test("payloads have the size that was ordered, whatever the language", () => {
  const order = { size: 512, note: true, sleep: 200 };
  for (const [key, seq] of [[0, 0], [99, 12_345]]) {
    assert.equal(JSON.stringify(payloads(order)(key, seq)).length, 512);
  }
  const script = "import json, peer; print(len(json.dumps(peer.payload({'size': 512, 'note': True, 'sleep': 200}, 12345), separators=(',', ':'))))";
  const ended = spawnSync("python3", ["-c", script], { cwd: `${here}/python`, env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" }, encoding: "utf8" });
  assert.equal(ended.stdout, "512\n", ended.stderr);
});

test("a program is heard, and ends with its children", async () => {
  const heard = [];
  const script = `
    echo greeting; sleep 1000 &
    echo '{"ready": true, "url": "http://here"}'
    read -r order; echo "{\\"ran\\": 1, \\"order\\": $order}"; echo '{"start": 1, "end": 2}'
    trap 'exit 0' TERM; wait`;
  const program = new Program("a script", ["bash", "-c", script], { env: process.env, log: "/dev/null", heard: (line) => heard.push(line) });
  assert.equal(await program.ready(), "http://here");
  assert.deepEqual(await program.order({ count: 3 }), { start: 1, end: 2 });
  assert.deepEqual(heard, [{ ran: 1, order: { count: 3 } }]);
  // The child holds standard output open as long as it lives.
  const closed = once(program.child, "close");
  await program.end();
  await closed;
});

test("a program that never became ready is ended with the round", async () => {
  const program = new Program("a script", ["bash", "-c", "sleep 1000"], { env: process.env, log: "/dev/null" });
  const closed = once(program.child, "close");
  await endAll();
  await closed;
});

test("a program that ends by itself is an error", async () => {
  const program = new Program("a script", ["bash", "-c", "exit 3"], { env: process.env, log: "/dev/null" });
  await assert.rejects(program.ready(), /a script has ended: 3/);
  const none = new Program("nothing", ["/no/such/program"], { env: process.env, log: "/dev/null" });
  await assert.rejects(none.ready(), /nothing cannot be started/);
});

test("a wait that is in vain says for what", async () => {
  await assert.rejects(within(1, "the end of time", new Promise(() => {})), /the end of time: nothing for 0.001 s/);
});
