//! What became of each write, as the clients were told, and whether the servers agree.
use crate::cluster::DATABASE;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use tokio_postgres::error::SqlState;
use weir::cli::throwaway::Postgres;

/// What a client knows of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The server has said that it is done: it must be there, once.
    Acknowledged,
    /// An error says that it is not done: it must not be there.
    Refused,
    /// The line was lost, or SQLSTATE 08006, 08007, 57P02: it may be there, once.
    Unknown,
}

#[derive(Default)]
pub struct Ledger {
    next: AtomicI64,
    /// By the write's id.
    fates: Mutex<HashMap<i64, Fate>>,
}

/// What an error says of a write that was sent.
pub fn fate(error: &tokio_postgres::Error) -> Fate {
    let Some(code) = error.code() else { return Fate::Unknown };
    // 08001 is said before anything was sent.
    let could_not_connect = *code == SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
    match code.code() {
        _ if could_not_connect => Fate::Refused,
        // A server that goes down at once may have committed before it says so.
        "57P02" => Fate::Unknown,
        code if code.starts_with("08") => Fate::Unknown,
        _ => Fate::Refused,
    }
}

impl Ledger {
    pub fn new_id(&self) -> i64 {
        self.next.fetch_add(1, Relaxed)
    }

    pub fn note(&self, id: i64, fate: Fate) {
        let before = self.fates.lock().unwrap().insert(id, fate);
        assert_eq!(before, None, "each write has one fate");
    }

    /// Compares with the rows of all primaries, asked past weir.
    #[track_caller]
    pub fn check<'a>(&self, primaries: impl IntoIterator<Item = &'a Postgres>) {
        let mut rows: HashMap<i64, usize> = HashMap::new();
        for primary in primaries {
            for line in primary.sql(DATABASE, "SELECT id FROM entries").unwrap().lines() {
                *rows.entry(line.parse().unwrap()).or_default() += 1;
            }
        }
        let fates = self.fates.lock().unwrap();
        let mut wrong = Vec::new();
        for (id, fate) in fates.iter() {
            let count = rows.remove(id).unwrap_or_default();
            let fine = match fate {
                Fate::Acknowledged => count == 1,
                Fate::Refused => count == 0,
                Fate::Unknown => count <= 1,
            };
            if !fine {
                wrong.push(format!("write {id}: {fate:?}, {count} rows"));
            }
        }
        wrong.extend(rows.keys().map(|id| format!("a row that nobody wrote: {id}")));
        assert!(wrong.is_empty(), "of {} writes:\n{}", fates.len(), wrong.join("\n"));
    }
}
