// Keeps a page up to date: on "something changed", and after every reconnect, it reads the page again and puts the
// parts marked data-live in place. It never moves the focus and never changes what is under the pointer; there it
// says that there is news and waits for a click. Without it every page still works.

const announcement = document.getElementById("live");
let reading = false;
let again = false;

function announce(text) {
  announcement.hidden = text === "";
  announcement.textContent = text;
}

function isInUse(region) {
  return region.matches(":hover, :focus-within");
}

function put(region, fresh) {
  if (region.innerHTML === fresh.innerHTML) return true;
  if (isInUse(region)) return false;
  region.replaceChildren(...fresh.cloneNode(true).childNodes);
  return true;
}

async function readAgain() {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    let waiting = 0;
    for (const region of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(region.id);
      if (fresh && !put(region, fresh)) waiting += 1;
    }
    announce(waiting > 0 ? "There is news; it is shown when you move away from the table." : "");
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

if (document.querySelector("[data-live]")) {
  const events = new EventSource("/events");
  let opened = false;
  events.addEventListener("open", () => {
    if (opened) readAgain();
    opened = true;
  });
  events.addEventListener("change", readAgain);
  events.addEventListener("error", () => announce("Connection lost; trying again."));
  document.addEventListener("pointerout", () => {
    if (!announcement.hidden) readAgain();
  });
  document.addEventListener("focusout", () => {
    if (!announcement.hidden) readAgain();
  });
}
