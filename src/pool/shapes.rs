//! The breaker of statements: a shape that is slow or fails again and again is refused for a while, in
//! its tier and on its shard only, so that one bad statement neither starves the others nor condemns its server.
//!
//! What counts: a call is *slow* if it runs longer than its tier's `slow`; `slow_calls` of them in a row
//! open the shape's breaker. Calls that were slow at the same time count as one: a server that hangs for
//! a second makes all its statements slow, and once it goes on there is nothing to refuse. A call *fails* by an error that speaks of the server's trouble with it
//! ([`is_trouble`]), never by a client's mistake; a share of those opens it as well. When it has been
//! open for its time, one call is let through, and decides.
//!
//! A shape is the hash of the statement's text without its literals, so all its constants are one; two
//! sessions with different search_paths share it. The process has one table for each database, so that all
//! workers stop at once and the console sees everything. Only shapes in trouble are in it, and one that
//! has done well for a whole window leaves: a call beside an empty table costs two readings of an atomic,
//! and while there is trouble, a short lock. A share is of the calls since the first failure.
use super::breaker::{Breaker, BreakerConfig, Change, Reason, State};
use crate::error::SqlState;
use crate::ids::{ShardId, TierId};
use crate::telemetry::metrics::ShapeMetrics;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shapes in trouble that are remembered; the one that was not asked for longest leaves.
const MAX_SHAPES: usize = 4096;

/// A statement's shape in a tier, where it runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Shape {
    /// A hash of the text without its literals.
    pub fingerprint: u64,
    pub tier: TierId,
    /// A shard that is slow must not have the shape refused on the others. `None`: any will do.
    pub shard: Option<ShardId>,
}

/// When a shape's breaker opens.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ShapeRules {
    /// In the order of the tiers' ids: a call that takes longer is slow. `None`: none is.
    pub slow: Vec<Option<Duration>>,
    /// So many slow calls in a row open it.
    pub slow_calls: u32,
    /// The share of failing calls that opens it, and how long it is open; `failures` is not looked at.
    pub failing: BreakerConfig,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Well,
    Failed(SqlState),
}

/// One database's shapes in trouble.
#[derive(Debug)]
pub struct Shapes {
    rules: ArcSwap<ShapeRules>,
    /// How many are in the table: beside none, nothing has to be looked up.
    troubled: AtomicUsize,
    table: Mutex<Table>,
    metrics: ShapeMetrics,
}

#[derive(Debug, Default)]
struct Table {
    shapes: HashMap<Shape, Trouble>,
    /// Counts look-ups, for the least recent.
    clock: u64,
}

#[derive(Debug)]
struct Trouble {
    breaker: Breaker,
    slow_in_a_row: u32,
    /// When the last one of them ended.
    slow_until: Option<Instant>,
    used: u64,
}

/// A shape that is refused, or on trial, for the console.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    pub shape: Shape,
    pub state: State,
    pub reason: Reason,
}

/// A call under way. Dropped without [`Call::ended`] it has shown nothing.
#[derive(Debug)]
#[must_use]
pub struct Call {
    shapes: Arc<Shapes>,
    shape: Shape,
    part: Part,
}

/// What a call's outcome means to its shape's breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    OneOfMany,
    /// The one that a half-open breaker has let through.
    Trial,
    Ended,
}

impl Shapes {
    pub fn new(rules: ShapeRules, metrics: ShapeMetrics) -> Self {
        let (troubled, table) = (AtomicUsize::new(0), Mutex::default());
        Self { rules: ArcSwap::from_pointee(rules), troubled, table, metrics }
    }

    /// Other rules from now on, and nothing is remembered.
    pub fn configure(&self, rules: ShapeRules) {
        if **self.rules.load() != rules {
            self.rules.store(Arc::new(rules));
            self.locked(|table| table.shapes.clear());
        }
    }

    /// Whether a call may go on. It is the trial if the shape's breaker is half-open.
    pub fn admit(self: &Arc<Self>, shape: Shape) -> Result<Call, Reason> {
        let mut part = Part::OneOfMany;
        if self.has_trouble() {
            part = self.locked(|table| table.admit(shape, Instant::now()))?;
        }
        Ok(Call { shapes: Arc::clone(self), shape, part })
    }

    /// Why a call would be refused now. Asking makes nobody the trial.
    pub fn refusal(&self, shape: Shape) -> Option<Reason> {
        if !self.has_trouble() {
            return None;
        }
        let now = Instant::now();
        self.locked(|table| {
            let breaker = &table.find(shape)?.breaker;
            match breaker.state(now) {
                State::Open => breaker.reason(now),
                State::Closed | State::HalfOpen => None,
            }
        })
    }

