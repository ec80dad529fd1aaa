// Elements and words: how a value becomes something that a person reads.
// Invariant: data becomes text nodes only. No string of a service is ever parsed as markup.
"use strict";

const $ = (id) => document.getElementById(id);

// Returns an element. `on…` properties are listeners, `data` and `style` are objects, the rest are attributes.
function el(tag, properties = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    // The content policy allows changes through the object model, and refuses style attributes.
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// The cells of a table, and the terms of a list.
const cell = (content, kind = "") => el("td", { class: kind }, content);
const terms = (entries, kind = "") => entries.flatMap(([name, value, own = kind]) => [el("dt", {}, name), el("dd", { class: own }, String(value))]);

// Sets a text only when it changes, so that live regions and selections stay calm.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const digitsOf = (currency) => {
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits;
  } catch {
    return 2;
  }
};

// Returns an amount of minor units as money. Text arithmetic: the largest amounts are exact in cents only.
function money(amount, currency = "") {
  const digits = digitsOf(currency || "EUR");
  const text = String(amount).padStart(digits + 1, "0");
  const whole = digits ? text.slice(0, -digits) : text;
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return `${grouped}${digits ? "." + text.slice(-digits) : ""}${currency ? "\u00a0" + currency : ""}`;
}

const count = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const shortId = (id) => (id && id.length === 36 ? "…" + id.slice(-6) : id || "–");
const clock = (time) => (time || "").slice(11, 23);
const milliseconds = (ms) => (ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : count(Math.round(ms))) + " ms";
const seconds = (s) => (s < 10 ? s.toFixed(1) : Math.round(s)) + " s";
const pretty = (value) => JSON.stringify(value, null, 2);
const one = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

// Returns a function that runs `work` at most once every `ms`, and once more after the last call.
function calm(ms, work) {
  let timer = null;
  let last = 0;
  return () => {
    if (timer !== null) return;
    const wait = Math.max(0, last + ms - performance.now());
    timer = setTimeout(() => {
      timer = null;
      last = performance.now();
      work();
    }, wait);
  };
}

// Keeps a map small: the oldest entries go first.
function remember(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value);
}
