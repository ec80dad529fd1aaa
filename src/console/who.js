// Who is there: each instance with its lease, counting down to the next heartbeat; and who went, with the reason.
// Invariant: the clock of the picture is the browser's, from the last answer on; no request is sent to count down.

// Instances that went, as this page saw it: shown in grey for a while.
const GONE_SHOWN = 8;
const GONE = { expired: "Its lease ran out: no heartbeat came.", deregistered: "It said goodbye and stopped." };
const cards = new Map();

// Draws the list. Leases are asked for every second, since heartbeats do not raise the registry's index.
async function showInstances() {
  const { json } = await get(sides.registry, "/services");
  const now = performance.now();
  const live = Object.values(json.services).flat();
  const isLive = (id) => live.some(({ instance_id }) => instance_id === id);
  for (const instance of live) {
    // Both times are the registry's own: the browser's clock does not matter.
    const age = (Date.parse(json.now) - Date.parse(instance.last_heartbeat_at)) / 1000;
    cards.set(instance.instance_id, { instance, at: now, left: json.ttl_seconds - age, total: json.ttl_seconds, gone: null });
  }
  // A restarted registry does not know who went before its start.
  for (const [id, card] of cards) if (!card.gone && !isLive(id)) card.gone = "The registry does not know it.";
  for (const instance of json.departed) {
    if (isLive(instance.instance_id)) continue;
    cards.delete(instance.instance_id);
    cards.set(instance.instance_id, { instance, gone: `${GONE[instance.reason] || instance.reason} (${clock(instance.at)})` });
  }
  const gone = [...cards].filter(([, card]) => card.gone);
  gone.slice(0, -GONE_SHOWN).forEach(([id]) => cards.delete(id));
  showCards();
  return 1000;
}

function showCards() {
  const list = $("instances");
  const sorted = [...cards.values()].sort((one, other) => Boolean(one.gone) - Boolean(other.gone) || one.instance.name.localeCompare(other.instance.name));
  if (!sorted.length) return list.replaceChildren(el("li", { class: "empty" }, "No service is registered."));
  list.replaceChildren(...sorted.map(({ instance, at, left, total, gone }) => {
    const { name, instance_id, metadata = {}, registered_at } = instance;
    const now = Math.max(0, left - (performance.now() - at) / 1000);
    return el("li", { class: `card instance ${gone ? "gone" : ""} ${name}` },
      el("h3", {}, el("span", { class: "dot" }), name, " ", el("small", { class: "mono" }, urlOf(instance).slice(7))),
      gone ? el("p", { class: "bad" }, gone) : el("p", { class: "lease" }, `lease: ${seconds(now)} left of ${seconds(total)}`),
      gone ? null : el("progress", { max: total, value: now, "aria-label": "Lease left" }),
      el("dl", { class: "facts" }, terms([["instance", instance_id], ["since", clock(registered_at)], ...Object.entries(metadata)], "mono")));
  }));
}
