//! A database without distributions: everything runs on its one server, and statements are looked at
//! only as far as the session's state needs.
use super::ddl::Words;
use super::planner::plain;
use super::{Access, Command, Context, Plan, Target, Tie};
use crate::sql::verb::{Object, Verb, classify};

pub(super) fn plan(statement: &str, context: &Context<'_>) -> Plan {
    let verb = classify(statement);
    let words = Words::new(statement);
    let command = match verb {
        Verb::Copy if words.has("stdin") => Command::CopyIn,
        Verb::Copy if words.has("stdout") => Command::CopyOut,
        Verb::Create(_) | Verb::Alter(_) | Verb::Drop(_) => Command::Ddl,
        _ => Command::Query,
    };
    let temporary = || words.has("temp") || words.has("temporary");
    let ties = match verb {
        Verb::Create(Object::TemporaryTable) => Some(Tie::TemporaryTable),
        // CREATE TEMP VIEW, SELECT … INTO TEMP.
        Verb::Create(_) | Verb::Select | Verb::With if temporary() => Some(Tie::TemporaryTable),
        _ if words.has_name("pg_advisory_") || words.has_name("pg_try_advisory_") => {
            Some(Tie::AdvisoryLock)
        }
        _ => None,
    };
    let settings = words.has_name("set_config");
    let target = Target::Shard(context.rules.home);
    Plan { ties, settings, ..plain(Access::Write, target, command) }
}
