// The harness of the browser tests: a service of their own, a browser, and the rules
// that hold for every page: no error on the console, nothing that the policy of the
// page refuses, and no request to another address.
//
// The environment says where things are; `.ci/browser` sets it:
//   DRUMLINE_BIN              the program, by default target/debug/drumline
//   DRUMLINE_BROWSER          the browser, by default the Chromium on the PATH
//   DRUMLINE_BROWSER_MODULES  the folder with node_modules, by default target/browser
//   DRUMLINE_BROWSER_RUN      the folder for logs and pictures, by default target/run/browser

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const target = process.env.CARGO_TARGET_DIR || join(root, "target");
const program = resolve(process.env.DRUMLINE_BIN || join(target, "debug/drumline"));
const modules = resolve(process.env.DRUMLINE_BROWSER_MODULES || join(target, "browser"));
export const run = resolve(process.env.DRUMLINE_BROWSER_RUN || join(target, "run/browser"));
mkdirSync(run, { recursive: true });

// The modules are not beside the tests, so that the checks of the sources do not meet them.
const require = createRequire(join(modules, "node_modules/"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

// An end from outside leaves nothing behind.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

// The limit of every wait for the service or for a page. Only a failure takes so long.
const LIMIT = 30_000;

// The environment without settings of Drumline: those of a fleet are not for the tests.
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("DRUMLINE_")),
);

// The path of the browser.
function browserPath() {
  const known = ["chromium", "chromium-browser", "google-chrome"];
  const path = process.env.DRUMLINE_BROWSER
    || (process.env.PATH ?? "").split(":").flatMap((folder) => known.map((name) => join(folder, name))).find(existsSync);
  if (!path) throw new Error("no browser: install Chromium (.ci/deps does), or set DRUMLINE_BROWSER");
  return path;
}

// Runs a command of the program to its end, and returns what it has printed.
export function drumline(...args) {
  const ended = spawnSync(program, args, { env: environment, encoding: "utf8", timeout: LIMIT });
  if (ended.status !== 0) throw new Error(`drumline ${args.join(" ")}: ${ended.error ?? ended.stderr}`);
  return ended.stdout;
}

