// The servers of a run: the same Redis and the same RabbitMQ for all, emptied in between.

import { once } from "node:events";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { join } from "node:path";

// Milliseconds between two questions whether Redis has rewritten its file. It tells in no other way.
const PAUSE = 20;

// The version in the greeting of RabbitMQ.
async function rabbitVersion(url) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(Buffer.from("AMQP\0\0\x09\x01", "latin1"));
  const [greeting] = await once(socket, "data");
  socket.destroy();
  // A name, the type of a long text, its length, and the text.
  return /\x07versionS\0\0\0.([0-9.]+)/s.exec(greeting.toString("latin1"))?.[1] ?? "of an unknown version";
}

export class Servers {
  // Connects to Redis, and sets how it keeps what is written. Refuses a Redis that is not
  // empty: all that is in it would be lost.
  static async connect({ redis, amqp, modules }, fsync) {
    const servers = new Servers();
    servers.rabbitmq = await rabbitVersion(amqp);
    const { Redis } = createRequire(join(modules, "node_modules/"))("ioredis");
    servers.redis = new Redis(redis);
    if (await servers.redis.dbsize() > 0) throw new Error(`the Redis at ${redis} is not empty, and a run would empty it`);
    await servers.redis.config("SET", "appendonly", "yes");
    await servers.redis.config("SET", "appendfsync", fsync);
    return servers;
  }

  // The settings that decide what an acknowledged write is worth, as Redis tells them.
  async described() {
    const setting = async (name) => (await this.redis.config("GET", name))[1];
    const [, version] = /redis_version:(\S+)/.exec(await this.redis.info("server"));
    return { version, appendonly: await setting("appendonly"), appendfsync: await setting("appendfsync") };
  }

  // The bytes that Redis has received and sent so far, and those that it holds.
  async traffic() {
    const info = await this.redis.info();
    const number = (name) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)[1]);
    return { received: number("total_net_input_bytes"), sent: number("total_net_output_bytes"), held: number("used_memory_dataset") };
  }

  // Lets Redis write its file anew, beside all else.
  async rewrite() {
    await this.redis.bgrewriteaof();
  }

  // Empties Redis, and its file: the next round does not pay for the one before.
  async empty() {
    await this.redis.flushall();
    const rewriting = async () => /aof_rewrite_(in_progress|scheduled):1/.test(await this.redis.info("persistence"));
    if (!await rewriting()) await this.rewrite();
    while (await rewriting()) await new Promise((resolve) => { setTimeout(resolve, PAUSE); });
  }

  close() {
    this.redis.disconnect();
  }
}
