//! A statement's trace: what it did when. Without `tracing.endpoint` there is none, and all of this is one
//! look at an `Option`.
//!
//! Where a statement goes to one shard its spans are made at its end, of times that were read anyway. On
//! several, what goes on is noted as a stage when it is over.
use super::setting::Scope;
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::running::Finished;
use crate::telemetry::traces::{At, Stage, Told, Trace, TraceParent};
use crate::wire::encode;
use std::borrow::Cow;
use std::time::Instant;

/// The setting that names a parent for statements whose comments name none.
pub(super) const TRACEPARENT: &str = "weir.traceparent";

impl Session {
    /// A statement is taken.
    pub(super) fn begin_trace(&mut self, statement: &str) {
        let Some(tracer) = &self.database.tracer else { return };
        let parent = TraceParent::in_comment(statement).or(self.seen.parent.as_deref().copied());
        self.seen.trace = Some(Box::new(tracer.begin(parent)));
    }

    /// Now, if a statement is traced.
    pub(super) fn traced_now(&self) -> Option<Instant> {
        self.seen.trace.as_ref().map(|_| Instant::now())
    }

    /// What began then has ended.
    pub(super) fn note_stage(&mut self, name: &'static str, from: Option<Instant>) {
        let (Some(trace), Some(from)) = (&mut self.seen.trace, from) else { return };
        let inside = self.seen.inside.filter(|outer| *outer != name);
        trace.stages.push(Stage { name, inside, from, to: Instant::now(), server: None });
    }

    /// From now on stages are parts of this one.
    pub(super) fn note_inside(&mut self, stage: Option<&'static str>) {
        self.seen.inside = stage;
    }

    /// These servers are asked now; when they are done, [`Session::note_server_done`] says.
    pub(super) fn note_servers_asked(&mut self, sites: &[usize]) {
        if self.seen.trace.is_none() {
            return;
        }
        let (now, inside) = (Instant::now(), self.seen.inside);
        for &at in sites {
            let server = self.at(at);
            if let Some(trace) = &mut self.seen.trace {
                trace.stages.push(Stage { name: "shard", inside, from: now, to: now, server });
            }
        }
    }

    pub(super) fn note_server_done(&mut self, at: Option<usize>) {
        if self.seen.trace.is_none() {
            return;
        }
        let Some(server) = at.and_then(|at| self.at(at)) else { return };
        let stages = self.seen.trace.iter_mut().flat_map(|trace| trace.stages.iter_mut());
        let last = stages.rev().find(|stage| stage.server.as_ref() == Some(&server));
        if let Some(stage) = last.filter(|stage| stage.to == stage.from) {
            stage.to = Instant::now();
        }
    }

    /// The same of all these.
    pub(super) fn note_servers_done(&mut self, sites: impl Iterator<Item = usize>) {
        if self.seen.trace.is_some() {
            sites.for_each(|at| self.note_server_done(Some(at)));
        }
    }

    /// What these servers were told from one moment to the other, as a part of `inside`.
    pub(super) fn note_told(
        &mut self,
        name: &'static str,
        inside: &'static str,
        sites: &[usize],
        (from, to): (Instant, Instant),
    ) {
        if self.seen.trace.is_none() {
            return;
        }
        for &at in sites {
            let server = self.at(at);
            if let Some(trace) = &mut self.seen.trace {
                trace.stages.push(Stage { name, inside: Some(inside), from, to, server });
            }
        }
    }

    /// A participant as spans tell of it.
    pub(super) fn at(&self, at: usize) -> Option<At> {
        let participant = self.txn.participants.get(at)?;
        Some(At {
            shard: self.serving.rules.shard_name(participant.shard).to_owned(),
            role: super::observed::role(participant.lease.work.role()).name(),
            address: participant.lease.work.server.place.address.to_string(),
        })
    }