    /// What is refused now, or on trial.
    pub fn refused(&self, now: Instant) -> Vec<Refused> {
        let of = |(shape, trouble): (&Shape, &Trouble)| {
            let (state, reason) = (trouble.breaker.state(now), trouble.breaker.reason(now)?);
            Some(Refused { shape: *shape, state, reason })
        };
        self.locked(|table| table.shapes.iter().filter_map(of).collect())
    }

    /// Brings the gauge up to date: an open breaker's time passes without anybody asking.
    pub fn measure(&self, now: Instant) {
        let open = self.refused(now).iter().filter(|refused| refused.state == State::Open).count();
        self.metrics.open(open);
    }

    fn has_trouble(&self) -> bool {
        self.troubled.load(Ordering::Relaxed) > 0
    }

    fn ended(&self, shape: Shape, took: Duration, ended: Ended, now: Instant) {
        let rules = self.rules.load();
        let limit = rules.slow.get(usize::from(shape.tier.0)).copied().flatten();
        let trouble = match ended {
            Ended::Failed(code) if is_trouble(code, took) && rules.failing.share > 0.0 => true,
            Ended::Failed(_) | Ended::Well => false,
        };
        let slow = limit.filter(|limit| took > *limit && rules.slow_calls > 0);
        if slow.is_some() || trouble || self.has_trouble() {
            let outcome = Outcome { slow, took, trouble: trouble.then_some(ended) };
            if self.locked(|table| table.count(shape, outcome, &rules, now)) == Change::Opened {
                self.metrics.tripped();
            }
        }
    }

    fn abandoned(&self, shape: Shape) {
        self.locked(|table| {
            if let Some(trouble) = table.find(shape) {
                trouble.breaker.abandoned();
            }
        });
    }

    fn locked<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = act(&mut table);
        self.troubled.store(table.shapes.len(), Ordering::Relaxed);
        outcome
    }
}

/// What a call has shown.
#[derive(Clone, Copy)]
struct Outcome {
    /// The limit that it has passed.
    slow: Option<Duration>,
    took: Duration,
    trouble: Option<Ended>,
}

impl Table {
    fn find(&mut self, shape: Shape) -> Option<&mut Trouble> {
        self.clock += 1;
        let found = self.shapes.get_mut(&shape)?;
        found.used = self.clock;
        Some(found)
    }

    fn admit(&mut self, shape: Shape, now: Instant) -> Result<Part, Reason> {
        let Some(trouble) = self.find(shape) else { return Ok(Part::OneOfMany) };
        let state = trouble.breaker.state(now);
        trouble.breaker.admits(now)?;
        Ok(match state {
            State::Closed => Part::OneOfMany,
            State::HalfOpen | State::Open => Part::Trial,
        })
    }

    fn count(
        &mut self,
        shape: Shape,
        outcome: Outcome,
        rules: &ShapeRules,
        now: Instant,
    ) -> Change {
        let good = outcome.slow.is_none() && outcome.trouble.is_none();
        if !self.shapes.contains_key(&shape) {
            if good {
                return Change::Nothing;
            }
            self.make_room();
            let config = BreakerConfig { failures: 0, ..rules.failing.clone() };
            let breaker = Breaker::new(config, now);
            let trouble = Trouble { breaker, slow_in_a_row: 0, slow_until: None, used: 0 };
            self.shapes.insert(shape, trouble);
        }
        let Some(trouble) = self.find(shape) else { return Change::Nothing };
        let change = trouble.count(outcome, rules, now);
        if good && trouble.slow_in_a_row == 0 && trouble.breaker.is_calm(now) {
            self.shapes.remove(&shape);
        }
        change
    }

    fn make_room(&mut self) {
        if self.shapes.len() < MAX_SHAPES {
            return;
        }
        let oldest = self.shapes.iter().min_by_key(|(_, trouble)| trouble.used);
        if let Some(shape) = oldest.map(|(shape, _)| *shape) {
            self.shapes.remove(&shape);
        }
    }
}

impl Trouble {
    fn count(&mut self, outcome: Outcome, rules: &ShapeRules, now: Instant) -> Change {
        let half_open = self.breaker.state(now) == State::HalfOpen;
        let slow = match outcome.slow {
            None => {
                (self.slow_in_a_row, self.slow_until) = (0, None);
                None
            }
            Some(limit) => {
                if self.slow_until.is_none_or(|end| end + outcome.took <= now) {
                    self.slow_in_a_row = self.slow_in_a_row.saturating_add(1);
                    self.slow_until = Some(now);
                }
                let many = self.slow_in_a_row >= rules.slow_calls;
                (many || half_open).then(|| {
                    let times = self.slow_in_a_row;
                    format!("{times} in a row took longer than {} ms", limit.as_millis())
                })
            }
        };
        match (slow, outcome.trouble) {
            (Some(reason), _) if self.breaker.state(now) != State::Open => {
                self.breaker.trip(now, &reason)
            }
            (_, Some(Ended::Failed(code))) => {
                let reason = format!("it keeps failing, last with SQLSTATE {}", code.as_str());
                self.breaker.failed(now, &reason)
            }
            (Some(_) | None, Some(Ended::Well) | None) => self.breaker.succeeded(now),
        }
    }
}

