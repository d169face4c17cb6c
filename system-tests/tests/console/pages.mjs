// The pages that show: fleet with search, filter and paging, device, audit, gateway; with scripts off, at 320 px, in
// light and dark, and for a viewer, who is offered nothing to do.

import assert from "node:assert/strict";
import { assertAccessible, assertQuiet, finish, gateway, id, open, operator, picture, stage, world } from "./stage.mjs";

const ids = (page) => page.locator("#devices tbody th").allTextContents();

await world("enrol");
await gateway("device", "suspend", id(1), "--reason", "privilege_withdrawn");

const vera = await operator("vera");
const { page } = vera;
const first = await open(page, "/");
assert.equal(first.headers()["cache-control"], "no-store");
assert.equal(first.headers()["x-content-type-options"], "nosniff");

// Paging: everybody once, in order.
const pages = [await ids(page)];
assert.equal(pages[0].length, 50);
await page.getByRole("link", { name: "Next page" }).click();
await page.locator("th", { hasText: id(59) }).waitFor();
pages.push(await ids(page));
assert.deepEqual(pages.flat(), Array.from({ length: 60 }, (_, index) => id(index)));
assert.equal(await page.getByRole("link", { name: "Next page" }).count(), 0);
await page.getByRole("link", { name: "First page" }).click();
await page.locator("th", { hasText: id(0) }).waitFor();

// Search, filter, both, and what finds nothing.
await page.getByRole("searchbox", { name: "Search" }).fill("p-00005");
await page.getByRole("button", { name: "Find" }).click();
await page.waitForURL(/search=p-00005/);
assert.deepEqual(await ids(page), Array.from({ length: 10 }, (_, index) => id(49 + index)));
await page.getByRole("searchbox", { name: "Search" }).fill("");
await page.getByRole("combobox", { name: "Standing" }).selectOption("suspended");
await page.getByRole("button", { name: "Find" }).click();
await page.waitForURL(/standing=suspended/);
assert.deepEqual(await ids(page), [id(1)]);
await open(page, "/?search=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E");
assert.equal(await page.getByRole("searchbox").inputValue(), '"><script>alert(1)</script>');
await page.getByText("No device matches.").waitFor();

// A device: exact dates, standing, certificates, history.
await open(page, `/devices/${id(0)}`);
const shown = await gateway("device", "show", id(0));
const [certificate] = shown.certificates;
const text = await page.locator("main").innerText();
for (const exact of [certificate.serial, certificate.not_before, certificate.not_after, shown.idevid, "enrolment.confirmed"]) {
  assert.ok(text.includes(exact), `the page of ${id(0)} does not show ${exact}`);
}
assert.equal(await page.locator(`time[datetime="${certificate.not_after}"]`).first().innerText(), certificate.not_after);
assert.equal(await page.locator(".standing").first().innerText(), "active");

// A viewer is offered nothing, and gets nothing.
assert.equal(await page.locator("a.act, form[method=post]").count(), 0);
assertQuiet(vera);
const refused = await page.evaluate(async (address) => {
  const body = new URLSearchParams({ reason: "key_compromise" });
  const answer = await fetch(address, { method: "POST", body });
  return [answer.status, await answer.text()];
}, `/devices/${id(0)}/revoke`);
assert.equal(refused[0], 403);
assert.match(refused[1], /operator\.forbidden/);
assert.equal((await page.goto(`/devices/${id(0)}/revoke`)).status(), 403);
assert.equal((await gateway("device", "show", id(0))).standing, "active");
await open(page, "/audit");
await page.locator("#records code", { hasText: "operator.forbidden" }).first().waitFor();
assert.equal(await page.locator("#records td", { hasText: "handshake.accepted" }).count(), 0, "left out unless asked for");
await page.getByRole("combobox").selectOption("handshake.accepted");
await page.getByRole("button", { name: "Find" }).click();
await page.locator("#records td", { hasText: "handshake.accepted" }).first().waitFor();
assert.equal(await page.locator("#records code", { hasText: "operator.forbidden" }).count(), 0);
await page.getByRole("combobox").selectOption("all");
await page.getByRole("button", { name: "Find" }).click();
await page.locator("#records td", { hasText: "handshake.accepted" }).first().waitFor();

// What is not there is said so, as a page.
for (const address of ["/devices/nobody", "/devices/%3Cscript%3E", "/nothing", `/devices/${id(0)}/explode`]) {
  const response = await page.goto(address);
  assert.equal(response.status(), 404, address);
  assert.match(response.headers()["content-type"], /^text\/html/, address);
  assert.equal(response.headers()["content-security-policy"], first.headers()["content-security-policy"]);
}
assertQuiet(vera, /status of (403|404)/);

// Everybody can use them. This certificate comes from a PKCS#12 file, as in a person's browser.
const anna = await operator("anna");
const addresses = ["/", `/devices/${id(0)}`, `/devices/${id(0)}/revoke`, `/devices/${id(0)}/retire`, "/audit", "/status"];
for (const address of addresses) {
  await open(anna.page, address);
  await assertAccessible(anna.page, address);
}
assertQuiet(anna);

// With scripts off they say the same.
const plain = await operator("vera", { javaScriptEnabled: false });
await open(plain.page, "/?standing=active");
assert.deepEqual(await ids(plain.page), [id(0)]);
await plain.page.getByRole("link", { name: id(0) }).click();
await plain.page.getByText(certificate.serial).first().waitFor();
await plain.page.getByRole("link", { name: "All records of this device" }).click();
await plain.page.getByRole("cell", { name: "enrolment.confirmed" }).first().waitFor();
await plain.page.getByRole("link", { name: "Gateway", exact: true }).click();
await plain.page.getByText(/^number 1$/).waitFor();

if (stage.screenshots) {
  await anna.page.setViewportSize({ width: 1100, height: 760 });
  await open(anna.page, "/");
  await picture(anna.page, "fleet");
  await open(anna.page, "/status");
  await picture(anna.page, "gateway");
}
await finish();
