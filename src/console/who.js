// Who is there: each instance with its lease, counting down to the next heartbeat; and who went, with the reason.
// Invariant: the clock of the picture is the browser's, from the last answer on; no request is sent to count down.

// Instances that went, as this page saw it: shown in grey for a while.
const GONE_SHOWN = 8;
const cards = new Map();

// Draws the list. Leases are asked for every second, since heartbeats do not raise the registry's index.
async function showInstances() {
  const { json } = await get(sides.registry, "/services");
  const now = performance.now();
  const live = Object.values(json.services).flat();
  for (const instance of live) cards.set(instance.instance_id, { instance, at: now, gone: null });
  for (const [id, card] of cards) {
    if (!card.gone && !live.some(({ instance_id }) => instance_id === id)) Object.assign(card, { gone: reasonOf(id, json), at: now });
  }
  for (const departed of json.departed || []) {
    if (!live.some(({ instance_id }) => instance_id === departed.instance_id)) {
      cards.set(departed.instance_id, { instance: departed, at: now, gone: reasonOf(departed.instance_id, json) });
    }
  }
  const gone = [...cards].filter(([, card]) => card.gone);
  gone.slice(0, -GONE_SHOWN).forEach(([id]) => cards.delete(id));
  showCards();
  return 1000;
}

function reasonOf(id, { departed = [] }) {
  const known = departed.find(({ instance_id }) => instance_id === id);
  return known?.reason || "gone from the registry’s list";
}

function showCards() {
  const list = $("instances");
  const sorted = [...cards.values()].sort((one, other) => Boolean(one.gone) - Boolean(other.gone) || one.instance.name.localeCompare(other.instance.name));
  if (!sorted.length) return list.replaceChildren(el("li", { class: "empty" }, "No service is registered."));
  list.replaceChildren(...sorted.map(({ instance, at, gone }) => {
    const { name, instance_id, metadata = {}, registered_at } = instance;
    const left = instance.lease_seconds_left ?? null;
    const total = instance.ttl_seconds ?? 6;
    const now = left === null ? null : Math.max(0, left - (performance.now() - at) / 1000);
    return el("li", { class: `card instance ${gone ? "gone" : ""} ${name}` },
      el("h3", {}, el("span", { class: "dot" }), name, " ", el("small", { class: "mono" }, urlOf(instance).slice(7))),
      gone ? el("p", { class: "bad" }, gone) : now === null ? null : el("p", { class: "lease" }, `lease: ${seconds(now)} left of ${seconds(total)}`),
      gone || now === null ? null : el("progress", { max: total, value: now, "aria-label": "Lease left" }),
      el("dl", { class: "facts" }, terms([["instance", instance_id], ["since", clock(registered_at)], ...Object.entries(metadata)], "mono")));
  }));
}
