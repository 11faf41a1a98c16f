// The text, what was found in it, and what the user changed; nothing here knows the page.
// Offsets count characters (code points), as the server's do; JavaScript's own strings count UTF-16 units.

export const state = {
  chars: [], // the text
  found: [], // what the server found: {start, end, label, score}
  added: [], // what the user set: {start, end, label}
  removed: [], // what of the found the user took away
  past: [], // earlier [added, removed]
  labels: [], // of the tagger and of the user
  threshold: 0,
};

const overlap = (a, b) => a.start < b.end && b.start < a.end;
const same = (a, b) => a.start === b.start && a.end === b.end && a.label === b.label;

export const spelt = ({ start, end }) => state.chars.slice(start, end).join("");

/** Return what is an entity now, in order: what was found, as far as the user did not say otherwise. */
export function entities() {
  const kept = state.found.filter(
    (entity) =>
      entity.score >= state.threshold &&
      !state.added.some((own) => overlap(own, entity)) &&
      !state.removed.some((gone) => same(gone, entity)),
  );
  return [...kept, ...state.added].sort((a, b) => a.start - b.start);
}

function remember() {
  state.past.push([state.added, state.removed]);
}

/** Make characters an entity instead of what overlaps them; white space at their ends is left out. */
export function add(start, end, label) {
  while (start < end && !state.chars[start].trim()) start++;
  while (start < end && !state.chars[end - 1].trim()) end--;
  if (start === end) return;
  remember();
  const own = { start, end, label };
  if (!state.labels.includes(label)) state.labels.push(label);
  state.added = [...state.added.filter((other) => !overlap(other, own)), own];
}

export function remove(entity) {
  remember();
  state.added = state.added.filter((own) => own !== entity);
  state.removed = [...state.removed, ...state.found.filter((other) => overlap(other, entity))];
}

export function undo() {
  if (state.past.length) [state.added, state.removed] = state.past.pop();
}

/** Take a changed text; spans that the change does not touch keep their place in it. */
export function change(text) {
  const chars = Array.from(text);
  for (const kind of ["found", "added", "removed"]) state[kind] = moved(state[kind], state.chars, chars);
  state.past = []; // its offsets were those of another text
  state.chars = chars;
}

function moved(spans, before, after) {
  const most = Math.min(before.length, after.length);
  let head = 0;
  while (head < most && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < most - head && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  const shift = after.length - before.length;
  return spans.flatMap((span) => {
    if (span.end <= head) return [span];
    if (span.start >= before.length - tail) return [{ ...span, start: span.start + shift, end: span.end + shift }];
    return [];
  });
}

/** Return the document that is saved, in native form. */
export function corrected() {
  const spans = entities().map(({ start, end, label }) => ({ start, end, label }));
  return { text: state.chars.join(""), entities: spans };
}

export const forms = {
  json: {
    type: "application/x-ndjson",
    suffix: "jsonl",
    write() {
      const found = entities().map((e) => ({ start: e.start, end: e.end, label: e.label, text: spelt(e), score: e.score }));
      return JSON.stringify({ text: state.chars.join(""), entities: found }) + "\n";
    },
  },
  conll: {
    type: "text/plain",
    suffix: "conll",
    write() {
      const tags = state.chars.map(() => "O");
      for (const { start, end, label } of entities()) {
        tags.fill(`I-${label}`, start, end);
        tags[start] = `B-${label}`;
      }
      return state.chars.map((char, place) => (char.trim() ? `${char}\t${tags[place]}\n` : "")).join("") + "\n";
    },
  },
};
