"use strict";

// One picture (/status), fetched every second and at once after an event, is written
// into cards that are built once: rebuilding them would take the keyboard focus away.
// Text goes in by textContent only, so nothing that a cluster says can become markup.

const $ = (id) => document.getElementById(id);
const kinds = ["topology", "failover", "lab"];
const eventsShown = 100;
const cards = new Map();
const regions = new Map();
let features = { drain: false, explain: false, lab: [] };
let refreshing = false;

function make(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

function set(node, text) {
  text = String(text);
  if (node.textContent !== text) node.textContent = text;
}

function milliseconds(value) {
  if (value === null || value === undefined) return "unknown";
  if (value >= 1000) return (value / 1000).toFixed(1) + " s";
  return (value < 10 ? value.toFixed(1) : value.toFixed(0)) + " ms";
}

const usable = (c) => (c.state === "healthy" || c.state === "degraded") && c.order > 0;

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
  refresh();
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
    $("regions").append(box);
  }
  return regions.get(name);
}

function buildCard(c) {
  const list = make("dl");
  const card = {
    state: make("span", { className: "state" }), role: make("span", { className: "badge" }),
    flow: make("span", { className: "badge" }), reason: make("p", { className: "reason dim" }),
    rtt: fact(list, "Round trip"), lag: fact(list, "Lag"), replication: fact(list, "Replication"), order: fact(list, "Order"),
    tokens: fact(list, "Tokens"), leases: fact(list, "Leases"),
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
    const button = make("button", { type: "button", textContent: action });
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

function show(status) {
  const order = status.clusters.filter(usable).sort((a, b) => a.order - b.order);
  const reads = order.length ? order[0].name : "";
  const writes = order.some((c) => c.name === status.primary) ? status.primary : "";
  set($("region"), status.region || "an unnamed region");
  set($("version"), status.version);
  set($("reads"), reads || "nowhere");
  set($("writes"), writes || "nowhere");
  set($("sessions"), status.sessions);
  set($("tokens"), status.clusters.reduce((sum, c) => sum + c.tokens, 0));
  set($("leases"), status.clusters.reduce((sum, c) => sum + c.leases, 0));
  const alarm = status.split_brain ? "Split brain: " + (status.claimants || []).join(", ") + " claim to be primary. Writes are refused."
    : !reads ? "No cluster can be used." : !writes ? "No primary: writes wait or fail." : "";
  set($("alarm"), alarm);
  $("alarm").hidden = alarm === "";

  const names = new Set(status.clusters.map((c) => c.name));
  for (const [name, card] of [...cards]) {
    if (!names.has(name) || status.clusters.find((c) => c.name === name).region !== card.region) drop(name);
  }
  for (const c of status.clusters) {
    if (!cards.has(c.name)) cards.set(c.name, buildCard(c));
    const flow = [c.name === reads && "reads", c.name === writes && "writes"].filter(Boolean).join(" + ");
    updateCard(cards.get(c.name), c, flow);
  }
  for (const [name, r] of regions) {
    set(r.title, name + (name === status.region ? " (this proxy is here)" : ""));
    r.box.classList.toggle("own", name === status.region);
  }
}

async function refresh() {
  if (refreshing) return;
  refreshing = true;
  try {
    show(await call("status"));
    set($("link"), "live");
  } catch {
    set($("link"), "no connection to the proxy");
  }
  refreshing = false;
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
    make("span", { className: "dim", textContent: e.kind }), make("span", { textContent: sentence(e) }));
  $("no-events").hidden = true;
  $("events").prepend(line);
  while ($("events").children.length > eventsShown) $("events").lastChild.remove();
  if (Date.now() - when.getTime() < 5000) set($("notice"), sentence(e));
  refresh();
}

function explained(answer) {
  const list = make("dl", { className: "facts" });
  for (const [key, value] of Object.entries(answer)) {
    if (value !== "" && value !== null && typeof value !== "object") set(fact(list, key), value);
  }
  const steps = (answer.candidates || []).map((c) => make("li", {
    textContent: [c.cluster, c.region, c.state, milliseconds(c.rtt_ms), c.token && "token: " + c.token].filter(Boolean).join(" · "),
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

async function start() {
  try {
    features = await call("ui/features");
  } catch {
    set($("link"), "no connection to the proxy");
    setTimeout(start, 1000);
    return;
  }
  $("explain").hidden = !features.explain;
  $("explain-form").addEventListener("submit", explain);
  const stream = new EventSource("events");
  for (const kind of kinds) stream.addEventListener(kind, happened);
  refresh();
  setInterval(refresh, 1000);
}

start();
