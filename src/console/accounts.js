// Accounts: the list, one account with its statement and its past, and a form for every command.
// Invariant: queries show what the read side has; after a command of this page they wait for its position.

// Rows of a page of the list, rows of the statement, and versions in the picture of a balance.
const LIST = 12;
const STATEMENT = 50;
const PICTURE = 1000;
const accounts = { filter: "", cursor: null, id: null, fresh: 0, account: null, balances: new Map() };

// The part of a query that waits for this page's own last command.
const fresh = () => `min_position=${accounts.fresh}&wait=2`;

async function showList() {
  const cursor = accounts.cursor ? `&cursor=${encodeURIComponent(accounts.cursor)}` : "";
  const { json } = await get(sides.read, `/accounts?limit=${LIST}${accounts.filter && "&" + accounts.filter}${cursor}`);
  json.accounts.forEach(({ account_id, owner, currency }) => remember(known, account_id, { owner, currency }, 5000));
  const body = $("account-list");
  const focused = document.activeElement?.dataset?.id;
  body.replaceChildren(...json.accounts.map(({ account_id, owner, currency, balance, status }) => el("tr", { class: account_id === accounts.id ? "chosen" : "", onclick: () => choose(account_id) },
    cell(el("button", { class: "link", data: { id: account_id } }, owner), "clip"), cell(el("span", { class: `state ${status}` }, status)), cell(money(balance, currency), "num"))));
  if (focused) [...body.querySelectorAll("button")].find((button) => button.dataset.id === focused)?.focus();
  accounts.first ??= json.accounts[0]?.account_id;
  accounts.next = json.next_cursor;
  $("accounts-more").hidden = !json.next_cursor;
  $("accounts-first").hidden = !accounts.cursor;
  say($("accounts-note"), json.accounts.length ? "" : "No account yet.");
}

// What the page shows is older than the rows of the read side: tried again until it is not.
const stale = { account: false, list: true };

async function refresh() {
  for (const [what, work] of [["account", showAccount], ["list", showList]]) {
    if (!stale[what]) continue;
    stale[what] = false;
    try {
      await work();
    } catch (error) {
      stale[what] = true;
      throw error;
    }
  }
  return SAMPLE_EVERY;
}

const choose = (id) => act(async () => {
  Object.assign(accounts, { id, at: null, balances: new Map() });
  $("command").elements.id.value = id;
  showCurl();
  stale.list = true;
  await showAccount();
  if (window.innerWidth < 900) $("account").scrollIntoView({ block: "nearest" });
})();

// ---- one account

async function showAccount() {
  const id = accounts.id;
  if (!id) return;
  const [{ json: account }, { json: statement }] = await Promise.all([
    get(sides.read, `/accounts/${id}?${fresh()}`),
    get(sides.read, `/accounts/${id}/transactions?limit=${accounts.balances.size ? STATEMENT : PICTURE}&${fresh()}`),
  ]);
  if (id !== accounts.id) return;
  accounts.account = account;
  remember(known, id, { owner: account.owner, currency: account.currency }, 5000);
  const box = $("account");
  if (box.dataset.id !== id) {
    box.dataset.id = id;
    box.replaceChildren(
      el("div", { class: "event-head" }, el("h3", {}, account.owner, " ", el("small", { class: "mono" }, id)), el("p", { class: "balance", id: "balance" })),
      el("label", { for: "travel", class: "note" }, "Time travel: move to any version of the past with the arrow keys"),
      el("svg:svg", { id: "spark", viewBox: "0 0 600 70", preserveAspectRatio: "none" }),
      el("input", { type: "range", id: "travel", min: 1, oninput: () => { accounts.at = Number($("travel").value); travel(); } }),
      el("dl", { class: "state wide", id: "then" }),
      el("div", { class: "scroll short", tabindex: "0", role: "region", "aria-label": "Statement, newest first" },
        el("table", {}, el("thead", {}, el("tr", {}, ["Recorded", "Kind", "Amount", "Balance"].map((word, i) => el("th", { class: i > 1 ? "num" : "" }, word)))), el("tbody", { id: "statement" }))));
  }
  say($("balance"), money(account.balance, account.currency));
  $("travel").max = account.version;
  // The slider stays at the present until a person moves it.
  if (accounts.at === null || accounts.at >= account.version) { accounts.at = null; $("travel").value = account.version; showThen(account); }
  $("statement").replaceChildren(...statement.transactions.slice(0, STATEMENT).map(({ version, kind, amount, balance, description, recorded_at }) => el("tr", { data: { version } },
    cell(clock(recorded_at), "mono"), cell([kind, el("small", {}, ` ${description || ""}`)], "clip"), cell(amount ? money(amount) : "", "num"), cell(money(balance), "num"))));
  spark(statement.transactions);
}

// Draws the balance after each version, as steps below the slider's own scale.
function spark(rows) {
  const { balances, account } = accounts;
  [...rows].reverse().forEach(({ version, balance }) => remember(balances, version, balance, PICTURE));
  const most = Math.max(1, ...balances.values());
  const x = (version) => ((600 * (version - 1)) / account.version).toFixed(1);
  const d = [...balances].map(([version, balance], i) => `${i ? "L" : "M"}${x(version)} ${(66 - (62 * balance) / most).toFixed(1)}H${x(version + 1)}`).join("");
  $("spark").replaceChildren(el("svg:path", { d: `${d}V70H${x(balances.keys().next().value ?? 1)}Z`, class: "under" }), el("svg:path", { d, class: "over" }),
    el("svg:rect", { class: "here", y: 0, height: 70, x: x(accounts.at ?? account.version), width: Math.max(2, 600 / account.version) }));
  for (const row of $("statement").rows) row.classList.toggle("chosen", Number(row.dataset.version) === accounts.at);
}

