//! What probes have seen of a shard's servers, and what follows from it: who is the primary, and how
//! fresh is each replica. Pure: the time is passed in.
//!
//! The primary is the server that accepts writes, has the shard's system identifier, and is on the
//! highest timeline that was ever seen here; two such servers are a dispute, and nobody writes. A
//! shard with one server is not voted about: that server is who it is.
//!
//! Freshness: each look at the primary makes a mark, the moment at which the look began and the end
//! of the WAL then. A replica that has replayed up to a mark has everything that was committed
//! before that moment. One number serves the lag limit and reading one's own writes.
use crate::backend::sighting::{Lsn, Role, Sighting};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Marks kept for each shard: at the usual pace, the last few minutes.
const MARKS: usize = 128;

/// One shard's servers, as they were last seen.
#[derive(Clone, Debug)]
pub struct Watch {
    servers: Vec<Standing>,
    /// What makes a server one of this shard's.
    system: Option<u64>,
    /// The highest that a primary was seen on.
    timeline: u32,
    primary: Primary,
    marks: VecDeque<Mark>,
    /// So many looks in a row without an answer mean that a server is down.
    tolerated: u32,
}

/// One server.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub seen: Option<Sighting>,
    /// The server belongs to some other system.
    pub stranger: Option<u64>,
    /// Looks in a row without an answer, and why.
    pub missed: u32,
    pub problem: Option<String>,
    pub latency: Option<Duration>,
    /// A replica has everything that was committed on the primary before this moment.
    pub fresh: Option<Instant>,
    pub drained: Drained,
}

/// Whether the operator wants nothing new on a server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Drained {
    #[default]
    No,
    Yes,
}

/// Who takes a shard's writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Primary {
    Known(u8),
    Unknown {
        since: Instant,
    },
    /// Two servers claim it on the same timeline.
    Disputed {
        one: u8,
        other: u8,
    },
}

/// At this moment the primary's WAL ended here, or later.
#[derive(Clone, Copy, Debug)]
struct Mark {
    began: Instant,
    lsn: Lsn,
}

impl Watch {
    pub fn new(servers: usize, tolerated: u32, now: Instant) -> Self {
        let primary = match servers {
            1 => Primary::Known(0),
            _ => Primary::Unknown { since: now },
        };
        Self {
            servers: vec![Standing::default(); servers],
            system: None,
            timeline: 0,
            primary,
            marks: VecDeque::new(),
            tolerated,
        }
    }

    /// A look that began then was answered.
    pub fn saw(&mut self, number: u8, began: Instant, now: Instant, sighting: Sighting) {
        let system = *self.system.get_or_insert(sighting.system_identifier);
        let Some(standing) = self.servers.get_mut(usize::from(number)) else { return };
        standing.missed = 0;
        standing.problem = None;
        standing.latency = Some(now.saturating_duration_since(began));
        standing.stranger =
            (sighting.system_identifier != system).then_some(sighting.system_identifier);
        standing.seen = Some(sighting);
        self.elect(now);
        let leads = self.primary == Primary::Known(number);
        if let Some(Sighting { role: Role::Primary, lsn, .. }) = standing_of(&self.servers, number)
            && leads
        {
            self.marks.push_back(Mark { began, lsn: *lsn });
            if self.marks.len() > MARKS {
                self.marks.pop_front();
            }
        }
        self.judge_freshness();
    }

    /// A look was not answered.
    pub fn missed(&mut self, number: u8, now: Instant, problem: String) {
        if let Some(standing) = self.servers.get_mut(usize::from(number)) {
            standing.missed = standing.missed.saturating_add(1);
            standing.problem = Some(problem);
        }
        self.elect(now);
    }

    /// The server is there, but does not say what it is.
    pub fn unclear(&mut self, number: u8, now: Instant, problem: String) {
        if let Some(standing) = self.servers.get_mut(usize::from(number)) {
            standing.missed = 0;
            standing.problem = Some(problem);
        }
        self.elect(now);
    }

