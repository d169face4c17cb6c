// Keeps a page up to date: when the gateway says that something changed, and whenever the stream was opened (again), it
// reads the page again and puts the parts marked data-live in place. It never moves the focus, and under the pointer
// or the focus it changes texts but never the order of things; rows and links that come or go wait there until
// somebody says "Show". Without it every page still works.

const announcement = document.getElementById("live");
const show = document.getElementById("show");
let reading = false;
let again = false;
let source = null;

function announce(text, offer = false) {
  if (announcement.textContent !== text) announcement.textContent = text;
  show.hidden = !offer;
}

// Text that changes under the pointer harms nobody; a row or a link that moves away from under it does.
function isInUse(node) {
  if (node.contains(document.activeElement)) return true;
  return node.matches(":hover") && (node.nodeName === "TBODY" || node.querySelector("a, button, summary") !== null);
}

function sameShape(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return false;
  return old.nodeType !== Node.ELEMENT_NODE || old.id === fresh.id;
}

function takeAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

// Makes `old` like `fresh`, leaf by leaf. What has another shape is replaced, unless it is in use: then it stays, and
// the answer is false.
function put(old, fresh, force) {
  if (old.isEqualNode(fresh)) return true;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return true;
  }
  const [mine, theirs] = [[...old.childNodes], [...fresh.childNodes]];
  const fits = old.dataset.key === fresh.dataset.key && mine.length === theirs.length;
  // Rows are the same rows only when they are about the same things in the same order.
  const sameRows = fits && mine.every((child, index) => sameShape(child, theirs[index]) && child.dataset?.key === theirs[index].dataset?.key);
  if (sameRows) {
    takeAttributes(old, fresh);
    return mine.map((child, index) => put(child, theirs[index], force)).every(Boolean);
  }
  if (!force && isInUse(old)) return false;
  takeAttributes(old, fresh);
  // Rows that were there before are kept, with what somebody has opened in them.
  const kept = new Map([...old.children].filter((child) => child.dataset.key).map((child) => [child.dataset.key, child]));
  const next = theirs.map((child) => {
    const known = kept.get(child.dataset?.key);
    if (known) put(known, child, true);
    return known ?? document.importNode(child, true);
  });
  old.replaceChildren(...next);
  return true;
}

async function readAgain(force = false) {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    let isWhole = true;
    for (const region of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(region.id);
      if (fresh && !put(region, fresh, force)) isWhole = false;
    }
    if (isWhole) announce("");
    else announce("There is news.", true);
  } catch {
    announce("The gateway does not answer; what is shown may be old.");
  } finally {
    reading = false;
    if (again) {
      again = false;
      readAgain();
    }
  }
}

function listen() {
  source = new EventSource(document.body.dataset.events);
  source.addEventListener("open", () => readAgain());
  source.addEventListener("change", () => readAgain());
  source.addEventListener("error", () => {
    const isOver = source?.readyState === EventSource.CLOSED;
    announce(isOver ? "This page is not live any more; load it again." : "Connection lost; trying again.");
  });
}

function hush() {
  source?.close();
  source = null;
}

if (document.querySelector("[data-live]")) {
  // A browser has few connections to one place: a page that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    hush();
    if (!document.hidden) listen();
  });
  addEventListener("pagehide", hush);
  addEventListener("pageshow", (event) => {
    if (event.persisted && !source) listen();
  });
  show.addEventListener("click", () => readAgain(true));
  if (!document.hidden) listen();
}
