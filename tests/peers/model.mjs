// The capacity model: what an operation costs, from the cases of `make bench-growth`, and how
// near that comes to the mixed cases, which it does not know.
//
//   cost = (one by one or in batches) + KiB beyond the first half × (each KiB) + (token)

const SMALL = 0.5;
const BASES = { "one-by-one": "kib-0.5", batches: "batches" };
const SIZES = ["kib-0.5", "kib-4", "kib-16", "kib-64"];
const TOKENS = "tokens-1k";
// The cases that the model must foretell.
const MIXED = {
  "mixed-one-by-one": { how: "one-by-one", kib: 32, token: false },
  "mixed-batches": { how: "batches", kib: 2, token: true },
};
const NAMES = {
  client: "client, µs", manager: "managers, µs", worker: "workers, µs", redis: "Redis, µs", rabbitmq: "RabbitMQ, µs", all: "all, µs",
  received: "Redis, bytes received", sent: "Redis, bytes sent", held: "Redis, bytes held",
};
// A core of a server that has room for a peak, and for the loss of a node.
const BUSY = 0.6;
const RATES = [1_000, 10_000, 100_000, 1_000_000];

// The line through points: least squares, each by its share of the value, as the sizes are far apart.
export function line(points) {
  const sum = (of) => points.reduce((total, point) => total + of(point) / point[1] ** 2, 0);
  const [n, x, y, xx, xy] = [() => 1, ([a]) => a, ([, b]) => b, ([a]) => a * a, ([a, b]) => a * b].map(sum);
  const slope = (n * xy - x * y) / (n * xx - x * x);
  return { slope, start: (y - slope * x) / n };
}

// The figures of a case: what an operation costs. Null if it was not measured.
function costs(report, name) {
  const system = report.cases.find((one) => one.name === name)?.systems[0];
  if (!system) return null;
  const { ratio: _, ...cpu } = system.cpu;
  return { ...cpu, ...system.bytes };
}

// The model; null if a case that it needs was not measured.
export function model(report) {
  const known = Object.fromEntries([...SIZES, ...Object.values(BASES), TOKENS].map((name) => [name, costs(report, name)]));
  if (Object.values(known).some((one) => one === null)) return null;
  return Object.fromEntries(Object.keys(NAMES).map((figure) => {
    const points = SIZES.map((name) => [Number(name.slice(4)), Math.max(known[name][figure], 1)]);
    return [figure, {
      ...Object.fromEntries(Object.entries(BASES).map(([how, name]) => [how, known[name][figure]])),
      kib: line(points).slope,
      token: known[TOKENS][figure] - known[BASES.batches][figure],
    }];
  }));
}

// What an operation costs by the model.
export const foretell = (figure, { how, kib, token }) => figure[how] + (kib - SMALL) * figure.kib + (token ? figure.token : 0);

const plain = (value, digits = 0) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const table = (...rows) => {
  const [first, ...rest] = rows.map((row) => `| ${row.join(" | ")} |`);
  return ["", first, `|${rows[0].map(() => "---|").join("")}`, ...rest];
};

// The model, how near it comes to the mixed cases, and the cores that rates need, as lines of Markdown.
// None without a measurement of all that it needs.
export function prediction(report) {
  const found = model(report);
  if (!found) return [];
  const figures = Object.entries(found);
  const parts = ["one-by-one", "batches", "kib", "token"];
  const checks = Object.entries(MIXED).flatMap(([name, kind]) => {
    const measured = costs(report, name);
    if (!measured) return [];
    return figures.map(([figure, one]) => {
      const foretold = foretell(one, kind);
      const ratio = measured[figure] > 0 ? plain(foretold / measured[figure], 2) : "";
      return [name, NAMES[figure], plain(foretold), plain(measured[figure]), ratio];
    });
  });
  const cores = ["client", "manager", "worker", "redis", "rabbitmq"];
  const needs = RATES.map((rate) => [
    `${plain(rate)} /s`,
    ...cores.map((name) => plain(Math.ceil(rate * found[name]["one-by-one"] / 1e6 / BUSY * 10) / 10, 1)),
    plain(rate * (found.received["one-by-one"] + found.sent["one-by-one"]) / 1e6),
  ]);
  return [
    ...table(["an operation", "one by one", "in batches", "each KiB beyond 0.5", "with a token"], ...figures.map(
      ([figure, one]) => [NAMES[figure], ...parts.map((part) => plain(one[part], part === "kib" ? 1 : 0))],
    )),
    ...(checks.length > 0 ? table(["mixed", "figure", "by the model", "measured", "model ÷ measured"], ...checks) : []),
    ...table([`cores that are ${BUSY * 100} % busy`, "client", "managers", "workers", "Redis", "RabbitMQ", "Redis, MB/s"], ...needs),
  ];
}
