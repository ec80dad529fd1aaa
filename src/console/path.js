// What just happened: the way of one command until every query shows it. The write side tells its own times
// (`Server-Timing`); the rest is measured at this page's feed and by queries with `min_position`.
// Invariant: one journey is followed at a time, so waiting queries never use up the browser's connections.

const MODELS = [
  ["accounts", () => "/accounts?limit=1"],
  ["transactions", ({ stream_id }) => `/accounts/${stream_id}/transactions?limit=1`],
  ["summary", () => "/summary?"],
];
const journeys = { shown: null, followed: null, past: [], at: 0 };
const meanings = new Map();

// Sends a command to the write side and draws its way. Returns the answer.
async function command(title, path, body, headers = {}, isSample = false) {
  const journey = { title, path, isSample, steps: {}, end: 0, problem: null, state: "running", given: new AbortController() };
  journeys.followed?.given.abort();
  journeys.followed = journey;
  journeys.at = performance.now();
  show(journey);
  let answer;
  try {
    answer = await ask(sides.write, path, { method: "POST", body, headers });
  } catch (error) {
    stopAt(journey, "request", { title: "No answer", detail: `The write side: ${error.message}. The command may have been recorded; with an Idempotency-Key it can be sent again.` });
    throw error;
  }
  journey.begun = answer.begun;
  if (answer.ok) {
    // Not awaited: the caller gets its receipt while the read side is still on its way.
    followReceipt(journey, answer);
  } else {
    await refuse(journey, answer);
  }
  return answer;
}

// Returns the milliseconds of `Server-Timing: queue;dur=0.04, decide;dur=0.02, sync;dur=1.31`.
function timings(answer) {
  const entries = (answer.headers.get("Server-Timing") || "").matchAll(/(\w+);dur=([\d.]+)/g);
  return Object.fromEntries([...entries].map(([, name, ms]) => [name, Number(ms)]));
}

async function followReceipt(journey, answer) {
  const told = timings(answer);
  const { queue = 0, decide = 0, sync = 0 } = told;
  const { stream_id, version, position } = answer.json;
  const wire = Math.max(0, answer.ms - queue - decide - sync);
  const step = (name, from, to, what) => { journey.steps[name] = { from, to, ms: to - from, what }; };
  // Half of the way is the way there: the true share is not known.
  const there = wire / 2;
  const decided = there + queue + decide;
  const isReplayed = answer.headers.get("Idempotency-Replayed") === "true";
  step("request", 0, there, `POST ${journey.path.replace(/[0-9a-f-]{36}/, shortId)}`);
  journey.steps.request.ms = wire;
  step("aggregate", there, decided, isReplayed ? "key known: nothing decided" : told.sync === undefined ? "" : `queued ${milliseconds(queue)}, decided in ${milliseconds(decide)}`);
  journey.steps.events = { from: decided, to: decided, what: `version ${count(version)} of ${ownerOf(stream_id)}`,
    word: journey.path === "/transfers" && position > 1 ? `${count(position - 1)} and ${count(position)}` : count(position) };
  step("sync", decided, decided + sync, isReplayed ? "recorded before" : "on disk, then the receipt");
  // An unknown time is not a time of zero.
  if (told.sync === undefined) journey.steps.aggregate.word = journey.steps.sync.word = "not told";
  journey.end = answer.ms;
  show(journey);
  const recorded = decided + sync;
  const arrived = (name, what) => (at) => {
    if (journey.given.signal.aborted || at === null) return;
    step(name, recorded, Math.max(recorded, at - journey.begun), what);
    journey.end = Math.max(journey.end, journey.steps[name].to);
    show(journey);
  };
  await Promise.all([
    arrival(position).then(arrived("feed", "the long poll returned")),
    ...MODELS.map(([name, path]) => visibleIn(path(answer.json), position, journey.given.signal).then(arrived(name, "rows and checkpoint"))),
  ]);
  finish(journey);
}

// Waits until a read model has reached the position. Returns the time, or null when the journey was given up.
async function visibleIn(path, position, signal) {
  // Bounded: a read side that is away for half an hour is not waited for.
  for (let tries = 0; tries < 200 && !signal.aborted; tries++) {
    const begun = performance.now();
    try {
      const answer = await ask(sides.read, `${path}&min_position=${position}&wait=20`.replace("?&", "?"), { wait: 20, signal });
      if (answer.ok) return answer.answered;
    } catch { /* The side is away: tried again below. */ }
    if (performance.now() - begun < 2000) await sleep(500);
  }
  return null;
}

function finish(journey) {
  const isWhole = MODELS.every(([name]) => journey.steps[name]);
  journey.state = isWhole ? "done" : "left";
  if (isWhole) journey.steps.visible = { from: journey.end, to: journey.end, ms: journey.end, what: "in every query" };
  if (journeys.followed === journey) journeys.followed = null;
  if (isWhole && !journey.isSample) notify(`${journey.title}: visible in every query after ${milliseconds(journey.end)}.`);
  keep(journey);
}

