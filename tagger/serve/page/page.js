// What the user does: typing, correcting, taking away. The server is asked here.
import { add, change, corrected, forms, remove, spelt, state, undo } from "./state.js";
import { $, beside, changeLanguage, changeTheme, dress, focusEntity, labelButton, markAt, say, show, showTip, shown, speak, tell } from "./view.js";

const TYPING_PAUSE = 220; // milliseconds
const AGAIN = 1500;

const [text, view, menu] = ["text", "view", "menu"].map($);

function act(change, ...given) {
  change(...given);
  show();
}

// ---- the server ------------------------------------------------------------------------------------------------

let about = null; // of the server: labels, limits
let pause = 0;
let asking = null;

async function ask(path, body, signal) {
  const headers = {};
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const reply = await fetch(path, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) });
  if (reply.status === 401) askForToken();
  return { ok: reply.ok, status: reply.status, value: await reply.json() };
}

async function start() {
  try {
    const { ok, value } = await ask("/about");
    if (!ok) return;
    about = value;
    state.labels = [...value.labels];
    $("save").hidden = !value.save;
    show();
    if (state.chars.length) tag();
  } catch {
    tell(say("unreachable"), true);
    setTimeout(start, AGAIN);
  }
}

function later(milliseconds) {
  clearTimeout(pause);
  asking?.abort();
  pause = setTimeout(tag, milliseconds);
}

async function tag() {
  if (!about) return;
  const limit = about.limits.characters;
  if (state.chars.length > limit) return tell(say("tooLong", { n: limit }), true);
  asking = new AbortController();
  view.classList.add("waiting");
  try {
    const { ok, status, value } = await ask("/tag", { text: text.value }, asking.signal);
    if (ok) act(() => (state.found = value.entities));
    else if ([408, 429, 503].includes(status)) {
      tell(say("busy"), true);
      later(AGAIN);
    } else if (status !== 401) tell(say("refused", { name: value.error }), true);
  } catch (error) {
    if (error.name === "AbortError") return;
    tell(say("unreachable"), true);
    later(AGAIN);
  }
  view.classList.remove("waiting");
}

async function save() {
  const document = corrected();
  $("save").disabled = true;
  try {
    const { ok, status, value } = await ask("/save", document);
    if (ok) shown.saved = JSON.stringify(document);
    show();
    if (ok) tell(say("saved", { name: value.saved }));
    else if (status !== 401) tell(say("refused", { name: value.error }), true);
  } catch {
    show();
    tell(say("unreachable"), true);
  }
}

function askForToken() {
  $("token-wrong").textContent = sessionStorage.getItem("token") ? say("tokenWrong") : "";
  if (!$("token-dialog").open) $("token-dialog").showModal();
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.replace(/[^!-~]/g, ""));
  $("token").value = "";
  $("token-dialog").close();
  if (about) tag();
  else start();
});

// ---- the text --------------------------------------------------------------------------------------------------

function typed() {
  closeMenu();
  act(change, text.value);
  later(TYPING_PAUSE);
}

function setText(content) {
  text.value = content;
  typed();
  text.focus();
}

async function read(file) {
  const limit = about?.limits.characters ?? Infinity;
  if (file.size > 4 * limit) return tell(say("tooLong", { n: limit }), true);
  const bytes = await file.arrayBuffer();
  for (const encoding of ["utf-8", "gb18030"]) {
    try {
      return setText(new TextDecoder(encoding, { fatal: true }).decode(bytes));
    } catch {
      // the next one
    }
  }
  return tell(say("unreadable"), true);
}

text.addEventListener("input", typed);
text.addEventListener("keydown", (event) => {
  const label = state.labels[/^Digit([1-9])$/.exec(event.code)?.[1] - 1];
  if (!event.altKey || !label) return;
  event.preventDefault();
  markSelected(label);
});
$("example").addEventListener("click", () => setText(say("exampleText")));
$("file").addEventListener("change", (event) => {
  if (event.target.files.length) read(event.target.files[0]);
  event.target.value = "";
});
for (const kind of ["dragover", "drop", "dragleave"])
  document.addEventListener(kind, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    text.closest(".card").classList.toggle("dropping", kind === "dragover");
    if (kind === "drop") read(event.dataTransfer.files[0]);
  });

// ---- selecting -------------------------------------------------------------------------------------------------

const length = (string) => Array.from(string).length;

/** Return {start, end} of what is selected in the view, or null. */
function selectedInView() {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!view.contains(range.startContainer) || !view.contains(range.endContainer)) return null;
  const before = document.createRange();
  before.setStart(view, 0);
  before.setEnd(range.startContainer, range.startOffset);
  const start = length(before.toString());
  return { start, end: start + length(range.toString()) };
}

function selectedInText() {
  const { selectionStart, selectionEnd, value } = text;
  if (selectionStart === selectionEnd) return null;
  const start = length(value.slice(0, selectionStart));
  return { start, end: start + length(value.slice(selectionStart, selectionEnd)) };
}

function markSelected(label) {
  const selected = selectedInView() ?? selectedInText();
  if (selected) act(add, selected.start, selected.end, label);
  else tell(say("selectFirst"), true);
}

$("labels").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) markSelected(button.dataset.label);
});
document.addEventListener("pointerup", (event) => {
  if (menu.contains(event.target) || $("labels").contains(event.target)) return;
  setTimeout(() => {
    const selected = selectedInView(); // now that the browser has settled it
    if (selected && spelt(selected).trim()) openMenu(selected, [...getSelection().getRangeAt(0).getClientRects()].at(-1));
  });
});

