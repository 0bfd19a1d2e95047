// Pages on which something is asked or done: explain, rules, actions.
import { get, post } from "./api.js";
import { el, sure } from "./dom.js";

/** Where a statement goes. */
export function explain(databases) {
  const statement = el("textarea", { id: "statement", rows: 6, spellcheck: "false", placeholder: "SELECT … WHERE user_id = $1" });
  const parameters = el("input", { id: "parameters", placeholder: "42, NULL, ada@example.org", size: 40 });
  const database = el("select", { id: "database" }, databases.map((name) => el("option", {}, name)));
  const answer = el("pre", { class: "answer", id: "route", role: "status", hidden: true });
  const ask = async () => {
    const values = parameters.value.trim() === "" ? [] : parameters.value.split(",").map((text) => text.trim());
    const question = { statement: statement.value, parameters: values.map((text) => (text === "NULL" ? null : text)) };
    if (database.value) question.database = database.value;
    try {
      answer.textContent = (await post("/explain", question)).route;
      answer.classList.remove("bad");
    } catch (error) {
      answer.textContent = error.message;
      answer.classList.add("bad");
    }
    answer.hidden = false;
  };
  statement.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
  });
  return [
    el("h2", {}, "Where would a statement go?"),
    el("p", {}, el("label", { for: "statement" }, "Statement (Ctrl+Enter explains it; nothing is sent to a server)"), statement),
    el("div", { class: "bar" },
      el("label", {}, "Database ", database),
      el("label", {}, "Parameters $1, $2 … ", parameters),
      el("button", { type: "button", class: "main", id: "explain", onclick: ask }, "Explain")),
    answer,
  ];
}

const VERDICTS = {
  nothing: ["good", "says the same as what is in force"],
  applies: ["good", "is in order: a reload would apply it"],
  "needs adoption": ["warn", "is in order, but not what the shards hold: weir rules adopt comes before a reload"],
  "needs restart": ["warn", "describes another database: only a restart would serve it"],
  refused: ["bad", "is not in order: a reload would refuse it"],
};

/** The rules files, what they change, and an editor to try changes in. */
export async function rules(may) {
  const files = await get("/rules/files");
  const place = el("div");
  const show = (index) => place.replaceChildren(...file(files[index], may, () => rules(may)));
  const choose = el("select", { id: "file", "aria-label": "Rules file", onchange: () => show(choose.selectedIndex) },
    files.map(({ path }) => el("option", {}, path)));
  if (files.length > 0) show(0);
  return [el("h2", {}, "Rules"), files.length > 1 ? el("p", { class: "bar" }, choose) : null, place];
}

