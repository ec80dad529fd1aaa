// A small bank on tap: commands at a rate that a person chooses, so that there is something to see.
// Invariant: at most FLIGHTS commands are under way, whatever the rate; without an answer the tap waits.

// Commands under way at once: browsers open six connections to a host, and the feed and the forms need two.
const FLIGHTS = 4;
// A command is drawn in the first section this often, in ms.
const DRAWN_EVERY = 1500;
const tap = { open: false, ids: [], flights: 0, due: 0, ok: 0, refused: 0, failed: 0, times: [], recent: [] };

const pick = (items) => items[Math.floor(Math.random() * items.length)];

async function pour() {
  if (!tap.open) return void (await sleep(300));
  if (tap.ids.length < OWNERS.length) {
    const owner = OWNERS[tap.ids.length];
    const id = await drop(`Open an account for ${owner}`, "/accounts", { owner });
    if (id) {
      tap.ids.push(id);
      await drop(`First deposit of ${owner}`, `/accounts/${id}/deposit`, { amount: 1_000_00 });
    }
    return 0;
  }
  const rate = Number($("rate").value);
  const now = performance.now();
  // A pause of the page is not made up for: at most a fifth of a second is due at once.
  tap.due = Math.min(tap.due + (rate * (now - (tap.last ?? now))) / 1000, Math.max(1, rate / 5));
  tap.last = now;
  while (tap.due >= 1 && tap.flights < FLIGHTS) {
    tap.due -= 1;
    move();
  }
  // Away, not slow: one attempt at a time, with pauses that grow.
  if (tap.broken) {
    tap.broken = false;
    throw new Away("the write side is away");
  }
  return 4;
}

function move() {
  const [from, to] = [pick(tap.ids), pick(tap.ids)];
  const amount = 100 + Math.floor(Math.random() * 4900);
  const chance = Math.random();
  if (chance < 0.6 && from !== to) return drop(`Transfer ${money(amount)} from ${ownerOf(from)} to ${ownerOf(to)}`, "/transfers", { from, to, amount });
  if (chance < 0.85) return drop(`Deposit ${money(amount)} to ${ownerOf(to)}`, `/accounts/${to}/deposit`, { amount });
  return drop(`Withdraw ${money(amount)} from ${ownerOf(from)}`, `/accounts/${from}/withdraw`, { amount });
}

// Sends one command of the tap. Returns the stream of its receipt.
async function drop(title, path, body) {
  const isDrawn = !journeys.followed && performance.now() - journeys.at > DRAWN_EVERY;
  const headers = { "X-Correlation-Id": correlation() };
  tap.flights += 1;
  try {
    const answer = isDrawn ? await command(title, path, body, headers, true) : await ask(sides.write, path, { method: "POST", body, headers });
    tap[answer.ok ? "ok" : "refused"] += 1;
    tap.times = [...tap.times.slice(-199), answer.ms];
    return answer.json?.stream_id;
  } catch {
    tap.failed += 1;
    tap.broken = true;
    return null;
  } finally {
    tap.flights -= 1;
    showTap();
  }
}

const showTap = calm(400, () => {
  const now = performance.now();
  const sent = tap.ok + tap.refused;
  tap.recent = [...tap.recent.filter(({ at }) => at > now - 3000), { at: now, sent }];
  const first = tap.recent[0];
  const rate = now > first.at ? ((sent - first.sent) * 1000) / (now - first.at) : 0;
  const sorted = [...tap.times].sort((one, other) => one - other);
  const share = (part) => (sorted.length ? milliseconds(sorted[Math.floor(sorted.length * part)]) : "–");
  const figures = [["recorded", count(tap.ok)], ["refused", count(tap.refused)], ["without an answer", count(tap.failed)], ["a second", tap.open ? rate.toFixed(0) : 0], ["median", share(0.5)], ["99 of 100 within", share(0.99)]];
  $("tap-figures").replaceChildren(...figures.map((figure) => el("div", {}, terms([figure]))));
});

function startTap() {
  $("rate").addEventListener("input", () => say($("rate-shown"), $("rate").value));
  $("tap-button").addEventListener("click", () => {
    tap.open = !tap.open;
    tap.last = undefined;
    $("tap-button").setAttribute("aria-pressed", tap.open);
    say($("tap-button"), tap.open ? "Close the tap" : "Open the tap");
    wake();
    showTap();
  });
  showTap();
}
