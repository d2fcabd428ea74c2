// The processes of this machine, as Linux tells of them in /proc: their processor time and
// their memory.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";

// The unit of the times in /proc is 1/100 s on every Linux that Node runs on.
const TICKS_PER_SECOND = 100;

// The answer, or null: a process may have ended or be of another user, and a file may have
// been closed.
function known(ask) {
  try {
    return ask();
  } catch {
    return null;
  }
}

const read = (path) => known(() => readFileSync(path, "utf8"));

// The parent and the ticks of a process, with those of the children that it has seen end.
export function parseStat(text) {
  // The name is in parentheses, and may hold blanks and parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { parent: Number(fields[1]), ticks: fields.slice(11, 15).map(Number).reduce((sum, ticks) => sum + ticks, 0) };
}

// All processes: id → parent and ticks.
function processes() {
  const all = new Map();
  for (const name of readdirSync("/proc")) {
    const text = /^\d+$/.test(name) ? read(`/proc/${name}/stat`) : null;
    if (text) all.set(Number(name), parseStat(text));
  }
  return all;
}

// These processes and all below them.
export function tree(roots, all = processes()) {
  const below = new Map();
  for (const [id, { parent }] of all) below.set(parent, [...(below.get(parent) ?? []), id]);
  const found = new Set();
  const open = roots.filter((id) => all.has(id));
  while (open.length > 0) {
    const id = open.pop();
    if (found.has(id)) continue;
    found.add(id);
    open.push(...(below.get(id) ?? []));
  }
  return [...found];
}

// The processor time of each group so far, in seconds. A group is the ids of processes, and
// counts all below them. A child that has ended counts with its parent.
export function processorTime(groups) {
  const all = processes();
  const seconds = (roots) => tree(roots, all).reduce((sum, id) => sum + all.get(id).ticks, 0) / TICKS_PER_SECOND;
  return Object.fromEntries(Object.entries(groups).map(([name, roots]) => [name, seconds(roots)]));
}

// The memory of each group, in MiB: `VmHWM`, the most so far, or `VmRSS`, now.
export function memory(groups, field) {
  const all = processes();
  const kilobytes = (id) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(read(`/proc/${id}/status`) ?? "")?.[1] ?? 0);
  const mebibytes = (roots) => tree(roots, all).reduce((sum, id) => sum + kilobytes(id), 0) / 1024;
  return Object.fromEntries(Object.entries(groups).map(([name, roots]) => [name, mebibytes(roots)]));
}

// The inode of the socket that listens on a port, in the text of /proc/net/tcp.
export function parseListener(text, port) {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  for (const line of text.split("\n").slice(1)) {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    if (local?.split(":")[1] === wanted && state === "0A") return inode;
  }
  return null;
}

// The process that listens on a port of this machine.
export function listener(port) {
  const inode = ["tcp", "tcp6"].map((name) => parseListener(read(`/proc/net/${name}`) ?? "", port)).find(Boolean);
  for (const id of inode ? processes().keys() : []) {
    const files = known(() => readdirSync(`/proc/${id}/fd`)) ?? [];
    if (files.some((file) => known(() => readlinkSync(`/proc/${id}/fd/${file}`)) === `socket:[${inode}]`)) return id;
  }
  throw new Error(`no process of this user listens on port ${port}`);
}

// The machine, for the report.
export function machine() {
  const [{ model }] = cpus();
  return { cores: cpus().length, model, memoryGiB: Math.round(totalmem() / 2 ** 30), kernel: release() };
}
