// Show the state on the page. Text is always set as text, never as markup.
import { messages } from "./messages.js";
import { correctedDocument, entities, shownEntities, state, textOf } from "./state.js";
import { loadSetting, storeSetting } from "./theme.js";

const MAX_ROWS = 500;
const COLOURS = 10;

export const $ = (id) => document.getElementById(id);

export const view = {
  entities: [], // in order
  content: "", // of the highlighted text, as JSON
  focused: 0, // index of the entity that the keyboard is on
  saved: "", // the document saved last, as JSON
  language: loadSetting("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"),
};

// ---- messages --------------------------------------------------------------------------------------------------

export function message(key, { n = 0, of = 0, name = "" } = {}) {
  const number = (value) => value.toLocaleString(view.language);
  return messages[view.language][key].replace("{n}", number(n)).replace("{of}", number(of)).replace("{name}", () => name);
}

export function showStatus(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

export function applyLanguage() {
  document.documentElement.lang = view.language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-message]")) element.textContent = message(element.dataset.message);
  for (const [key, attribute] of [["label", "aria-label"], ["title", "title"], ["placeholder", "placeholder"], ["empty", "data-empty"]])
    for (const element of document.querySelectorAll(`[data-message-${key}]`))
      element.setAttribute(attribute, message(element.getAttribute(`data-message-${key}`)));
  $("language").lang = view.language === "zh" ? "en" : "zh";
  $("docs").href = `/docs?lang=${view.language}`;
  document.dispatchEvent(new Event("languagechange"));
  show();
}

export function toggleLanguage() {
  view.language = view.language === "zh" ? "en" : "zh";
  storeSetting("language", view.language);
  applyLanguage();
}

// ---- the state -------------------------------------------------------------------------------------------------

const colourClass = (label) => `h${Math.max(state.labels.indexOf(label), 0) % COLOURS}`;
const probabilityText = ({ score }) => (score === undefined ? message("manual") : `${(100 * score).toFixed(1)} %`);

function createElement(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Return a button that stands for a label; event listeners read `dataset.label`. */
export function labelButton(label) {
  const button = createElement("button", { type: "button", className: `chip ${colourClass(label)}`, textContent: label });
  button.dataset.label = label;
  return button;
}

export function show() {
  $("tip").hidden = true;
  view.entities = shownEntities();
  const hidden = entities().length - view.entities.length;
  $("hidden").textContent = hidden ? message("hidden", { n: hidden }) : "";
  view.focused = Math.max(Math.min(view.focused, view.entities.length - 1), 0);
  $("count").textContent = message("count", { n: state.chars.length });
  $("undo").disabled = !state.history.length;
  $("save").disabled = !state.chars.some((char) => char.trim()) || JSON.stringify(correctedDocument()) === view.saved;
  showStatus(state.chars.length ? message("number", { n: view.entities.length }) : "");
  showText();
  showLabels();
  showTable();
}

function showText() {
  const content = JSON.stringify([state.chars, view.entities, view.language, state.labels]);
  if (content === view.content) return; // keeps the selection
  view.content = content;
  const hadFocus = $("view").contains(document.activeElement);
  const parts = [];
  let end = 0;
  view.entities.forEach((entity, index) => {
    parts.push(state.chars.slice(end, entity.start).join(""), createMark(entity, index));
    end = entity.end;
  });
  parts.push(state.chars.slice(end).join(""));
  $("view").replaceChildren(...parts.filter((part) => part !== ""));
  if (hadFocus) markAt(view.focused)?.focus();
}

function createMark(entity, index) {
  const mark = createElement("mark", { className: colourClass(entity.label), textContent: textOf(entity) });
  mark.classList.toggle("manual", entity.score === undefined);
  mark.style.setProperty("--p", entity.score ?? 1);
  Object.assign(mark.dataset, { index, label: entity.label });
  mark.tabIndex = index === view.focused ? 0 : -1;
  mark.setAttribute("role", "button");
  mark.setAttribute("aria-haspopup", "dialog");
  mark.setAttribute("aria-label", `${textOf(entity)}, ${entity.label}, ${probabilityText(entity)}`);
  return mark;
}

function showLabels() {
  const counts = new Map();
  for (const { label } of view.entities) counts.set(label, (counts.get(label) ?? 0) + 1);
  const focused = [...$("labels").children].indexOf(document.activeElement);
  const buttons = state.labels.map((label) => {
    const button = labelButton(label);
    button.append(createElement("span", { textContent: counts.get(label) ?? 0 }));
    return button;
  });
  $("labels").replaceChildren(...buttons);
  buttons[focused]?.focus();
}

function showTable() {
  const rows = view.entities.slice(0, MAX_ROWS).map(createRow);
  $("rows").replaceChildren(...rows);
  const more = view.entities.length - rows.length;
  $("none").hidden = rows.length > 0 && !more;
  $("none").textContent = more ? message("more", { n: more }) : message("none");
}

function createRow(entity, index) {
  const name = createElement("button", { type: "button", className: "name", textContent: textOf(entity) });
  const remove = createElement("button", { type: "button", className: "quiet", textContent: "×", title: message("remove") });
  remove.setAttribute("aria-label", message("removeOne", { name: textOf(entity) }));
  const meter = createElement("span", { className: "meter", hidden: entity.score === undefined });
  meter.style.setProperty("--p", entity.score ?? 1);
  const row = createElement(
    "tr",
    { className: colourClass(entity.label) },
    createElement("td", { lang: "zh" }, name),
    createElement("td", {}, createElement("span", { className: "chip", textContent: entity.label })),
    createElement("td", { className: "number", textContent: `${entity.start}–${entity.end}` }),
    createElement("td", { className: "number" }, meter, probabilityText(entity)),
    createElement("td", {}, remove),
  );
  row.dataset.index = index;
  return row;
}

export function markAt(index) {
  return $("view").querySelector(`[data-index="${index}"]`);
}

export function focusEntity(index) {
  markAt(view.focused)?.setAttribute("tabindex", "-1");
  view.focused = index;
  const mark = markAt(index);
  mark?.setAttribute("tabindex", "0");
  mark?.focus();
  mark?.scrollIntoView({ block: "nearest" });
}

export function showTip(mark) {
  const entity = view.entities[mark.dataset.index];
  const tip = $("tip");
  tip.textContent = `${entity.label} · ${probabilityText(entity)}`;
  tip.hidden = false;
  placeNextTo(tip, mark.getClientRects()[0], 5, false);
}

/** Place an element below a box, or above it; on the other side where there is no room. */
export function placeNextTo(element, box, gap, preferBelow = true) {
  const { width, height } = element.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - width - 8));
  const above = box.top - gap - height;
  const below = box.bottom + gap;
  const isBelow = preferBelow ? below + height <= innerHeight || above < 0 : above < 0;
  element.style.left = `${left + scrollX}px`;
  element.style.top = `${scrollY + (isBelow ? below : above)}px`;
}
