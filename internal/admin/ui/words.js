// Words and nodes that both the cards and the map are made of.

export function make(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

export function set(node, text) {
  text = String(text);
  if (node.textContent !== text) node.textContent = text;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "unknown";
  if (value >= 1000) return (value / 1000).toFixed(1) + " s";
  return (value < 10 ? value.toFixed(1) : value.toFixed(0)) + " ms";
}

// clock tells a time: the clock today, the day before that.
export function clock(text) {
  const t = new Date(text);
  return t.toDateString() === new Date().toDateString() ? t.toLocaleTimeString() : t.toLocaleString();
}
