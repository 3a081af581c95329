// Makes elements. Text is always text: nothing here reads HTML. What has no shape of its own (control characters, marks
// that turn the direction around or take no room) is shown as an escape, since it could have text read as another.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const escape = (c) => (c === "\n" || c === "\t" ? c : `\\u{${c.codePointAt(0).toString(16)}}`);
const harmless = (text) => String(text).replace(UNSEEN, escape);

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, harmless(value));
  }
  const given = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== "");
  element.append(...given.map((child) => (child instanceof Node ? child : harmless(child))));
  return element;
}

// A table whose first column names the row. `columns`: [title, isNumber?].
export function table(caption, columns, rows) {
  const kind = (i) => (columns[i][1] ? "number" : null);
  const head = columns.map(([title], i) => h("th", { scope: "col", class: kind(i) }, title));
  const cell = (content, i) =>
    h(i === 0 ? "th" : "td", { scope: i === 0 ? "row" : null, class: kind(i), "data-title": columns[i][0] }, i === 0 ? content : h("div", {}, content));
  return h(
    "table",
    {},
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, head)),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))),
  );
}

// Puts `content` in place of what is there, if it differs; opened details stay open.
const shown = new Map();

export function show(id, key, content) {
  if (shown.get(id) === key) return;
  shown.set(id, key);
  const place = document.getElementById(id);
  const open = new Set([...place.querySelectorAll("details[open]")].map((d) => d.dataset.key));
  const fresh = [content()].flat(Infinity).filter(Boolean);
  for (const node of fresh) {
    for (const details of node.querySelectorAll?.("details") ?? []) {
      if (open.has(details.dataset.key)) details.open = true;
    }
  }
  const focused = place.contains(document.activeElement) ? document.activeElement.closest("[data-key]")?.dataset.key : null;
  place.replaceChildren(...fresh);
  if (focused) {
    const again = [...place.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused);
    (again?.querySelector("summary") ?? again)?.focus();
  }
}

export function details(key, summary, ...content) {
  return h("details", { "data-key": key }, h("summary", {}, summary), content);
}

const STATES = {
  good: ["serving", "running", "pass", "cleared", "promoted", "ready", "champion"],
  busy: ["rolling-out", "starting", "open", "held back", "canary", "in flight"],
  bad: ["trouble", "fail", "aborted", "failed", "gone", "backing-off"],
};

// A state: a mark and a word, so that the colour says nothing that the word does not.
export function state(word) {
  const level = Object.keys(STATES).find((name) => STATES[name].includes(word)) ?? "still";
  return h("span", { class: `state ${level}` }, word.replaceAll("-", " "));
}

// The server's time less ours: what is told is told by the server's clock.
let ahead = 0;

export function setNow(moment) {
  ahead = Date.parse(moment) - Date.now();
}

export const now = () => Date.now() + ahead;

export function when(moment) {
  const date = new Date(moment);
  return h("time", { datetime: date.toISOString(), title: date.toLocaleString() }, ago(date));
}

export function tick() {
  for (const time of document.querySelectorAll("time")) time.textContent = ago(new Date(time.dateTime));
}

function ago(date) {
  const seconds = Math.max(0, (now() - date.getTime()) / 1000);
  if (seconds < 10) return "just now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}
