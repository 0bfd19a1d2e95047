// The dashboard: tabs, and who looks. A page is the tab's name behind the #; live pages are drawn anew at each look.
import { Refused, forget, get, hasToken, metrics, readiness, signIn } from "./api.js";
import { byId, el } from "./dom.js";
import { History, Look } from "./metrics.js";
import { overview } from "./overview.js";
import { Choice, table } from "./table.js";
import { actions, explain, rules } from "./tools.js";

const PACE_MS = 2000;

const history = new History();
const choices = new Map();
/** What GET /api/v1 said; `null`: we may not look. */
let known = null;
let shown = null;

const title = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");
const viewNames = () => known.views.map(({ path }) => path.split("/").at(-1));
const databases = () => [...new Set(history.last?.all("weir_server_up").map(({ labels }) => labels.database))];

/** Pages by name: what they show, and whether they are drawn anew. */
function page(name) {
  if (name === "overview") return { live: true, draw: () => overview(history, viewNames()) };
  if (name === "explain") return { live: false, draw: () => explain(databases()) };
  // Beside a view of the same name.
  if (name === "rules-files") return { live: false, draw: () => rules(known.may) };
  if (name === "actions") return { live: false, draw: () => actions(known.actions, known.may) };
  if (viewNames().includes(name)) return { live: true, draw: () => view(name) };
  return null;
}

async function view(name) {
  if (!choices.has(name)) choices.set(name, new Choice());
  const choice = choices.get(name);
  const found = await get(`/${name}`);
  const { help } = known.views.find(({ path }) => path.endsWith(`/${name}`));
  const place = el("div");
  const draw = (column) => {
    place.replaceChildren(table(found, choice, draw));
    if (column) place.querySelector(`[data-column="${column}"]`)?.focus();
  };
  const filter = (event) => {
    choice.text = event.target.value;
    draw();
  };
  draw();
  return [
    el("h2", {}, title(name)),
    el("p", { class: "dim" }, help),
    el("div", { class: "bar" }, el("label", {}, "Filter ", el("input", { id: "filter", type: "search", value: choice.text, oninput: filter }))),
    place,
  ];
}

/** Draws the page that the address names; a live one keeps the reader's focus and place. */
async function draw() {
  if (!known) return;
  const name = location.hash.slice(1) || "overview";
  const wanted = page(name);
  if (!wanted) {
    location.hash = "overview";
    return;
  }
  const parts = (await wanted.draw()).filter(Boolean);
  if (name !== (location.hash.slice(1) || "overview")) return;
  const main = byId("main");
  const [focus, sideways] = [keyOf(document.activeElement), main.querySelector(".scroll")?.scrollLeft ?? 0];
  main.replaceChildren(...parts);
  if (shown === name) {
    refocus(main, focus);
    const scroll = main.querySelector(".scroll");
    if (scroll) scroll.scrollLeft = sideways;
  }
  shown = name;
  main.dataset.page = name;
  for (const tab of byId("tabs").querySelectorAll("[role=tab]")) {
    const selected = tab.dataset.page === name;
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
  }
  document.title = `${title(name)} · weir`;
}

function keyOf(element) {
  if (!byId("main").contains(element)) return null;
  const caret = element.selectionStart ?? null;
  return { id: element.id, column: element.dataset?.column, caret };
}

function refocus(main, focus) {
  if (!focus) return;
  const element = focus.id ? byId(focus.id) : focus.column ? main.querySelector(`[data-column="${focus.column}"]`) : null;
  element?.focus();
  if (element && focus.caret != null) element.setSelectionRange?.(focus.caret, focus.caret);
}

function tabs() {
  const tab = (name, text) => el("button", { type: "button", role: "tab", "data-page": name, "aria-controls": "main", onclick: () => (location.hash = name) }, text);
  byId("tabs").replaceChildren(
    tab("overview", "Overview"),
    el("h2", { role: "presentation" }, "Tools"),
    tab("explain", "Explain"), tab("rules-files", "Rules files"), tab("actions", "Actions"),
    el("h2", { role: "presentation" }, "Views"),
    ...viewNames().map((name) => tab(name, title(name))),
  );
}

/** Arrows move between tabs, as the pattern for tabs says. */
byId("tabs").addEventListener("keydown", (event) => {
  const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  const all = [...byId("tabs").querySelectorAll("[role=tab]")];
  const at = all.indexOf(document.activeElement);
  const next = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : at + (steps[event.key] ?? NaN);
  const found = all[(next + all.length) % all.length];
  if (at < 0 || !found) return;
  event.preventDefault();
  found.focus();
  found.click();
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "/" && !typing && byId("filter")) {
    event.preventDefault();
    byId("filter").focus();
  }
});

/** Who are we to weir? */
async function meet() {
  try {
    known = await get("");
  } catch (error) {
    known = null;
    if (!(error instanceof Refused)) throw error;
    forget();
    byId("main").replaceChildren(el("p", {}, error.message));
    if (await signIn(error.message)) return meet();
  }
  byId("version").textContent = known ? known.version : "";
  byId("may").textContent = known ? `may ${known.may}` : "";
  byId("sign").textContent = hasToken() ? "Sign out" : "Sign in";
  if (known) tabs();
}

async function look() {
  if (!known) return;
  history.push(new Look(await metrics(), performance.now()));
  const [ready, words] = await readiness();
  byId("ready").textContent = words;
  byId("ready").className = `pill ${ready ? "good" : "bad"}`;
}

async function turn() {
  const resting = document.hidden || !byId("live").checked || document.querySelector("dialog[open]");
  if (!resting) await attempt(async () => {
    await look();
    if (page(shown ?? "")?.live) await draw();
  });
  setTimeout(turn, PACE_MS);
}

/** What goes wrong stands in the header until something works again. */
async function attempt(work) {
  const place = byId("problem");
  try {
    await work();
    place.hidden = true;
  } catch (error) {
    place.textContent = error.message;
    place.hidden = false;
    if (error instanceof Refused && error.status === 401) await meet();
  }
}

byId("sign").addEventListener("click", () => attempt(async () => {
  if (hasToken()) forget();
  else if (!(await signIn())) return;
  await meet();
  await draw();
}));
window.addEventListener("hashchange", () => attempt(draw));
document.addEventListener("weir-again", () => attempt(draw));

await attempt(async () => {
  await meet();
  await look();
  await draw();
});
setTimeout(turn, PACE_MS);
