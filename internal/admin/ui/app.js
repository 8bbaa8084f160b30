// Pictures come as server-sent events, each second and after each change, and are
// written into cards that are built once: rebuilding them would take the keyboard focus
// away. Text goes in by textContent only, so nothing that a cluster says can become
// markup.

import { drawMap } from "./map.js";
import { clock, make, milliseconds, set } from "./words.js";

const $ = (id) => document.getElementById(id);
const kinds = ["topology", "failover", "lab"];
const eventsShown = 200;
const smoothed = 3; // seconds over which rates are averaged
const cards = new Map();
const regions = new Map();
let features = { drain: false, explain: false, mounts: false, lab: [] };
let pictures = []; // the last ones, with their times, for the rates
let mountLines = "";
let here = ""; // the region of this proxy

async function call(path, options) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  const body = await answer.json();
  if (!answer.ok) throw new Error((body.errors || [answer.statusText]).join("; "));
  return body;
}

async function act(path, done) {
  try {
    await call(path, { method: "POST" });
    set($("notice"), done);
  } catch (err) {
    set($("notice"), "Failed: " + err.message);
  }
}

function fact(list, name) {
  const value = make("dd");
  list.append(make("div", {}, make("dt", { textContent: name }), value));
  return value;
}

function region(name) {
  if (!regions.has(name)) {
    const title = make("h3");
    const box = make("section", { className: "region" }, title);
    regions.set(name, { box, title });
    if (name === here) $("regions").prepend(box);
    else $("regions").append(box);
  }
  return regions.get(name);
}

function buildCard(c) {
  const list = make("dl");
  const card = {
    state: make("span", { className: "state" }), role: make("span", { className: "badge" }),
    flow: make("span", { className: "badge" }), reason: make("p", { className: "reason dim" }),
    rtt: fact(list, "Round trip"), lag: fact(list, "Lag"), order: fact(list, "Order"),
    tokens: fact(list, "Tokens"), leases: fact(list, "Leases"), since: fact(list, "Since"),
    replication: fact(list, "Replication"),
    nodeTitle: make("summary"), nodes: make("ul"), region: c.region,
  };
  const buttons = make("div", { className: "buttons" });
  card.box = make("article", {},
    make("header", {}, make("h4", { textContent: c.name }), card.state, card.role, card.flow),
    card.reason, list, make("details", {}, card.nodeTitle, card.nodes), buttons);
  card.box.setAttribute("aria-label", "cluster " + c.name);
  addButtons(card, buttons, c.name);
  region(c.region).box.append(card.box);
  return card;
}

function addButtons(card, buttons, name) {
  const query = "?cluster=" + encodeURIComponent(name);
  if (features.drain) {
    card.drain = make("button", { type: "button" });
    card.drain.addEventListener("click", () => card.drained
      ? act("undrain" + query, name + " is back in use.")
      : act("drain" + query, name + " is drained."));
    buttons.append(card.drain);
  }
  for (const action of features.lab) {
    const button = make("button", { type: "button", className: "lab", textContent: action });
    button.setAttribute("aria-label", action + " " + name);
    button.addEventListener("click", () =>
      act("lab/" + encodeURIComponent(name) + "/" + encodeURIComponent(action), action + " " + name + ": done."));
    buttons.append(button);
  }
}

// replication tells each kind that the cluster takes part in.
function replication(r) {
  if (!r) return "unknown";
  const links = [["performance", r.performance], ["DR", r.dr]].filter(([, l]) => l.mode !== "disabled");
  const text = links.map(([kind, l]) => l.mode === "primary"
    ? kind + " primary, " + l.connected + " of " + (l.secondaries || []).length + " connected"
    : kind + " " + l.mode + ", " + (l.state || "unknown"));
  return text.join("; ") || "none";
}

