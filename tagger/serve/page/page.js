// React to the user: typing, correcting, exporting.
import { keepDraft, queue, startQueue } from "./queue.js";
import { onToken, request } from "./server.js";
import { add, correctedDocument, formats, remove, setText, state, textOf, undo } from "./state.js";
import { toggleTheme } from "./theme.js";
import { $, applyLanguage, focusEntity, labelButton, markAt, message, placeNextTo, show, showStatus, showTip, toggleLanguage, view } from "./view.js";

const TYPING_PAUSE = 220; // milliseconds
const RETRY_PAUSE = 1500;

const [textArea, textView, menu] = ["text", "view", "menu"].map($);

/** Change the state by one of its functions, and show the result. */
function update(change, ...parameters) {
  change(...parameters);
  show();
  keepDraft();
}

// ---- the server ------------------------------------------------------------------------------------------------

let about = null; // what the server says about itself: labels, limits
let timer = 0;
let pending = null; // AbortController of the request for entities

async function start() {
  try {
    const { ok, value } = await request("/about");
    if (!ok) return;
    showAbout(value);
    if (about.queue) return startQueue(askAgain);
    $("save").hidden = !about.save;
    show();
    if (state.chars.length) tag();
  } catch {
    showStatus(message("unreachable"), true);
    setTimeout(start, RETRY_PAUSE);
  }
}

/** Show what the server says about itself; labels that the user added stay. */
function showAbout(value = about) {
  if (!value) return;
  about = value;
  state.labels = [...new Set([...about.labels, ...state.labels])];
  const parts = [`tagger ${about.version}`];
  if (about.bundle) {
    const { name, sha256, trained } = about.bundle;
    if (trained) parts.unshift(message("aboutTrained", { name: new Date(trained).toLocaleString(view.language) }));
    parts.unshift(message("about", { name }), sha256.slice(0, 12));
  }
  $("about").textContent = parts.join(" · ");
}

/** Ask the server about itself again: its bundle has changed. */
async function askAgain() {
  const { ok, value } = await request("/about");
  if (ok) showAbout(value);
  show();
}

function scheduleTag(milliseconds) {
  clearTimeout(timer);
  pending?.abort();
  timer = setTimeout(tag, milliseconds);
}

async function tag() {
  if (!about) return;
  const limit = about.limits.characters;
  if (state.chars.length > limit) return showStatus(message("tooLong", { n: limit }), true);
  pending = new AbortController();
  textView.classList.add("waiting");
  try {
    const { ok, status, value } = await request("/tag", { text: textArea.value }, pending.signal);
    if (ok) update(() => (state.predicted = value.entities));
    else if ([408, 429, 503].includes(status)) {
      showStatus(message("busy"), true);
      scheduleTag(RETRY_PAUSE);
    } else if (status !== 401) showStatus(message("refused", { name: value.error }), true);
  } catch (error) {
    if (error.name === "AbortError") return;
    showStatus(message("unreachable"), true);
    scheduleTag(RETRY_PAUSE);
  }
  textView.classList.remove("waiting");
}

async function save() {
  const document = correctedDocument();
  $("save").disabled = true;
  try {
    const { ok, status, value } = await request("/save", document);
    if (ok) view.saved = JSON.stringify(document);
    show();
    if (ok) showStatus(message("saved", { name: value.saved }));
    else if (status !== 401) showStatus(message("refused", { name: value.error }), true);
  } catch {
    show();
    showStatus(message("unreachable"), true);
  }
}

onToken(() => {
  if (about && !queue.active) tag();
  else start();
});

// ---- the text --------------------------------------------------------------------------------------------------

function onInput() {
  closeMenu();
  update(setText, textArea.value);
  scheduleTag(TYPING_PAUSE);
}

function replaceText(content) {
  textArea.value = content;
  onInput();
  textArea.focus();
}

