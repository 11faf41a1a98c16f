// The text, the predicted entities and the user's corrections; independent of the page.
// Offsets count characters (code points), as the server's do; JavaScript strings count UTF-16 code units.

export const state = {
  chars: [], // the text
  predicted: [], // entities from the server: {start, end, label, score}
  added: [], // entities that the user set: {start, end, label}
  removed: [], // predicted entities that the user removed
  history: [], // previous [added, removed], for undo
  labels: [], // of the tagger, and those that the user added
  threshold: 0,
};

const overlap = (a, b) => a.start < b.end && b.start < a.end;
const equal = (a, b) => a.start === b.start && a.end === b.end && a.label === b.label;

export const textOf = ({ start, end }) => state.chars.slice(start, end).join("");

/** Return the current entities in order: the predicted ones, as corrected by the user. These are saved. */
export function entities() {
  const accepted = state.predicted.filter(
    (entity) => !state.added.some((other) => overlap(other, entity)) && !state.removed.some((other) => equal(other, entity)),
  );
  return [...accepted, ...state.added].sort((a, b) => a.start - b.start);
}

/** Return those of `entities()` that the threshold does not hide; what the user set is never hidden. */
export function shownEntities() {
  return entities().filter((entity) => entity.score === undefined || entity.score >= state.threshold);
}

function recordHistory() {
  state.history.push([state.added, state.removed]);
}

/** Add an entity, replacing those it overlaps; white space at its ends is left out. */
export function add(start, end, label) {
  while (start < end && !state.chars[start].trim()) start++;
  while (start < end && !state.chars[end - 1].trim()) end--;
  if (start === end) return;
  recordHistory();
  const entity = { start, end, label };
  if (!state.labels.includes(label)) state.labels.push(label);
  state.added = [...state.added.filter((other) => !overlap(other, entity)), entity];
}

export function remove(entity) {
  recordHistory();
  state.added = state.added.filter((other) => other !== entity);
  state.removed = [...state.removed, ...state.predicted.filter((other) => overlap(other, entity))];
}

export function undo() {
  if (state.history.length) [state.added, state.removed] = state.history.pop();
}

/** Show another document: its text and the entities to start from. */
export function setDocument({ text, entities }) {
  Object.assign(state, { chars: Array.from(text), predicted: entities, added: [], removed: [], history: [] });
}

/** Return the user's corrections, with which they can be undone, or null where there are none. */
export function corrections() {
  const { added, removed, history } = state;
  return history.length ? { added, removed, history } : null;
}

export const setCorrections = (given) => Object.assign(state, given);

/** Replace the text; spans outside the part that differs move along with their characters, others are dropped. */
export function setText(text) {
  const chars = Array.from(text);
  for (const kind of ["predicted", "added", "removed"]) state[kind] = moveSpans(state[kind], state.chars, chars);
  state.history = []; // its offsets refer to the previous text
  state.chars = chars;
}

function moveSpans(spans, before, after) {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < shorter - head && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  const shift = after.length - before.length;
  return spans.flatMap((span) => {
    if (span.end <= head) return [span];
    if (span.start >= before.length - tail) return [{ ...span, start: span.start + shift, end: span.end + shift }];
    return [];
  });
}

/** Return the document to save, in native format. */
export function correctedDocument() {
  const spans = entities().map(({ start, end, label }) => ({ start, end, label }));
  return { text: state.chars.join(""), entities: spans };
}

export const formats = {
  json: {
    type: "application/x-ndjson",
    suffix: "jsonl",
    write() {
      const rows = shownEntities().map((e) => ({ start: e.start, end: e.end, label: e.label, text: textOf(e), score: e.score }));
      return JSON.stringify({ text: state.chars.join(""), entities: rows }) + "\n";
    },
  },
  conll: {
    type: "text/plain",
    suffix: "conll",
    write() {
      const tags = state.chars.map(() => "O");
      for (const { start, end, label } of shownEntities()) {
        tags.fill(`I-${label}`, start, end);
        tags[start] = `B-${label}`;
      }
      return state.chars.map((char, index) => (char.trim() ? `${char}\t${tags[index]}\n` : "")).join("") + "\n";
    },
  },
};
