// The two sides: the head of the log beside the position of each read model, over the last minute.
// Invariant: a minute of samples and one drawing; the picture costs the same on a log of any length.

const MINUTE = 60_000;
// Twice a second: a lag of less is not visible in a minute's picture.
const SAMPLE_EVERY = 500;
const picture = { samples: [], projections: [], paused: false, at: 0 };

async function sample() {
  const { json } = await get(sides.read, "/projections");
  picture.projections = json.projections;
  picture.paused = json.projections.some(({ state }) => state === "paused");
  const positions = Object.fromEntries(json.projections.map(({ name, position }) => [name, position]));
  // The head as the write side tells it; the read side alone knows an older one.
  const head = Math.max(feed.head, ...Object.values(positions), ...json.projections.map((projection) => projection.head ?? 0));
  const now = performance.now();
  picture.samples.push({ at: now, head, positions });
  while (picture.samples[0].at < now - MINUTE - SAMPLE_EVERY) picture.samples.shift();
  const slowest = Math.min(...Object.values(positions));
  // Rows that moved, also after a pause or a return, make the lists of this page old.
  if (slowest !== picture.slowest) stale.account = stale.list = true;
  picture.slowest = slowest;
  note(sides.read, picture.paused ? `paused at ${count(slowest)}` : `at ${count(slowest)}`);
  draw();
  showProjections();
  return SAMPLE_EVERY;
}

// ---- the picture

const WIDTH = 1000;
const HEIGHT = 260;
const EDGE = { left: 0, right: 6, top: 8, bottom: 8 };

function draw() {
  const { samples } = picture;
  const now = samples.at(-1);
  const names = Object.keys(now.positions);
  const lowest = Math.min(...samples.flatMap((sample) => Object.values(sample.positions)));
  const highest = now.head;
  // A quiet log is drawn with room around its line.
  const span = Math.max(highest - lowest, 10);
  const x = (at) => EDGE.left + (WIDTH - EDGE.left - EDGE.right) * (1 - (now.at - at) / MINUTE);
  const y = (position) => HEIGHT - EDGE.bottom - ((HEIGHT - EDGE.top - EDGE.bottom) * (position - (highest - span))) / span;
  const line = (value) => samples.map((sample, i) => `${i ? "L" : "M"}${x(sample.at).toFixed(1)} ${y(value(sample)).toFixed(1)}`).join("");
  const slowest = (sample) => Math.min(...Object.values(sample.positions));
  const back = [...samples].reverse().map((sample) => `L${x(sample.at).toFixed(1)} ${y(slowest(sample)).toFixed(1)}`).join("");
  const path = (d, kind) => el("svg:path", { d, class: kind });
  const grid = [0, 15, 30, 45].map((ago) => el("svg:path", { d: `M${x(now.at - ago * 1000)} ${EDGE.top}V${HEIGHT - EDGE.bottom}`, class: "grid" }));
  const svg = $("chart");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.replaceChildren(...grid, path(line((sample) => sample.head) + back + "Z", "lag"), path(line((sample) => sample.head), "head"),
    ...names.map((name, i) => path(line((sample) => sample.positions[name] ?? sample.head), `model m${i % 3}`)));
  svg.setAttribute("aria-label", `Head ${now.head}; ${names.map((name) => `${name} at ${now.positions[name]}, ${now.head - now.positions[name]} behind`).join("; ")}`);
  const behind = highest - slowest(now);
  $("chart-top").replaceChildren(el("b", { class: "w" }, `head ${count(highest)}`), el("b", { class: "r" }, behind ? `${one(behind, "event")} behind` : "no lag"));
}

// ---- projections

function showProjections() {
  const body = $("projections");
  // Rows are kept, so that a button under a finger or in the keyboard's focus stays the same button.
  picture.projections.forEach((projection, i) => {
    const row = body.rows[i] ?? body.appendChild(projectionRow(i));
    const { name, state, position, lag_events, lag_seconds, rebuild, error } = projection;
    say(row.querySelector(".name"), name);
    row.cells[1].firstChild.className = `state ${state}`;
    say(row.cells[1].firstChild, error ? `${state}: ${error}` : state);
    say(row.cells[2], count(position));
    say(row.cells[3], lag_events === null ? "not known" : lag_events ? `${one(lag_events, "event")}, ${seconds(lag_seconds)}` : "none");
    const [button, bar, words] = row.cells[4].children;
    button.setAttribute("aria-label", rebuild ? `Give up the rebuild of ${name}` : `Rebuild ${name}`);
    say(button, rebuild ? "Give up" : "Rebuild");
    bar.hidden = words.hidden = !rebuild;
    if (rebuild) {
      bar.max = Math.max(feed.head, 1);
      bar.value = rebuild.position;
      say(words, `${count(rebuild.position)} of ${count(feed.head)}, ${count(Math.round(rebuild.events_per_second))} a second${rebuild.seconds_left === null ? "" : `, ${seconds(rebuild.seconds_left)} left`}`);
    }
  });
  while (body.rows.length > picture.projections.length) body.lastElementChild.remove();
  say($("pause"), picture.paused ? "Resume the read side" : "Pause the read side");
  $("pause").classList.toggle("strong", picture.paused);
}

function projectionRow(i) {
  const toggle = act(async () => {
    const { name, rebuild } = picture.projections[i];
    const { ok, json } = await ask(sides.read, `/projections/${name}/rebuild`, { method: rebuild ? "DELETE" : "POST" });
    notify(!ok ? json.detail : rebuild ? `The rebuild of ${name} is given up.` : `${name} is rebuilt from the first event, beside the rows that answer.`);
    wake();
  });
  return el("tr", {}, cell([el("span", { class: `swatch m${i % 3}` }), el("span", { class: "name" })]), cell(el("span")), cell("", "num"), cell("", "num"),
    cell([el("button", { onclick: toggle }), el("progress", { "aria-label": "Rebuild" }), el("small")]));
}

function startSides() {
  $("pause").addEventListener("click", act(async () => {
    const { ok, json } = await ask(sides.read, picture.paused ? "/projections/resume" : "/projections/pause", { method: "POST" });
    if (!ok) throw new Error(json.detail);
    notify(picture.paused ? "The read side follows again." : "The read side stands still. Commands go on; queries show the past.");
    wake();
  }));
  $("ask-head").addEventListener("click", act(askForTheHead));
}

// Reads one's own writes: a query that waits until the read side has reached the head.
async function askForTheHead() {
  const [line, position] = [$("ask-answer"), feed.head];
  const asked = `GET /position?min_position=${position}&wait=30`;
  say(line, `${asked} … waits for the read side`);
  const { ok, ms, json } = await ask(sides.read, asked.slice(4), { wait: 30 });
  say(line, ok ? `${asked} was answered after ${milliseconds(ms)}: the read side is at ${count(json.position)}.` : `${asked} was refused after ${milliseconds(ms)}: ${json.detail}`);
}
