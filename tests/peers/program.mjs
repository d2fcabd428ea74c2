// A program of a peer: started, told what to do, heard, and ended with all its children.
// README.md has the lines.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";

// The longest wait for a start, an end, and for a sign of life in between.
const LIMIT = 60_000;

// All that have not ended. They end with the driver, also when it is ended itself.
const running = new Set();
process.once("exit", () => {
  for (const program of running) program.kill("SIGKILL");
});

// Ends all programs, also those whose start has failed.
export async function endAll() {
  await Promise.allSettled([...running].map((program) => program.end()));
}

// The promise, or an error when that takes too long.
export function within(milliseconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing for ${milliseconds / 1000} s`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Program {
  #answers = [];
  #hear = () => {};
  #ready;
  #ending = false;

  // Starts a command. `log` is the file for what it writes. `ready` is a pattern in it that
  // says that the program is ready, and its URL, for one that does not say so by a line of
  // JSON.
  constructor(name, [command, ...args], { env, log, ready = null, heard = () => {} }) {
    this.name = name;
    // A group of its own: some programs have children that do not end with them.
    this.child = spawn(command, args, { env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
    running.add(this);
    this.ended = once(this.child, "exit");
    this.ended.catch(() => {});
    this.failed = this.ended.then(
      ([code, signal]) => {
        running.delete(this);
        if (!this.#ending) throw new Error(`${name} has ended: ${code ?? signal}; see ${log}`);
      },
      (error) => {
        running.delete(this);
        throw new Error(`${name} cannot be started: ${error.message}`);
      },
    );
    this.failed.catch(() => {});
    this.child.stdin.on("error", () => {});
    this.#ready = new Promise((resolve) => { this.#hear = resolve; });
    const file = createWriteStream(log, { flags: "a" });
    const note = (line) => {
      file.write(`${line}\n`);
      const said = ready?.exec(line);
      if (said) this.#hear({ ready: true, url: said[1] });
    };
    createInterface(this.child.stderr).on("line", note);
    createInterface(this.child.stdout).on("line", (line) => (line.startsWith("{") ? this.#line(JSON.parse(line), heard) : note(line)));
    this.child.once("close", () => file.end());
  }

  get id() {
    return this.child.pid;
  }

  // A line of JSON.
  #line(value, heard) {
    if (value.ready) return this.#hear(value);
    if (value.ran) return heard(value);
    return this.#answers.shift()?.(value);
  }

  // Resolves when the program is ready, with the URL that it serves.
  async ready() {
    const { url } = await within(LIMIT, `the start of ${this.name}`, Promise.race([this.#ready, this.failed]));
    return url;
  }

  // Gives an order, and resolves with its answer: the times of its start and its end.
  async order(order) {
    const answer = new Promise((resolve) => { this.#answers.push(resolve); });
    this.child.stdin.write(`${JSON.stringify(order)}\n`);
    return Promise.race([answer, this.failed]);
  }

  // Ends the program, and all that it has started.
  async end() {
    this.#ending = true;
    this.child.stdin.end();
    this.kill("SIGTERM", this.id);
    try {
      await within(LIMIT, `the end of ${this.name}`, this.ended);
    } finally {
      this.kill("SIGKILL");
      running.delete(this);
    }
  }

  // Sends a signal to the program's group, or to one process.
  kill(signal, to = -this.id) {
    try {
      process.kill(to, signal);
    } catch {
      // Nothing is left of it.
    }
  }
}
