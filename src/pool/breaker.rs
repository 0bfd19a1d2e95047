//! When a server is not even asked: its recent failures decide. Pure; the caller passes the time in.
//!
//! ```text
//!                 `failures` in a row, or at least `share` of at least
//!                 `calls` calls within `window` failed; or `trip`
//!      ┌────────┐ ───────────────────────────────────────────────► ┌────────┐
//!      │ Closed │                                                  │  Open  │◄──┐
//!      └────────┘ ◄─────────────────────────────┐                  └────────┘   │
//!          │  ▲                                 │ a success            │        │
//!          │  │ `force_close`, a success        │             `open` has passed │ a failure
//!          ▼  │                                 │                      ▼        │
//!      ┌────────┐                               │                 ┌──────────┐  │
//!      │ Forced │ ◄── `force_open`, from any    └──────────────── │ HalfOpen │ ─┘
//!      └────────┘                                                 └──────────┘
//! ```
//!
//! *Closed* admits everybody, *Open* nobody. *HalfOpen* admits one caller, the trial; the others are
//! refused until its outcome is known, or until it has said nothing for as long as `open`: then it is
//! taken for lost, and the next caller is the trial. `close` takes a probe's new connection for the trial. *Forced* is open for as long as the probe says so.
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a breaker opens, and for how long.
#[derive(Clone, PartialEq, Debug)]
pub struct BreakerConfig {
    /// So many failures in a row open it; 0: none do.
    pub failures: u32,
    /// What `share` and `calls` look at.
    pub window: Duration,
    /// At least this share of failures among the calls opens it; 0: none does.
    pub share: f64,
    /// A share of fewer calls than these says nothing.
    pub calls: u32,
    /// How long it stays open.
    pub open: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 3,
            window: Duration::from_secs(10),
            share: 0.5,
            calls: 20,
            open: Duration::from_secs(5),
        }
    }
}

/// Of one server.
#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    is: Is,
}

#[derive(Clone, Debug)]
enum Is {
    /// → `Open` (the rule, `trip`), `Forced`.
    Closed { in_a_row: u32, window: Box<Window> },
    /// → `HalfOpen` (time), `Forced`.
    Open { until: Instant, why: Arc<str> },
    /// → `Open` (a failure), `Closed` (a success), `Forced`.
    HalfOpen { trial: Trial, why: Arc<str> },
    /// → `Closed` (a success, `force_close`).
    Forced { why: Arc<str> },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trial {
    Wanted,
    /// Under way; taken for lost at that time.
    Until(Instant),
}

/// For metrics and the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Closed,
    HalfOpen,
    Open,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half-open",
            State::Open => "open",
        }
    }
}

/// Why a breaker admits nobody, and for how much longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    pub text: Arc<str>,
    /// `None`: for as long as the probe says so.
    pub remaining: Option<Duration>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remaining {
            Some(remaining) => {
                write!(f, "{}; tried again in {:.1} s", self.text, remaining.as_secs_f64())
            }
            None => self.text.fmt(f),
        }
    }
}

/// What a call's outcome did to the breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Nothing,
    Opened,
    Closed,
}

impl Breaker {
    /// Closed.
    pub fn new(config: BreakerConfig, now: Instant) -> Self {
        let is = Is::closed(&config, now);
        Self { config, is }
    }

    /// Whether a caller may go on. Who is admitted tells the outcome by `succeeded` or `failed`.
    pub fn admits(&mut self, now: Instant) -> Result<(), Reason> {
        self.pass_time(now);
        let (until, why) = match &mut self.is {
            Is::Closed { .. } => return Ok(()),
            Is::HalfOpen { trial, why } => match *trial {
                Trial::Until(until) if now < until => (Some(until), why),
                Trial::Until(_) | Trial::Wanted => {
                    *trial = Trial::Until(now + self.config.open);
                    return Ok(());
                }
            },
            Is::Open { until, why } => (Some(*until), why),
            Is::Forced { why } => (None, why),
        };
        let remaining = until.map(|until| until.saturating_duration_since(now));
        Err(Reason { text: why.clone(), remaining })
    }

