// What operators do with devices: each asks first, each is done once, by mouse, by keyboard alone and with scripts off;
// and no other site can do it for them.

import assert from "node:assert/strict";
import { assertQuiet, finish, gateway, id, open, operator, picture, stage, world } from "./stage.mjs";

const device = await world("start-agent", { device: 0 });
const otto = await operator("otto");
const { page } = otto;

/// Waits until the page shows this standing, without being loaded again by us.
const standing = (on, name) => on.locator("#state .standing", { hasText: new RegExp(`^${name}$`) }).waitFor();
const session = (on, text) => on.locator("#state dd", { hasText: text }).waitFor();
const serial = (on) => on.locator("#certificates tr", { hasText: "current" }).locator("code").innerText();

/// What the page says when it was done.
const done = {
  rotate: /^Done\. The rotation is ordered\./,
  suspend: /^Done\. The device is suspended\./,
  resume: /^Done\. The device (is resumed|may enrol anew)/,
  revoke: /^Done\. The device is revoked:/,
  retire: /^Done\. The device is retired for good\./,
};

/// Follows the link of an act and sends its form.
async function act(on, name, fill = async () => {}) {
  await on.getByRole("link", { name, exact: true }).click();
  await on.waitForURL(`**/${name}`);
  await fill(on);
  await on.getByRole("button", { name: new RegExp(`^${name} `) }).click();
  await on.waitForURL(/\/devices\/[^/]+$/);
  assert.match(await on.locator("#done").innerText(), done[name]);
}

await open(page, `/devices/${device}`);
await session(page, "● ldevid");
await standing(page, "active");
const enrolled = await serial(page);

// Nobody makes the page say that something was done, let alone say what they like.
for (const text of ["retire", "suspend", "explode", "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"]) {
  await open(page, `/devices/${device}?done=${text}`);
  assert.equal(await page.locator("#done").count(), 0, text);
  assert.equal(await page.locator("img").count(), 0, text);
}

// Asked, and not done.
await page.getByRole("link", { name: "suspend", exact: true }).click();
await page.getByRole("link", { name: "No, go back" }).click();
await standing(page, "active");

await act(page, "rotate");
await page.locator("#certificates tr", { hasText: enrolled }).filter({ hasText: "superseded" }).waitFor();
await standing(page, "active");
const rotated = await serial(page);
assert.notEqual(rotated, enrolled);
await session(page, "● ldevid");
await picture(page, "device");

await act(page, "suspend");
await standing(page, "suspended");
await session(page, "○ none");
await page.locator("#refusals code", { hasText: "device.suspended" }).first().waitFor();
await act(page, "resume");
await standing(page, "active");
await session(page, "● ldevid");
assert.equal(await serial(page), rotated, "suspension takes nothing away");
// It says so of the last act, and of no other one.
await open(page, `/devices/${device}?done=suspend`);
assert.equal(await page.locator("#done").count(), 0);
await open(page, `/devices/${device}?done=resume`);
await page.locator("#done").waitFor();
await open(page, `/devices/${device}`);
assert.equal(await page.locator("#done").count(), 0);

// A revocation has a reason: the form asks for it, and the gateway does.
await page.getByRole("link", { name: "revoke", exact: true }).click();
await page.waitForURL("**/revoke");
await page.getByRole("button", { name: /^revoke / }).click();
assert.equal(await page.locator("select:invalid").count(), 1);
assertQuiet(otto);
const without = await page.evaluate(async () => (await fetch(location.href, { method: "POST", body: new URLSearchParams() })).status);
assert.equal(without, 400);
assertQuiet(otto, /status of 400/);

// By keyboard alone: from the top of the device's page to a revoked device.
async function tabTo(on, what) {
  for (let presses = 0; presses < 60; presses += 1) {
    await on.keyboard.press("Tab");
    const focused = on.locator(":focus");
    const { text, outline } = await focused.evaluate((element) => ({
      text: `${element.tagName.toLowerCase()} ${element.name || element.textContent}`,
      outline: getComputedStyle(element).outlineStyle,
    }));
    assert.notEqual(outline, "none", `the focus on ${text} is not seen`);
    if (text === what) return;
  }
  assert.fail(`the Tab key never comes to ${what}`);
}
await open(page, `/devices/${device}`);
await tabTo(page, "a Skip to content");
await page.keyboard.press("Enter");
await tabTo(page, "a revoke");
await page.keyboard.press("Enter");
await page.waitForURL("**/revoke");
await tabTo(page, "select reason");
await page.keyboard.type("key");
await picture(page, "revoke", { clip: { x: 0, y: 0, width: 1100, height: 330 } });
await tabTo(page, `button revoke ${device}`);
await page.keyboard.press("Enter");
await page.waitForURL(/\/devices\/[^/]+$/);
await standing(page, "revoked");
await session(page, "○ none");
await page.locator("#state dd", { hasText: "key_compromise" }).waitFor();
await page.locator("#certificates tr", { hasText: rotated }).filter({ hasText: "key_compromise" }).waitFor();
await page.locator("#refusals code", { hasText: "device.revoked" }).first().waitFor();
await act(page, "resume");
await standing(page, "active");
assert.notEqual(await serial(page), rotated, "a revoked certificate never comes back");

// Retired by typing its id, and not by typing another's.
const retire = (text) => (on) => on.getByRole("textbox").fill(text);
await page.getByRole("link", { name: "retire", exact: true }).click();
await page.waitForURL("**/retire");
await retire(id(1))(page);
await page.getByRole("button", { name: /^retire / }).click();
await page.getByText("nothing was done").waitFor();
assertQuiet(otto, /status of 400/);
await open(page, `/devices/${device}`);
await act(page, "retire", retire(device));
await standing(page, "retired");
assert.equal(await page.locator("a.act").count(), 0);
await page.locator("#history td", { hasText: "operator:otto" }).first().waitFor();

// Too late, by an old page: refused, with the reason.
const late = await page.evaluate(async (address) => {
  const answer = await fetch(address, { method: "POST", body: new URLSearchParams() });
  return [answer.status, await answer.text()];
}, `/devices/${device}/resume`);
assert.equal(late[0], 409);
assert.match(late[1], /device\.retired/);
assertQuiet(otto, /status of 409/);

// With scripts off.
const plain = await operator("otto", { javaScriptEnabled: false });
await open(plain.page, `/devices/${id(1)}`);
await act(plain.page, "suspend", (on) => on.getByRole("combobox").selectOption("cessation_of_operation"));
await standing(plain.page, "suspended");
await act(plain.page, "resume");
await standing(plain.page, "expected");
await act(plain.page, "revoke", (on) => on.getByRole("combobox").selectOption("affiliation_changed"));
await standing(plain.page, "revoked");
await act(plain.page, "retire", retire(id(1)));
await standing(plain.page, "retired");

// Another site, in the same browser with the same certificate.
const evil = await otto.context.newPage();
for (const origin of ["https://evil.example", "http://localhost:1"]) {
  const form = `<form method="post" action="${stage.base}/devices/${id(2)}/suspend"><button>Win a prize</button></form>`;
  await evil.route(`${origin}/**`, (route) => route.fulfill({ contentType: "text/html", body: form }));
  await evil.goto(`${origin}/`);
  const answered = evil.waitForResponse((response) => response.url().endsWith("/suspend"));
  await evil.getByRole("button").click();
  const answer = await answered;
  assert.equal(answer.status(), 403);
  await evil.getByText("request.cross_site").waitFor();
}
assert.equal((await gateway("device", "show", id(2))).standing, "expected");
await finish();
