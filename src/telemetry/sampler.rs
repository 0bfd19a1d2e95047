//! So many log lines of a kind in a while, and no more: a shard that fails cannot fill the disk.
//!
//! A kind is a place in the code that logs. Errors are always kept, and so are lines that a setting asks
//! for one by one ([`EACH`]). How many were left out is told by the next line of their kind, and by a metric.
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of this target are never left out.
pub const EACH: &str = "weir::each";
/// Those that tell of others.
const LEFT_OUT: &str = "weir::left_out";
/// In which so many lines of a kind may come.
const WHILE: Duration = Duration::from_secs(10);

/// Lines that were left out since the start.
#[derive(Clone, Default, Debug)]
pub struct LeftOut(Arc<AtomicU64>);

impl LeftOut {
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

pub struct Sampler {
    /// Of a kind, in [`WHILE`]; 0: all.
    most: u32,
    kinds: Mutex<HashMap<Identifier, Kind>>,
    left_out: LeftOut,
}

/// Lines of one kind: as many bits of a line as time has brought.
struct Kind {
    tokens: f64,
    at: Instant,
    left_out: u64,
}

impl Kind {
    fn admits(&mut self, most: u32, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64() / WHILE.as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * f64::from(most)).min(f64::from(most));
        let admitted = self.tokens >= 1.0;
        match admitted {
            true => self.tokens -= 1.0,
            false => self.left_out += 1,
        }
        admitted
    }
}

impl Sampler {
    pub fn new(most: u32) -> Self {
        Self { most, kinds: Mutex::default(), left_out: LeftOut::default() }
    }

    pub fn left_out(&self) -> LeftOut {
        self.left_out.clone()
    }

    fn of_kind<T>(&self, event: &Event<'_>, act: impl FnOnce(&mut Kind) -> T) -> T {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Kind { tokens: f64::from(self.most), at: Instant::now(), left_out: 0 };
        act(kinds.entry(event.metadata().callsite()).or_insert_with(new))
    }

    fn keeps_all(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        self.most == 0
            || *metadata.level() == Level::ERROR
            || [EACH, LEFT_OUT].contains(&metadata.target())
    }
}

impl<S: Subscriber> Layer<S> for Sampler {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if self.keeps_all(event) {
            return true;
        }
        let admitted = self.of_kind(event, |kind| kind.admits(self.most, Instant::now()));
        if !admitted {
            self.left_out.0.fetch_add(1, Relaxed);
        }
        admitted
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.keeps_all(event) {
            return;
        }
        let left_out = self.of_kind(event, |kind| std::mem::take(&mut kind.left_out));
        if left_out > 0 {
            let mut like = Message(String::new());
            event.record(&mut like);
            tracing::warn!(target: LEFT_OUT, left_out, like = like.0, "lines of this kind were left out");
        }
    }
}

/// What a line says, without its fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_kind_has_so_many_lines_at_once_and_more_as_time_passes() {
        let now = Instant::now();
        let mut kind = Kind { tokens: 2.0, at: now, left_out: 0 };
        let told =
            [0, 0, 0, 5, 5, 60, 60, 60].map(|s| kind.admits(2, now + Duration::from_secs(s)));
        assert_eq!(told, [true, true, false, true, false, true, true, false]);
        assert_eq!(kind.left_out, 3);
    }

    #[test]
    fn errors_are_kept_and_what_is_left_out_is_counted() {
        let lines = Lines::default();
        let to = lines.clone();
        let sampler = Sampler::new(3);
        let left_out = sampler.left_out();
        let format = tracing_subscriber::fmt::layer().with_writer(move || to.clone());
        let log = tracing_subscriber::registry().with(sampler).with(format.with_ansi(false));
        tracing::subscriber::with_default(log, || {
            for _ in 0..10 {
                tracing::warn!("the shard fails");
                tracing::error!("the rows are gone");
                tracing::info!(target: EACH, "a client came");
            }
            tracing::warn!("another kind");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let count = |of: &str| text.lines().filter(|line| line.contains(of)).count();
        assert_eq!(
            (count("the shard fails"), count("the rows are gone"), count("a client came")),
            (3, 10, 10)
        );
        assert_eq!((count("another kind"), left_out.get()), (1, 7));
    }
}