    pub fn drain(&mut self, number: u8, drained: Drained) {
        if let Some(standing) = self.servers.get_mut(usize::from(number)) {
            standing.drained = drained;
        }
    }

    pub fn primary(&self) -> Primary {
        self.primary
    }

    pub fn standings(&self) -> &[Standing] {
        &self.servers
    }

    pub fn standing(&self, number: u8) -> Option<&Standing> {
        self.servers.get(usize::from(number))
    }

    /// Answers, or has not been silent for long.
    pub fn is_up(&self, number: u8) -> bool {
        self.standing(number).is_some_and(|standing| standing.missed < self.tolerated)
    }

    /// How far a replica is behind at most.
    pub fn lag(&self, number: u8, now: Instant) -> Option<Duration> {
        let fresh = self.standing(number)?.fresh?;
        Some(now.saturating_duration_since(fresh))
    }

    /// The replicas that may be read: up, within the lag, and having what was committed at `after`.
    pub fn readable(
        &self,
        after: Option<Instant>,
        max_lag: Duration,
        now: Instant,
    ) -> impl Iterator<Item = u8> + '_ {
        (0u8..).zip(&self.servers).filter_map(move |(number, standing)| {
            let fresh = standing.fresh?;
            let replica = standing.seen.is_some_and(|seen| seen.role == Role::Replica);
            let current = now.saturating_duration_since(fresh) <= max_lag
                && after.is_none_or(|after| fresh >= after);
            let usable = self.is_up(number)
                && standing.stranger.is_none()
                && standing.drained == Drained::No;
            (replica && current && usable).then_some(number)
        })
    }

    /// Why there is no primary, a word for each server: for messages.
    pub fn describe(&self, number: u8) -> String {
        let Some(standing) = self.standing(number) else { return "unknown".to_owned() };
        if !self.is_up(number) {
            let problem = standing.problem.as_deref().unwrap_or("no answer");
            return format!("down ({problem})");
        }
        if let Some(system) = standing.stranger {
            return format!("another cluster's (system identifier {system})");
        }
        match standing.seen {
            None => match &standing.problem {
                Some(problem) => format!("not to be looked at ({problem})"),
                None => "not seen yet".to_owned(),
            },
            Some(Sighting { role: Role::Replica, .. }) => "a replica".to_owned(),
            Some(Sighting { read_only: true, .. }) => "read-only".to_owned(),
            Some(Sighting { timeline, .. }) if timeline < self.timeline => {
                format!("on timeline {timeline}, which {} has followed", self.timeline)
            }
            Some(Sighting { timeline, .. }) => format!("a primary on timeline {timeline}"),
        }
    }

    fn elect(&mut self, now: Instant) {
        if self.servers.len() == 1 {
            return;
        }
        let mut claims: Vec<(u8, u32)> = Vec::new();
        for (number, standing) in (0u8..).zip(&self.servers) {
            if let Some(seen) = &standing.seen
                && seen.role == Role::Primary
                && !seen.read_only
                && standing.stranger.is_none()
                && standing.missed < self.tolerated
            {
                claims.push((number, seen.timeline));
            }
        }
        // A replica follows a primary that may be gone for now: it knows of the promotion.
        let ours = self.servers.iter().filter(|standing| standing.stranger.is_none());
        let seen = ours.filter_map(|standing| standing.seen.as_ref());
        let highest = seen.map(|seen| seen.timeline).max().unwrap_or(0);
        if highest > self.timeline {
            self.timeline = highest;
            // Positions before and after a promotion are those of different histories.
            self.marks.clear();
            self.servers.iter_mut().for_each(|standing| standing.fresh = None);
        }
        claims.retain(|(_, timeline)| *timeline == self.timeline);
        self.primary = match claims.as_slice() {
            [] => match self.primary {
                Primary::Unknown { since } => Primary::Unknown { since },
                Primary::Known(_) | Primary::Disputed { .. } => Primary::Unknown { since: now },
            },
            [(number, _)] => Primary::Known(*number),
            [(one, _), (other, _), ..] => Primary::Disputed { one: *one, other: *other },
        };
    }

    fn judge_freshness(&mut self) {
        let (timeline, marks) = (self.timeline, &self.marks);
        for standing in &mut self.servers {
            let Some(seen) = &standing.seen else { continue };
            if seen.role == Role::Replica && (seen.timeline == timeline || timeline == 0) {
                let reached = marks.iter().rev().find(|mark| mark.lsn <= seen.lsn);
                standing.fresh = reached.map(|mark| mark.began);
            } else {
                standing.fresh = None;
            }
        }
    }
}