impl Call {
    /// The answer has come, and the servers took so long.
    pub fn ended(mut self, ended: Ended, took: Duration, now: Instant) {
        self.part = Part::Ended;
        self.shapes.ended(self.shape, took, ended, now);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        match self.part {
            Part::Trial => self.shapes.abandoned(self.shape),
            Part::OneOfMany | Part::Ended => {}
        }
    }
}

/// Whether an error speaks of the server's trouble with a statement (PostgreSQL manual, appendix A): it
/// was cancelled or timed out, waited for a lock in vain, ran out of something, broke something. What a
/// client does wrong, and what its data forbid, is none; nor is a lost connection, which is the server's
/// own breaker's matter.
pub fn is_trouble(code: SqlState, took: Duration) -> bool {
    /// A lock that is refused sooner was asked for with NOWAIT: the answer was wanted.
    const AT_ONCE: Duration = Duration::from_millis(10);
    match &code.0 {
        // Deadlock; query cancelled; transaction timeout.
        b"40P01" | b"57014" | b"25P04" => true,
        b"55P03" => took >= AT_ONCE,
        // Too many connections is the server's state, not this statement's.
        b"53300" => false,
        // Insufficient resources; system errors; snapshot too old; internal errors.
        [b'5', b'3' | b'8', ..] | [b'7', b'2', ..] | [b'X', b'X', ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    const SLOW: Duration = Duration::from_millis(900);
    const FAST: Duration = Duration::from_millis(1);
    const OPEN: Duration = Duration::from_secs(60);

    fn shapes() -> Arc<Shapes> {
        let failing = BreakerConfig { open: OPEN, calls: 4, ..BreakerConfig::default() };
        let slow = vec![Some(Duration::from_millis(800)), None];
        let metrics = Metrics::new().shapes("shop");
        Arc::new(Shapes::new(ShapeRules { slow, slow_calls: 3, failing }, metrics))
    }

    fn shape(fingerprint: u64) -> Shape {
        Shape { fingerprint, tier: TierId::INTERACTIVE, shard: None }
    }

    /// Calls that ended like this, one after the other; whether the next one is admitted.
    fn check(of: Shape, calls: &[(Duration, Ended)], expected: State) {
        let (shapes, mut now) = (shapes(), Instant::now());
        for &(took, ended) in calls {
            now += took;
            shapes.ended(of, took, ended, now);
        }
        let refused = shapes.refused(now);
        let state = refused.first().map_or(State::Closed, |refused| refused.state);
        assert_eq!(state, expected, "{refused:?}");
        assert_eq!(shapes.admit(of).is_ok(), expected == State::Closed);
        assert!(shapes.admit(shape(99)).is_ok(), "another shape is none of its business");
    }

    /// One after the other, the last one until `end`.
    fn three_slow_calls(shapes: &Shapes, of: Shape, end: Instant) {
        for later in [2, 1, 0] {
            shapes.ended(of, SLOW, Ended::Well, end.checked_sub(SLOW * later).unwrap());
        }
    }

    fn failed(code: &[u8; 5]) -> (Duration, Ended) {
        (FAST, Ended::Failed(SqlState(*code)))
    }

    #[test]
    fn slow_calls_in_a_row_open_a_shape() {
        let (slow, fast) = ((SLOW, Ended::Well), (FAST, Ended::Well));
        check(shape(1), &[slow, slow], State::Closed);
        check(shape(1), &[slow, slow, fast, slow, slow], State::Closed);
        check(shape(1), &[slow, slow, slow], State::Open);
    }

    #[test]
    fn calls_that_were_slow_at_the_same_time_count_as_one() {
        let (shapes, now) = (shapes(), Instant::now());
        for end in 0..20 {
            shapes.ended(shape(1), SLOW, Ended::Well, now + FAST * end);
        }
        assert_eq!(shapes.refused(now), []);
        shapes.ended(shape(1), SLOW, Ended::Well, now + SLOW * 2);
        assert_eq!(shapes.refused(now), []);
        shapes.ended(shape(1), SLOW, Ended::Well, now + SLOW * 3);
        assert_eq!(shapes.refused(now).len(), 1);
    }

    #[test]
    fn a_shape_that_one_shard_is_slow_with_is_admitted_on_the_others() {
        let (shapes, now) = (shapes(), Instant::now());
        let on = |shard| Shape { shard: Some(ShardId(shard)), ..shape(1) };
        for times in 1..=3 {
            shapes.ended(on(0), SLOW, Ended::Well, now + SLOW * times);
        }
        assert!(shapes.refusal(on(0)).is_some());
        assert!(shapes.refusal(on(1)).is_none());
    }

    #[test]
    fn a_tier_may_be_slow() {
        let batch = Shape { tier: TierId::BATCH, ..shape(1) };
        check(batch, &[(SLOW, Ended::Well); 10], State::Closed);
        let unknown = Shape { tier: TierId(9), ..shape(1) };
        check(unknown, &[(SLOW, Ended::Well); 10], State::Closed);
    }

    #[test]
    fn a_share_of_failing_calls_opens_a_shape_and_a_clients_mistakes_do_not() {
        let (cancelled, mistake, well) = (failed(b"57014"), failed(b"22012"), (FAST, Ended::Well));
        check(shape(1), &[cancelled, cancelled, cancelled], State::Closed);
        check(shape(1), &[cancelled, well, well, cancelled], State::Open);
        check(shape(1), &[cancelled, well, well, well, well, cancelled], State::Closed);
        check(shape(1), &[mistake; 30], State::Closed);
    }

    #[test]
    fn an_open_shape_is_refused_in_its_tier_only_and_says_why() {
        let (shapes, now) = (shapes(), Instant::now());
        three_slow_calls(&shapes, shape(1), now);
        let reason = shapes.admit(shape(1)).unwrap_err();
        assert_eq!(reason.text.as_ref(), "3 in a row took longer than 800 ms");
        assert!(reason.remaining.is_some_and(|left| left <= OPEN));
        assert_eq!(shapes.refusal(shape(1)).map(|refusal| refusal.text), Some(reason.text));
        assert!(shapes.admit(Shape { tier: TierId::BATCH, ..shape(1) }).is_ok());
    }

    #[test]
    fn the_trial_decides_and_a_slow_one_is_enough_to_open_again() {
        let (shapes, now) = (shapes(), Instant::now());
        let long_ago = now.checked_sub(OPEN + SLOW).unwrap();
        three_slow_calls(&shapes, shape(1), long_ago);
        assert_eq!(shapes.refusal(shape(1)), None);
        let trial = shapes.admit(shape(1)).unwrap();
        assert!(shapes.admit(shape(1)).is_err());
        // Given up without an answer, the next one is the trial.
        drop(trial);
        let trial = shapes.admit(shape(1)).unwrap();
        trial.ended(Ended::Well, SLOW, now + SLOW);
        assert!(shapes.admit(shape(1)).is_err());
        shapes.ended(shape(1), FAST, Ended::Well, now + SLOW + OPEN);
        assert_eq!(shapes.refused(now), []);
    }

    #[test]
    fn only_the_servers_trouble_counts() {
        for code in [b"57014", b"53100", b"53200", b"58030", b"XX000", b"40P01", b"55P03"] {
            assert!(is_trouble(SqlState(*code), SLOW), "{:?}", SqlState(*code));
        }
        for code in [b"22012", b"23505", b"42601", b"40001", b"53300", b"57P01", b"08006", b"P0001"]
        {
            assert!(!is_trouble(SqlState(*code), SLOW), "{:?}", SqlState(*code));
        }
        assert!(!is_trouble(SqlState(*b"55P03"), FAST));
    }

    #[test]
    fn what_does_well_again_is_forgotten() {
        let (shapes, now) = (shapes(), Instant::now());
        shapes.ended(shape(1), SLOW, Ended::Well, now);
        assert!(shapes.has_trouble());
        shapes.ended(shape(1), FAST, Ended::Well, now);
        assert!(!shapes.has_trouble());
        shapes.ended(shape(1), FAST, Ended::Failed(SqlState::QUERY_CANCELED), now);
        shapes.ended(shape(1), FAST, Ended::Well, now);
        assert!(shapes.has_trouble(), "its failure is still in the window");
        shapes.ended(shape(1), FAST, Ended::Well, now + Duration::from_secs(11));
        assert!(!shapes.has_trouble());
    }

    #[test]
    fn the_table_is_bounded_and_keeps_what_is_asked_for() {
        let (shapes, now) = (shapes(), Instant::now());
        three_slow_calls(&shapes, shape(0), now);
        for number in 1..=MAX_SHAPES as u64 {
            shapes.ended(shape(number), SLOW, Ended::Well, now);
            assert!(number % 1000 != 0 || shapes.admit(shape(0)).is_err());
        }
        assert_eq!(shapes.locked(|table| table.shapes.len()), MAX_SHAPES);
        assert!(shapes.admit(shape(0)).is_err());
        assert!(shapes.locked(|table| !table.shapes.contains_key(&shape(1))));
    }
}
