//! The rules in force: one snapshot per statement, one per transaction.
use super::Rules;
use crate::ids::RulesVersion;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;

/// Holds one database's rules; a reload replaces them under everybody's hands without touching
/// the snapshots already taken.
#[derive(Debug)]
pub struct LiveRules {
    current: ArcSwap<Rules>,
}

/// Rules that are no longer handed out but may still be in use.
#[must_use]
#[derive(Debug)]
pub struct Superseded {
    in_use: watch::Receiver<()>,
}

/// Part of each [`Rules`]: dropped with the last snapshot, which is what [`Superseded`] waits for.
#[derive(Debug)]
pub(super) struct InUse(watch::Sender<()>);

impl InUse {
    pub(super) fn new() -> InUse {
        InUse(watch::Sender::new(()))
    }
}

impl LiveRules {
    pub fn new(mut rules: Rules) -> LiveRules {
        rules.version = RulesVersion(1);
        LiveRules { current: ArcSwap::from_pointee(rules) }
    }

    pub fn current(&self) -> Arc<Rules> {
        self.current.load_full()
    }

    /// Puts other rules in force. One caller at a time: a reload is one task's work.
    pub fn replace(&self, mut rules: Rules) -> Superseded {
        rules.version = RulesVersion(self.current.load().version.0 + 1);
        let old = self.current.swap(Arc::new(rules));
        Superseded { in_use: old.in_use.0.subscribe() }
    }
}

impl Superseded {
    /// Waits until no statement and no transaction uses the old rules any more.
    pub async fn drained(mut self) {
        // Nothing is ever sent: the one event is that the sender goes.
        while self.in_use.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use std::task::Poll;

    fn rules() -> Rules {
        let text = "database = \"plain\"\n[[shard]]\nname = \"s0\"\nprimary = \"host=a\"\n";
        parse(text, "rules.toml").unwrap()
    }

    #[tokio::test]
    async fn superseded_rules_drain_when_the_last_snapshot_goes() {
        let live = LiveRules::new(rules());
        let (statement, transaction) = (live.current(), live.current());
        let mut drained = Box::pin(live.replace(rules()).drained());
        assert_eq!(live.current().version, RulesVersion(2));
        assert_eq!(transaction.version, RulesVersion(1), "a snapshot never changes");
        drop(statement);
        let pending = std::future::poll_fn(|context| {
            Poll::Ready(drained.as_mut().poll(context).is_pending())
        });
        assert!(pending.await, "a transaction still goes by the old rules");
        drop(transaction);
        drained.await;
    }
}
