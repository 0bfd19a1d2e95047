//! A database without distributions: everything runs on its one server, and statements are looked at
//! only as far as the session's state needs.
use super::ddl::Words;
use super::planner::plain;
use super::{Access, Command, Context, Plan, Target, Tie};
use crate::sql::verb::{Verb, classify};

pub(super) fn plan(statement: &str, context: &Context<'_>) -> Plan {
    let verb = classify(statement);
    let words = Words::new(statement);
    let copies = verb == Verb::Copy;
    let command = match (words.has("stdin"), words.has("stdout")) {
        (true, _) if copies => Command::CopyIn,
        (_, true) if copies => Command::CopyOut,
        (_, _) => Command::Query,
    };
    // CREATE TEMP VIEW, SELECT … INTO TEMP.
    let makes = matches!(verb, Verb::Create(_) | Verb::Select | Verb::With);
    let temporary = words.has("temp") || words.has("temporary");
    const SESSION_LOCKS: [&str; 2] = ["pg_advisory_lock", "pg_try_advisory_lock"];
    let ties = match SESSION_LOCKS.iter().any(|name| words.has_name(name)) {
        true => Some(Tie::AdvisoryLock),
        false if makes && temporary => Some(Tie::TemporaryTable),
        false => None,
    };
    let settings = words.has_name("set_config");
    let target = Target::Shard(context.rules.home);
    Plan { ties, settings, ..plain(Access::Write, target, command) }
}
