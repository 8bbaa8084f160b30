// The map: this proxy at the left, each cluster as a box, the further right the longer
// its round trip. It is drawn anew from each picture; nothing in it takes the focus.

import { milliseconds, set } from "./words.js";

const svg = document.getElementById("map");
const box = { width: 196, height: 62, gap: 30, top: 30 };

function shape(tag, attributes, ...children) {
  const node = document.createElementNS(svg.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function text(x, y, words, className, anchor = "start") {
  return shape("text", { x, y, class: className, "text-anchor": anchor }, words);
}

// fitted shortens what would not fit into a box.
const fitted = (words, most) => words.length > most ? words.slice(0, most - 1) + "…" : words;

// place puts the own region first, then by round trip; those further away are more to
// the right, on a scale by which 1 ms and 300 ms both have room.
function place(status) {
  const distance = (c) => c.rtt_ms === null ? Infinity : c.rtt_ms;
  const nearest = new Map();
  for (const c of status.clusters) nearest.set(c.region, Math.min(distance(c), nearest.get(c.region) ?? Infinity));
  const own = (c) => c.region === status.region ? 0 : 1;
  const all = [...status.clusters].sort((a, b) => own(a) - own(b) ||
    (nearest.get(a.region) - nearest.get(b.region) || 0) || a.region.localeCompare(b.region) || distance(a) - distance(b) || 0);
  const spots = new Map();
  let y = box.top, last = "";
  for (const c of all) {
    if (c.region !== last) y += last === "" ? 0 : 26;
    last = c.region;
    const far = c.rtt_ms === null ? 1 : Math.min(1, Math.log10(1 + c.rtt_ms) / Math.log10(301));
    spots.set(c.name, { c, x: 300 + far * 330, y, region: c.region });
    y += box.height + 14;
  }
  return { spots, height: Math.max(y + 4, 190) };
}

function bands(layer, spots, ownRegion) {
  const regions = new Map();
  for (const s of spots.values()) {
    const b = regions.get(s.region) || { top: s.y, bottom: s.y };
    b.bottom = s.y + box.height;
    regions.set(s.region, b);
  }
  for (const [name, b] of regions) {
    const own = name === ownRegion;
    const top = own ? 6 : b.top - 22;
    layer.append(shape("rect", { x: own ? 8 : 252, y: top, width: own ? 984 : 740, height: b.bottom - top + 8, rx: 10, class: own ? "band own" : "band" }));
    layer.append(text(984, top + 16, name, "band-name", "end"));
  }
}

// line goes from the proxy to a cluster, or of no strength where nothing flows.
function line(layer, from, to, className, width, label, shift) {
  const y = to.y + box.height / 2 + shift;
  const middle = (from.x + to.x) / 2;
  layer.append(shape("path", { d: `M${from.x},${from.y + shift} C${middle},${from.y + shift} ${middle},${y} ${to.x - 3},${y}`, class: className, "stroke-width": width.toFixed(1) }));
  if (label) layer.append(text(to.x - 10, y - 5, label, "rate " + className.split(" ")[1], "end"));
}

function replication(layer, spots, status) {
  for (const s of spots.values()) {
    const source = spots.get(s.c.dr_of || (s.c.role === "secondary" ? status.primary : ""));
    if (!source || source === s) continue;
    const a = { x: source.x + box.width, y: source.y + box.height / 2 }, b = { x: s.x + box.width, y: s.y + box.height / 2 };
    const bend = Math.max(a.x, b.x) + 36;
    layer.append(shape("path", { d: `M${a.x},${a.y} C${bend},${a.y} ${bend},${b.y} ${b.x + 3},${b.y}`, class: "copy" + (s.c.state === "down" ? " cut" : "") }));
    if (s.c.lag_ms !== null) layer.append(text(b.x + 14, b.y + 19, "lag " + milliseconds(s.c.lag_ms), "lag"));
  }
}

function cluster(layer, s) {
  const c = s.c;
  const g = shape("g", { class: "box " + c.state });
  g.append(shape("rect", { x: s.x, y: s.y, width: box.width, height: box.height, rx: 8 }));
  g.append(shape("rect", { x: s.x, y: s.y, width: 7, height: box.height, rx: 3, class: "mark" }));
  g.append(text(s.x + 16, s.y + 20, fitted(c.name, 22), "name"));
  g.append(text(s.x + 16, s.y + 38, c.state, "state"), text(s.x + box.width - 10, s.y + 38, c.role, "small", "end"));
  g.append(text(s.x + 16, s.y + 54, "round trip " + milliseconds(c.rtt_ms), "small"));
  layer.append(g);
}

// thickness of a line grows with the logarithm of what flows.
const thickness = (rate) => 2 + Math.min(8, 2.2 * Math.log2(1 + rate));

function perSecond(rate) {
  return (rate >= 10 ? rate.toFixed(0) : rate.toFixed(1)) + "/s";
}

// drawMap shows a picture. rates gives, by cluster, reads, writes and bound requests per
// second.
export function drawMap(status, rates) {
  const { spots, height } = place(status);
  svg.setAttribute("viewBox", `0 0 1000 ${height}`);
  const back = shape("g", {}), lines = shape("g", { fill: "none" }), front = shape("g", {});
  bands(back, spots, status.region);
  const first = [...spots.values()][0];
  const proxy = { x: 150, y: first ? first.y + box.height / 2 : 60 };
  for (const s of spots.values()) {
    const r = rates.get(s.c.name) || { reads: 0, writes: 0, bound: 0 };
    const reads = s.c.name === status.reads.cluster, writes = s.c.name === status.writes.cluster;
    if (reads || r.reads > 0) line(lines, proxy, s, "flow reads" + (r.reads > 0 ? " live" : ""), thickness(r.reads), perSecond(r.reads), writes || r.writes > 0 ? -13 : 0);
    if (writes || r.writes > 0) line(lines, proxy, s, "flow writes" + (r.writes > 0 ? " live" : ""), thickness(r.writes), perSecond(r.writes), reads || r.reads > 0 ? 13 : 0);
    if (r.bound > 0) line(lines, proxy, s, "flow bound live", thickness(r.bound), perSecond(r.bound), 26);
  }
  replication(lines, spots, status);
  front.append(shape("rect", { x: 26, y: proxy.y - 31, width: 124, height: 62, rx: 31, class: "proxy" }),
    text(88, proxy.y - 3, "this proxy", "name", "middle"), text(88, proxy.y + 15, fitted(status.region || "", 16), "small", "middle"));
  for (const s of spots.values()) cluster(front, s);
  svg.replaceChildren(document.getElementById("map-title"), document.getElementById("map-text"), back, lines, front);
  set(document.getElementById("map-text"), inWords(status));
}

// inWords is the map for those who can't see it. It has no rates: they change each
// second, and would be read out each time.
function inWords(status) {
  const parts = [status.reads.cluster ? "Reads go to " + status.reads.cluster + "." : "Reads go nowhere.",
    status.writes.cluster ? "Writes go to " + status.writes.cluster + "." : "Writes go nowhere."];
  for (const c of status.clusters) parts.push(`${c.name} in ${c.region} is ${c.role} and ${c.state}.`);
  return parts.join(" ");
}