// A refused command ends where it was refused; the problem's page explains why.
async function refuse(journey, { status, ms, json }) {
  const place = status >= 500 ? "sync" : [400, 403, 413, 415, 421].includes(status) ? "request" : "aggregate";
  const problem = json || { title: `Status ${status}`, detail: "" };
  journey.end = ms;
  journey.steps.request = { from: 0, to: ms, ms, what: `POST ${journey.path.replace(/[0-9a-f-]{36}/, shortId)}` };
  stopAt(journey, place, { status, ...problem, meaning: meanings.get(problem.type) || "" });
  if (!problem.type || meanings.has(problem.type)) return;
  try {
    const { json: kind } = await get(sides.write, problem.type);
    meanings.set(problem.type, kind.meaning);
    journey.problem.meaning = kind.meaning;
    show(journey);
  } catch { /* The problem itself is shown already. */ }
}

function stopAt(journey, place, problem) {
  journey.state = "refused";
  journey.problem = problem;
  journey.stopped = place;
  journey.steps[place] = { ...journey.steps[place], from: 0, to: journey.end, what: problem.title, word: problem.status ? `refused, ${problem.status}` : "no answer" };
  if (journeys.followed === journey) journeys.followed = null;
  if (!journey.isSample) notify(`${journey.title}: ${problem.title}.`);
  keep(journey);
}

function keep(journey) {
  journeys.past = [journey, ...journeys.past.filter((other) => other !== journey)].slice(0, 6);
  if (journeys.shown === journey) show(journey);
  showPast();
}

// ---- drawing

const stages = {};

// Builds the way once; a journey only changes its words and widths, so that it can move.
function sketch() {
  const stage = (name, side, what = "") => {
    const parts = { ms: el("p", { class: "ms" }), what: el("p", { class: "what" }, what), bar: el("span") };
    parts.box = el("div", { data: { stage: name } }, el("h3", {}, name), parts.ms, parts.what, el("span", { class: "track", "aria-hidden": "true" }, parts.bar));
    parts.box.style.setProperty("--at", Object.keys(stages).length);
    stages[name] = { ...parts, side, sketched: what };
    parts.box.className = `stage ${side} waiting`;
    return parts.box;
  };
  $("path").append(
    el("li", {}, stage("request", "w", "a command arrives")), el("li", {}, stage("aggregate", "w", "its state decides")),
    el("li", {}, stage("events", "w", "facts with positions")), el("li", {}, stage("sync", "w", "on disk for ever")),
    el("li", {}, stage("feed", "r", "readers are told")), el("li", { class: "models" }, MODELS.map(([name]) => stage(name, "r"))),
    el("li", {}, stage("visible", "r", "in every query")));
}

function show(journey) {
  journeys.shown = journey;
  const { steps, problem, state, end } = journey;
  const words = { running: "on its way", done: `visible in every query after ${milliseconds(end)}`, refused: "refused", left: "not followed to the end" };
  $("path-title").replaceChildren(el("b", {}, journey.title), " – ", el("span", { class: state === "refused" ? "bad" : "" }, words[state]));
  const share = (ms) => `${(100 * ms) / Math.max(end, 0.001)}%`;
  for (const [name, { box, ms, what, bar, side, sketched }] of Object.entries(stages)) {
    const step = steps[name];
    const mode = journey.stopped === name ? "stop" : step ? "done" : journey.stopped ? "never" : "waiting";
    box.className = `stage ${side} ${mode}`;
    say(ms, step?.word ?? (step ? milliseconds(step.ms) : mode === "never" ? "not reached" : state === "running" && end ? "waiting …" : ""));
    say(what, step?.what ?? sketched);
    // A line as long as the whole journey, with the step's share of it.
    Object.assign(bar.style, step ? { left: share(step.from), width: share(step.to - step.from) } : { left: 0, width: 0 });
  }
  const box = $("path-problem");
  box.hidden = !problem;
  if (problem) {
    box.replaceChildren(el("h3", {}, problem.title), el("p", {}, problem.detail || ""), el("p", {}, problem.meaning || ""),
      el("p", {}, problem.type ? el("a", { href: sides.write.url + problem.type }, problem.type) : null));
  }
}

const showPast = calm(300, () => {
  $("past-box").hidden = journeys.past.length < 2;
  $("past").replaceChildren(...journeys.past.slice(1).map((journey) => el("li", {},
    el("button", { class: journey.state, onclick: () => show(journey) },
      journey.title, " ", el("small", {}, journey.problem ? journey.problem.title : milliseconds(journey.end))))));
});