    /// A call has ended well. One that was admitted before the breaker opened closes nothing.
    pub fn succeeded(&mut self, now: Instant) -> Change {
        self.pass_time(now);
        match &mut self.is {
            Is::Closed { in_a_row, window } => {
                *in_a_row = 0;
                window.count(now, 0);
                Change::Nothing
            }
            Is::Open { .. } => Change::Nothing,
            Is::HalfOpen { .. } | Is::Forced { .. } => {
                self.is = Is::closed(&self.config, now);
                Change::Closed
            }
        }
    }

    /// A call has failed. `reason`: what the refused are told.
    pub fn failed(&mut self, now: Instant, reason: &str) -> Change {
        self.pass_time(now);
        match &mut self.is {
            Is::Closed { in_a_row, window } => {
                *in_a_row = in_a_row.saturating_add(1);
                window.count(now, 1);
                let in_a_row = self.config.failures > 0 && *in_a_row >= self.config.failures;
                if in_a_row || window.is_bad(&self.config) {
                    return self.trip(now, reason);
                }
                Change::Nothing
            }
            Is::HalfOpen { .. } => self.trip(now, reason),
            Is::Open { .. } | Is::Forced { .. } => Change::Nothing,
        }
    }

    /// Who was admitted has learnt nothing, and will not: another may be the trial.
    pub fn abandoned(&mut self) {
        match &mut self.is {
            Is::HalfOpen { trial, .. } => *trial = Trial::Wanted,
            Is::Closed { .. } | Is::Open { .. } | Is::Forced { .. } => {}
        }
    }

    /// Opens as if the rule had said so: for who knows another rule.
    pub fn trip(&mut self, now: Instant, reason: &str) -> Change {
        let before = self.state(now);
        if let Is::Forced { .. } = self.is {
            return Change::Nothing;
        }
        self.is = Is::Open { until: now + self.config.open, why: Arc::from(reason) };
        match before {
            State::Open => Change::Nothing,
            State::Closed | State::HalfOpen => Change::Opened,
        }
    }

    /// The probe says that the server is down: nobody is admitted until it says otherwise, or until a
    /// call that was under way has succeeded.
    pub fn force_open(&mut self, now: Instant, reason: &str) -> Change {
        let before = self.state(now);
        self.is = Is::Forced { why: Arc::from(reason) };
        match before {
            State::Open => Change::Nothing,
            State::Closed | State::HalfOpen => Change::Opened,
        }
    }

    /// Takes `force_open` back. What callers have met lately still counts: open by the rule it stays.
    pub fn force_close(&mut self, now: Instant) -> Change {
        match &self.is {
            Is::Closed { .. } | Is::Open { .. } | Is::HalfOpen { .. } => Change::Nothing,
            Is::Forced { .. } => {
                self.is = Is::closed(&self.config, now);
                Change::Closed
            }
        }
    }

    /// A probe has connected anew and was answered: what callers met before is over.
    pub fn close(&mut self, now: Instant) -> Change {
        match &self.is {
            Is::Closed { .. } => Change::Nothing,
            Is::Open { .. } | Is::HalfOpen { .. } | Is::Forced { .. } => {
                self.is = Is::closed(&self.config, now);
                Change::Closed
            }
        }
    }

    pub fn state(&self, now: Instant) -> State {
        match &self.is {
            Is::Closed { .. } => State::Closed,
            Is::Open { until, .. } if now >= *until => State::HalfOpen,
            Is::HalfOpen { .. } => State::HalfOpen,
            Is::Open { .. } | Is::Forced { .. } => State::Open,
        }
    }

    /// Closed, with no failure in the window: one may forget it.
    pub fn is_calm(&self, now: Instant) -> bool {
        match &self.is {
            Is::Closed { in_a_row, window } => *in_a_row == 0 && window.is_calm(now),
            Is::Open { .. } | Is::HalfOpen { .. } | Is::Forced { .. } => false,
        }
    }

    /// What the refused are told now; `None` if it is closed.
    pub fn reason(&self, now: Instant) -> Option<Reason> {
        let (until, why) = match &self.is {
            Is::Closed { .. } => return None,
            Is::Open { until, why } => (Some(*until), why),
            Is::HalfOpen { trial: Trial::Wanted, why } => (Some(now), why),
            Is::HalfOpen { trial: Trial::Until(until), why } => (Some(*until), why),
            Is::Forced { why } => (None, why),
        };
        let remaining = until.map(|until| until.saturating_duration_since(now));
        Some(Reason { text: why.clone(), remaining })
    }