    /// The statement has ended.
    pub(super) fn tell_trace(&self, mut trace: Trace, finished: &Finished, server: Option<At>) {
        let Some(tracer) = &self.database.tracer else { return };
        let (before, to) = (finished.before, finished.at);
        let asked = to.checked_sub(finished.running).unwrap_or(to);
        let waits = asked.checked_sub(before.waiting).unwrap_or(asked);
        let plans = waits.checked_sub(before.planning).unwrap_or(waits);
        let from = trace.began.min(plans);
        let mut add = |name, from, to, server| {
            trace.stages.push(Stage { name, inside: None, from, to, server });
        };
        if !before.planning.is_zero() {
            add("plan", from, from + before.planning, None);
        }
        if server.is_some() {
            add("checkout", waits, asked, None);
            add("shard", asked, to, server);
        }
        let code = finished.outcome();
        let told = Told {
            database: &self.database.name,
            text: &finished.plan.shape,
            fingerprint: self.fingerprint(&finished.plan),
            tier: self.database.observed.tier(finished.labels.tier),
            strategy: finished.labels.strategy.name(),
            failed: code.as_ref().map(|code| code.as_str()),
            from,
            to,
        };
        tracer.tell(trace, &told);
    }

    /// COMMIT of what several shards have written has ended.
    pub(super) fn tell_commit(&mut self, outcome: &Result<(), Stop>) {
        let code = match outcome {
            Ok(()) | Err(Stop::End) => None,
            Err(Stop::Say(error)) => Some(error.code),
            Err(Stop::Said) => Some(self.seen.failed.unwrap_or(SqlState::INTERNAL_ERROR)),
        };
        self.tell_plain("COMMIT", "commit", code);
    }

    /// weir's own error is all that there is to tell of a statement.
    pub(super) fn tell_refused(&mut self, error: &Error) {
        self.tell_plain("", "refused", Some(error.code));
    }

    fn tell_plain(&mut self, text: &str, strategy: &str, code: Option<SqlState>) {
        let (Some(trace), Some(tracer)) = (self.seen.trace.take(), &self.database.tracer) else {
            return;
        };
        let tier = self.session_tier().unwrap_or(crate::ids::TierId::INTERACTIVE);
        let told = Told {
            database: &self.database.name,
            text,
            fingerprint: String::new(),
            tier: self.database.observed.tier(tier),
            strategy,
            failed: code.as_ref().map(|code| code.as_str()),
            from: trace.began,
            to: Instant::now(),
        };
        tracer.tell(*trace, &told);
    }

    /// A statement as a server gets it: its trace in a comment, if `tracing.propagate` says so. Positions
    /// in it stay what they are.
    pub(super) fn handed_on<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        let (Some(trace), Some(tracer)) = (&self.seen.trace, &self.database.tracer) else {
            return text;
        };
        if !tracer.sampling.propagate {
            return text;
        }
        // The client's own stays: what looks like it may be in a literal. What the text ends with may be a
        // comment up to the line's end.
        Cow::Owned(format!("{text}\n/*traceparent='{}'*/", trace.own))
    }

    /// SET weir.traceparent, and RESET without a value. Unlike other settings it is not undone by a ROLLBACK.
    pub(super) fn set_traceparent(
        &mut self,
        value: Option<&str>,
        scope: Scope,
        tag: &str,
    ) -> Result<(), Stop> {
        let value = value.filter(|value| !value.is_empty());
        let read = |value: &str| {
            TraceParent::parse(value).ok_or_else(|| {
                let message = format!("invalid value for parameter \"{TRACEPARENT}\": \"{value}\"");
                Error::client(SqlState::INVALID_PARAMETER_VALUE, message).hint(
                    "W3C Trace Context: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                )
            })
        };
        self.seen.parent = value.map(read).transpose()?.map(Box::new);
        self.seen.parent_is_local = matches!(scope, Scope::Transaction);
        self.complete(tag)
    }

    pub(super) fn show_traceparent(&mut self) -> Result<(), Stop> {
        let value = self.seen.parent.as_ref().map(|parent| parent.to_string());
        let value = value.unwrap_or_default();
        encode::data_row(&[Some(value.as_bytes())], &mut self.client.output);
        self.complete("SHOW")
    }
}