// ---- the menu of an entity or of selected text -----------------------------------------------------------------

let chosen = null; // an entity that is shown, or {start, end}

function openMenu(what, box) {
  chosen = what;
  const buttons = state.labels.map(labelButton);
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.label === what.label);
  $("menu-heading").textContent = spelt(what);
  $("menu-labels").replaceChildren(...buttons);
  $("menu-new").value = "";
  $("menu-remove").hidden = !what.label;
  menu.hidden = false;
  beside(menu, box, 8);
  if (what.label) markAt(shown.focused).setAttribute("aria-expanded", "true");
  const current = buttons.find((button) => button.dataset.label === what.label);
  (current ?? buttons[0] ?? $("menu-new")).focus({ preventScroll: true });
}

function openEntity(mark) {
  focusEntity(Number(mark.dataset.place));
  openMenu(shown.entities[shown.focused], mark.getClientRects()[0]);
}

function closeMenu() {
  menu.hidden = true;
  view.querySelector("[aria-expanded]")?.removeAttribute("aria-expanded");
}

function choose(label) {
  const { start, end } = chosen;
  getSelection().removeAllRanges();
  closeMenu();
  if (label !== chosen.label) act(add, start, end, label);
  focusEntity(Math.max(shown.entities.findIndex((entity) => entity.end > start), 0));
}

$("menu-labels").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) choose(button.dataset.label);
});
$("menu-new").addEventListener("keydown", (event) => {
  const label = event.target.value.trim().replace(/\s+/g, "-");
  if (event.key === "Enter" && !event.isComposing && label) choose(label);
});
$("menu-remove").addEventListener("click", () => {
  closeMenu();
  act(remove, chosen);
  focusEntity(shown.focused);
});
menu.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    closeMenu();
    focusEntity(shown.focused);
  }
  const buttons = [...$("menu-labels").children];
  const place = buttons.indexOf(document.activeElement);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (place < 0 || !step) return;
  event.preventDefault();
  buttons[(place + step + buttons.length) % buttons.length].focus();
});
menu.addEventListener("focusout", (event) => {
  if (event.relatedTarget && !menu.contains(event.relatedTarget)) closeMenu();
});
document.addEventListener("pointerdown", (event) => {
  if (!menu.contains(event.target)) closeMenu();
});

// ---- entities in the text and in the table ---------------------------------------------------------------------

view.addEventListener("click", (event) => {
  const mark = event.target.closest("mark");
  if (mark && getSelection().isCollapsed) openEntity(mark);
});
view.addEventListener("keydown", (event) => {
  const mark = event.target.closest("mark");
  if (!mark || event.ctrlKey || event.metaKey || event.altKey) return;
  const place = Number(mark.dataset.place);
  const last = shown.entities.length - 1;
  const { start, end } = shown.entities[place];
  const steps = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1, Home: 0, End: last };
  const label = /^[1-9]$/.test(event.key) && state.labels[event.key - 1];
  if (event.key in steps) focusEntity(Math.max(0, Math.min(steps[event.key], last)));
  else if (event.key === "Enter" || event.key === " ") openEntity(mark);
  else if (event.key === "Delete" || event.key === "Backspace") act(remove, shown.entities[place]);
  else if (label) act(add, start, end, label);
  else return;
  event.preventDefault();
});
for (const kind of ["pointerover", "focusin"])
  view.addEventListener(kind, (event) => {
    const mark = event.target.closest("mark");
    if (mark) showTip(mark);
  });
for (const kind of ["pointerout", "focusout", "scroll"]) view.addEventListener(kind, () => ($("tip").hidden = true));
$("rows").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const place = Number(button.closest("tr").dataset.place);
  if (button.className === "name") focusEntity(place);
  else act(remove, shown.entities[place]);
});
$("threshold").addEventListener("input", (event) => {
  state.threshold = Number(event.target.value);
  $("threshold-shown").textContent = state.threshold.toFixed(2);
  show();
});

// ---- out -------------------------------------------------------------------------------------------------------

async function copy() {
  const content = forms[$("format").value].write();
  try {
    await navigator.clipboard.writeText(content);
  } catch {
    // Only pages on this machine or over HTTPS have a clipboard.
    const area = document.createElement("textarea");
    area.value = content;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    $("copy").focus();
  }
  tell(say("copied"));
}

function download() {
  const form = forms[$("format").value];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([form.write()], { type: form.type }));
  link.download = `tagged.${form.suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), AGAIN);
}

$("undo").addEventListener("click", () => act(undo));
$("copy").addEventListener("click", copy);
$("download").addEventListener("click", download);
$("save").addEventListener("click", save);
$("language").addEventListener("click", changeLanguage);
$("theme").addEventListener("click", changeTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey)) return;
  if (event.key === "s" && about?.save) {
    event.preventDefault();
    if (!$("save").disabled) save();
  } else if (event.key === "z" && !event.target.matches("textarea, input") && !$("undo").disabled) {
    event.preventDefault();
    act(undo);
  }
});
addEventListener("beforeunload", (event) => {
  const changed = state.added.length || state.removed.length;
  if (changed && JSON.stringify(corrected()) !== shown.saved) event.preventDefault();
});

dress();
speak();
start();