// Asks until an answer is true. For what the service reports in no other way.
export async function until(what, ask) {
  const end = Date.now() + LIMIT;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

// A web service as the handler of the message name `Hold`, or of others: a test knows
// when it was started, and says when it ends.
class Holder {
  #held = new Map();
  #waiting = new Map();

  constructor() {
    this.server = createServer(async (request, response) => {
      for await (const _part of request) ;
      const id = request.headers["drumline-operation-id"];
      this.#held.set(id, response);
      this.#waiting.get(id)?.();
    });
  }

  // Resolves when the handler of the operation runs.
  async started(id) {
    if (this.#held.has(id)) return;
    await new Promise((resolve) => { this.#waiting.set(id, resolve); });
  }

  // Ends the handler of the operation.
  answer(id, status = 200, body = {}) {
    this.#held.get(id).writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  async listen() {
    this.server.listen(0, "127.0.0.1");
    this.server.unref();
    await once(this.server, "listening");
    return `http://127.0.0.1:${this.server.address().port}/`;
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

// `drumline dev` on a port of its own. `key` is sent with every request of the API.
// `held` are the message names whose handler is the test.
export class Service {
  static async start(name, { args = [], key = null, held = ["Hold"] } = {}) {
    const service = new Service();
    service.key = key;
    service.folder = mkdtempSync(join(tmpdir(), "drumline-browser-"));
    service.holder = new Holder();
    const handlers = join(service.folder, "handlers.toml");
    const address = await service.holder.listen();
    writeFileSync(handlers, held.map((message) => `[[handler]]\nmessage = "${message}"\nhttp = "${address}"\n`).join(""));
    // Handlers that are held do not end by themselves, so nothing is waited for at the end.
    const fixed = ["dev", "--listen", "127.0.0.1:0", "--handlers", handlers, "--stop-grace", "1s", "--drain-timeout", "1s"];
    const child = spawn(program, [...fixed, ...args], {
      cwd: service.folder,
      env: environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    service.child = child;
    // It ends with the tests, also when they are ended.
    process.once("exit", () => child.kill("SIGKILL"));
    child.stderr.pipe(createWriteStream(join(run, `${name}.log`)));
    const ended = once(child, "exit").then(([code]) => { throw new Error(`drumline has ended: ${code}; see ${run}/${name}.log`); });
    ended.catch(() => {});
    service.ended = ended.catch(() => {});
    service.url = await Promise.race([service.#ready(), ended]);
    return service;
  }

  async #ready() {
    this.greeting = [];
    for await (const line of createInterface(this.child.stdout)) {
      this.greeting.push(line);
      const address = /^ready (\S+)$/.exec(line)?.[1];
      if (address) {
        this.child.stdout.resume();
        return address;
      }
    }
    throw new Error("drumline has not said that it is ready");
  }

  // Sends a request of the API. An error is thrown with its problem.
  async api(method, path, body, headers = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(this.key ? { authorization: `Bearer ${this.key}` } : {}),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  create(operation, headers) {
    return this.api("POST", "/v1/operations", operation, headers);
  }

  get(id) {
    return this.api("GET", `/v1/operations/${id}`);
  }

  // The operation when it is Completed.
  completed(id) {
    return this.api("GET", `/v1/operations/${id}?wait=30s`);
  }

  // The operation when this is true of it.
  changed(id, isSo) {
    return until(`the change of ${id}`, async () => {
      const operation = await this.get(id);
      return isSo(operation) && operation;
    });
  }

  async stop() {
    this.holder.close();
    this.child.kill("SIGTERM");
    // A test that failed may have left anything behind.
    const late = setTimeout(() => this.child.kill("SIGKILL"), LIMIT);
    await this.ended;
    clearTimeout(late);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

// A web site at another address, as browsers see it: another name is another site.
export class OtherSite {
  static async open() {
    const site = new OtherSite();
    site.html = "";
    site.server = createServer((_request, response) => {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(`<!doctype html>${site.html}`);
    });
    site.server.listen(0, "localhost");
    // A test that fails does not close it.
    site.server.unref();
    await once(site.server, "listening");
    site.url = `http://localhost:${site.server.address().port}/`;
    return site;
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

export async function launch() {
  // Chromium refuses its sandbox to root.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: browserPath(), args });
}

// A page of the browser, with a list of all that went wrong in it.
export class Tab {
  static async open(browser, service, { script = true, width = 1280, scheme = "light", withAxe = false } = {}) {
    const tab = new Tab();
    tab.service = service;
    tab.faults = [];
    tab.context = await browser.newContext({
      javaScriptEnabled: script,
      viewport: { width, height: 900 },
      colorScheme: scheme,
      // The policy of the pages refuses the script of axe. No other test goes without it.
      bypassCSP: withAxe,
      reducedMotion: "reduce",
    });
    tab.context.setDefaultTimeout(LIMIT);
    if (withAxe) await tab.context.addInitScript(axe);
    if (script) {
      await tab.context.addInitScript(() => {
        document.addEventListener("securitypolicyviolation", (event) => {
          console.error(`policy: ${event.violatedDirective} refuses ${event.blockedURI} ${event.sample}`);
        });
      });
    }
    tab.page = await tab.context.newPage();
    tab.#listen();
    return tab;
  }

  #listen() {
    const { page, service, faults } = this;
    page.on("console", (message) => {
      // The browser reports the status of a page, too, which the tests look at.
      if (message.text().includes(`responded with a status of ${this.expected} `)) return;
      if (["error", "warning"].includes(message.type())) faults.push(`${page.url()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => faults.push(`${page.url()}: ${error}`));
    page.on("crash", () => faults.push(`${page.url()}: the page has crashed`));
    page.on("request", (request) => {
      if (!request.url().startsWith(`${service.url}/`)) faults.push(`${page.url()} asks for ${request.url()}`);
    });
    page.on("response", (response) => {
      if (response.status() >= 400 && !response.request().isNavigationRequest()) {
        faults.push(`${page.url()}: ${response.status()} for ${response.url()}`);
      }
    });
    page.on("dialog", (dialog) => {
      faults.push(`${page.url()}: a dialog says ${dialog.message()}`);
      dialog.dismiss();
    });
  }

  // Loads a page, and fails if it is answered with another status.
  visit(path, status = 200) {
    return this.loads(() => this.page.goto(this.service.url + path), status);
  }

  // Does something that loads a page, and fails if that is answered with another status.
  async loads(act, status = 200) {
    this.expected = status < 400 ? null : status;
    const isPage = (response) => response.request().isNavigationRequest() && (response.status() < 300 || response.status() >= 400);
    const [response] = await Promise.all([
      this.page.waitForResponse(isPage),
      this.page.waitForEvent("framenavigated"),
      act(),
    ]);
    await this.page.waitForLoadState();
    if (response.status() !== status) throw new Error(`${response.url()}: answered ${response.status()}, not ${status}`);
    return response;
  }

  // The rules of axe that the page breaks, with the elements. `rules` are names of rules,
  // or of groups.
  async broken(rules) {
    const { violations } = await this.page.evaluate((runOnly) => globalThis.axe.run(document, { runOnly, resultTypes: ["violations"] }), rules);
    return violations.map(({ id, help, nodes }) => {
      const where = nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any[0]?.message ?? ""}`);
      return `${id}: ${help} (${nodes.length}): ${where.join(" | ")}`;
    });
  }

  // The elements that make the page scroll sideways.
  wide() {
    return this.page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      if (scrollWidth <= clientWidth) return [];
      const wide = [...document.body.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > clientWidth + 1);
      return wide.slice(-3).map((one) => `${scrollWidth} px: ${one.outerHTML.slice(0, 120)}`);
    });
  }

  // Closes the page, and fails if anything went wrong in it.
  async close() {
    await this.context.close();
    if (this.faults.length > 0) throw new Error(this.faults.join("\n"));
  }
}