function file(found, may, again) {
  const acts = may === "act";
  const result = el("div", { id: "checked", role: "status" });
  const text = el("textarea", { id: "rules-text", spellcheck: "false", readonly: !acts, "aria-label": "Rules file's text", wrap: "off" });
  const lines = el("pre", { "aria-hidden": "true" });
  text.value = found.text ?? "";
  const count = () => {
    lines.textContent = text.value.split("\n").map((_, i) => i + 1).join("\n");
  };
  text.addEventListener("scroll", () => (lines.scrollTop = text.scrollTop));
  const go = (line) => {
    const start = text.value.split("\n").slice(0, line - 1).reduce((sum, l) => sum + l.length + 1, 0);
    text.focus();
    text.setSelectionRange(start, start + (text.value.split("\n")[line - 1]?.length ?? 0));
    text.scrollTop = Math.max(0, (line - 8) * parseFloat(getComputedStyle(text).lineHeight));
  };
  const judge = (checked, what) => result.replaceChildren(...verdict(checked, what, go));
  const check = async () => {
    try {
      judge(await post("/rules/check", { text: text.value }), "This text");
    } catch (error) {
      result.replaceChildren(el("p", { class: "bad" }, error.message));
    }
  };
  let timer = 0;
  text.addEventListener("input", () => {
    count();
    clearTimeout(timer);
    timer = setTimeout(check, 400);
  });
  count();
  judge(found, "The file");
  const reload = async () => {
    const wanted = found.reload === "nothing" ? [el("p", {}, "The file says what is in force; users and settings are read again, too.")] : verdict(found, "The file", go);
    if (!(await sure("Reload weir.toml, users and rules files?", ...wanted))) return;
    try {
      await post("/reload", {});
      document.dispatchEvent(new Event("weir-again"));
    } catch (error) {
      result.replaceChildren(el("p", { class: "bad" }, error.message));
    }
  };
  const hidden = "Not shown: it has problems, or a password would be seen.";
  const editing = acts
    ? "Try a change here. weir writes no file: change it where it belongs, then reload."
    : "Sign in with the token that may act to try changes.";
  return [
    el("div", { class: "rules" },
      el("div", {},
        el("p", { class: "dim" }, el("code", {}, found.path), " · ", found.text == null ? hidden : editing),
        el("div", { class: "editor" }, lines, text)),
      el("div", {},
        el("div", { class: "bar" },
          el("button", { type: "button", id: "check", onclick: check, disabled: !acts }, "Check"),
          el("button", { type: "button", id: "reload", class: "main", onclick: reload, disabled: !acts }, "Reload the file")),
        result)),
  ];
}

function verdict({ problems, changes, reload }, what, go) {
  const [kind, words] = VERDICTS[reload];
  const problem = ({ line, message, hint }) => {
    const place = line == null ? "" : el("button", { type: "button", onclick: () => go(line) }, `line ${line}`);
    return el("li", {}, place, ` ${message} `, el("span", { class: "dim" }, hint));
  };
  const change = ({ subject, before, after }) => [
    el("dt", {}, subject),
    before == null ? null : el("dd", { class: "del" }, `− ${before}`),
    after == null ? null : el("dd", { class: "add" }, `+ ${after}`),
  ];
  return [
    el("p", { class: kind }, `${what} ${words}.`),
    problems.length > 0 ? el("ul", { class: "problems" }, problems.map(problem)) : null,
    changes.length > 0 ? el("h3", {}, "What changes") : null,
    changes.length > 0 ? el("dl", { class: "changes" }, changes.map(change).flat()) : null,
  ].filter(Boolean);
}

const PLACES = ["database", "shard", "server"];

/** Every action, for those who may act. */
export function actions(list, may) {
  if (may !== "act") {
    return [el("h2", {}, "Actions"), el("p", {}, "Sign in with the token that may act.")];
  }
  return [el("h2", {}, "Actions"), el("div", { class: "actions" }, list.map(action))];
}

function action({ name, path, help, syntax }) {
  const places = PLACES.filter((field) => syntax.includes(field));
  // `KILL_CLIENT id`: what is no place is the action's argument.
  const names = places.length === 0 && syntax !== name ? ["argument"] : places;
  const fields = names.map((field) => {
    const input = el("input", { name: field, autocomplete: "off", spellcheck: "false" });
    return el("label", {}, field, input);
  });
  const answer = el("p", { role: "status", class: "dim" }, help);
  const act = async (event) => {
    event.preventDefault();
    const place = Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value !== ""));
    const words = [name, Object.values(place).join(".")].join(" ").trim();
    if (!(await sure(`${words}?`, el("p", {}, help)))) return;
    try {
      const { done } = await post(path.replace("/api/v1", ""), place);
      answer.textContent = done ? `${words}: done` : `${words}: has begun, and still waits`;
      answer.className = "good";
    } catch (error) {
      answer.textContent = error.message;
      answer.className = "bad";
    }
  };
  return el("form", { class: "card", onsubmit: act },
    el("h3", {}, name), el("code", { class: "dim" }, syntax), fields,
    el("button", { id: `act-${name.toLowerCase().replaceAll(" ", "-")}` }, name), answer);
}
