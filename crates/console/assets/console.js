// The script of the console. The pages can be read, and every action done, without it.

// A button beside each text that people copy.
for (const text of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  text.after(button);
}

// Relative times stay true while the page is open. The title has the local time, too.
const UNITS = [[172800, 86400, "d"], [7200, 3600, "h"], [120, 60, "min"], [0, 1, "s"]];
function words(milliseconds) {
  const seconds = Math.floor(Math.abs(milliseconds) / 1000);
  const [, size, unit] = UNITS.find(([least]) => seconds >= least);
  const span = `${Math.floor(seconds / size)} ${unit}`;
  return milliseconds > 0 ? `in ${span}` : `${span} ago`;
}
const times = [...document.querySelectorAll("time[datetime]")].filter((time) => / ago$|^in /.test(time.textContent));
for (const time of times) {
  time.title += `\n${new Date(time.dateTime).toLocaleString()}`;
}
// The clock of the service, as far as the page tells, and not that of this machine.
const made = Date.parse(document.body.dataset.now);
const opened = performance.now();
setInterval(() => {
  if (document.hidden || Number.isNaN(made)) return;
  const now = made + performance.now() - opened;
  for (const time of times) time.textContent = words(Date.parse(time.dateTime) - now);
}, 10000);

// An empty field of the filter is no condition: the address says only what counts.
document.querySelector("form.filter")?.addEventListener("submit", (event) => {
  for (const field of event.target.elements) {
    if (field.name && field.value === "") field.disabled = true;
  }
});
