// Keeps a page fresh: the same page is fetched again, and what differs in its live parts is put in place, node by
// node, so that focus, scroll, selection and opened details stay.

const EVERY = 5000; // milliseconds
const PATIENCE = 10000;

const connection = document.getElementById("connection");
const updated = document.getElementById("updated");
const pause = document.getElementById("pause");
const root = document.body.dataset.root;
let paused = false;
let since = null; // when the service stopped to answer

export const address = (path) => root + path;
export const clock = (time = new Date()) => `${time.toISOString().slice(11, 19)} UTC`;

/** Make `old` equal to `fresh`, touching only what differs. */
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  const other = old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id;
  if (other) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = fresh.data;
    return;
  }
  const kept = old.nodeName === "DETAILS" ? "open" : "";
  for (const { name } of [...old.attributes]) if (name !== kept && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
  before.slice(after.length).forEach((node) => node.remove());
  after.forEach((node, i) => (i < before.length ? morph(before[i], node) : old.append(node)));
}

/** Put the live parts of a fetched page in place. */
function adopt(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(old.id);
    if (fresh) morph(old, fresh);
  }
  updated.textContent = page.getElementById("updated").textContent;
  document.dispatchEvent(new Event("fresh"));
}

function lost(reason) {
  if (since !== null) return; // said already
  since = new Date();
  connection.hidden = false;
  connection.textContent = `${reason} What you see was true at ${updated.textContent.slice(6, 14)} UTC; trying again.`;
  document.getElementById("service").textContent = "No answer"; // the next page puts it right
}

function found() {
  since = null;
  connection.hidden = true;
  connection.textContent = "";
}

/** Fetch this page again now. */
export async function refresh() {
  try {
    // without the query: what was tried once is not scored again and again
    const reply = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    const html = await reply.text();
    if (reply.ok) {
      adopt(html);
      found();
    } else {
      lost(`The service answers ${reply.status}.`);
    }
  } catch {
    lost("The service does not answer.");
  }
}

async function keepFresh() {
  if (!paused && !document.hidden) await refresh();
  setTimeout(keepFresh, EVERY);
}

/** Show the answer to the form without loading the page anew; the address stays one to share. */
async function answer(event) {
  const form = event.target;
  if (form.id !== "try") return;
  event.preventDefault();
  const target = `${form.action}?${new URLSearchParams(new FormData(form))}`;
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  try {
    const reply = await fetch(target, { signal: AbortSignal.timeout(PATIENCE) });
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    morph(form, page.getElementById("try"));
    morph(document.getElementById("answer"), page.getElementById("answer"));
    history.replaceState(null, "", target);
    const wrong = form.querySelector("[aria-invalid]");
    (wrong ?? document.getElementById("answer")).focus();
  } catch {
    lost("The service does not answer.");
  } finally {
    button.disabled = false;
  }
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Resume updates" : "Pause updates";
  if (!paused) refresh();
});
document.addEventListener("submit", answer);
document.addEventListener("visibilitychange", () => document.hidden || paused || refresh());
setTimeout(keepFresh, EVERY);
