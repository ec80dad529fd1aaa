// The follower: this page reads the log as the read side does, from a position, by long polls.
// Invariant: no event is skipped. The page remembers one number, the last position, and asks for what
// comes after it, also after a restart of the write side.

// Events that the page keeps: what the table of the log can show.
const KEPT = 200;
// The shortest time between two polls, in ms: at hundreds of events a second each poll brings many.
const PACE = 50;

const feed = {
  log: null, at: null, head: 0, seen: 0, missing: 0, recent: [], arrivals: new Map(), listeners: [], polled: 0,
};
// The owners and currencies of streams, as events and accounts tell them.
const known = new Map();

async function follow() {
  if (feed.at === null) return begin();
  const pause = feed.polled + PACE - performance.now();
  if (pause > 0) await sleep(pause);
  feed.polled = performance.now();
  const { json } = await get(sides.write, `/events?after=${feed.at}&limit=1000&wait=20`, { wait: 20 });
  if (json.log_id !== feed.log || json.head < feed.at) {
    notify("The write side serves another history now. The page begins anew.");
    return begin();
  }
  take(json.events, json.head, performance.now());
  return 0;
}

// Begins at the head, with the newest events before it.
async function begin() {
  const { json: { head } } = await get(sides.write, `/events?after=${MAX}&limit=1`);
  const { json } = await get(sides.write, `/events?after=${Math.max(0, head - KEPT)}&limit=${KEPT}`);
  feed.log = json.log_id;
  feed.head = json.head;
  feed.recent = json.events.reverse();
  // The head may have moved since the page was read: the follower begins after what it has.
  feed.at = json.events[0]?.position ?? 0;
  feed.recent.forEach(learn);
  tell([]);
  return 0;
}

function take(events, head, now) {
  for (const event of events) {
    // Positions are dense; a hole would be a broken promise of the feed, and the page says so.
    feed.missing += event.position - feed.at - 1;
    feed.at = event.position;
    learn(event);
  }
  feed.seen += events.length;
  feed.head = Math.max(head, feed.at);
  if (events.length) {
    feed.recent = [...events.slice(-KEPT).reverse(), ...feed.recent].slice(0, KEPT);
    remember(feed.arrivals, feed.at, now, 50);
  }
  tell(events);
}

function tell(events) {
  note(sides.write, `head ${count(feed.head)}`);
  [...feed.listeners].forEach((listener) => listener(events));
}

function learn({ type, stream_id, data }) {
  if (type === "AccountCreated") remember(known, stream_id, { owner: data.owner, currency: data.currency }, 5000);
}

const ownerOf = (id) => known.get(id)?.owner || shortId(id);

// Returns when an event reached this page: now, or at the poll that brought it.
function arrival(position) {
  return new Promise((resolve) => {
    const look = () => {
      if (feed.at < position) return false;
      const polls = [...feed.arrivals].filter(([last]) => last >= position);
      resolve(polls.length ? polls[0][1] : performance.now());
      return true;
    };
    if (look()) return;
    const listener = () => { if (look()) feed.listeners.splice(feed.listeners.indexOf(listener), 1); };
    feed.listeners.push(listener);
  });
}