function updateCard(card, c, flow) {
  card.drained = c.state === "drained";
  card.box.className = "cluster " + c.state;
  set(card.state, c.state);
  set(card.role, c.dr_of ? c.role + " of " + c.dr_of : c.role);
  set(card.flow, flow);
  card.flow.hidden = flow === "";
  set(card.reason, c.reason);
  card.reason.hidden = c.reason === "";
  set(card.rtt, milliseconds(c.rtt_ms));
  set(card.lag, milliseconds(c.lag_ms));
  set(card.replication, replication(c.replication));
  set(card.order, c.order || "not used");
  set(card.tokens, c.tokens);
  set(card.leases, c.leases);
  set(card.since, c.since ? clock(c.since) : "unknown");
  set(card.nodeTitle, c.nodes.length === 1 ? "1 node" : c.nodes.length + " nodes");
  const lines = c.nodes.map((n) => n.address + ": " + n.state + (n.active ? ", active" : "") +
    ", " + milliseconds(n.rtt_ms) + (n.reason ? " (" + n.reason + ")" : ""));
  if (lines.join("\n") !== card.nodeLines) {
    card.nodeLines = lines.join("\n");
    card.nodes.replaceChildren(...lines.map((text) => make("li", { textContent: text })));
  }
  if (card.drain) {
    set(card.drain, card.drained ? "undrain" : "drain");
    card.drain.setAttribute("aria-label", card.drain.textContent + " " + c.name);
  }
}

function drop(name) {
  const card = cards.get(name);
  card.box.remove();
  cards.delete(name);
  if (![...cards.values()].some((other) => other.region === card.region)) {
    regions.get(card.region).box.remove();
    regions.delete(card.region);
  }
}

function count(what, n) {
  set($(what + "s"), n + " " + what + (n === 1 ? "" : "s"));
}

function goes(id, target) {
  set($(id), target.cluster || "nowhere");
  set($(id + "-why"), (target.since ? "since " + clock(target.since) + "; " : "") + target.reason);
}

// rates are requests per second by cluster: of this picture and one a few seconds old.
function rates(status) {
  const now = performance.now();
  if (pictures.length && pictures[pictures.length - 1].status.version !== status.version) pictures = [];
  pictures.push({ now, status });
  while (pictures.length > 2 && now - pictures[1].now >= smoothed * 1000) pictures.shift();
  const before = pictures[0], seconds = (now - before.now) / 1000;
  const out = new Map();
  for (const c of status.clusters) {
    const old = before.status.clusters.find((o) => o.name === c.name);
    const rate = (kind) => seconds > 0.2 && old
      ? Math.max(0, ((c.requests || {})[kind] || 0) - ((old.requests || {})[kind] || 0)) / seconds : 0;
    out.set(c.name, { reads: rate("nearest"), writes: rate("primary"), bound: rate("owner") + rate("operator") });
  }
  return out;
}

function show(status) {
  goes("reads", status.reads);
  goes("writes", status.writes);
  const failover = status.last_failover;
  set($("failover"), failover ? failover.from + " → " + failover.to : "none yet");
  set($("failover-why"), failover ? clock(failover.time) + "; " + failover.reason : "since the proxy started");
  here = status.region;
  set($("region"), status.region || "an unnamed region");
  set($("version"), status.version);
  count("session", status.sessions);
  count("token", status.clusters.reduce((sum, c) => sum + c.tokens, 0));
  count("lease", status.clusters.reduce((sum, c) => sum + c.leases, 0));
  const alarm = status.split_brain ? "Split brain: " + (status.claimants || []).join(", ") + " claim to be primary. Writes are refused."
    : !status.reads.cluster ? "No cluster can be used." : !status.writes.cluster ? "No primary: writes wait or fail." : "";
  set($("alarm"), alarm);
  $("alarm").hidden = alarm === "";

  const names = new Set(status.clusters.map((c) => c.name));
  for (const [name, card] of [...cards]) {
    if (!names.has(name) || status.clusters.find((c) => c.name === name).region !== card.region) drop(name);
  }
  for (const c of status.clusters) {
    if (!cards.has(c.name)) cards.set(c.name, buildCard(c));
    const flow = [c.name === status.reads.cluster && "reads", c.name === status.writes.cluster && "writes"].filter(Boolean).join(" + ");
    updateCard(cards.get(c.name), c, flow);
  }
  for (const [name, r] of regions) {
    set(r.title, name + (name === status.region ? " (this proxy is here)" : ""));
    r.box.classList.toggle("own", name === status.region);
  }
  drawMap(status, rates(status));
}

