// Pages that are open stay true: devices come and go, telemetry arrives, the gateway is restarted, the operator loses
// their rights. Nothing is loaded again by hand, and the focus stays where it was.

import assert from "node:assert/strict";
import { assertQuiet, finish, gateway, id, isMarked, mark, open, operator, world } from "./stage.mjs";

const otto = await operator("otto");
const { page } = otto;
const row = (index) => page.locator("#devices tr", { hasText: id(index) });

await open(page, "/");
await mark(page);
await row(0).filter({ hasText: "○ offline" }).waitFor();
await row(0).getByRole("link").focus();
await row(0).hover();
await world("start-agent", { device: 0 });
await row(0).filter({ hasText: "● online" }).filter({ hasText: "active" }).waitFor();
await page.locator(".counts li", { hasText: "1 active" }).waitFor();
await page.locator(".counts li", { hasText: "1 online" }).waitFor();
assert.equal(await page.locator(":focus").innerText(), id(0), "the focus stays");
assert.ok(await isMarked(page), "the page was not loaded again");

// A row that goes is not taken from under the pointer: the page says so, and shows it when asked.
await open(page, "/?standing=expected");
await row(1).getByRole("link").focus();
await gateway("device", "suspend", id(1));
await page.getByRole("button", { name: "Show" }).waitFor();
await row(1).waitFor();
await page.getByRole("button", { name: "Show" }).click();
await row(1).waitFor({ state: "detached" });
assert.equal(await page.getByRole("status").innerText(), "");

// Telemetry of the device whose page is open.
await open(page, `/devices/${id(0)}`);
await mark(page);
const telemetry = page.locator("#telemetry pre");
await telemetry.filter({ hasText: "uptime_secs" }).waitFor();
const before = await page.locator("#telemetry time").getAttribute("datetime");
await page.waitForFunction((old) => document.querySelector("#telemetry time").dateTime > old, before);
// Text is true under the pointer too.
await page.locator("#state .standing").hover();
await gateway("device", "suspend", id(0), "--reason", "superseded");
await page.locator("#state dd", { hasText: "suspended (superseded)" }).waitFor();
await page.locator("#state dd", { hasText: "○ none" }).waitFor();
await gateway("device", "resume", id(0));
await page.locator("#state dd", { hasText: "● ldevid" }).waitFor();
await world("stop-agent", { device: 0 });
await page.locator("#state dd", { hasText: "○ none" }).waitFor();
assertQuiet(otto);

// The gateway goes, at once although a page is open, and comes back; what happened meanwhile is shown.
const start = Date.now();
await world("stop-gateway");
assert.ok(Date.now() - start < 4000, `an open page held the gateway for ${Date.now() - start} ms`);
await page.getByRole("status").filter({ hasText: /Connection lost|does not answer/ }).waitFor();
await gateway("device", "suspend", id(0));
await world("start-gateway");
await page.locator("#state .standing", { hasText: "suspended" }).waitFor();
await page.getByRole("status").filter({ hasText: /^$/ }).waitFor({ state: "attached" });
assert.ok(await isMarked(page), "the page was not loaded again");
assertQuiet(otto, /ERR_|Failed to load/);

// A page that nobody sees gives its connection back, and catches up when it is seen again.
await page.evaluate(() => {
  Object.defineProperty(document, "hidden", { get: () => window.isHidden, configurable: true });
  window.isHidden = true;
  document.dispatchEvent(new Event("visibilitychange"));
});
await gateway("device", "resume", id(0));
await page.evaluate(() => {
  window.isHidden = false;
  document.dispatchEvent(new Event("visibilitychange"));
});
await page.locator("#state .standing", { hasText: "active" }).waitFor();

// An operator who is removed is out at once.
const vera = await operator("vera");
await open(vera.page, "/");
const open_stream = vera.page.waitForRequest(/\/events/);
await vera.page.reload();
await open_stream;
await gateway("operator", "remove", "vera", "--yes");
await vera.page.getByRole("status").filter({ hasText: /not live any more|Connection lost|does not answer/ }).waitFor();
const refused = await vera.page.goto("/");
assert.equal(refused.status(), 403);
await vera.page.getByText("operator.forbidden").first().waitFor();
await finish();
