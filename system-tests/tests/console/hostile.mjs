// What a device says is text, whatever it says; and only operators see it.

import assert from "node:assert/strict";
import path from "node:path";
import { assertAccessible, assertQuiet, finish, gateway, id, open, operator, stage, visitor, world } from "./stage.mjs";

const saved = await world("enrol");
const otto = await operator("otto");
const { page } = otto;
await open(page, `/devices/${id(0)}`);

const filler = "<b>'\"&amp;</b>".repeat(5000).slice(0, 60_000);
const texts = [
  "<script>document.title='owned'</script>",
  "</pre></section><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
  "\"' onmouseover=alert(1) <svg/onload=alert(1)> {{7*7}} ${7*7} &lt;i&gt; <!-- ]]>",
  `${filler}</pre><script>document.title='owned'</script>`,
  '<a href="javascript:alert(1)">x</a><form action="https://evil.example"><iframe srcdoc="<script>parent.owned=1</script>">',
];
for (const text of texts) {
  await world("publish", { device: 0, hex: Buffer.from(text).toString("hex") });
  // Once as the open page puts it in place, once as the gateway renders it.
  await page.waitForFunction((wanted) => document.querySelector("#telemetry pre")?.textContent === wanted, text);
  await open(page, `/devices/${id(0)}`);
  assert.equal(await page.locator("#telemetry pre").evaluate((element) => element.textContent), text);
  assert.equal(await page.locator("main script, main iframe, main img, main b, main form").count(), 0);
  assert.equal(await page.title(), `${id(0)} · Muster`);
}

// What cannot be seen is seen.
const unseen = "a\u0000b\u001b[31m\r\n\u202eexe.gpj\u2066\u200b\ufeff\u2028end";
await world("publish", { device: 0, hex: `${Buffer.from(unseen).toString("hex")}ff` });
const seen = "a\\u{0}b\\u{1b}[31m\\u{d}\n\\u{202e}exe.gpj\\u{2066}\\u{200b}\\u{feff}\\u{2028}end\ufffd";
await page.waitForFunction((wanted) => document.querySelector("#telemetry pre")?.textContent === wanted, seen);
await assertAccessible(page, "a page of hostile telemetry");
await open(page, "/");
assertQuiet(otto);

// Strangers: nobody in particular, and a device.
const nobody = await visitor(null);
const device = await visitor(path.join(saved, id(0)));
for (const [guest, status, code] of [[nobody, 401, "certificate.missing"], [device, 403, "operator.forbidden"]]) {
  for (const address of ["/", `/devices/${id(0)}`, "/audit", "/status", "/events", "/nothing"]) {
    const response = await guest.page.goto(address);
    assert.equal(response.status(), status, address);
    assert.match(await guest.page.content(), new RegExp(code.replace(".", "\\.")), address);
  }
  await guest.page.goto("/");
  await assertAccessible(guest.page, `the page for ${code}`);
  assertQuiet(guest, /status of 40[13]/);
  const answer = await guest.context.request.post(`${stage.base}/devices/${id(1)}/retire`, { form: { id: id(1) } });
  assert.equal(answer.status(), status);
}
assert.equal((await gateway("device", "show", id(1))).standing, "active");
await finish();