function sentence(e) {
  const move = e.from || e.to ? (e.from || "?") + " → " + (e.to || "?") : "";
  return [e.cluster, move, e.reason].filter(Boolean).join(" · ");
}

function happened(message) {
  const e = JSON.parse(message.data);
  const when = new Date(e.time);
  const line = make("li", { className: e.kind },
    make("time", { dateTime: e.time, title: when.toLocaleString(), textContent: when.toLocaleTimeString() }),
    make("span", { className: "kind", textContent: e.kind }), make("span", { textContent: sentence(e) }));
  $("no-events").hidden = true;
  $("events").prepend(line);
  while ($("events").children.length > eventsShown) $("events").lastChild.remove();
  if (Date.now() - when.getTime() < 5000) set($("notice"), sentence(e));
}

async function showMounts() {
  if (!features.mounts) return;
  let all;
  try {
    all = await call("mounts");
  } catch {
    return; // the next time
  }
  const lines = JSON.stringify(all);
  if (lines === mountLines) return;
  mountLines = lines;
  $("no-mounts").hidden = all.length > 0;
  $("mounts-table").hidden = all.length === 0;
  $("mounts-rows").replaceChildren(...all.map((m) => make("tr", {},
    make("th", { scope: "row", textContent: m.namespace + m.path }), make("td", { textContent: m.type + (m.local ? ", local" : "") }),
    make("td", {}, ...classes(m.reads)), make("td", {}, ...classes(m.writes)))));
}

const classes = (names) => names.map((name) => make("span", { className: "class " + name, textContent: name }));

function explained(answer) {
  const list = make("dl", { className: "facts" });
  for (const [key, value] of Object.entries(answer)) {
    if (value !== "" && value !== null && typeof value !== "object") set(fact(list, key), value);
  }
  const steps = (answer.candidates || []).map((c) => make("li", {
    textContent: [c.cluster, c.region, c.state, milliseconds(c.rtt_ms), c.way_round && "forwards to the primary", c.token && "token: " + c.token].filter(Boolean).join(" · "),
  }));
  $("explained").replaceChildren(list, make("ol", {}, ...steps));
}

async function explain(submitted) {
  submitted.preventDefault();
  const query = new URLSearchParams(new FormData($("explain-form")));
  try {
    explained(await call("explain?" + query));
  } catch (err) {
    $("explained").replaceChildren(make("p", { textContent: err.message }));
  }
}

// follow listens for as long as the page is open; the browser comes back by itself when
// the connection ends, and goes on after the last event it saw.
function follow() {
  const stream = new EventSource("events?status");
  for (const kind of kinds) stream.addEventListener(kind, happened);
  stream.addEventListener("status", (message) => {
    show(JSON.parse(message.data));
    set($("link"), "live");
  });
  stream.addEventListener("error", () => {
    set($("link"), "no connection to the proxy");
    if (stream.readyState === EventSource.CLOSED) { // refused: the browser gives up then
      stream.close();
      setTimeout(follow, 1000);
    }
  });
}

async function start() {
  try {
    features = await call("ui/features");
  } catch {
    set($("link"), "no connection to the proxy");
    setTimeout(start, 1000);
    return;
  }
  $("explain").hidden = !features.explain;
  $("mounts").hidden = !features.mounts;
  $("explain-form").addEventListener("submit", explain);
  $("only-failovers").addEventListener("change", (e) => $("events").classList.toggle("only-failovers", e.target.checked));
  follow();
  showMounts();
  setInterval(showMounts, 5000);
}

start();
