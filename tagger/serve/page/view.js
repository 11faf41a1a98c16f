// What the page shows of the state. Text is set as text, never as markup.
import { corrected, entities, spelt, state } from "./state.js";
import { words } from "./words.js";

const MOST_ROWS = 500;
const COLOURS = 10;

export const $ = (id) => document.getElementById(id);

export const shown = {
  entities: [], // in order
  content: "", // what the view shows, as JSON
  focused: 0, // the one that the keyboard is on
  saved: "", // the document that was saved last, as JSON
  language: stored("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"),
};

// ---- words and theme -------------------------------------------------------------------------------------------

function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage is switched off
  }
}

function store(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // then it holds for this visit
  }
}

export function say(word, { n = 0, name = "" } = {}) {
  return words[shown.language][word].replace("{n}", n.toLocaleString(shown.language)).replace("{name}", () => name);
}

export function tell(message, wrong = false) {
  $("status").textContent = message;
  $("status").classList.toggle("wrong", wrong);
}

export function speak() {
  document.documentElement.lang = shown.language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = say(element.dataset.word);
  for (const [key, attribute] of [["label", "aria-label"], ["title", "title"], ["placeholder", "placeholder"], ["empty", "data-empty"]])
    for (const element of document.querySelectorAll(`[data-word-${key}]`))
      element.setAttribute(attribute, say(element.getAttribute(`data-word-${key}`)));
  $("language").lang = shown.language === "zh" ? "en" : "zh";
  show();
}

export function changeLanguage() {
  shown.language = shown.language === "zh" ? "en" : "zh";
  store("language", shown.language);
  speak();
}

export function dress() {
  const dark = stored("theme") ? stored("theme") === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

export function changeTheme() {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  store("theme", theme);
}

// ---- the state -------------------------------------------------------------------------------------------------

const colour = (label) => `h${Math.max(state.labels.indexOf(label), 0) % COLOURS}`;
const probability = ({ score }) => (score === undefined ? say("own") : `${(100 * score).toFixed(1)} %`);

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Return a button that stands for a label; whoever listens reads `dataset.label`. */
export function labelButton(label) {
  const button = make("button", { type: "button", className: `chip ${colour(label)}`, textContent: label });
  button.dataset.label = label;
  return button;
}

export function show() {
  $("tip").hidden = true;
  shown.entities = entities();
  shown.focused = Math.max(Math.min(shown.focused, shown.entities.length - 1), 0);
  $("count").textContent = say("count", { n: state.chars.length });
  $("undo").disabled = !state.past.length;
  $("save").disabled = !state.chars.some((char) => char.trim()) || JSON.stringify(corrected()) === shown.saved;
  tell(state.chars.length ? say("number", { n: shown.entities.length }) : "");
  showText();
  showLabels();
  showTable();
}

function showText() {
  const content = JSON.stringify([state.chars, shown.entities, shown.language, state.labels]);
  if (content === shown.content) return; // and what is selected in it stays selected
  shown.content = content;
  const within = $("view").contains(document.activeElement);
  const parts = [];
  let done = 0;
  shown.entities.forEach((entity, place) => {
    parts.push(state.chars.slice(done, entity.start).join(""), markOf(entity, place));
    done = entity.end;
  });
  parts.push(state.chars.slice(done).join(""));
  $("view").replaceChildren(...parts.filter((part) => part !== ""));
  if (within) markAt(shown.focused)?.focus();
}

function markOf(entity, place) {
  const mark = make("mark", { className: colour(entity.label), textContent: spelt(entity) });
  mark.classList.toggle("own", entity.score === undefined);
  mark.style.setProperty("--p", entity.score ?? 1);
  Object.assign(mark.dataset, { place, label: entity.label });
  mark.tabIndex = place === shown.focused ? 0 : -1;
  mark.setAttribute("role", "button");
  mark.setAttribute("aria-haspopup", "dialog");
  mark.setAttribute("aria-label", `${spelt(entity)}, ${entity.label}, ${probability(entity)}`);
  return mark;
}

function showLabels() {
  const counts = new Map();
  for (const { label } of shown.entities) counts.set(label, (counts.get(label) ?? 0) + 1);
  const focus = [...$("labels").children].indexOf(document.activeElement);
  const buttons = state.labels.map((label) => {
    const button = labelButton(label);
    button.append(make("span", { textContent: counts.get(label) ?? 0 }));
    return button;
  });
  $("labels").replaceChildren(...buttons);
  buttons[focus]?.focus();
}

function showTable() {
  const rows = shown.entities.slice(0, MOST_ROWS).map(rowOf);
  $("rows").replaceChildren(...rows);
  const more = shown.entities.length - rows.length;
  $("none").hidden = rows.length > 0 && !more;
  $("none").textContent = more ? say("more", { n: more }) : say("none");
}

function rowOf(entity, place) {
  const name = make("button", { type: "button", className: "name", textContent: spelt(entity) });
  const gone = make("button", { type: "button", className: "quiet", textContent: "×", title: say("remove") });
  gone.setAttribute("aria-label", say("removeOne", { name: spelt(entity) }));
  const meter = make("span", { className: "meter", hidden: entity.score === undefined });
  meter.style.setProperty("--p", entity.score ?? 1);
  const row = make(
    "tr",
    { className: colour(entity.label) },
    make("td", { lang: "zh" }, name),
    make("td", {}, make("span", { className: "chip", textContent: entity.label })),
    make("td", { className: "number", textContent: `${entity.start}–${entity.end}` }),
    make("td", { className: "number" }, meter, probability(entity)),
    make("td", {}, gone),
  );
  row.dataset.place = place;
  return row;
}

export function markAt(place) {
  return $("view").querySelector(`[data-place="${place}"]`);
}

export function focusEntity(place) {
  markAt(shown.focused)?.setAttribute("tabindex", "-1");
  shown.focused = place;
  const mark = markAt(place);
  mark?.setAttribute("tabindex", "0");
  mark?.focus();
  mark?.scrollIntoView({ block: "nearest" });
}

export function showTip(mark) {
  const entity = shown.entities[mark.dataset.place];
  const tip = $("tip");
  tip.textContent = `${entity.label} · ${probability(entity)}`;
  tip.hidden = false;
  beside(tip, mark.getClientRects()[0], 5, false);
}

/** Put an element under a box, or above it; where there is no room, on its other side. */
export function beside(element, box, gap, under = true) {
  const { width, height } = element.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - width - 8));
  const above = box.top - gap - height;
  const below = box.bottom + gap;
  const isUnder = under ? below + height <= innerHeight || above < 0 : above < 0;
  element.style.left = `${left + scrollX}px`;
  element.style.top = `${scrollY + (isUnder ? below : above)}px`;
}