function showThen({ version, status, balance, currency, updated_at }) {
  const isPast = version < accounts.account.version;
  $("travel").setAttribute("aria-valuetext", `version ${version}: ${status}, ${money(balance, currency)}`);
  $("then").replaceChildren(...terms([["version", `${count(version)} of ${count(accounts.account.version)}`], [isPast ? "balance then" : "balance", money(balance, currency), isPast ? "changed" : ""],
    ["status", status], ["as of", clock(updated_at)]]));
}

// Only the latest position of the slider is asked for: answers of earlier ones are dropped.
const travel = calm(60, act(async () => {
  const [id, version] = [accounts.id, accounts.at];
  spark([]);
  const { json } = await get(sides.read, `/accounts/${id}?at_version=${version}`);
  if (id === accounts.id && version === accounts.at) showThen(json);
}));

// ---- commands

const field = (name) => $("command").elements[name].value.trim();
const kind = () => $("command").elements.kind.value;

// Returns what the form says, as a request. Nothing is checked here: the write side explains what it refuses.
function request() {
  const [id, amount] = [encodeURIComponent(field("id") || "ACCOUNT"), Number(field("amount"))];
  const movement = { amount, ...(field("description") && { description: field("description") }) };
  const headers = { ...(field("key") && { "Idempotency-Key": field("key") }), ...(field("match") && { "If-Match": `"${field("match")}"` }) };
  const of = {
    open: () => ["Open an account", "/accounts", { owner: $("command").elements.owner.value, currency: field("currency") }],
    deposit: () => ["Deposit", `/accounts/${id}/deposit`, movement],
    withdraw: () => ["Withdraw", `/accounts/${id}/withdraw`, movement],
    transfer: () => ["Transfer", "/transfers", { from: field("id"), to: field("to"), ...movement }],
    close: () => ["Close the account", `/accounts/${id}/close`, {}],
  };
  const [title, path, body] = of[kind()]();
  return { title, path, body, headers };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function showCurl() {
  const { path, body, headers } = request();
  const lines = [`curl -i ${quoted((sides.write.url || "http://127.0.0.1:7001") + path)}`, "-H 'Content-Type: application/json'",
    ...Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`), `-d ${quoted(JSON.stringify(body))}`];
  say($("curl"), lines.join(" \\\n  "));
}

function showFields() {
  for (const label of $("command").querySelectorAll("[data-of]")) {
    label.hidden = !label.dataset.of.split(" ").includes(kind());
  }
  say($("account-word"), kind() === "transfer" ? "From account" : "Account");
  showCurl();
}

function showAnswer({ status, headers, json, ms }) {
  const box = $("answer");
  box.hidden = false;
  box.className = `answer ${status < 400 ? "good" : "refused"}`;
  box.replaceChildren(el("h4", {}, `HTTP ${status} `, el("small", {}, `after ${milliseconds(ms)}`)),
    el("pre", {}, [...headers].map(([name, value]) => `${name}: ${value}`).join("\n")), el("pre", {}, json ? pretty(json) : ""));
}

// Sends a command, then lets the queries of this page wait for its position.
async function sendCommand(title, path, body, headers = {}) {
  const answer = await command(title, path, body, { "X-Correlation-Id": correlation(), ...headers });
  if (answer.ok) {
    accounts.fresh = answer.json.position;
    const stream = answer.json.stream_id;
    if (path === "/accounts" || !accounts.id) choose(stream);
    stale.account = stale.list = true;
    wake();
  }
  return answer;
}

const correlation = () => `console-${Math.random().toString(36).slice(2, 10)}`;

// The account for the buttons of the first section: the chosen one, else the first of the list, else a new one.
async function someAccount() {
  const id = accounts.id ?? accounts.first;
  if (id) return id;
  return (await sendCommand("Open an account for Ada Lovelace", "/accounts", { owner: "Ada Lovelace" })).json.stream_id;
}

const OWNERS = ["Ada Lovelace", "Emmy Noether", "Sofya Kovalevskaya", "Katherine Johnson", "Grace Hopper", "Hypatia", "Maryam Mirzakhani", "Sophie Germain"];

function startAccounts() {
  const form = $("command");
  form.addEventListener("input", showFields);
  form.addEventListener("submit", act(async () => {
    const { title, path, body, headers } = request();
    showAnswer(await sendCommand(title, path, body, headers));
  }));
  $("copy").addEventListener("click", act(async () => {
    await navigator.clipboard.writeText($("curl").textContent);
    notify("The curl line is copied.");
  }));
  let opened = 0;
  $("try-open").addEventListener("click", act(() => {
    const owner = OWNERS[opened++ % OWNERS.length];
    return sendCommand(`Open an account for ${owner}`, "/accounts", { owner });
  }));
  $("try-deposit").addEventListener("click", act(async () => {
    const id = await someAccount();
    return sendCommand(`Deposit 12.50 to ${ownerOf(id)}`, `/accounts/${id}/deposit`, { amount: 1250 });
  }));
  $("try-refused").addEventListener("click", act(async () => {
    const id = await someAccount();
    return sendCommand(`Withdraw too much from ${ownerOf(id)}`, `/accounts/${id}/withdraw`, { amount: MAX });
  }));
  $("account-filter").addEventListener("submit", act(async (event) => {
    accounts.filter = filterOf(event.target);
    accounts.cursor = null;
    await showList();
  }));
  $("accounts-more").addEventListener("click", act(() => { accounts.cursor = accounts.next; return showList(); }));
  $("accounts-first").addEventListener("click", act(() => { accounts.cursor = null; return showList(); }));
  showFields();
}
