//! A client's statement while it runs, and what is known of it when it has ended.
//!
//! It travels with the answer that it waits for (`relay`), and comes back to the session with its time.
use crate::error::SqlState;
use crate::plan::SharedPlan;
use crate::pool::shapes::{Call, Ended};
use crate::telemetry::statements::Labels;
use crate::telemetry::traces::{At, Trace};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Dropped without an end it has shown nothing.
#[derive(Debug)]
#[must_use]
pub struct Running {
    pub plan: SharedPlan,
    pub labels: Labels,
    pub before: Before,
    /// In its client's words, where logs may have them.
    pub said: Option<Rc<Said>>,
    /// If it may be traced; and which server it went to.
    pub trace: Option<Box<(Trace, Option<At>)>>,
    /// Its shape's breaker waits to hear of it.
    call: Option<Call>,
    /// When the servers were asked to answer.
    asked: Option<Instant>,
}

/// What a statement has spent before it was asked of a server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Before {
    /// On planning it, if its plan was not cached.
    pub planning: Duration,
    /// On waiting: for a connection, a hot row's turn, a place among those that gather.
    pub waiting: Duration,
}

/// A statement as its client said it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    pub text: String,
    /// As PostgreSQL logs them: `$1 = '42', $2 = NULL`.
    pub parameters: String,
}

/// A statement that has ended.
#[derive(Debug)]
pub struct Finished {
    pub plan: SharedPlan,
    pub labels: Labels,
    pub before: Before,
    pub said: Option<Rc<Said>>,
    pub trace: Option<Box<(Trace, Option<At>)>>,
    /// That servers and client took.
    pub running: Duration,
    pub ended: Ended,
    /// When that was.
    pub at: Instant,
}

impl Before {
    pub fn total(self) -> Duration {
        self.planning + self.waiting
    }
}

impl Finished {
    /// From its being taken to its last answer, without what a client does between its messages.
    pub fn took(&self) -> Duration {
        self.before.total() + self.running
    }

    pub fn outcome(&self) -> Option<SqlState> {
        match self.ended {
            Ended::Well => None,
            Ended::Failed(code) => Some(code),
        }
    }
}

impl Running {
    pub fn new(plan: SharedPlan, labels: Labels, before: Before, call: Option<Call>) -> Self {
        Self { plan, labels, before, said: None, trace: None, call, asked: None }
    }

    /// Servers are asked to answer from now on. What a client does between its messages is not the
    /// statement's time.
    pub fn asks(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
    }

    pub fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// The answer has come. `since`: until then the servers were busy with what was asked before, or the
    /// client was slow to take the answer: neither is its shape's fault.
    pub fn ended(self, ended: Ended, since: Since, now: Instant) -> Finished {
        let Self { plan, labels, before, said, trace, call, asked } = self;
        let took = |since: Option<Instant>| {
            let began = asked.map(|asked| since.map_or(asked, |since| since.max(asked)));
            began.map(|began| now.saturating_duration_since(began)).unwrap_or_default()
        };
        if let Some(call) = call {
            let of_servers = if since.stalled { Duration::ZERO } else { took(since.answered) };
            call.ended(ended, of_servers, now);
        }
        let running = took(since.answered);
        Finished { plan, labels, before, said, trace, running, ended, at: now }
    }

    /// The same for one that was asked alone; of its shape's breaker only success is heard.
    pub fn ended_alone(self, ended: Ended, now: Instant) -> Finished {
        // A shard's error is told as it came: nobody has kept it.
        let heard = ended == Ended::Well;
        let call = self.call.filter(|_| heard);
        Self { call, ..self }.ended(ended, Since::default(), now)
    }
}

/// What came before an answer.
#[derive(Clone, Copy, Default, Debug)]
pub struct Since {
    /// The end of the answer before it.
    pub answered: Option<Instant>,
    /// The client was slow to take this one.
    pub stalled: bool,
}
