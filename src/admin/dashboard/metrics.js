// Prometheus' text format, and what its counters did between two looks.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** name → [{labels, value}] */
export function parse(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels, value] = line.startsWith("#") ? [] : (LINE.exec(line) ?? []);
    if (!name) continue;
    const series = { labels: {}, value: Number(value) };
    for (const [, key, written] of (labels ?? "").matchAll(LABEL)) {
      series.labels[key] = written.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(series);
  }
  return found;
}

const fits = (labels, wanted) => Object.entries(wanted).every(([key, value]) => labels[key] === value);

/** One look at /metrics. */
export class Look {
  constructor(text, at) {
    this.at = at;
    this.series = parse(text);
  }

  has(name) {
    return this.series.has(name);
  }

  all(name, wanted = {}) {
    return (this.series.get(name) ?? []).filter(({ labels }) => fits(labels, wanted));
  }

  sum(name, wanted) {
    return this.all(name, wanted).reduce((sum, { value }) => sum + value, 0);
  }
}

/** Looks of the last minutes: rates come from the last two, latencies from a little more. */
export class History {
  static LOOKS = 150;
  static SMOOTH = 5;
  looks = [];

  push(look) {
    this.looks.push(look);
    if (this.looks.length > History.LOOKS) this.looks.shift();
  }

  get last() {
    return this.looks.at(-1);
  }

  /** Per second, at each look that has one before it. */
  rates(name, wanted) {
    return this.looks.slice(1).map((look, before) => rate(this.looks[before], look, name, wanted));
  }

  rate(name, wanted) {
    const [before, now] = this.looks.slice(-2);
    return now ? rate(before, now, name, wanted) : null;
  }

  /** Of what happened within the last looks; `null`: nothing did. */
  quantile(share, name, wanted, end = this.looks.length) {
    const before = this.looks[Math.max(0, end - 1 - History.SMOOTH)];
    const now = this.looks[end - 1];
    return now && now !== before ? quantile(share, before, now, name, wanted) : null;
  }

  quantiles(share, name, wanted) {
    return this.looks.slice(1).map((_, i) => this.quantile(share, name, wanted, i + 2));
  }
}

function rate(before, now, name, wanted) {
  const seconds = (now.at - before.at) / 1000;
  // A counter that has shrunk belongs to a process that was started since.
  return seconds > 0 ? Math.max(0, now.sum(name, wanted) - before.sum(name, wanted)) / seconds : 0;
}

/** As Prometheus' histogram_quantile: linear within a bucket. */
function quantile(share, before, now, name, wanted) {
  const counts = new Map();
  for (const [look, sign] of [[now, 1], [before, -1]]) {
    for (const { labels, value } of look.all(`${name}_bucket`, wanted)) {
      const le = labels.le === "+Inf" ? Infinity : Number(labels.le);
      counts.set(le, (counts.get(le) ?? 0) + sign * value);
    }
  }
  const buckets = [...counts].sort(([a], [b]) => a - b);
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  let [low, below] = [0, 0];
  for (const [le, count] of buckets) {
    if (count >= share * total) {
      if (le === Infinity) return low;
      return low + ((le - low) * (share * total - below)) / Math.max(count - below, 1e-9);
    }
    [low, below] = [le, count];
  }
  return low;
}
