// The report of a run: one table of what was measured, what was aimed at, and whether it was
// reached.

// The value that so many per cent of all do not exceed.
export function percentile(values, percent) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
}

const digits = (value) => (Number.isInteger(value) || Math.abs(value) >= 1_000 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
const plain = (value) => value.toLocaleString("en-US", { minimumFractionDigits: digits(value), maximumFractionDigits: digits(value) });

// A row. `values` have a name each. `most` and `least` are the targets of some of them.
export function row(what, values, { unit = "", most = {}, least = {} } = {}) {
  const targets = [
    ...Object.entries(most).map(([name, limit]) => ({ text: `${name} ≤ ${plain(limit)}`, reached: values[name] <= limit })),
    ...Object.entries(least).map(([name, limit]) => ({ text: `${name} ≥ ${plain(limit)}`, reached: values[name] >= limit })),
  ];
  return {
    what,
    values,
    unit,
    target: targets.map(({ text }) => text).join(", "),
    reached: targets.length === 0 ? null : targets.every(({ reached }) => reached),
  };
}

const HEADINGS = ["what", "measured", "target", "reached"];

function cells({ what, values, unit, target, reached }) {
  const measured = Object.entries(values).map(([name, value]) => `${name} ${plain(value)}`).join(", ");
  return [what, unit ? `${measured} ${unit}` : measured, target, reached === null ? "" : reached ? "yes" : "**no**"];
}

// The report as a table in Markdown, whose columns also stand in a terminal.
export function text({ rows, remarks }) {
  const table = [HEADINGS, ...rows.map(cells)];
  const widths = HEADINGS.map((_, column) => Math.max(...table.map((line) => line[column].length)));
  const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(" | ")} |`;
  const [head, ...rest] = table.map(line);
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  return [head, rule, ...rest, "", ...remarks.map((remark) => `- ${remark}`)].join("\n");
}