async function openFile(file) {
  const limit = about?.limits.characters ?? Infinity;
  if (file.size > 4 * limit) return showStatus(message("tooLong", { n: limit }), true);
  const bytes = await file.arrayBuffer();
  for (const encoding of ["utf-8", "gb18030"]) {
    try {
      return replaceText(new TextDecoder(encoding, { fatal: true }).decode(bytes));
    } catch {
      // try the next encoding
    }
  }
  return showStatus(message("unreadable"), true);
}

textArea.addEventListener("input", onInput);
textArea.addEventListener("keydown", (event) => {
  const label = state.labels[/^Digit([1-9])$/.exec(event.code)?.[1] - 1];
  if (!event.altKey || !label) return;
  event.preventDefault();
  markSelected(label);
});
$("example").addEventListener("click", () => replaceText(message("exampleText")));
$("file").addEventListener("change", (event) => {
  if (event.target.files.length) openFile(event.target.files[0]);
  event.target.value = "";
});
for (const kind of ["dragover", "drop", "dragleave"])
  document.addEventListener(kind, (event) => {
    if (queue.active || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    textArea.closest(".card").classList.toggle("dropping", kind === "dragover");
    if (kind === "drop") openFile(event.dataTransfer.files[0]);
  });

// ---- selecting -------------------------------------------------------------------------------------------------

const length = (string) => Array.from(string).length;

/** Return {start, end} of the selection in the highlighted text, or null. */
function selectedInView() {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!textView.contains(range.startContainer) || !textView.contains(range.endContainer)) return null;
  const before = document.createRange();
  before.setStart(textView, 0);
  before.setEnd(range.startContainer, range.startOffset);
  const start = length(before.toString());
  return { start, end: start + length(range.toString()) };
}

function selectedInText() {
  const { selectionStart, selectionEnd, value } = textArea;
  if (selectionStart === selectionEnd) return null;
  const start = length(value.slice(0, selectionStart));
  return { start, end: start + length(value.slice(selectionStart, selectionEnd)) };
}

function markSelected(label) {
  const selected = selectedInView() ?? selectedInText();
  if (selected) update(add, selected.start, selected.end, label);
  else showStatus(message("selectFirst"), true);
}

$("labels").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) markSelected(button.dataset.label);
});
document.addEventListener("pointerup", (event) => {
  if (menu.contains(event.target) || $("labels").contains(event.target)) return;
  setTimeout(() => {
    const selected = selectedInView(); // after the browser has updated the selection
    if (selected && textOf(selected).trim()) openMenu(selected, [...getSelection().getRangeAt(0).getClientRects()].at(-1));
  });
});

// ---- the menu of an entity or of selected text -----------------------------------------------------------------

let menuTarget = null; // an entity of the view, or {start, end}

function openMenu(target, box) {
  menuTarget = target;
  const buttons = state.labels.map(labelButton);
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.label === target.label);
  $("menu-heading").textContent = textOf(target);
  $("menu-labels").replaceChildren(...buttons);
  $("menu-new").value = "";
  $("menu-remove").hidden = !target.label;
  menu.hidden = false;
  placeNextTo(menu, box, 8);
  if (target.label) markAt(view.focused).setAttribute("aria-expanded", "true");
  const current = buttons.find((button) => button.dataset.label === target.label);
  (current ?? buttons[0] ?? $("menu-new")).focus({ preventScroll: true });
}

function openEntity(mark) {
  focusEntity(Number(mark.dataset.index));
  openMenu(view.entities[view.focused], mark.getClientRects()[0]);
}

function closeMenu() {
  menu.hidden = true;
  textView.querySelector("[aria-expanded]")?.removeAttribute("aria-expanded");
}

function applyLabel(label) {
  const { start, end } = menuTarget;
  getSelection().removeAllRanges();
  closeMenu();
  if (label !== menuTarget.label) update(add, start, end, label);
  focusEntity(Math.max(view.entities.findIndex((entity) => entity.end > start), 0));
}

