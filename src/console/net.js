// The services: found through the registry, asked over HTTP, waited for when they are away.
// Invariant: bounded traffic. A loop has one request at a time, backs off while its service is away,
// and rests while nobody looks at the page.

const MAX = Number.MAX_SAFE_INTEGER;
// The longest pause between two attempts: a returned service is noticed within this time, in ms.
const LONGEST_BACKOFF = 4000;

// Each side: `url` is the last known address, `away` the reason why the side does not answer.
const sides = {
  registry: { name: "registry", word: "Registry", url: location.origin, away: null, note: "" },
  write: { name: "write", word: "Write side", url: null, away: "not found yet", note: "" },
  read: { name: "read", word: "Read side", url: null, away: "not found yet", note: "" },
};

class Away extends Error {}

// Sends a request. Throws Away when there is no answer; a problem is an answer.
async function ask(side, path, { method = "GET", body, headers = {}, wait = 0, signal } = {}) {
  if (!side.url) throw new Away(side.away);
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), 10_000 + wait * 1000);
  signal?.addEventListener("abort", () => controller.abort());
  const begun = performance.now();
  try {
    const sent = body === undefined ? headers : { "Content-Type": "application/json", ...headers };
    const response = await fetch(side.url + path, {
      method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", signal: controller.signal,
    });
    const answered = performance.now();
    const text = await response.text();
    const isJson = /json/.test(response.headers.get("Content-Type") || "");
    reached(side, null);
    return { status: response.status, ok: response.ok, headers: response.headers, text, json: isJson ? JSON.parse(text) : null, begun, answered, ms: answered - begun };
  } catch {
    // Given up by the page itself: says nothing about the side.
    if (signal?.aborted) throw new Away("given up");
    const reason = controller.signal.aborted ? "no answer in time" : "no connection";
    reached(side, reason);
    throw new Away(reason);
  } finally {
    clearTimeout(timer);
  }
}

// Asks, and throws on any status that is not a success: for loops that only know what to do with data.
async function get(side, path, options) {
  const answer = await ask(side, path, options);
  // A 503 is a wait, such as for rows that are behind.
  if (!answer.ok) throw new (answer.status === 503 ? Away : Error)(answer.json?.detail || `status ${answer.status}`);
  return answer;
}

// ---- loops

const sleepers = new Set();
const sleep = (ms) => new Promise((resolve) => {
  const end = () => { clearTimeout(timer); sleepers.delete(end); resolve(); };
  const timer = setTimeout(end, ms);
  sleepers.add(end);
});
// Ends all pauses: a service was found, or the page is looked at again.
const wake = () => [...sleepers].forEach((end) => end());

async function visible() {
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

// Runs `step` for ever; `step` returns the pause after it in ms. A failure doubles the pause.
async function loop(step) {
  for (let failures = 0; ; ) {
    await visible();
    let pause;
    try {
      pause = await step();
      failures = 0;
    } catch (error) {
      if (!(error instanceof Away)) console.warn(error.message);
      // The jitter keeps several pages from returning at one moment.
      pause = Math.min(LONGEST_BACKOFF, 250 * 2 ** failures++) * (0.75 + Math.random() / 2);
    }
    if (pause > 0) await sleep(pause);
  }
}

// ---- who is reachable

// Notes the outcome of a request, and tells the reader when a side goes or returns.
function reached(side, reason) {
  if (side.away === reason) return;
  const was = side.away;
  side.away = reason;
  if (reason && !was) notify(`The ${side.word.toLowerCase()} does not answer: ${reason}. This page tries again by itself.`);
  else if (!reason && was) notify(`The ${side.word.toLowerCase()} answers${side.met ? " again" : ""}.`);
  side.met ||= !reason;
  showChips();
}

const notify = (text) => say($("notice"), text);

function showChips() {
  $("chips").replaceChildren(...Object.values(sides).map((side) => el("li",
    { class: `chip ${side.name}${side.away ? " away" : ""}`, title: side.url || "" },
    el("span", { class: "dot" }), side.word, " ",
    el("small", {}, side.away ? side.away : side.note || "here"))));
}

function note(side, text) {
  if (side.note !== text) { side.note = text; showChips(); }
}

// ---- discovery

let index = 0;
const urlOf = ({ host, port }) => `http://${host.includes(":") ? `[${host}]` : host}:${port}`;

// Follows the list of services as any client does: by a long poll on the index.
async function discover() {
  const wait = index ? 20 : 0;
  const { json } = await get(sides.registry, `/services?index=${index}&wait=${wait}`, { wait });
  index = json.index;
  for (const side of [sides.write, sides.read]) {
    const urls = (json.services[side.name] || []).map(urlOf);
    // The known address stays while it is registered, and also when nothing else is.
    if (urls.length && !urls.includes(side.url)) {
      side.url = urls[0];
      wake();
    }
  }
  showChips();
  return 100;
}

document.addEventListener("visibilitychange", wake);
document.addEventListener("securitypolicyviolation", (event) => {
  if (event.effectiveDirective === "connect-src") {
    notify("A service has come on a host that was not registered when this page was loaded. Reload the page to reach it.");
  }
});