fn standing_of(servers: &[Standing], number: u8) -> Option<&Sighting> {
    servers.get(usize::from(number))?.seen.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: u64 = 7;
    const MAX_LAG: Duration = Duration::from_secs(10);

    /// A shard's servers, looked at as the second hand goes on.
    struct Shard {
        watch: Watch,
        start: Instant,
    }

    impl Shard {
        fn of(servers: usize) -> Self {
            let start = Instant::now();
            Self { watch: Watch::new(servers, 3, start), start }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn saw(&mut self, second: u64, number: u8, role: Role, timeline: u32, lsn: u64) -> Primary {
            let lsn = Lsn(lsn);
            let seen =
                Sighting { role, system_identifier: SYSTEM, timeline, lsn, read_only: false };
            self.watch.saw(number, self.at(second), self.at(second), seen);
            self.watch.primary()
        }

        fn missed(&mut self, second: u64, number: u8) -> Primary {
            self.watch.missed(number, self.at(second), "connection refused".to_owned());
            self.watch.primary()
        }

        fn readable(&self, second: u64, after: Option<u64>) -> Vec<u8> {
            let after = after.map(|second| self.at(second));
            self.watch.readable(after, MAX_LAG, self.at(second)).collect()
        }
    }

    #[test]
    fn one_server_is_who_it_is() {
        let mut shard = Shard::of(1);
        assert_eq!(shard.watch.primary(), Primary::Known(0));
        assert_eq!(shard.saw(0, 0, Role::Replica, 1, 5), Primary::Known(0));
        assert_eq!(shard.missed(1, 0), Primary::Known(0));
    }

    #[test]
    fn the_primary_is_the_one_that_takes_writes() {
        let mut shard = Shard::of(2);
        assert!(matches!(shard.saw(0, 0, Role::Replica, 1, 5), Primary::Unknown { .. }));
        assert_eq!(shard.saw(0, 1, Role::Primary, 1, 9), Primary::Known(1));
    }

    #[test]
    fn a_primary_that_is_silent_for_a_moment_stays_it() {
        let mut shard = Shard::of(2);
        shard.saw(0, 0, Role::Primary, 1, 9);
        assert_eq!(shard.missed(1, 0), Primary::Known(0));
        assert_eq!(shard.missed(2, 0), Primary::Known(0));
        assert_eq!(shard.missed(3, 0), Primary::Unknown { since: shard.at(3) });
        assert_eq!(shard.missed(4, 0), Primary::Unknown { since: shard.at(3) });
    }

    #[test]
    fn after_a_promotion_the_old_primary_is_nobody() {
        let mut shard = Shard::of(2);
        shard.saw(0, 0, Role::Primary, 1, 9);
        assert_eq!(shard.saw(1, 1, Role::Primary, 2, 10), Primary::Known(1));
        // It is still there, and still takes writes.
        assert_eq!(shard.saw(2, 0, Role::Primary, 1, 99), Primary::Known(1));
        // Nor when the new one is gone: what it has done must not be forgotten.
        for second in 3..6 {
            shard.missed(second, 1);
        }
        assert!(matches!(shard.saw(6, 0, Role::Primary, 1, 99), Primary::Unknown { .. }));
        assert!(shard.watch.describe(0).contains("timeline 1"), "{}", shard.watch.describe(0));
    }

    #[test]
    fn a_replica_that_has_followed_a_promotion_bars_the_old_primary() {
        let mut shard = Shard::of(3);
        shard.saw(0, 1, Role::Replica, 2, 10);
        assert!(matches!(shard.saw(0, 0, Role::Primary, 1, 99), Primary::Unknown { .. }));
        assert_eq!(shard.saw(1, 2, Role::Primary, 2, 10), Primary::Known(2));
    }

    #[test]
    fn two_primaries_on_one_timeline_are_a_dispute_until_one_is_gone() {
        let mut shard = Shard::of(2);
        shard.saw(0, 0, Role::Primary, 1, 9);
        assert_eq!(shard.saw(1, 1, Role::Primary, 1, 9), Primary::Disputed { one: 0, other: 1 });
        for second in 2..5 {
            shard.missed(second, 0);
        }
        assert_eq!(shard.watch.primary(), Primary::Known(1));
    }

    #[test]
    fn another_clusters_server_is_never_the_primary() {
        let mut shard = Shard::of(2);
        shard.saw(0, 0, Role::Primary, 1, 9);
        let lsn = Lsn(9);
        let stranger = Sighting {
            role: Role::Primary,
            system_identifier: 8,
            timeline: 5,
            lsn,
            read_only: false,
        };
        shard.watch.saw(1, shard.at(1), shard.at(1), stranger);
        assert_eq!(shard.watch.primary(), Primary::Known(0));
        assert!(shard.watch.describe(1).contains("another cluster"));
    }

    #[test]
    fn a_replica_is_as_fresh_as_the_last_mark_it_has_reached() {
        let mut shard = Shard::of(2);
        for (second, lsn) in [(0, 100), (2, 200), (4, 300)] {
            shard.saw(second, 0, Role::Primary, 1, lsn);
        }
        shard.saw(4, 1, Role::Replica, 1, 250);
        assert_eq!(shard.watch.lag(1, shard.at(5)), Some(Duration::from_secs(3)));
        // What was committed at second 1 is there, at second 3 perhaps not.
        assert_eq!(shard.readable(5, Some(1)), [1]);
        assert_eq!(shard.readable(5, Some(3)), [0; 0]);
        // Beyond the lag limit.
        assert_eq!(shard.readable(13, None), [0; 0]);
        shard.saw(13, 1, Role::Replica, 1, 300);
        assert_eq!(shard.readable(13, Some(3)), [1]);
    }

    #[test]
    fn a_replica_of_an_earlier_timeline_is_not_read() {
        let mut shard = Shard::of(3);
        shard.saw(0, 0, Role::Primary, 1, 100);
        shard.saw(0, 2, Role::Replica, 1, 100);
        assert_eq!(shard.readable(0, None), [2]);
        shard.saw(1, 1, Role::Primary, 2, 90);
        shard.saw(1, 2, Role::Replica, 1, 100);
        assert_eq!(shard.readable(1, None), [0; 0]);
        shard.saw(2, 2, Role::Replica, 2, 95);
        assert_eq!(shard.readable(2, None), [2]);
    }

    #[test]
    fn what_is_down_or_drained_is_not_read() {
        let mut shard = Shard::of(2);
        shard.saw(0, 0, Role::Primary, 1, 100);
        shard.saw(0, 1, Role::Replica, 1, 100);
        shard.watch.drain(1, Drained::Yes);
        assert_eq!(shard.readable(0, None), [0; 0]);
        shard.watch.drain(1, Drained::No);
        for _ in 0..3 {
            shard.missed(0, 1);
        }
        assert_eq!(shard.readable(0, None), [0; 0]);
    }
}
