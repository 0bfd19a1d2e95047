//! Between statements that look for rows on all shards and those that move rows from shard to shard. Who asks
//! one shard after the other finds a row on its way on neither, and nobody would notice.
//!
//! Every sharded table has a few advisory locks on each shard. Who looks shares all of them, and who moves rows of
//! certain keys has one of them alone: lookers do not wait for lookers, nor movers for movers, as long as there
//! are no more of them than locks. Who looks for the rows that it moves has all of them alone. The locks of
//! the home shard come first and decide who waits; the others are waited for as long as somebody commits.
use super::settings::quote_literal;
use crate::backend::members::LOCK_CLASS;
use crate::plan::several::RowUse;

/// Behind the class of weir's other locks: here the second number is the table's.
const ROWS: i32 = LOCK_CLASS + 2;
/// Locks of a table, less one: a mask.
const MASK: u8 = 7;

/// Said in the transaction, on the home shard and then on the statement's shards, before anything of it.
pub fn lock(table: &str, rows: RowUse) -> String {
    let of = |which: &str| {
        let table = quote_literal(table);
        format!("({ROWS}, pg_catalog.hashtext({table}) OPERATOR(pg_catalog.#) {which})")
    };
    let all = format!("pg_catalog.generate_series(0, {MASK}) AS locks (which)");
    let one = of("which");
    match rows {
        RowUse::Looks => format!("SELECT pg_catalog.pg_advisory_xact_lock_shared{one} FROM {all}"),
        RowUse::LooksAndMoves => format!("SELECT pg_catalog.pg_advisory_xact_lock{one} FROM {all}"),
        // The first that nobody has; if there is none, that of its process is waited for.
        RowUse::MovesByKey => format!(
            "SELECT pg_catalog.pg_advisory_xact_lock{} WHERE NOT EXISTS \
             (SELECT FROM {all} WHERE pg_catalog.pg_try_advisory_xact_lock{one})",
            of(&format!("(pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.&) {MASK})")),
        ),
    }
}
