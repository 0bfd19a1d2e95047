//! A database without distributions: everything runs on its one server, and statements are looked at
//! only as far as the session's state needs.
use super::ddl::Words;
use super::planner::{Keep, plain};
use super::{Access, Command, Context, Plan, Target, Tie};
use crate::sql::verb::{Verb, classify};

/// Of a statement's shape.
pub(super) fn plan(text: &str, context: &Context<'_>) -> (Plan, Keep) {
    let verb = classify(text);
    let words = Words::new(text);
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
    // Others keep their literals, so there is no end to their shapes.
    let lifted = matches!(
        verb,
        Verb::Select
            | Verb::Insert
            | Verb::Update
            | Verb::Delete
            | Verb::Merge
            | Verb::Values
            | Verb::Table
            | Verb::With
    );
    let keep = if lifted { Keep::Shape } else { Keep::Nothing };
    (Plan { ties, settings, ..plain(Access::Write, target, command) }, keep)
}
