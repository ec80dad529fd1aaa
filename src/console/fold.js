// A stream as a fold: the state of an account is what its events make of it, one after the other.
// Invariant: `evolve` gathers facts and refuses nothing, as in src/account/aggregate.rs.

// Versions of a stream that are loaded at once, around the chosen one: a long stream stays cheap.
const WINDOW = 200;

// What events do to the account, and their colours; others bring their amount in. Tested against src/account/aggregate.rs.
const EFFECTS = { AccountCreated: "new", MoneyWithdrawn: "out", AccountClosed: "end" };
const effectOf = ({ type, data }) => EFFECTS[type] || (data.amount === undefined ? "" : "in");

function evolve(state, event) {
  const data = event.data;
  switch (effectOf(event)) {
    case "new": return { owner: data.owner, currency: data.currency, balance: 0, status: "open" };
    case "in": return { ...state, balance: state.balance + data.amount };
    case "out": return { ...state, balance: state.balance - data.amount };
    case "end": return { ...state, status: "closed" };
    // A kind that this page does not know: the facts side by side.
    default: return { ...state, ...data };
  }
}

// Loads the events around a version, and the state before the first of them.
async function loadFold(streamId, version) {
  const first = Math.max(1, version - WINDOW + 1);
  const { json } = await get(sides.write, `/streams/${streamId}/events?after=${first - 1}&limit=${WINDOW + 50}`);
  let state = null;
  if (first > 1) {
    const { owner, currency, balance, status } = (await get(sides.read, `/accounts/${streamId}?at_version=${first - 1}`)).json;
    state = { owner, currency, balance, status };
  }
  const steps = [];
  for (const event of json.events) {
    const before = state;
    state = evolve(state || {}, event);
    steps.push({ event, before, after: state });
  }
  return { first, steps };
}

// Shows the fold in `box`; the arrow keys move a native slider, which every screen reader knows.
function showFold(box, fold, version, currency) {
  const { first, steps } = fold;
  const stateOf = (state, other) => state === null
    ? el("p", { class: "empty" }, "nothing yet")
    : el("dl", { class: "state" }, terms(Object.entries(state).map(([name, value]) => [
      name, name === "balance" ? money(value, state.currency || currency) : typeof value === "object" ? JSON.stringify(value) : value,
      other && other[name] !== value ? "changed" : ""])));
  const slider = el("input", { type: "range", id: "fold-version", min: first, max: first + steps.length - 1, value: version, oninput: () => step(Number(slider.value)) });
  const view = el("div", { class: "fold" });
  const step = (chosen) => {
    const { event, before, after } = steps[chosen - first];
    slider.setAttribute("aria-valuetext", `version ${chosen}: ${event.type}`);
    view.replaceChildren(
      el("div", {}, el("h4", {}, "before"), stateOf(before, null)),
      el("div", { class: "by" }, el("h4", {}, `version ${count(chosen)}`), typeTag(event), el("p", { class: "delta" }, deltaOf(event))),
      el("div", {}, el("h4", {}, "after"), stateOf(after, before)));
  };
  box.replaceChildren(
    el("label", { for: "fold-version", class: "note" }, `The stream as a fold: ${one(steps.length, "event")}. Step with the arrow keys.`), slider, view);
  step(Math.min(Math.max(version, first), first + steps.length - 1));
}
