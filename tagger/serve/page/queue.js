// The queue: texts to correct one by one, and training on what has been corrected.
import { request } from "./server.js";
import { correctedDocument, corrections, setCorrections, setDocument } from "./state.js";
import { loadSetting, storeSetting } from "./theme.js";
import { $, message, show, showStatus, view } from "./view.js";

const POLL_PAUSE = 1000; // milliseconds
const RETRY_PAUSE = 1500;

export const queue = {
  active: false,
  unkept: false, // whether the browser would lose corrections that are not saved
};

let item = null; // the text that is shown: {id, text, entities, done, first}; null when all are done
let status = null; // of the queue, from the server
let busy = false; // a request of the user is under way
let seen = ""; // the trained bundle whose report the user has closed
let closed = ""; // the error of a training whose report the user has closed
let later = 0; // corrected texts when the user postponed the training
let timer = 0;
let reload = () => {}; // asks the server about itself: the bundle has changed

export async function startQueue(askAgain) {
  queue.active = true;
  reload = askAgain;
  $("queue").hidden = false;
  $("text").readOnly = true;
  for (const id of ["example", "save"]) $(id).hidden = true;
  $("file").closest("label").hidden = true;
  await open("/queue/text");
}

// ---- the text --------------------------------------------------------------------------------------------------

const draftName = (id) => `draft ${id}`;

/** Keep the user's corrections of the text that is shown, for a reload of the page. */
export function keepDraft() {
  if (!item) return;
  const draft = corrections();
  queue.unkept = draft !== null && !storeSetting(draftName(item.id), JSON.stringify(draft));
  if (!draft) dropDraft(item.id);
}

function dropDraft(id) {
  queue.unkept = false;
  try {
    localStorage.removeItem(draftName(id));
  } catch {
    // storage is disabled: there is none
  }
}

function loadDraft(id) {
  try {
    return JSON.parse(loadSetting(draftName(id)));
  } catch {
    return null;
  }
}

/** Show the text of a response to `GET /queue/text`. */
async function open(path) {
  try {
    const answer = await request(path);
    if ([408, 429, 503].includes(answer.status)) {
      showStatus(message("busy"), true);
      setTimeout(() => open(path), RETRY_PAUSE);
      return;
    }
    if (!check(answer)) return;
    item = answer.value.text;
    setDocument(item ?? { text: "", entities: [] });
    const draft = item && loadDraft(item.id);
    if (draft) setCorrections(draft);
    $("text").value = item?.text ?? "";
    view.focused = 0;
    show();
    $("view").scrollTop = 0;
    showQueue(answer.value.queue);
    if (document.activeElement === document.body) $("text").focus();
  } catch {
    showStatus(message("unreachable"), true);
    setTimeout(() => open(path), RETRY_PAUSE);
  }
}

/** Return whether a request was answered; otherwise show why not. */
function check({ ok, status: code, value }) {
  if (!ok && code !== 401) showStatus(message("refused", { name: value.error }), true);
  return ok;
}

/** Run an action of the user, unless one is under way. */
async function act(action) {
  if (busy) return;
  busy = true;
  try {
    await action();
  } catch {
    showStatus(message("unreachable"), true);
  }
  busy = false;
}

export const saveAndNext = () =>
  act(async () => {
    if (!item) return;
    const { id } = item;
    const answer = await request("/save", correctedDocument());
    if (!check(answer)) return;
    dropDraft(id);
    await open(`/queue/text?after=${id}`);
    showStatus(message("saved", { name: answer.value.saved }));
  });

export const skip = () =>
  act(async () => {
    if (!item) return;
    const { id } = item;
    if (check(await request("/queue/skip", { id }))) await open(`/queue/text?after=${id}`);
  });

export const back = () => act(() => open(`/queue/text?before=${item?.id ?? ""}`));

// ---- the state of the queue ------------------------------------------------------------------------------------

function showQueue(value = status) {
  const wasRunning = status?.training.running;
  status = value;
  if (!status) return;
  const { total, done, skipped, ranked, left_out, training } = status;
  const leftOut = Object.values(left_out).reduce((sum, count) => sum + count, 0);
  $("queue-progress").max = total || 1;
  $("queue-progress").value = done;
  const parts = [message(done === total ? "queueDone" : "queueState", { n: done, of: total })];
  if (item?.done) parts.push(message("isDone"));
  if (skipped) parts.push(message("queueSkipped", { n: skipped }));
  if (ranked < total) parts.push(message("queueRanked", { n: Math.floor((100 * ranked) / total) }));
  if (leftOut) parts.push(message("queueLeftOut", { n: leftOut }));
  if (status.warning) parts.push(status.warning);
  setText("queue-state", parts.join(" · "));
  $("back").disabled = item ? item.first : !done && !skipped;
  $("skip").disabled = $("save-next").disabled = !item;
  $("train").disabled = training.running;
  if (wasRunning && !training.running && training.trained) goOn();
  showTraining(training);
  clearTimeout(timer);
  if (training.running || ranked < total) timer = setTimeout(poll, POLL_PAUSE);
}

