// The start: every part begins, and each loop runs for as long as the page is open.
// The way of the data: net.js finds the services, feed.js follows the log, and the parts draw what comes.

showChips();
sketch();
startLog();
startSides();
startAccounts();
startTap();
loop(discover);
loop(follow);
loop(sample);
loop(showInstances);
loop(pour);
// The list of accounts has no news of its own: it is read once, then as the feed brings events.
loop(async () => {
  if (accounts.id === null && !$("account-list").rows.length) await showList();
  return 2000;
});

$("foot").append("Tally · this page reads the same routes as any client: ",
  ...["/services", "/health", "/metrics", "/openapi.json"].flatMap((path) => [el("a", { href: path }, path), " "]));
