//! Prometheus' text format, as far as weir writes it, and what counters did between two looks.
use std::collections::BTreeMap;

/// One look: name → its series.
#[derive(Default)]
pub struct Metrics(BTreeMap<String, Vec<Series>>);

struct Series {
    labels: Vec<(String, String)>,
    value: f64,
}

/// Which series: those that have all these labels.
pub type Wanted<'a> = &'a [(&'a str, &'a str)];

impl Metrics {
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, series)) = series(line) else { continue };
            metrics.0.entry(name.to_owned()).or_default().push(series);
        }
        metrics
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn sum(&self, name: &str, wanted: Wanted<'_>) -> f64 {
        // A sum of no floats would be -0.
        self.all(name, wanted).fold(0.0, |sum, series| sum + series.value)
    }

    /// Values of this label, each once, in order.
    pub fn values(&self, name: &str, label: &str, wanted: Wanted<'_>) -> Vec<String> {
        let values = self.all(name, wanted).filter_map(|series| series.label(label));
        let mut values: Vec<String> = values.map(str::to_owned).collect();
        values.sort();
        values.dedup();
        values
    }

    fn all<'a>(&'a self, name: &str, wanted: Wanted<'a>) -> impl Iterator<Item = &'a Series> {
        let series = self.0.get(name).map(Vec::as_slice).unwrap_or_default().iter();
        series.filter(move |series| {
            wanted.iter().all(|(label, value)| series.label(label) == Some(value))
        })
    }
}

impl Series {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// `name{a="b",c="d"} 5`
fn series(line: &str) -> Option<(&str, Series)> {
    let (head, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = head.split_once('{') else {
        return Some((head, Series { labels: Vec::new(), value }));
    };
    let (mut labels, mut rest) = (Vec::new(), rest);
    while let Some((label, more)) = rest.split_once("=\"") {
        let (value, after) = quoted(more)?;
        labels.push((label.trim_start_matches(',').to_owned(), value));
        rest = after;
    }
    Some((name, Series { labels, value }))
}

/// Up to the quote that ends it, and what comes after.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            other => value.push(other),
        }
    }
    None
}

/// Two looks, and the time between them.
pub struct Between<'a> {
    pub before: &'a Metrics,
    pub now: &'a Metrics,
    pub seconds: f64,
}

impl Between<'_> {
    /// Per second; `None`: there was one look.
    pub fn rate(&self, name: &str, wanted: Wanted<'_>) -> Option<f64> {
        let grown = self.now.sum(name, wanted) - self.before.sum(name, wanted);
        // A counter that has shrunk belongs to a process that was started since.
        (self.seconds > 0.0).then(|| grown.max(0.0) / self.seconds)
    }

    /// As Prometheus' histogram_quantile; `None`: nothing was measured.
    pub fn quantile(&self, share: f64, name: &str, wanted: Wanted<'_>) -> Option<f64> {
        let name = format!("{name}_bucket");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for bound in self.now.values(&name, "le", wanted) {
            let here: Vec<_> = wanted.iter().copied().chain([("le", bound.as_str())]).collect();
            let count = self.now.sum(&name, &here) - self.before.sum(&name, &here);
            buckets.push((bound.parse().unwrap_or(f64::INFINITY), count));
        }
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let total = buckets.last().map_or(0.0, |(_, count)| *count);
        if total <= 0.0 {
            return None;
        }
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in buckets {
            if count >= share * total {
                let part = (share * total - below) / (count - below).max(f64::MIN_POSITIVE);
                return Some(if bound.is_finite() { low + (bound - low) * part } else { low });
            }
            (low, below) = (bound, count);
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(seconds: &[(&str, u32)]) -> Metrics {
        let lines = seconds.iter().map(|(bound, count)| {
            format!("weir_statement_seconds_bucket{{shard=\"s0\",le=\"{bound}\"}} {count}\n")
        });
        Metrics::parse(&lines.collect::<String>())
    }

    #[test]
    fn labels_are_read_with_their_escapes() {
        let text = "# HELP a b\na{x=\"1\",y=\"say \\\"hi\\\", {you}\"} 2.5\na{x=\"2\",y=\"\"} 1\nb 7\nbroken\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a", &[]), 3.5);
        assert_eq!(metrics.sum("a", &[("y", "say \"hi\", {you}")]), 2.5);
        assert_eq!(metrics.values("a", "x", &[]), ["1", "2"]);
        assert_eq!(metrics.sum("b", &[]), 7.0);
        assert!(!metrics.has("broken"));
    }

    #[test]
    fn a_quantile_is_of_what_happened_between_the_looks() {
        let (before, now) = (
            page(&[("0.1", 50), ("1", 50), ("+Inf", 50)]),
            page(&[("0.1", 50), ("1", 60), ("+Inf", 60)]),
        );
        let between = Between { before: &before, now: &now, seconds: 2.0 };
        let median = between.quantile(0.5, "weir_statement_seconds", &[("shard", "s0")]).unwrap();
        assert!((median - 0.55).abs() < 1e-9, "{median}");
        assert_eq!(between.quantile(0.5, "weir_statement_seconds", &[("shard", "s1")]), None);
        assert_eq!(between.rate("weir_statement_seconds_bucket", &[("le", "1")]), Some(5.0));
    }
}
