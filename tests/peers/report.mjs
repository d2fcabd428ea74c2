// The report of a run: rounds, medians, ratios, as JSON and as a table.

const GROUPS = ["client", "manager", "worker", "redis", "rabbitmq"];

// The median; of an even number, the mean of the two in the middle.
export function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const rounded = (value) => Number(value.toPrecision(4));

// Median, lowest and highest of values.
const spread = (values) => ({
  median: rounded(median(values)),
  lowest: rounded(Math.min(...values)),
  highest: rounded(Math.max(...values)),
});

// The figures of a case. `rounds` has, for each system, its rounds in order; null where one
// failed. The first system is compared with each other one: round by round, because a shared
// machine is another one a minute later.
export function summarize({ name, figures, cpuUnit }, rounds) {
  const [first] = Object.keys(rounds);
  const ratio = (other, value) => {
    const pairs = rounds[first].map((round, number) => [round, rounds[other][number]]).filter(([one, two]) => one && two);
    return other === first || pairs.length === 0 ? null : spread(pairs.map(([one, two]) => value(one) / value(two)));
  };
  const cost = (round) => sum(GROUPS.map((group) => round.cpu[group]));
  const each = (present, what) => Object.fromEntries(
    GROUPS.map((group) => [group, rounded(median(present.map((round) => round[what][group])))]),
  );
  const systems = Object.entries(rounds).flatMap(([system, all]) => {
    const present = all.filter(Boolean);
    if (present.length === 0) return [];
    return [{
      system,
      figures: Object.fromEntries(Object.keys(figures).map((figure) => [figure, {
        ...spread(present.map((round) => round.values[figure])),
        rounds: all.map((round) => round && rounded(round.values[figure])),
        ratio: ratio(system, (round) => round.values[figure]),
      }])),
      operations: present[0].operations,
      cpu: { ...each(present, "cpu"), all: rounded(median(present.map(cost))), ratio: ratio(system, cost) },
      memory: each(present, "memory"),
      bytes: Object.fromEntries(
        Object.keys(present[0].bytes).map((name) => [name, rounded(median(present.map((round) => round.bytes[name])))]),
      ),
      outOfOrder: present[0].outOfOrder === null ? null : sum(present.map((round) => round.outOfOrder)),
      ranTwice: present[0].ranTwice === null ? null : sum(present.map((round) => round.ranTwice)),
    }];
  });
  return { name, cpuUnit, figures, systems };
}

const plain = (value, digits) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const multiple = (ratio) => (ratio ? plain(ratio.median, 2) : "");
const COSTS = ["client", "manager", "worker", "Redis", "RabbitMQ", "all"];
const BYTES = ["received", "sent", "held"];
const isAlone = (report) => report.systems.length === 1;

// The columns. One system has nobody to be compared with; what Redis gets, sends and keeps takes the place.
const headings = (report) => [
  "measured", ...(isAlone(report) ? [] : ["system"]), "median", "lowest", "highest", "unit", ...(isAlone(report) ? [] : ["Drumline ÷ this"]),
  ...COSTS, ...(isAlone(report) ? BYTES.map((name) => `Redis: bytes ${name}`) : ["Drumline ÷ this"]), "MiB",
];

// The rows of the table, without its headings.
export function rows(report) {
  return report.cases.flatMap(({ figures, cpuUnit, systems }) => Object.entries(figures).flatMap(
    ([figure, { title, unit, digits }], number) => systems.map(({ system, figures: found, cpu, memory, bytes }, place) => {
      const { median: middle, lowest, highest, ratio } = found[figure];
      const alone = isAlone(report);
      // Once for each case: a second figure is of the same operations.
      const costs = [
        ...GROUPS.map((group) => plain(cpu[group], cpuUnit.startsWith("%") ? 2 : 0)),
        plain(cpu.all, cpuUnit.startsWith("%") ? 2 : 0),
        ...(alone ? BYTES.map((name) => plain(bytes[name], 0)) : [multiple(cpu.ratio)]),
        plain(memory.manager + memory.worker, 0),
      ];
      return [
        place === 0 ? title : "", ...(alone ? [] : [system]), plain(middle, digits), plain(lowest, digits), plain(highest, digits), unit,
        ...(alone ? [] : [multiple(ratio)]), ...(number > 0 ? costs.map(() => "") : costs),
      ];
    }),
  ));
}

// The cases of the report that a peer lacks, by the reason.
function byReason(lacks, cases) {
  const found = new Map();
  for (const { name } of cases.filter((one) => lacks[one.name])) {
    found.set(lacks[name], [...(found.get(lacks[name]) ?? []), name]);
  }
  return [...found];
}

// The settings and remarks that a reader needs beside the figures, as lines.
export function remarks(report) {
  const { machine, redis, rabbitmq, rounds, scale } = report;
  const wrong = report.cases.flatMap(({ name, systems }) => systems.flatMap(({ system, outOfOrder, ranTwice }) => [
    ...(outOfOrder ? [`${system}, ${name}: ${outOfOrder} operations started out of order.`] : []),
    ...(ranTwice ? [`${system}, ${name}: ${ranTwice} operations ran twice.`] : []),
  ]));
  return [
    `${machine.cores} cores (${machine.model}) for everything, Linux ${machine.kernel}. Rounds: ${rounds}, interleaved; scale ${scale}; ${report.measured}.`,
    `The same Redis ${redis.version} for all: appendonly ${redis.appendonly}, appendfsync ${redis.appendfsync}. RabbitMQ ${rabbitmq}.`,
    "Ratios are medians of the ratios of each round. Of rates more is better, of the rest less.",
    "Processor time is in µs per operation (idle: in % of a core). MiB is the memory of managers and workers at its highest.",
    ...report.systems.flatMap(({ name, version, settings, lacks }) => [
      `${name} ${version}: ${settings.join(" ")}`,
      ...byReason(lacks, report.cases).map(([reason, missing]) => `${name} is not in ${missing.join(", ")}: ${reason}.`),
    ]),
    ...wrong,
    ...report.failures.map(({ system, name, round, reason }) => `${system} failed in ${name}, round ${round}: ${reason}`),
  ];
}

// The report as text for a terminal.
export function text(report) {
  const table = [headings(report), ...rows(report)];
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => [...row[column]].length)));
  const left = new Set(isAlone(report) ? [0, 4] : [0, 1, 5]);
  const line = (row) => row.map((cell, column) => {
    const blanks = " ".repeat(widths[column] - [...cell].length);
    return left.has(column) ? cell + blanks : blanks + cell;
  }).join("  ").trimEnd();
  return [...table.map(line), "", ...remarks(report)].join("\n");
}

// The report as Markdown, for a page.
export function markdown(report) {
  const line = (row) => `| ${row.join(" | ")} |`;
  return [
    line(headings(report)),
    `|${headings(report).map(() => "---|").join("")}`,
    ...rows(report).map(line),
    "",
    ...remarks(report).map((remark) => `- ${remark}`),
  ].join("\n");
}
