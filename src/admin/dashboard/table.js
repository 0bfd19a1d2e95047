// A view as a table that can be sorted and searched.
import { el } from "./dom.js";

/** What the reader has chosen; it outlives the table, which is made anew at each look. */
export class Choice {
  column = null;
  order = "descending";
  text = "";
}

const UNITS = { us: "µs", ms: "ms", s: "s", bytes: "bytes" };

export function table({ columns, rows }, choice = new Choice(), again = null) {
  const shown = sorted(rows.filter((row) => matches(row, choice.text)), columns, choice);
  const head = columns.map((column) => heading(column, choice, again));
  const body = shown.map((row) => el("tr", {}, columns.map((column) => cell(column, row[column.name]))));
  if (body.length === 0) {
    const text = rows.length === 0 ? "nothing to show" : "no row has that text";
    body.push(el("tr", {}, el("td", { colspan: columns.length, class: "null" }, text)));
  }
  return el("div", { class: "scroll", tabindex: 0 },
    el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

function heading({ name, type, unit }, choice, again) {
  const title = unit && !name.endsWith(`_${unit}`) ? `${name} (${UNITS[unit] ?? unit})` : name;
  const pick = () => {
    const same = choice.column === name;
    choice.order = same && choice.order === "descending" ? "ascending" : "descending";
    choice.column = name;
    again(name);
  };
  const button = again ? el("button", { type: "button", "data-column": name, onclick: pick }, title) : title;
  const chosen = choice.column === name ? choice.order : null;
  return el("th", { scope: "col", class: numeric(type) ? "integer" : "text", "aria-sort": chosen }, button);
}

const numeric = (type) => type !== "text";

function cell({ type }, value) {
  if (value === null) return el("td", { class: "null" }, "–");
  if (numeric(type)) return el("td", { class: "integer" }, Number(value).toLocaleString("en-US"));
  return el("td", { class: value.length > 60 ? "text wide" : "text" }, value);
}

function matches(row, text) {
  const wanted = text.trim().toLowerCase();
  return wanted === "" || Object.values(row).some((value) => String(value ?? "").toLowerCase().includes(wanted));
}

function sorted(rows, columns, { column, order }) {
  const known = columns.find(({ name }) => name === column);
  if (!known) return rows;
  const sign = order === "ascending" ? 1 : -1;
  const compare = numeric(known.type)
    ? (a, b) => (a ?? -Infinity) - (b ?? -Infinity)
    : (a, b) => String(a ?? "").localeCompare(String(b ?? ""));
  return rows.toSorted((a, b) => sign * compare(a[column], b[column]));
}
