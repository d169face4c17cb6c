// The stage: a browser, contexts with an operator's certificate, the world behind the other process, and what every
// page has to keep: no error in the console, nothing that the content security policy had to stop.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import path from "node:path";
import axe from "axe-core";
import { chromium } from "playwright-core";

export const stage = JSON.parse(process.env.MUSTER_STAGE);
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
  "form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/// Asks the other side to do something in the world.
export async function world(what, more = {}) {
  process.stdout.write(`${JSON.stringify({ do: what, ...more })}\n`);
  const { value, done } = await answers.next();
  if (done) throw new Error("nobody answers");
  const { answer, error } = JSON.parse(value);
  if (error) throw new Error(error);
  return answer;
}

/// A command of muster-gateway; its JSON.
export const gateway = (...words) => world("gateway", { words });

export function id(index) {
  return `lamp-${String(index + 1).padStart(6, "0")}`;
}

const browser = await chromium.launch({
  executablePath: stage.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});

/// A browser with this certificate: the path of NAME.p12, or of NAME.crt and NAME.key, without their endings.
export async function visitor(certificate, options = {}) {
  const read = (ending) => readFileSync(`${certificate}.${ending}`);
  const credential = () =>
    existsSync(`${certificate}.p12`)
      ? { pfx: read("p12"), passphrase: stage.password }
      : { cert: read("crt"), key: read("key") };
  const clientCertificates = certificate ? [{ origin: stage.base, ...credential() }] : undefined;
  const context = await browser.newContext({
    baseURL: stage.base,
    // The gateway's certificate is checked by node, which knows this world's CA; but by Chromium where no certificate is
    // shown, and with a PKCS#12 file node knows that file's CAs only.
    ignoreHTTPSErrors: !certificate || existsSync(`${certificate}.p12`),
    viewport: { width: 1280, height: 800 },
    ...options,
    clientCertificates,
  });
  context.setDefaultTimeout(20_000);
  const troubles = [];
  await context.exposeBinding("violated", (_, what) => void troubles.push(`policy: ${what}`));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => window.violated(`${event.violatedDirective} ${event.blockedURI}`));
  });
  context.on("console", (message) => message.type() === "error" && troubles.push(message.text()));
  context.on("weberror", (error) => troubles.push(String(error.error())));
  context.on("dialog", (dialog) => {
    troubles.push(`a dialog: ${dialog.message()}`);
    return dialog.dismiss();
  });
  return { context, troubles, page: await context.newPage() };
}

/// The same for an operator of this world.
export const operator = (name, options) => visitor(path.join(stage.operators, name), options);

/// Nothing went wrong in the browser so far, but for what this pattern takes.
export function assertQuiet({ troubles }, expected = null) {
  const unexpected = troubles.splice(0).filter((trouble) => !expected?.test(trouble));
  assert.deepEqual(unexpected, []);
}

/// Opens a page that is there.
export async function open(page, address) {
  console.log(`open ${address}`);
  const response = await page.goto(address);
  assert.equal(response.status(), 200, address);
  assert.equal(response.headers()["content-security-policy"], POLICY);
  return response;
}

/// The page as it is meets WCAG 2.2 AA as far as a program can tell, and has nothing to scroll sideways at 320 px.
export async function assertAccessible(page, what) {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  await page.evaluate(axe.source);
  const findings = async (scheme) => {
    await page.emulateMedia({ colorScheme: scheme });
    const { violations } = await page.evaluate((values) => window.axe.run(document, { runOnly: values }), tags);
    return violations.map(({ id, nodes }) => `${what}, ${scheme}: ${id}: ${nodes.map((node) => node.html).join(" ")}`);
  };
  assert.deepEqual([...(await findings("dark")), ...(await findings("light"))], []);
  const before = page.viewportSize();
  await page.setViewportSize({ width: 320, height: 640 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 320, `${what} at 320 px is ${width} px wide`);
  await page.setViewportSize(before);
}

/// A picture for the documents, when they are asked for.
export async function picture(page, name, options = {}) {
  if (stage.screenshots) await page.screenshot({ path: path.join(stage.screenshots, `${name}.png`), ...options });
}

/// Whether the page is still the one that was marked: nothing has loaded it again.
export const mark = (page) => page.evaluate(() => void (window.marked = true));
export const isMarked = (page) => page.evaluate(() => window.marked === true);

/// The test is over and all of it held.
export async function finish() {
  await browser.close();
  process.exit(0);
}