    /// Other thresholds from now on; what is open stays so for as long as it was said to.
    pub fn configure(&mut self, config: BreakerConfig, now: Instant) {
        if self.config == config {
            return;
        }
        self.config = config;
        if let Is::Closed { .. } = self.is {
            self.is = Is::closed(&self.config, now);
        }
    }

    /// Open → half-open.
    fn pass_time(&mut self, now: Instant) {
        if let Is::Open { until, why } = &self.is
            && now >= *until
        {
            self.is = Is::HalfOpen { trial: Trial::Wanted, why: why.clone() };
        }
    }
}

impl Is {
    fn closed(config: &BreakerConfig, now: Instant) -> Self {
        Is::Closed { in_a_row: 0, window: Box::new(Window::new(config.window, now)) }
    }
}

/// So many slices a window has: what leaves it leaves in slices.
const SLICES: u32 = 10;

/// Calls and failures of the last `window`: of the slice that `now` falls into and the nine before.
#[derive(Clone, Debug)]
struct Window {
    began: Instant,
    slice: Duration,
    /// The number of the newest slice since `began`.
    newest: u64,
    slices: [Slice; SLICES as usize],
}

#[derive(Clone, Copy, Default, Debug)]
struct Slice {
    number: u64,
    calls: u32,
    failures: u32,
}

impl Window {
    fn new(window: Duration, now: Instant) -> Self {
        let slice = (window / SLICES).max(Duration::from_nanos(1));
        Self { began: now, slice, newest: 0, slices: [Slice::default(); SLICES as usize] }
    }

    /// One call more. Callers' clocks may be a little behind each other: time never goes back.
    fn count(&mut self, now: Instant, failures: u32) {
        self.newest = self.number(now);
        let place = usize::try_from(self.newest % u64::from(SLICES)).unwrap_or(0);
        if let Some(slice) = self.slices.get_mut(place) {
            if slice.number != self.newest {
                *slice = Slice { number: self.newest, ..Slice::default() };
            }
            slice.calls = slice.calls.saturating_add(1);
            slice.failures = slice.failures.saturating_add(failures);
        }
    }

