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
loop(refresh);

$("foot").append("Tally · this page reads the same routes as any client: ",
  ...["/services", "/health", "/metrics", "/openapi.json"].flatMap((path) => [el("a", { href: path }, path), " "]));