$("menu-labels").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) applyLabel(button.dataset.label);
});
$("menu-new").addEventListener("keydown", (event) => {
  const label = event.target.value.trim().replace(/\s+/g, "-");
  if (event.key === "Enter" && !event.isComposing && label) applyLabel(label);
});
$("menu-remove").addEventListener("click", () => {
  closeMenu();
  update(remove, menuTarget);
  focusEntity(view.focused);
});
menu.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    closeMenu();
    focusEntity(view.focused);
  }
  const buttons = [...$("menu-labels").children];
  const index = buttons.indexOf(document.activeElement);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (index < 0 || !step) return;
  event.preventDefault();
  buttons[(index + step + buttons.length) % buttons.length].focus();
});
menu.addEventListener("focusout", (event) => {
  if (event.relatedTarget && !menu.contains(event.relatedTarget)) closeMenu();
});
document.addEventListener("pointerdown", (event) => {
  if (!menu.contains(event.target)) closeMenu();
});

// ---- entities in the text and in the table ---------------------------------------------------------------------

textView.addEventListener("click", (event) => {
  const mark = event.target.closest("mark");
  if (mark && getSelection().isCollapsed) openEntity(mark);
});
textView.addEventListener("keydown", (event) => {
  const mark = event.target.closest("mark");
  if (!mark || event.ctrlKey || event.metaKey || event.altKey) return;
  const index = Number(mark.dataset.index);
  const last = view.entities.length - 1;
  const { start, end } = view.entities[index];
  const steps = { ArrowRight: index + 1, ArrowDown: index + 1, ArrowLeft: index - 1, ArrowUp: index - 1, Home: 0, End: last };
  const label = /^[1-9]$/.test(event.key) && state.labels[event.key - 1];
  if (event.key in steps) focusEntity(Math.max(0, Math.min(steps[event.key], last)));
  else if (event.key === "Enter" || event.key === " ") openEntity(mark);
  else if (event.key === "Delete" || event.key === "Backspace") update(remove, view.entities[index]);
  else if (label) update(add, start, end, label);
  else return;
  event.preventDefault();
});
for (const kind of ["pointerover", "focusin"])
  textView.addEventListener(kind, (event) => {
    const mark = event.target.closest("mark");
    if (mark) showTip(mark);
  });
for (const kind of ["pointerout", "focusout", "scroll"]) textView.addEventListener(kind, () => ($("tip").hidden = true));
$("rows").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const index = Number(button.closest("tr").dataset.index);
  if (button.className === "name") focusEntity(index);
  else update(remove, view.entities[index]);
});
$("threshold").addEventListener("input", (event) => {
  state.threshold = Number(event.target.value);
  $("threshold-shown").textContent = state.threshold.toFixed(2);
  show();
});

// ---- export -------------------------------------------------------------------------------------------------------

async function copy() {
  const content = formats[$("format").value].write();
  try {
    await navigator.clipboard.writeText(content);
  } catch {
    // Browsers offer the clipboard only to pages from this machine or over HTTPS.
    const area = document.createElement("textarea");
    area.value = content;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    $("copy").focus();
  }
  showStatus(message("copied"));
}

function download() {
  const format = formats[$("format").value];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([format.write()], { type: format.type }));
  link.download = `tagged.${format.suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), RETRY_PAUSE);
}

$("undo").addEventListener("click", () => update(undo));
$("copy").addEventListener("click", copy);
$("download").addEventListener("click", download);
$("save").addEventListener("click", save);
$("language").addEventListener("click", toggleLanguage);
$("theme").addEventListener("click", toggleTheme);
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey)) return;
  if (event.key === "s" && about?.save && !queue.active) {
    event.preventDefault();
    if (!$("save").disabled) save();
  } else if (event.key === "z" && !event.target.matches("textarea, input") && !$("undo").disabled) {
    event.preventDefault();
    update(undo);
  }
});
addEventListener("beforeunload", (event) => {
  if (queue.active && !queue.unkept) return; // they are there after a reload
  const isCorrected = state.added.length || state.removed.length;
  if (isCorrected && JSON.stringify(correctedDocument()) !== view.saved) event.preventDefault();
});

document.addEventListener("languagechange", () => showAbout());
applyLanguage();
start();
