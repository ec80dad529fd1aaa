// The log: the newest events as they come, older ones by page, one of them unfolded.
// Invariant: at most KEPT rows. A page of older events replaces the rows; live events wait, and are counted.

const logView = { filter: "", older: null, rows: [], waiting: 0, chosen: null, live: true };

const typeTag = (event) => el("span", { class: `tag ${effectOf(event)}` }, event.type);

function deltaOf(event) {
  const data = event.data;
  if (data.amount === undefined) return effectOf(event) === "new" ? data.owner : "";
  return (effectOf(event) === "out" ? "−" : "+") + money(data.amount, data.currency);
}

function rowOf(event) {
  const { position, type, stream_id, recorded_at } = event;
  const open = el("button", { class: "link mono", "aria-label": `Unfold event ${position}, ${type}`, onclick: () => unfold(position) }, count(position));
  return el("tr", { data: { position }, class: position === logView.chosen ? "chosen" : "", onclick: (click) => { if (click.target !== open) unfold(position); } },
    cell(open, "num"), cell(typeTag(event)), cell(ownerOf(stream_id), "clip"), cell(effectOf(event) === "new" ? "" : deltaOf(event), "num"), cell(clock(recorded_at), "mono"));
}

// The filled fields of a form, as a query.
const filterOf = (form) => new URLSearchParams([...new FormData(form)].filter(([, value]) => value.trim())).toString();

const matches = (event) => {
  const filter = new URLSearchParams(logView.filter);
  return [...filter].every(([name, value]) => (name === "type" ? event.type : event.metadata?.[name]) === value);
};

// Puts live events on top; rows that are there already stay as they are.
const showLive = calm(100, () => {
  say($("followed"), `following · ${one(feed.seen, "event")} since this page was opened, ${feed.missing ? `${count(feed.missing)} missing` : "none missing"}`);
  $("followed").dataset.seen = feed.seen;
  $("followed").dataset.at = feed.at ?? "";
  if (!logView.live) return showWaiting();
  const top = logView.rows[0]?.position ?? 0;
  const fresh = feed.recent.filter((event) => event.position > top && matches(event));
  logView.rows = [...fresh, ...logView.rows].slice(0, KEPT);
  const body = $("events");
  body.prepend(...fresh.map(rowOf));
  while (body.rows.length > KEPT) body.lastElementChild.remove();
  showEdge();
});

function showWaiting() {
  const live = $("log-live");
  live.hidden = logView.live;
  say(live, logView.waiting ? `Back to the newest (${count(logView.waiting)} new)` : "Back to the newest");
}

function showEdge() {
  const last = logView.rows.at(-1)?.position;
  const edge = logView.older ?? last ?? 0;
  $("log-older").disabled = edge <= 1;
  say($("log-note"), logView.rows.length ? `${one(logView.rows.length, "event")} shown, positions ${count(last)} to ${count(logView.rows[0].position)}, head ${count(feed.head)}` : feed.head ? "No event matches." : "The log is empty.");
  showWaiting();
}

function setRows(events) {
  logView.rows = events;
  $("events").replaceChildren(...events.map(rowOf));
  showEdge();
}

// Loads the events before a position, newest first. A filtered page says how far it has looked: `scanned_to`.
async function loadBefore(before) {
  const { json } = await get(sides.write, `/events?before=${before}&limit=${KEPT}${logView.filter && "&" + logView.filter}`);
  logView.older = json.scanned_to ?? json.events.at(-1)?.position ?? 0;
  setRows(json.events);
}

async function toNewest() {
  Object.assign(logView, { live: true, waiting: 0, older: null });
  await loadBefore(MAX);
  showLive();
}

// Runs an action of a person; a failure is told, not thrown away.
const act = (work) => async (event) => {
  event?.preventDefault();
  try {
    await work(event);
  } catch (error) {
    notify(error.message.endsWith(".") ? error.message : `${error.message}.`);
  }
};

function startLog() {
  const form = $("log-filter");
  form.addEventListener("submit", act(async () => {
    logView.filter = filterOf(form);
    await toNewest();
  }));
  form.addEventListener("reset", () => setTimeout(() => form.requestSubmit()));
  $("log-older").addEventListener("click", act(async () => {
    logView.live = false;
    await loadBefore(logView.older ?? logView.rows.at(-1)?.position ?? 0);
  }));
  $("log-live").addEventListener("click", act(toNewest));
  feed.listeners.push((events) => {
    if (!logView.live) logView.waiting += events.filter(matches).length;
    // Another history: the rows of the old one go.
    if (logView.log !== feed.log) {
      logView.log = feed.log;
      logView.rows = [];
      $("events").replaceChildren();
      loadTypes();
    }
    showLive();
  });
}

async function loadTypes() {
  try {
    const { json } = await get(sides.write, "/event-types");
    const menu = $("log-filter").elements.type;
    menu.replaceChildren(menu.options[0], ...json.event_types.map(({ type }) => el("option", {}, type)));
  } catch { /* The menu keeps its first line; the log works without it. */ }
}

// ---- one event

const unfold = (position) => act(async () => {
  logView.chosen = position;
  for (const row of $("events").rows) row.classList.toggle("chosen", Number(row.dataset.position) === position);
  const event = feed.recent.find((other) => other.position === position) || (await get(sides.write, `/events/${position}`)).json;
  const box = $("event");
  const { data, metadata = {}, ...facts } = event;
  const fold = el("div", { class: "foldbox" });
  const causes = el("div", {});
  box.replaceChildren(
    el("div", { class: "event-head" }, el("h3", {}, `${event.type} `, el("small", {}, `at position ${count(position)}`)), el("p", { class: "delta" }, deltaOf(event))),
    fold,
    el("h4", {}, "data"), el("pre", {}, pretty(data)),
    el("h4", {}, "metadata"), el("pre", {}, pretty(metadata)),
    el("h4", {}, "causes"), causes,
    el("details", {}, el("summary", {}, "identity, time and hash"), el("dl", { class: "facts" }, terms(Object.entries(facts), "mono"))));
  box.focus({ preventScroll: window.innerWidth >= 900 });
  await Promise.all([showCauses(causes, event), loadFold(event.stream_id, event.version).then((loaded) => showFold(fold, loaded, event.version, data.currency))]);
})();

// The events of one request, under it: all have the request's correlation.
async function showCauses(box, event) {
  const id = event.metadata?.correlation_id;
  if (!id) return box.replaceChildren(el("p", { class: "empty" }, "This event carries no correlation."));
  // Newest first from just after the event: a request's events lie side by side.
  const before = Math.min(MAX, event.position + 100);
  const { json } = await get(sides.write, `/events?before=${before}&limit=20&correlation_id=${encodeURIComponent(id)}`);
  const related = json.events.reverse();
  box.replaceChildren(el("ul", { class: "tree" }, el("li", {}, el("span", { class: "mono" }, id), " the request",
    el("ul", {}, related.map((other) => el("li", {}, other.position === event.position
      ? el("b", {}, `${other.type} `, el("small", {}, `at ${count(other.position)}, this event`))
      : el("button", { class: "link", onclick: () => unfold(other.position) }, `${other.type} at ${count(other.position)}, ${ownerOf(other.stream_id)}`)))))));
}
