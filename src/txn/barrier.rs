//! Between readers and writers of several shards: who reads them all at one moment holds off, for that
//! moment, those who commit on several.
//!
//! On every shard there is one advisory lock. A transaction that has written several shards takes it
//! shared on each before any of them prepares or commits, and keeps it until it is committed there: the
//! server releases it only after the commit is visible, with COMMIT PREPARED as with COMMIT. A reader
//! takes it alone on all the shards that it reads. While it has them all, every such transaction is
//! committed on all of these shards or on none, and none can commit on the first of them before the
//! reader has left the last.
//!
//! Advisory locks are of one database each, so databases on one server do not meet.
use crate::backend::members::{LOCK_CLASS, SNAPSHOT_LOCK};
use std::time::Duration;

/// For writers: what is said in the transaction before `PREPARE TRANSACTION`, or before the COMMIT of
/// the shard that decides. Prepared transactions keep the lock.
pub fn enter() -> String {
    format!("SELECT pg_catalog.pg_advisory_xact_lock_shared({LOCK_CLASS}, {SNAPSHOT_LOCK})")
}

/// For readers, outside of any transaction: inside of one, a snapshot would come before the lock.
pub fn close(patience: Duration) -> String {
    let patience = patience.as_millis().max(1);
    format!(
        "SET LOCAL lock_timeout = {patience};\
         SELECT pg_catalog.pg_advisory_lock({LOCK_CLASS}, {SNAPSHOT_LOCK})"
    )
}

/// Lets the writers pass again. The first statement of a REPEATABLE READ transaction, this takes its
/// snapshot, which comes before what the statement does. Its one value: whether there was a lock.
pub fn open() -> String {
    format!("SELECT pg_catalog.pg_advisory_unlock({LOCK_CLASS}, {SNAPSHOT_LOCK})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_and_writers_name_the_same_lock() {
        let of = |text: &str| {
            text.split_once("lock")
                .and_then(|(_, t)| t.rsplit_once('('))
                .map(|(_, key)| key.to_owned())
        };
        let keys = [enter(), close(Duration::from_millis(20)), open()].map(|text| of(&text));
        assert_eq!(keys, [const { "2003134834, 2)" }; 3].map(|key| Some(key.to_owned())));
        assert!(close(Duration::ZERO).starts_with("SET LOCAL lock_timeout = 1;"), "0 is no limit");
    }
}
