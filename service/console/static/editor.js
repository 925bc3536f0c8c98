// The editor of the configuration: check, then apply; and rollback. The token lives in sessionStorage alone.

import { address, clock, refresh } from "./console.js";

const find = (id) => document.getElementById(id);
const [text, gutter, problem, checked, apply] = ["text", "gutter", "problem", "checked", "apply"].map(find);
const token = find("token");
const KEY = "twinscore-admin-token";
let passed = null; // the text that was checked last and may be applied

/** What a reply that is a problem says, and the line that it names. */
async function mistake(reply) {
  const body = await reply.json().catch(() => ({}));
  const detail = body.detail ?? `the service answers ${reply.status}`;
  const named = /^[^\s:]*:(\d+): (.*)$/s.exec(detail);
  return named ? { line: Number(named[1]), words: `Line ${named[1]}: ${named[2]}` } : { line: null, words: detail };
}

const post = (path, body, headers = {}, method = "POST") =>
  fetch(address(path), { method, body, headers, signal: AbortSignal.timeout(30000) });

/** Headers carry bytes: a name goes as UTF-8. */
const bytes = (words) => String.fromCharCode(...new TextEncoder().encode(words));

function authorized(type) {
  const headers = { Authorization: `Bearer ${bytes(token.value)}`, "Content-Type": type };
  return find("author").value ? { ...headers, "X-Author": bytes(find("author").value) } : headers;
}

function number(wrong = null) {
  const lines = text.value.split("\n").length;
  gutter.replaceChildren(
    ...Array.from({ length: lines }, (_, i) => {
      const line = document.createElement("span");
      line.textContent = `${i + 1}\n`;
      line.className = i + 1 === wrong ? "wrong" : "";
      return line;
    }),
  );
  gutter.scrollTop = text.scrollTop;
}

function select(line) {
  const lines = text.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  text.focus();
  text.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  text.scrollTop = ((line - 4) * text.scrollHeight) / Math.max(1, lines.length);
}

function refuse({ line, words }) {
  problem.textContent = words;
  text.setAttribute("aria-invalid", "true");
  number(line);
  line ? select(line) : text.focus();
}

function forget() {
  passed = null;
  apply.disabled = true;
  find("apply-hint").textContent = "Check the text first.";
  checked.hidden = true;
}

function item(words, kind) {
  const element = document.createElement("li");
  element.textContent = words;
  element.className = kind;
  return element;
}

function show(found) {
  problem.textContent = "";
  text.removeAttribute("aria-invalid");
  number();
  find("verdict").textContent = found.refusals.length
    ? "This text is valid, but must not replace the live one:"
    : found.lines.length
      ? `This text is valid and may become version ${found.version}.`
      : "This text is valid, and the same as the live one.";
  find("changes").replaceChildren(
    ...found.refusals.map((words) => item(words, "refusal")),
    ...found.changes.map((words) => item(words, "")),
    ...found.warnings.map((words) => item(words, "warning")),
  );
  find("diff").replaceChildren(
    ...found.lines.map((words) => {
      const line = document.createElement("span");
      line.textContent = `${words}\n`;
      line.className = words.startsWith("+") ? "added" : words.startsWith("-") ? "removed" : "same";
      return line;
    }),
  );
  find("diff").hidden = !found.lines.length;
  checked.hidden = false;
  checked.focus();
  passed = found.refusals.length || !found.lines.length ? null : text.value;
  apply.disabled = passed === null;
  find("apply-hint").textContent = passed === null ? "Nothing that may be applied." : `Makes it version ${found.version} everywhere within seconds.`;
}

async function check(event) {
  event.preventDefault();
  forget();
  const asked = text.value;
  try {
    const reply = await post("/console/check", asked);
    if (text.value !== asked) return; // edited meanwhile
    reply.ok ? show(await reply.json()) : refuse(await mistake(reply));
  } catch {
    refuse({ line: null, words: "The service does not answer; nothing was checked." });
  }
}

async function put(event) {
  event.preventDefault();
  if (passed === null || passed !== text.value) return;
  if (!needToken(find("applied"))) return;
  find("applied").textContent = "Applying …";
  apply.disabled = true;
  try {
    const note = encodeURIComponent(find("note").value);
    const reply = await post(`/experiments?note=${note}`, passed, authorized("application/yaml"), "PUT");
    if (!reply.ok) {
      const wrong = await mistake(reply);
      find("applied").textContent = `Not applied. ${wrong.words}`;
      if (wrong.line) refuse(wrong);
      apply.disabled = false;
      return;
    }
    text.dataset.version = (await reply.json()).version;
    find("based-on").textContent = text.dataset.version;
    forget();
    find("applied").textContent = `Version ${text.dataset.version} was applied at ${clock()}.`;
    await refresh();
  } catch {
    find("applied").textContent = "The service does not answer; look at the versions below before you try again.";
    apply.disabled = false;
  }
}

function needToken(place) {
  if (token.value) return true;
  place.textContent = "Type the admin token first.";
  token.focus();
  return false;
}

function askRollback(event) {
  const version = event.target.dataset?.rollback;
  if (!version || !needToken(find("rolled"))) return;
  find("confirm-text").textContent = `The text of version ${version} comes back under a new, higher version number, for everybody within seconds.`;
  find("confirm-yes").dataset.version = version;
  find("confirm").showModal();
}

async function rollBack(event) {
  const version = Number(event.target.dataset.version);
  find("confirm").close();
  try {
    const asked = JSON.stringify({ version, note: find("note").value });
    const reply = await post("/experiments/rollback", asked, authorized("application/json"));
    find("rolled").textContent = reply.ok
      ? `Rolled back to version ${version}, which is now version ${(await reply.json()).version}.`
      : `Not rolled back. ${(await mistake(reply)).words}`;
    await refresh();
  } catch {
    find("rolled").textContent = "The service does not answer; look at the versions before you try again.";
  }
}

function take() {
  const live = find("live");
  text.value = live.textContent;
  text.dataset.version = live.dataset.version;
  find("based-on").textContent = live.dataset.version;
  find("newer").hidden = true;
  forget();
  number();
  text.focus();
}

/** Somebody else's version is said, never put over what is being written. */
function compareVersions() {
  const live = find("live").dataset.version;
  const newer = live !== text.dataset.version;
  const words = `Version ${live} is in force now; your text began as version ${text.dataset.version}.`;
  find("newer").hidden = !newer;
  if (newer && find("newer").textContent !== words) find("newer").textContent = words;
}

token.value = sessionStorage.getItem(KEY) ?? "";
token.addEventListener("input", () => sessionStorage.setItem(KEY, token.value));
text.addEventListener("input", () => {
  forget();
  number();
});
text.addEventListener("scroll", () => (gutter.scrollTop = text.scrollTop));
find("editor").addEventListener("submit", check);
find("apply-form").addEventListener("submit", put);
find("reload").addEventListener("click", take);
find("confirm-yes").addEventListener("click", rollBack);
find("confirm-no").addEventListener("click", () => find("confirm").close());
document.addEventListener("click", askRollback);
document.addEventListener("fresh", compareVersions);
number();
