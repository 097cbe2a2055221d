// SPDX-License-Identifier: MIT OR Apache-2.0
// check.mjs URL DIRECTORY NAME TOKEN: the page of a running daemon in Debian's Chromium.
//
// Looks at every view as its readers will: in light and dark, small and large, by keyboard, without the script, and through
// axe. NAME is what a hostile client asked for and must be shown as text; TOKEN may end connections. The daemon must
// have traffic all the while. Pictures go to DIRECTORY. Every fault is a line on standard error, and the status is 1 then.
//
// Waits are for conditions; the one span of time that is waited for is the one in which nothing may happen.

import { mkdirSync } from "node:fs";
import process from "node:process";

const [url, directory, hostile, token] = process.argv.slice(2);
if (!token) {
  console.error("usage: node check.mjs URL DIRECTORY NAME TOKEN");
  process.exit(2);
}

const load = (name) =>
  import(name).catch((error) => {
    console.error(`check.mjs: ${name} is missing: run \`npm ci\` in tests/page (\`make test\` does)\n${error.message}`);
    process.exit(2);
  });
const { chromium } = await load("playwright-core");
const { AxeBuilder } = await load("@axe-core/playwright");

const VIEWS = ["/", "/connections", "/failures", "/certificates", "/servers", "/latency", "/tls", "/workers", "/config"];
const WIDTHS = [320, 1280, 1920];
const PATIENCE = 20_000;
/** Longer than two refreshes of the page. */
const STILL = 5_000;

const faults = [];
function check(holds, what) {
  if (!holds) {
    faults.push(what);
    console.error(`FAULT ${what}`);
  }
}

mkdirSync(directory, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"],
});

/** A fresh browser context whose pages may do nothing that they should not. */
async function context(options = {}) {
  const made = await browser.newContext({ locale: "en-GB", timezoneId: "UTC", viewport: { width: 1280, height: 900 }, ...options });
  made.setDefaultTimeout(PATIENCE);
  await made.route("**/*", (route) => {
    const asked = route.request().url();
    const ours = new URL(asked).origin === new URL(url).origin;
    check(ours, `a request left the origin: ${asked}`);
    return ours ? route.continue() : route.abort();
  });
  made.on("page", (page) => {
    page.on("console", (message) => {
      // The refusal that `ends` asks for.
      const wanted = message.location().url.endsWith("/kill") && message.text().includes("401");
      check(message.type() !== "error" || wanted, `console: ${message.text()} (${page.url()})`);
    });
    page.on("pageerror", (error) => check(false, `script: ${error.message} (${page.url()})`));
    page.on("dialog", (dialog) => {
      check(false, `a dialog: ${dialog.message()} (${page.url()})`);
      return dialog.dismiss();
    });
  });
  await made.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  return made;
}

async function open(page, path) {
  const response = await page.goto(new URL(path, url).href);
  check(response.status() === 200, `${path}: status ${response.status()}`);
  return response;
}

/** The page of a connection that is there to stay. */
async function detail(page) {
  await open(page, "/connections?name=localhost");
  return page.locator("#live tbody th a").first().getAttribute("href");
}

const stem = (path) => path.slice(1).replaceAll("/", "-") || "overview";

/** Axe in both schemes, pictures at all widths, nothing wider than the window. */
async function looks() {
  for (const colorScheme of ["light", "dark"]) {
    const made = await context({ colorScheme, reducedMotion: "reduce" });
    const page = await made.newPage();
    for (const path of [...VIEWS, await detail(page)]) {
      const response = await open(page, path);
      const policy = response.headers()["content-security-policy"] ?? "";
      check(policy.includes("default-src 'none'") && !policy.includes("unsafe"), `${path}: policy ${policy}`);
      const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
      for (const { id, impact, nodes } of violations) {
        const where = nodes.slice(0, 3).map((node) => `${node.target} ${node.any?.[0]?.message ?? ""}`);
        check(impact !== "serious" && impact !== "critical", `axe ${colorScheme} ${path}: ${impact} ${id}: ${where.join("; ")}`);
        console.log(`axe ${colorScheme} ${path}: ${impact} ${id} ${nodes[0].target}`);
      }
      for (const width of colorScheme === "light" ? WIDTHS : [1280]) {
        await page.setViewportSize({ width, height: width === 320 ? 640 : 900 });
        const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
        check(wide <= 0, `${path}: ${wide} pixels wider than a window of ${width}`);
        await page.screenshot({ path: `${directory}/${stem(path)}-${width}-${colorScheme}.png`, fullPage: true });
      }
      await page.setViewportSize({ width: 1280, height: 900 });
    }
    await made.close();
  }
}

/** What a client asked for is text wherever it is shown. */
async function escapes() {
  const made = await context();
  const page = await made.newPage();
  await open(page, "/failures");
  check(await page.getByText(hostile, { exact: false }).count() > 0, "the hostile name is not shown among the failures");
  await open(page, "/connections?name=" + encodeURIComponent(hostile));
  check(await page.locator("input[name=name]").inputValue() === hostile, "the filter does not keep the hostile name");
  for (const path of VIEWS) {
    await open(page, path);
    check(await page.locator("main script").count() === 0, `${path}: there is a script inside the page`);
    check(await page.evaluate(() => window.pwned === undefined), `${path}: what a client said was run`);
  }
  await made.close();
}