    fn number(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began).as_nanos();
        let number = u64::try_from(since / self.slice.as_nanos()).unwrap_or(u64::MAX);
        self.newest.max(number)
    }

    fn seen_at(&self, newest: u64) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(move |slice| newest - slice.number < u64::from(SLICES))
    }

    fn is_calm(&self, now: Instant) -> bool {
        self.seen_at(self.number(now)).all(|slice| slice.failures == 0)
    }

    fn is_bad(&self, config: &BreakerConfig) -> bool {
        let seen = self.seen_at(self.newest);
        let (calls, failures) = seen.fold((0_u64, 0_u64), |(calls, failures), slice| {
            (calls + u64::from(slice.calls), failures + u64::from(slice.failures))
        });
        let enough = failures as f64 >= config.share * calls as f64;
        config.share > 0.0 && failures > 0 && calls >= u64::from(config.calls) && enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(config: &BreakerConfig, outcomes: &[(u64, bool)], expected: State) {
        let start = Instant::now();
        let mut breaker = Breaker::new(config.clone(), start);
        let mut now = start;
        for &(at, well) in outcomes {
            now = start + Duration::from_millis(at);
            let _: Change =
                if well { breaker.succeeded(now) } else { breaker.failed(now, "refused") };
        }
        assert_eq!(breaker.state(now), expected);
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(BreakerConfig::default(), now);
        for _ in 0..3 {
            breaker.failed(now, "connection refused");
        }
        assert_eq!(breaker.state(now), State::Open);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let config = BreakerConfig::default();
        check(&config, &[(0, false), (1, false)], State::Closed);
        check(&config, &[(0, false), (1, false), (2, true), (3, false)], State::Closed);
        check(&config, &[(0, false), (1, false), (2, false)], State::Open);
    }

    #[test]
    fn a_share_of_failures_opens_it_only_among_enough_calls_within_the_window() {
        let config = BreakerConfig::default();
        let mixed: Vec<_> = (0..20).map(|at| (at * 10, at % 2 == 0)).collect();
        check(&config, &mixed[..18], State::Closed);
        check(&config, &mixed, State::Open);
        let spread: Vec<_> = (0..20).map(|at| (at * 2_000, at % 2 == 0)).collect();
        check(&config, &spread, State::Closed);
    }

    #[test]
    fn either_rule_can_be_switched_off() {
        let patient = BreakerConfig { failures: 0, share: 0.0, ..BreakerConfig::default() };
        let failures: Vec<_> = (0..100).map(|at| (at, false)).collect();
        check(&patient, &failures, State::Closed);
        check(&BreakerConfig { share: 1.0, ..patient }, &failures[..20], State::Open);
    }

    #[test]
    fn the_refused_learn_why_and_for_how_long() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let reason = breaker.admits(now + Duration::from_millis(800)).unwrap_err();
        assert_eq!(reason.to_string(), "connection refused; tried again in 4.2 s");
        breaker.force_open(now, "the probe had no answer for 3 s");
        let reason = breaker.admits(now).unwrap_err();
        assert_eq!(reason.to_string(), "the probe had no answer for 3 s");
    }

    #[test]
    fn half_open_admits_one_and_another_when_that_one_is_lost() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + Duration::from_secs(5);
        assert_eq!(breaker.state(later), State::HalfOpen);
        assert_eq!(breaker.admits(later), Ok(()));
        assert!(breaker.admits(later + Duration::from_secs(4)).is_err());
        assert_eq!(breaker.admits(later + Duration::from_secs(5)), Ok(()));
        assert!(breaker.admits(later + Duration::from_secs(6)).is_err());
    }

    #[test]
    fn the_trial_decides() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut breaker = opened(now);
        assert_eq!(breaker.admits(later), Ok(()));
        let mut other = breaker.clone();
        assert_eq!(breaker.succeeded(later), Change::Closed);
        assert_eq!(breaker.admits(later), Ok(()));
        assert_eq!(other.failed(later, "again"), Change::Opened);
        assert_eq!(other.admits(later).unwrap_err().text.as_ref(), "again");
    }

    #[test]
    fn a_late_success_closes_what_the_probe_has_opened_but_not_what_the_rule_has() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.succeeded(now), Change::Nothing);
        assert_eq!(breaker.state(now), State::Open);
        breaker.force_open(now, "down");
        assert_eq!(breaker.state(now + Duration::from_secs(3600)), State::Open);
        assert_eq!(breaker.succeeded(now), Change::Closed);
    }

    #[test]
    fn the_probe_takes_back_only_its_own_word() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.force_close(now), Change::Nothing);
        assert_eq!(breaker.state(now), State::Open);
        breaker.force_open(now, "down");
        assert_eq!(breaker.force_close(now), Change::Closed);
        assert_eq!(breaker.state(now), State::Closed);
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Asks,
        Succeeds,
        Fails,
        ForceOpen,
        ForceClose,
        Abandons,
    }

    fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
        let event = prop_oneof![
            4 => Just(Event::Asks),
            4 => Just(Event::Succeeds),
            5 => Just(Event::Fails),
            1 => Just(Event::ForceOpen),
            1 => Just(Event::ForceClose),
            1 => Just(Event::Abandons),
        ];
        prop::collection::vec((0_u64..400, event), 0..200)
    }

    fn configs() -> impl Strategy<Value = BreakerConfig> {
        (0_u32..5, 1_u64..2_000, 0_u32..=4, 0_u32..10, 0_u64..1_500).prop_map(
            |(failures, window, quarters, calls, open)| BreakerConfig {
                failures,
                window: Duration::from_millis(window),
                share: f64::from(quarters) / 4.0,
                calls,
                open: Duration::from_millis(open),
            },
        )
    }

    /// The rule as one would explain it, over the list of all outcomes since it was last closed.
    struct Model {
        began: Instant,
        outcomes: Vec<(Instant, bool)>,
    }

    impl Model {
        fn is_tripped(&self, config: &BreakerConfig) -> bool {
            let row = self.outcomes.iter().rev().take_while(|(_, well)| !well).count();
            if config.failures > 0 && row >= config.failures as usize {
                return true;
            }
            let slice =
                |at: Instant| (at - self.began).as_nanos() / (config.window / 10).as_nanos();
            let Some(&(now, _)) = self.outcomes.last() else { return false };
            let seen: Vec<_> =
                self.outcomes.iter().filter(|(at, _)| slice(*at) + 10 > slice(now)).collect();
            let failed = seen.iter().filter(|(_, well)| !well).count();
            let share = failed as f64 / seen.len() as f64;
            config.share > 0.0
                && failed > 0
                && seen.len() >= config.calls as usize
                && share >= config.share
        }
    }

    proptest! {
        #[test]
        fn it_opens_exactly_when_the_rule_says(config in configs(), events in events()) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(config.clone(), now);
            let mut model = Model { began: now, outcomes: Vec::new() };
            for (wait, event) in events {
                now += Duration::from_millis(wait);
                let closed = breaker.state(now) == State::Closed;
                let well = match event {
                    Event::Succeeds => { breaker.succeeded(now); true }
                    Event::Fails => { breaker.failed(now, "broken"); false }
                    Event::Asks => {
                        prop_assert!(!closed || breaker.admits(now).is_ok());
                        continue;
                    }
                    Event::ForceOpen | Event::ForceClose | Event::Abandons => continue,
                };
                if !closed {
                    // Wherever it went: a model of the closed state begins anew with it.
                    model = Model { began: now, outcomes: Vec::new() };
                    continue;
                }
                model.outcomes.push((now, well));
                let open = breaker.state(now) != State::Closed;
                prop_assert_eq!(open, !well && model.is_tripped(&config));
            }
        }

        #[test]
        fn half_open_never_admits_two(config in configs(), events in events()) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(config.clone(), now);
            // Whom it has admitted since it last was anything but half-open.
            let mut trial: Option<Instant> = None;
            for (wait, event) in events {
                now += Duration::from_millis(wait);
                let before = breaker.state(now);
                let changed = match event {
                    Event::Asks => {
                        let admitted = breaker.admits(now).is_ok();
                        match before {
                            State::Closed => prop_assert!(admitted),
                            State::Open => prop_assert!(!admitted),
                            State::HalfOpen => {
                                let free = trial.is_none_or(|at| now >= at + config.open);
                                prop_assert_eq!(admitted, free);
                            }
                        }
                        if before == State::HalfOpen && admitted {
                            trial = Some(now);
                        }
                        Change::Nothing
                    }
                    Event::Succeeds => breaker.succeeded(now),
                    Event::Fails => breaker.failed(now, "broken"),
                    Event::ForceOpen => breaker.force_open(now, "down"),
                    Event::ForceClose => breaker.force_close(now),
                    Event::Abandons => {
                        breaker.abandoned();
                        trial = None;
                        Change::Nothing
                    }
                };
                let after = breaker.state(now);
                if after != State::HalfOpen || changed != Change::Nothing {
                    trial = None;
                }
                match changed {
                    Change::Opened => prop_assert!(before != State::Open && after != State::Closed),
                    Change::Closed => prop_assert!(before != State::Closed && after == State::Closed),
                    Change::Nothing => prop_assert_eq!(before, after),
                }
                prop_assert_eq!(breaker.reason(now).is_none(), after == State::Closed);
                prop_assert!(!breaker.is_calm(now) || after == State::Closed);
            }
        }

        #[test]
        fn a_rule_never_keeps_it_open_for_longer_than_it_says(
            config in configs(),
            events in events(),
        ) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(config.clone(), now);
            for (wait, event) in events {
                now += Duration::from_millis(wait);
                match event {
                    Event::Asks => drop(breaker.admits(now)),
                    Event::Succeeds => { breaker.succeeded(now); }
                    Event::Fails => { breaker.failed(now, "broken"); }
                    Event::Abandons => breaker.abandoned(),
                    Event::ForceOpen | Event::ForceClose => {}
                }
                if let Some(reason) = breaker.reason(now) {
                    prop_assert!(reason.remaining.is_some_and(|left| left <= config.open));
                }
                let mut later = breaker.clone();
                prop_assert!(later.admits(now + config.open).is_ok());
            }
        }
    }
}
