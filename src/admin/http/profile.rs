//! /debug/pprof: why weir profiles itself neither by signals nor by another allocator, and what does it from
//! outside. docs/admin.md says the reasons.
use super::answer::Refusal;
use super::route::Asked;
use crate::error::SqlState;
use hyper::StatusCode;

pub const PATH: &str = "/debug/pprof";

/// What whoever may act is told; an error is said to all others.
pub fn refusal(path: &str, asked: &Asked<'_>) -> Result<Refusal, Refusal> {
    asked.gets()?;
    asked.acts()?;
    let process = std::process::id();
    let (message, hint) = match path {
        "/debug/pprof/profile" => (
            "weir does not interrupt its own threads to profile them",
            format!(
                "from outside: perf record -F 99 --call-graph dwarf -p {process} -o weir.perf -- sleep 10; \
                 docs/admin.md says how to draw it"
            ),
        ),
        "/debug/pprof/heap" => (
            "weir's allocator keeps no profile",
            "start weir under heaptrack on a test machine: heaptrack weir serve --config weir.toml; \
             SHOW MEM says what caches hold"
                .to_owned(),
        ),
        _ => return Err(Refusal::not_found(format!("there is no {path}"))),
    };
    let refusal = Refusal::new(StatusCode::NOT_IMPLEMENTED, SqlState::FEATURE_NOT_SUPPORTED);
    Ok(refusal.message(message).hint(hint))
}
