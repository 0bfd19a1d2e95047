//! What the operator sees while rows are copied: one line on a terminal, now and then a line elsewhere.
use std::io::{IsTerminal, Write, stdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two lines where they are kept.
const LINES: Duration = Duration::from_secs(10);

/// Counted by all workers.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub rows: AtomicU64,
    pub bytes: AtomicU64,
    /// Of the pieces that are done, as the source stores them.
    pub stored: AtomicU64,
}

pub(super) struct Progress {
    /// As the source stores it.
    total: u64,
    /// What an earlier run had done.
    before: u64,
    began: Instant,
    last: Instant,
    terminal: bool,
}

impl Progress {
    /// How often it wants to be told.
    pub const INTERVAL: Duration = Duration::from_millis(200);

    pub fn new(total: u64, before: u64) -> Self {
        let now = Instant::now();
        Self { total, before, began: now, last: now, terminal: stdout().is_terminal() }
    }

    /// Says how far it is, if it is time.
    pub fn tick(&mut self, moved: &Moved) {
        if self.terminal {
            print!("\r{}\x1b[K", self.line(moved));
            stdout().flush().ok();
        } else if self.last.elapsed() >= LINES {
            self.last = Instant::now();
            println!("{}", self.line(moved));
        }
    }

    pub fn end(&self, moved: &Moved) {
        let begin = if self.terminal { "\r" } else { "" };
        let end = if self.terminal { "\x1b[K" } else { "" };
        println!("{begin}{}{end}", self.line(moved));
    }

    fn line(&self, moved: &Moved) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let done = self.before + of(&moved.stored);
        line(
            of(&moved.rows),
            of(&moved.bytes),
            (self.before, done, self.total),
            self.began.elapsed(),
        )
    }
}

/// Percent and remaining time are those of what the source stores.
fn line(rows: u64, bytes: u64, (before, done, total): (u64, u64, u64), spent: Duration) -> String {
    let seconds = spent.as_secs_f64().max(0.001);
    let percent = (done.min(total) * 100).checked_div(total).unwrap_or(100);
    let per_second = |count: u64| (count as f64 / seconds) as u64;
    let mut line = format!(
        "rows: {percent} %, {rows} rows, {}, {} rows/s, {}/s",
        size(bytes),
        per_second(rows),
        size(per_second(bytes))
    );
    let here = done.saturating_sub(before);
    if here > 0 && done < total {
        let left = (total - done) as f64 * seconds / here as f64;
        line += &format!(", {} left", clock(left as u64));
    }
    line
}

fn clock(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1.5 GB`
pub(super) fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = "kB";
    for larger in units.into_iter().skip(1) {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long_still() {
        let ten = Duration::from_secs(10);
        assert_eq!(
            line(1000, 5 << 20, (0, 25, 100), ten),
            "rows: 25 %, 1000 rows, 5.0 MB, 100 rows/s, 512.0 kB/s, 30 s left"
        );
        // What an earlier run has done tells nothing about the rate.
        let later = line(0, 0, (50, 60, 100), ten);
        assert!(later.starts_with("rows: 60 %") && later.ends_with("40 s left"), "{later}");
        assert!(line(0, 0, (0, 0, 0), ten).starts_with("rows: 100 %"));
    }

    #[test]
    fn times_and_sizes_are_for_people() {
        assert_eq!([59, 61, 7260].map(clock), ["59 s", "2 min", "2 h 1 min"]);
        assert_eq!([100, 1 << 20, 3 << 29].map(size), ["0.1 kB", "1.0 MB", "1.5 GB"]);
    }
}
