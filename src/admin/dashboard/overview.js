// The first page: golden signals, and the cluster map. All of it comes from /metrics, so it costs weir nothing new.
import { get } from "./api.js";
import { el, number, svg, time } from "./dom.js";
import { table } from "./table.js";

const SECONDS = "weir_statement_seconds";

/** Views of which the first rows are shown here, if there are any. */
const HEAVIEST = ["hot_keys", "hot_rows", "plans"];
const ROWS = 5;

const served = (look) => (look.has(`${SECONDS}_count`) ? `${SECONDS}_count` : "weir_statements_total");
const failed = (look) => (look.has("weir_statement_errors_total") ? "weir_statement_errors_total" : "weir_errors_total");

/** `views`: the names that the API has. */
export async function overview(history, views) {
  const look = history.last;
  if (!look) return [el("p", { class: "dim" }, "looking …")];
  const parts = [signals(history)];
  const servers = look.all("weir_server_up");
  const databases = [...new Set(servers.map(({ labels }) => labels.database))];
  const buckets = views.includes("shards") ? await bucketsOf() : new Map();
  for (const database of databases) {
    const names = [...new Set(look.all("weir_server_up", { database }).map(({ labels }) => labels.shard))];
    // The gather database is no shard: it comes last.
    names.sort((a, b) => (a === "gather") - (b === "gather") || a.localeCompare(b, "en", { numeric: true }));
    parts.push(
      el("h2", {}, `Database ${database}`),
      el("div", { class: "shards" }, names.map((shard) => card(history, database, shard, buckets))),
    );
  }
  for (const name of HEAVIEST.filter((name) => views.includes(name))) {
    const view = await get(`/${name}`);
    if (view.rows.length === 0) continue;
    const title = name.replaceAll("_", " ");
    parts.push(
      el("h2", {}, title[0].toUpperCase() + title.slice(1)),
      table({ ...view, rows: view.rows.slice(0, ROWS) }),
    );
  }
  return parts;
}

/** database.shard → how many buckets live there. */
async function bucketsOf() {
  const { columns, rows } = await get("/shards");
  const found = new Map();
  if (!columns.some(({ name }) => name === "buckets")) return found;
  for (const row of rows) found.set(`${row.database}.${row.shard}`, row.buckets);
  return found;
}

function signals(history) {
  const look = history.last;
  const hits = (l) => l.sum("weir_plan_cache_hits_total");
  const all = (l) => hits(l) + l.sum("weir_plan_cache_misses_total");
  const share = (before, now) => {
    const count = all(now) - all(before);
    return count > 0 ? (100 * (hits(now) - hits(before))) / count : null;
  };
  const shares = history.looks.slice(1).map((now, i) => share(history.looks[i], now));
  const gauge = (name) => history.looks.map((l) => l.sum(name));
  const latency = look.has(`${SECONDS}_bucket`) ? SECONDS : "weir_checkout_seconds";
  const what = latency === SECONDS ? "latency" : "wait for a connection,";
  return el("section", { class: "signals", "aria-label": "Golden signals" }, [
    signal("Statements per second", history.rates(served(look)), number),
    signal("Errors per second", history.rates(failed(look)), number, (now) => (now > 0 ? "bad" : "")),
    signal(`${what} p50`, history.quantiles(0.5, latency), time),
    signal(`${what} p99`, history.quantiles(0.99, latency), time),
    signal("Clients", gauge("weir_clients"), number),
    signal("Waiting for a connection", gauge("weir_checkout_waiting"), number, (now) => (now > 0 ? "warn" : "")),
    signal("Plans from the cache, %", shares, number),
    signal("Refused per second", history.rates("weir_refused_total"), number),
  ]);
}

function signal(title, values, show, judge = () => "") {
  const now = values.at(-1) ?? null;
  return el("div", { class: "card signal" },
    el("span", { class: "dim" }, title[0].toUpperCase() + title.slice(1)),
    el("strong", { class: judge(now) }, show(now)),
    sparkline(values, title));
}

function sparkline(values, title) {
  const [width, height] = [150, 30];
  // A line of a few looks is drawn wide enough to be seen.
  const looks = Math.max(values.length, 30);
  const top = Math.max(...values.map((value) => value ?? 0), 1e-9);
  const points = values.map((value, i) => {
    const x = (width * (i + looks - values.length)) / (looks - 1);
    return `${x.toFixed(1)},${(height - (height - 2) * ((value ?? 0) / top)).toFixed(1)}`;
  });
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}, the last minutes` });
  if (points.length > 1) {
    const [first, last] = [points[0].split(",")[0], points.at(-1).split(",")[0]];
    picture.append(
      svg("polygon", { points: `${first},${height} ${points.join(" ")} ${last},${height}` }),
      svg("polyline", { points: points.join(" ") }),
    );
  }
  return picture;
}

function card(history, database, shard, buckets) {
  const look = history.last;
  const here = { database, shard };
  const [open, idle, most] = ["", "_idle", "_max"].map((end) => look.sum(`weir_server_connections${end}`, here));
  const waiting = look.sum("weir_checkout_waiting", here);
  const fact = (name, value, kind = "") => [el("dt", {}, name), el("dd", { class: kind }, value)];
  const facts = [fact("per second", number(history.rate(served(look), here)))];
  if (look.has(`${SECONDS}_bucket`)) {
    const of = (share) => time(history.quantile(share, SECONDS, here));
    facts.push(fact("p50 · p99", `${of(0.5)} · ${of(0.99)}`));
  }
  facts.push(fact("connections", `${number(open - idle)} of ${number(most)}`));
  if (waiting > 0) facts.push(fact("waiting", number(waiting), "warn"));
  const count = buckets.get(`${database}.${shard}`);
  if (count) facts.push(fact("buckets", number(count)));
  return el("article", { class: "card shard" },
    el("header", {}, el("h3", {}, shard)),
    el("ul", { class: "servers" }, look.all("weir_server_up", here).map((server) => line(look, server))),
    el("dl", {}, facts.flat()),
    el("meter", { min: 0, max: Math.max(most, 1), value: open - idle, high: most * 0.8, low: most * 0.8, optimum: 0, "aria-label": `connections of ${shard} at work` }));
}

function line(look, { labels, value }) {
  const of = (name) => look.sum(name, labels);
  const breaker = of("weir_server_breaker_open") > 0;
  const kind = value === 0 ? "bad" : breaker ? "warn" : "good";
  const state = value === 0 ? "down" : breaker ? "breaker open" : "";
  const role = of("weir_server_primary") > 0 ? "primary" : "replica";
  const probe = look.all("weir_probe_seconds", labels)[0]?.value;
  const words = [labels.server, role, state, probe == null ? "" : time(probe)];
  return el("li", {}, el("span", { class: `dot ${kind}` }), words.filter(Boolean).join(" · "));
}
