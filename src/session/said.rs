//! What the log has of clients and their statements: those that take long, and who comes and goes.
//!
//! A statement's line has its text without literals. Its values are in it only if `logging.parameters`
//! says so, and never those of one that speaks of passwords.
use super::Session;
use crate::exec::running::{Finished, Said};
use crate::ids::ShardId;
use crate::telemetry::sampler::EACH;
use crate::telemetry::statements::SEVERAL;
use crate::wire::params::Value;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Of a text or value, so many bytes are logged.
const SHOWN_BYTES: usize = 2048;
const VALUE_BYTES: usize = 128;

impl Session {
    /// A statement in its client's words, if the log may have them.
    pub(super) fn said(&self, text: &str, values: &[Value<'_>]) -> Option<Rc<Said>> {
        let log = &self.database.limits.log;
        if !log.parameters || log.slow_statement.is_none() || speaks_of_passwords(text) {
            return None;
        }
        let text = beginning(text, SHOWN_BYTES).to_owned();
        Some(Rc::new(Said { text, parameters: parameters(values) }))
    }

    /// A statement has taken longer than `logging.slow_statement`.
    pub(super) fn log_slow(&self, finished: &Finished) {
        self.database.observed.slow();
        let Finished { plan, labels, before, said, running, .. } = finished;
        let code = finished.outcome();
        let said = said.as_deref();
        tracing::warn!(
            target: "weir::slow",
            database = %self.database.name,
            user = %self.login.user,
            shard = self.shards_of(labels.shard),
            role = labels.role.name(),
            tier = self.database.observed.tier(labels.tier),
            strategy = labels.strategy.name(),
            fingerprint = %self.fingerprint(plan),
            sqlstate = code.as_ref().map(|code| code.as_str()),
            took_ms = millis(finished.took()),
            planning_ms = millis(before.planning),
            waiting_ms = millis(before.waiting),
            running_ms = millis(*running),
            statement = said.map_or(&*plan.shape, |said| said.text.as_str()),
            parameters = said.map(|said| said.parameters.as_str()).filter(|text| !text.is_empty()),
            "slow statement"
        );
    }

    /// One's name, or the names of all that the transaction has.
    fn shards_of(&self, shard: Option<ShardId>) -> String {
        let rules = &self.serving.rules;
        if let Some(shard) = shard {
            return rules.shard_name(shard).to_owned();
        }
        let mut names: Vec<_> =
            self.txn.participants.iter().map(|other| rules.shard_name(other.shard)).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { SEVERAL.to_owned() } else { names.join(",") }
    }

    /// A client has logged in.
    pub(super) fn log_came(&self) {
        if self.database.limits.log.connections {
            let (user, database) = (&*self.login.user, &*self.database.name);
            tracing::info!(target: EACH, client = self.peer(), user, database, "client logged in");
        }
    }

    /// It has left.
    pub(super) fn log_left(&self, came: Instant) {
        if self.database.limits.log.disconnections {
            let (user, database) = (&*self.login.user, &*self.database.name);
            let age_s = came.elapsed().as_secs_f64();
            tracing::info!(target: EACH, client = self.peer(), user, database, age_s, "client left");
        }
    }

    fn peer(&self) -> Option<String> {
        let peer = self.client.stream.tcp()?.peer_addr().ok()?;
        Some(peer.to_string())
    }
}

/// In milliseconds, three digits behind the point: microseconds.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

fn beginning(text: &str, bytes: usize) -> &str {
    let mut ends = (0..=bytes.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

/// `ALTER ROLE … PASSWORD 'x'`, and what a client does with a column of that name.
fn speaks_of_passwords(text: &str) -> bool {
    const WORD: &[u8] = b"password";
    text.as_bytes().windows(WORD.len()).any(|bytes| bytes.eq_ignore_ascii_case(WORD))
}

fn parameters(values: &[Value<'_>]) -> String {
    let mut out = String::new();
    for (position, value) in values.iter().enumerate() {
        let comma = if position > 0 { ", " } else { "" };
        let number = position + 1;
        out += &match value {
            Value::Null => format!("{comma}${number} = NULL"),
            Value::Text(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                let shown = beginning(&text, VALUE_BYTES).replace('\'', "''");
                format!("{comma}${number} = '{shown}'")
            }
            Value::Binary(bytes) => {
                let hex = bytes.iter().take(VALUE_BYTES / 2).map(|byte| format!("{byte:02x}"));
                format!("{comma}${number} = '\\x{}'", hex.collect::<String>())
            }
        };
        if out.len() > SHOWN_BYTES {
            out.push_str(", …");
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_told_as_postgres_logs_them_and_not_without_end() {
        let values = [Value::Text(b"it's"), Value::Null, Value::Binary(&[0, 255])];
        assert_eq!(parameters(&values), "$1 = 'it''s', $2 = NULL, $3 = '\\x00ff'");
        let long = "x".repeat(100_000);
        assert!(parameters(&[Value::Text(long.as_bytes()); 1000]).len() < 3000);
    }

    #[test]
    fn what_speaks_of_passwords_is_never_told_with_its_values() {
        assert!(speaks_of_passwords("ALTER ROLE app PassWord 'secret'"));
        assert!(!speaks_of_passwords("SELECT 'a pass word'"));
    }
}
