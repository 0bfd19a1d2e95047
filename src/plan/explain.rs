//! The plan in words: where a statement would go and why, or why it is refused and the way out.
//!
//! The same text answers `weir explain`, `EXPLAIN (WEIR)` and the golden tests.
use super::value::Values;
use super::{Access, Context, Plan, Planned, Planner, Requirement, Route, Target, Tie, Unroutable};
use crate::error::Error;
use crate::rules::Rules;
use crate::wire::params::Params;
use std::fmt::Write;

/// Where the statement would go, and why.
pub fn explain(statement: &str, context: &Context<'_>, params: &Params<'_>) -> String {
    let planned = match Planner::new(1).plan(statement, context) {
        Ok(planned) => planned,
        Err(unroutable) => return refused(&unroutable),
    };
    if let Some(draw) = planned.draw() {
        let mut text = String::from("the shard of its key, which is drawn first");
        end_line(&mut text, &planned.plan);
        let home = context.rules.shard_name(context.rules.home);
        line(
            &mut text,
            &format!("{}: {} from {} on {home}", draw.table, draw.column, draw.sequence),
        );
        return text;
    }
    if let Some(recalled) = planned.recalled() {
        let mut text = format!(
            "the server on which the transaction has drawn what {} asks for; refused if it has not",
            recalled.function
        );
        end_line(&mut text, &planned.plan);
        return text;
    }
    match planned.route(statement, params, context.rules) {
        Ok(route) => told(&planned, route, statement, context.rules, params),
        // Without its parameters the plan can still be told.
        Err(Unroutable::NoParameter(_)) => open(&planned, statement, context.rules),
        Err(unroutable) => refused(&unroutable),
    }
}

fn told(
    planned: &Planned,
    route: Route,
    statement: &str,
    rules: &Rules,
    params: &Params<'_>,
) -> String {
    let mut text = match route {
        Route::One(shard) => format!("shard {}", rules.shard_name(shard)),
        Route::Many => String::from("several shards"),
        Route::Any => String::from("any shard"),
        Route::Every => String::from("every shard"),
        Route::Proxy => String::from("weir itself"),
    };
    end_line(&mut text, &planned.plan);
    let values = Values { statement, shape: &planned.shape, params };
    let mut said = Vec::new();
    for requirement in requirements(&planned.plan) {
        let mut keys = Vec::new();
        let told = requirement.each(values, rules, &mut |shard, located| {
            let found = match located {
                Some(found) => format!(
                    "{} = {} → bucket {} → {}",
                    found.column,
                    found.key,
                    found.bucket,
                    rules.shard_name(shard)
                ),
                None => format!("only on {}", rules.shard_name(shard)),
            };
            if !keys.contains(&found) {
                keys.push(found);
            }
            Ok(())
        });
        debug_assert!(told.is_ok(), "the route was found from the same values");
        if keys.is_empty() {
            keys.push(String::from("no row can match"));
        }
        let told = format!("{}: {}", subject(requirement), keys.join("; "));
        if !said.contains(&told) {
            line(&mut text, &told);
            said.push(told);
        }
    }
    if let Some(row) = planned.lock_target(statement, params) {
        line(&mut text, &format!("queues for {row}"));
    }
    if route == Route::Many
        && let Some(several) = &planned.plan.several
    {
        for told in several.told(planned, statement, rules) {
            line(&mut text, &told);
        }
    }
    if route == Route::Many
        && let Some(copying) = &planned.plan.copying
    {
        for told in copying.told(statement, &planned.shape) {
            line(&mut text, &told);
        }
        return text;
    }
    if route == Route::Many
        && let Some(scattered) = &planned.plan.scattered
    {
        for told in scattered.told(planned, statement, params, rules) {
            line(&mut text, &told);
        }
    } else {
        rewritten(&mut text, planned, statement);
    }
    text
}

/// The plan before its parameters are known.
fn open(planned: &Planned, statement: &str, rules: &Rules) -> String {
    let mut text = String::from("the shard of its keys");
    end_line(&mut text, &planned.plan);
    for requirement in requirements(&planned.plan) {
        let told = match requirement {
            Requirement::Limit { column, distribution, .. }
            | Requirement::Row { column, distribution, .. } => {
                let by = rules.distribution(*distribution).map_or("?", |found| &found.name);
                format!("{}: by {column} ({by})", subject(requirement))
            }
            Requirement::Shard { shard, .. } => {
                format!("{}: only on {}", subject(requirement), rules.shard_name(*shard))
            }
        };
        line(&mut text, &told);
    }
    if let Some(target) = &planned.plan.lock {
        line(&mut text, &format!("queues for {}", target.describe()));
    }
    rewritten(&mut text, planned, statement);
    text
}

fn requirements(plan: &Plan) -> &[Requirement] {
    match &plan.target {
        Target::Keyed(keyed) => &keyed.requirements,
        Target::AnyShard
        | Target::Shard(_)
        | Target::EveryShard
        | Target::Several
        | Target::Drawn(_)
        | Target::Recalled(_)
        | Target::Proxy => &[],
    }
}

fn subject(requirement: &Requirement) -> &str {
    match requirement {
        Requirement::Limit { label, .. } => label,
        Requirement::Row { table, .. } => table,
        Requirement::Shard { what, .. } => what,
    }
}

fn end_line(text: &mut String, plan: &Plan) {
    let access = match plan.access {
        Access::Read => "read",
        Access::Lock => "lock",
        Access::Write => "write",
    };
    let tie = match plan.ties {
        None => "",
        Some(Tie::TemporaryTable) => ", keeps the server for its temporary table",
        Some(Tie::AdvisoryLock) => ", keeps the server for its advisory lock",
    };
    let tier = plan.asks.tier.as_ref().map_or_else(String::new, |tier| format!(", tier {tier}"));
    let reads = plan.asks.reads.map_or_else(String::new, |from| format!(", reads {}", from.name()));
    let types = match plan.needs_types() {
        true => ", asks the server for parameter types",
        false => "",
    };
    let written = write!(text, " ({access}{tie}{types}{tier}{reads})");
    debug_assert!(written.is_ok());
}

fn line(text: &mut String, told: &str) {
    text.push_str("\n  ");
    text.push_str(told);
}

fn rewritten(text: &mut String, planned: &Planned, statement: &str) {
    if !planned.plan.splices.is_empty() {
        line(text, &format!("sent as: {}", planned.text(statement)));
    }
}

fn refused(unroutable: &Unroutable) -> String {
    let reason = unroutable.reason();
    let error = Error::from(unroutable.clone());
    let mut text = format!("refused ({}, {reason}): {}", error.code.as_str(), error.message);
    if let Some(detail) = &error.detail {
        line(&mut text, &format!("detail: {}", detail.replace('\n', "\n  ")));
    }
    if let Some(hint) = &error.hint {
        line(&mut text, &format!("hint: {}", hint.replace('\n', "\n    ")));
    }
    text
}