/** Set a text only if it differs: screen readers announce what is set. */
function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

async function poll() {
  try {
    const { ok, value } = await request("/queue");
    if (ok) return showQueue(value);
  } catch {
    // tried again below
  }
  timer = setTimeout(poll, RETRY_PAUSE);
}

/** Go on with a new bundle: its labels, and its entities of the text that is shown. */
async function goOn() {
  await reload();
  if (item && !item.done) await open("/queue/text");
  else showQueue();
}

// ---- training --------------------------------------------------------------------------------------------------

function showTraining(training) {
  const { running, error, interrupted, trained, due, reason, not_learnt, every, in_dev } = training;
  const offered = due && !running && not_learnt >= later + (later ? every : 0);
  const parts = [];
  let buttons = [];
  if (running) {
    parts.push(...progressOf(training));
    buttons = ["stop"];
  } else if (error && error !== closed) {
    parts.push(message("trainFailed", { name: error }));
    buttons = interrupted ? ["resume", "start", "later"] : ["start", "later"];
  } else if (interrupted && !later) {
    parts.push(message("trainInterrupted", { name: interrupted }));
    buttons = ["resume", "start", "later"];
  } else if (offered) {
    parts.push(message("trainOffer", { n: not_learnt }));
    if (reason) parts.push(message(reason === "package" ? "needPackage" : "needCorpora"));
    buttons = reason ? ["later"] : ["start", "later"];
  } else if (trained && trained !== seen) {
    parts.push(message("trained", { name: trained }));
    if (training.f1 !== null && training.f1 >= 0) parts[0] += ` ${message("trainedF1", { name: (100 * training.f1).toFixed(1) })}`;
    if (in_dev) parts.push(message("trainInDev", { n: in_dev }));
    buttons = ["later"];
  }
  $("training").hidden = !parts.length;
  $("training").classList.toggle("error", Boolean(error) && error !== closed && !running);
  setText("training-state", parts.join(running ? " · " : " "));
  $("training-progress").hidden = !running;
  $("training-progress").max = training.epochs ?? 1;
  $("training-progress").value = training.epoch ?? 0;
  setText("training-later", message(due || interrupted ? "later" : "close"));
  for (const name of ["start", "resume", "later", "stop"]) $(`training-${name}`).hidden = !buttons.includes(name);
}

function progressOf({ bundle, epoch, epochs, f1, seconds_left: seconds }) {
  if (epochs === null) return [message("trainPreparing", { name: bundle })];
  if (epoch === epochs) return [message("trainFinishing", { name: bundle })];
  const parts = [message("trainEpoch", { n: epoch + 1, of: epochs, name: bundle })];
  if (seconds !== null) parts.push(seconds < 60 ? message("trainLeftLittle") : message("trainLeft", { n: Math.round(seconds / 60) }));
  if (epoch && f1 >= 0) parts.push(message("trainF1", { name: (100 * f1).toFixed(1) }));
  return parts;
}

const train = (resume) =>
  act(async () => {
    if (status.training.reason) return showStatus(message(status.training.reason === "package" ? "needPackage" : "needCorpora"), true);
    later = 0;
    closed = "";
    const answer = await request("/queue/train", { resume });
    if (check(answer)) showQueue(answer.value);
  });

$("train").addEventListener("click", () => train(false));
$("training-start").addEventListener("click", () => train(false));
$("training-resume").addEventListener("click", () => train(true));
$("training-stop").addEventListener("click", () =>
  act(async () => {
    const answer = await request("/queue/stop", {});
    if (check(answer)) showQueue(answer.value);
  }),
);
$("training-later").addEventListener("click", () => {
  later = Math.max(status.training.not_learnt, 1);
  seen = status.training.trained;
  closed = status.training.error;
  showQueue();
});
$("save-next").addEventListener("click", saveAndNext);
$("skip").addEventListener("click", skip);
$("back").addEventListener("click", back);
document.addEventListener("languagechange", () => showQueue());
document.addEventListener("keydown", (event) => {
  if (!queue.active || $("token-dialog").open) return;
  const withCtrl = event.ctrlKey || event.metaKey;
  let action = null;
  if (withCtrl && (event.key === "Enter" || event.key === "s")) action = saveAndNext;
  else if (event.altKey && event.code === "KeyN") action = skip;
  else if (event.altKey && event.code === "KeyP") action = back;
  if (!action) return;
  event.preventDefault();
  action();
});
