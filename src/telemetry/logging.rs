//! Log lines to standard error, as text or as one JSON object each.
use super::sampler::{LeftOut, Sampler};
use serde::{Deserialize, Serialize};
use std::io::{self, IsTerminal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Starts logging, once for the process: the one thing in weir that is process-wide, because
/// libraries log, too. `level` is a level or directives such as `info,weir::pool=debug`; `repeat`: so many
/// lines of a kind within ten seconds, 0: all. What was left out is counted.
pub fn init(level: &str, format: Format, repeat: u32) -> Result<LeftOut, String> {
    let filter = check(level)?;
    let sampler = Sampler::new(repeat);
    let left_out = sampler.left_out();
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let log = Registry::default().with(lines.and_then(sampler)).with(filter);
    log.try_init().map_err(|error| format!("logging cannot start: {error}"))?;
    Ok(left_out)
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
