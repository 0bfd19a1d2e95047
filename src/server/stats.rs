//! PgBouncer's statistics over time: what has been counted a while ago, for averages.
use super::assemble::Shared;
use crate::admin::system::{Average, Stats};
use crate::telemetry::statements::Stats as Counted;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// PgBouncer's `stats_period`: averages are over the last whole one and what has passed of the next.
pub const PERIOD: Duration = Duration::from_secs(60);

type All = BTreeMap<String, Counted>;

/// What was counted at the beginning of this period, and of the one before.
pub struct History(Mutex<[(Instant, Arc<All>); 2]>);

impl Default for History {
    fn default() -> Self {
        let nothing = (Instant::now(), Arc::<All>::default());
        Self(Mutex::new([nothing.clone(), nothing]))
    }
}

impl History {
    fn turn(&self, now: Instant, counted: All) {
        let mut periods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        periods.swap(0, 1);
        let [_, this] = &mut *periods;
        *this = (now, Arc::new(counted));
    }

    fn before(&self) -> (Instant, Arc<All>) {
        let [before, _] = &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
        before.clone()
    }
}

/// Turns the periods.
pub async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        shared.history.turn(Instant::now(), shared.metrics.stats());
    }
}

/// Every database of the rules files, whether it was used or not.
pub fn stats(shared: &Shared) -> Vec<Stats> {
    let (since, before) = shared.history.before();
    let seconds = since.elapsed().as_secs_f64().max(1.0);
    let counted = shared.metrics.stats();
    let mut names: Vec<&String> = shared.databases.keys().collect();
    names.sort();
    let of = |name: &String| {
        let total = counted.get(name).cloned().unwrap_or_default();
        let old = before.get(name).cloned().unwrap_or_default();
        Stats {
            database: name.clone(),
            average: average(&total, &old, seconds),
            total: values(&total),
        }
    };
    names.into_iter().map(of).collect()
}

fn values(counted: &Counted) -> [u64; 11] {
    [
        counted.server_assignment_count,
        counted.xact_count,
        counted.query_count,
        counted.received,
        counted.sent,
        counted.xact_time,
        counted.query_time,
        counted.wait_time,
        counted.client_parse_count,
        counted.server_parse_count,
        counted.bind_count,
    ]
}

/// Counts and bytes for each second, times for each of what took them.
fn average(new: &Counted, old: &Counted, seconds: f64) -> Average {
    let rate = |new: u64, old: u64| (new.saturating_sub(old) as f64 / seconds) as u64;
    let each = |time: u64, old_time: u64, count: u64, old_count: u64| {
        let count = count.saturating_sub(old_count);
        time.saturating_sub(old_time).checked_div(count).unwrap_or_default()
    };
    let (n, o) = (new, old);
    [
        rate(n.server_assignment_count, o.server_assignment_count),
        rate(n.xact_count, o.xact_count),
        rate(n.query_count, o.query_count),
        rate(n.received, o.received),
        rate(n.sent, o.sent),
        each(n.xact_time, o.xact_time, n.xact_count, o.xact_count),
        each(n.query_time, o.query_time, n.query_count, o.query_count),
        each(n.wait_time, o.wait_time, n.server_assignment_count, o.server_assignment_count),
        rate(n.client_parse_count, o.client_parse_count),
        rate(n.server_parse_count, o.server_parse_count),
        rate(n.bind_count, o.bind_count),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_for_each_second_and_times_for_each_statement() {
        let old = Counted { xact_count: 10, query_time: 500, query_count: 5, ..Counted::default() };
        let new =
            Counted { xact_count: 130, query_time: 2500, query_count: 9, ..Counted::default() };
        let average = average(&new, &old, 60.0);
        assert_eq!((average[1], average[2], average[6], average[7]), (2, 0, 500, 0));
    }

    #[test]
    fn the_period_before_this_one_is_what_averages_begin_with() {
        let history = History::default();
        let counted = |count| {
            let stats = Counted { query_count: count, ..Counted::default() };
            All::from([("shop".to_owned(), stats)])
        };
        let now = Instant::now();
        history.turn(now, counted(7));
        assert!(history.before().1.is_empty());
        history.turn(now + PERIOD, counted(9));
        assert_eq!(history.before(), (now, Arc::new(counted(7))));
    }
}