/** Rows move by themselves; what the reader does stays. */
async function lives() {
  const made = await context();
  const page = await made.newPage();
  let loads = 0;
  page.on("load", () => (loads += 1));
  await open(page, "/connections");
  const asOf = page.locator("#pulse time");
  const before = await asOf.textContent();
  const bytes = page.locator("#live tbody tr td:nth-child(9)");
  const figures = async () => (await bytes.allTextContents()).join();
  const first = await figures();
  await page.waitForFunction((text) => document.querySelector("#pulse time").textContent !== text, before);
  await page.waitForFunction(
    (text) => [...document.querySelectorAll("#live tbody tr td:nth-child(9)")].map((cell) => cell.textContent).join() !== text,
    first,
  );

  // By keyboard alone: to the button that sorts by age, twice, and the order stays at the next refresh.
  await page.locator("body").press("Tab");
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim());
  check(await focused() === "Skip to the content", "the first stop is not the skip link");
  for (let stops = 0; stops < 60 && (await focused()) !== "Age"; stops += 1) await page.keyboard.press("Tab");
  check(await focused() === "Age", "the button that sorts by age cannot be reached by Tab");
  const ages = () =>
    page.evaluate(() => [...document.querySelectorAll("#live tbody tr")].map((row) => Number(row.cells[2].dataset.value)));
  const sortedBy = (sign, values) => values.every((value, index) => index === 0 || sign * (value - values[index - 1]) >= 0);
  for (const [sign, way] of [[-1, "descending"], [1, "ascending"]]) {
    await page.keyboard.press("Enter");
    check(await page.locator("#live th[aria-sort]").getAttribute("aria-sort") === way, `aria-sort is not ${way}`);
    check(sortedBy(sign, await ages()), `the ages are not ${way}`);
  }
  const shown = await asOf.textContent();
  await page.waitForFunction((text) => document.querySelector("#pulse time").textContent !== text, shown);
  check(sortedBy(1, await ages()), "the order is lost at a refresh");
  check(await focused() === "Age", "the focus is lost at a refresh");

  // What is being typed stays, and Enter filters.
  await page.locator("input[name=name]").focus();
  await page.keyboard.type("local");
  const typed = await asOf.textContent();
  await page.waitForFunction((text) => document.querySelector("#pulse time").textContent !== text, typed);
  check(await page.locator("input[name=name]").inputValue() === "local", "what was typed is lost at a refresh");
  check(loads === 1, "the page was loaded again");
  await page.keyboard.press("Enter");
  await page.waitForURL(/name=local/);
  const names = await page.locator("#live tbody tr td:nth-child(5) code").allTextContents();
  check(names.length > 0 && names.every((name) => name.includes("local")), `the filter shows ${names}`);

  // Nothing is asked while it is paused.
  await page.locator("#pause").focus();
  await page.keyboard.press("Enter");
  check(await page.locator("#pause").textContent() === "Resume", "the button does not say how to go on");
  let asked = 0;
  page.on("request", () => (asked += 1));
  await page.waitForTimeout(STILL);
  // One may have been under way.
  check(asked <= 1, `${asked} requests while paused`);
  await made.close();
}

/** Everything is there without the script. */
async function plain() {
  const made = await context({ javaScriptEnabled: false });
  const page = await made.newPage();
  for (const path of VIEWS) {
    await open(page, path);
    check(await page.locator("h1").count() === 1, `${path}: no heading without the script`);
    check(await page.locator("main table tbody tr, main pre").count() > 0, `${path}: nothing to see without the script`);
    check(!(await page.locator("#pause").isVisible()), `${path}: a button that does nothing`);
  }
  await open(page, "/connections?limit=1");
  const first = await page.locator("#live tbody th").textContent();
  await page.getByRole("link", { name: "Next page" }).click();
  const second = await page.locator("#live tbody th").textContent();
  check(first.trim() !== second.trim(), "the next page shows the same connection");
  await page.selectOption("select[name=state]", "connected");
  await page.getByRole("button", { name: "Filter" }).click();
  check(page.url().includes("state=connected"), "the form does not filter without the script");
  await page.locator("#live tbody th a").first().click();
  check(await page.locator("ol.steps li").count() === 7, "the detail has no timeline");
  check(await page.locator("form[action$='/kill']").count() === 0, "a reader is offered to end a connection");
  await made.close();
}

/** Who may, ends a connection by its button; a browser's own request passes the check of its origin. */
async function ends() {
  const operator = await context({ javaScriptEnabled: false, extraHTTPHeaders: { authorization: `Bearer ${token}` } });
  const page = await operator.newPage();
  await open(page, "/connections?name=kill-me");
  const id = (await page.locator("#live tbody th").first().textContent()).trim();
  await page.getByRole("button", { name: `End connection ${id}` }).click();
  check(page.url().includes("/connections?name=kill-me"), `after the end: ${page.url()}`);
  const gone = () => page.locator("#live tbody th").allTextContents().then((ids) => !ids.map((text) => text.trim()).includes(id));
  for (let tries = 0; tries < 50 && !(await gone()); tries += 1) await page.reload();
  check(await gone(), `connection ${id} is still there`);
  await operator.close();

  // Without a token the same form is refused for want of a level (401), not for where it comes from (403).
  const reader = await context();
  const other = await reader.newPage();
  await open(other, "/connections");
  const [response] = await Promise.all([
    other.waitForResponse((answer) => answer.url().endsWith("/kill")),
    other.evaluate(() => {
      const form = document.createElement("form");
      form.method = "post";
      form.action = "/api/v1/connections/1/kill";
      document.body.append(form);
      form.submit();
    }),
  ]);
  check(response.status() === 401, `a form of our own page was answered with ${response.status()}`);
  await reader.close();
}

try {
  for (const part of [looks, escapes, lives, plain, ends]) {
    console.log(`${part.name} …`);
    await part();
  }
} catch (error) {
  check(false, error.stack ?? String(error));
} finally {
  await browser.close();
}
process.exit(faults.length === 0 ? 0 : 1);
