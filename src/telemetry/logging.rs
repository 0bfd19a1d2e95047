//! Log lines to standard error, as text or as one JSON object each.
use serde::{Deserialize, Serialize};
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Starts logging, once for the process: the one thing in weir that is process-wide, because
/// libraries log, too. `level` is a level or directives such as `info,weir::pool=debug`.
pub fn init(level: &str, format: Format) -> Result<(), String> {
    let filter = check(level)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started = match format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("logging cannot start: {error}"))
}

fn check(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(level).map_err(|error| format!("logging.level \"{level}\": {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_understood_and_nonsense_is_not() {
        assert!(check("info").is_ok());
        assert!(check("warn,weir::pool=debug").is_ok());
        let error = check("weir=loud").unwrap_err();
        assert!(error.starts_with("logging.level \"weir=loud\": "), "{error}");
    }
}
