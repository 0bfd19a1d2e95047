//! Between writers of a reference table: one at a time, by a lock on every shard, the home shard first,
//! that ends with the transaction there. Prepared transactions keep it.
use super::settings::quote_literal;
use crate::backend::members::LOCK_CLASS;
use crate::plan::several::copies::Mode;

/// Behind the class of weir's other locks: here the second number is the table's.
const COPIES: i32 = LOCK_CLASS + 1;

/// Said on every shard before anything of the statement.
pub fn lock(table: &str, mode: Mode) -> String {
    let shared = match mode {
        Mode::Shared => "_shared",
        Mode::Alone => "",
    };
    let table = quote_literal(table);
    format!(
        "SELECT pg_catalog.pg_advisory_xact_lock{shared}({COPIES}, pg_catalog.hashtext({table}))"
    )
}
