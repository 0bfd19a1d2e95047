//! Settings that a statement changes by calling `set_config`: learnt from the server that ran it, so
//! that this client keeps them on any server and the next client never sees them.
use super::{Protocol, Session, Stop};
use crate::error::Error;
use crate::plan::Planned;
use crate::sql::control::{Argument, SetConfig, set_config_calls};
use crate::txn::settings::quote_literal;
use crate::txn::{Setup, Status};
use crate::wire::params::Value;
use std::mem::take;
use std::sync::Arc;

/// A setting that a statement may have changed on a participant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Configured {
    at: usize,
    name: String,
    local: bool,
}

impl Session {
    /// Notes what the statement is going to change. What only the server can tell ties the session
    /// to it; where there are several servers that would not be enough.
    pub(super) fn note_configured(
        &mut self,
        at: usize,
        planned: &Planned,
        statement: &str,
        values: &[Value<'_>],
    ) -> Result<(), Error> {
        if !planned.plan.settings {
            return Ok(());
        }
        for SetConfig { name, local } in
            set_config_calls(statement, self.standard_conforming_strings())
        {
            let outside = self.txn.status() == Status::Idle;
            let local = constant(&local, values).and_then(|text| boolean(&text));
            match (constant(&name, values), local) {
                (Some(name), Some(local)) => {
                    let name = name.to_ascii_lowercase();
                    self.refuse_while_paused(&name)?;
                    self.configured.push(Configured { at, name, local: local && !outside });
                }
                // The session's statements all run there, as long as it names that shard.
                _ if self.serving.rules.is_plain() || self.txn.settings.own().shard.is_some() => {
                    if let Some(participant) = self.txn.participants.get_mut(at) {
                        participant.tied = true;
                    }
                }
                _ => {
                    return Err(Error::refused(
                        "set_config of a setting that only the server can name",
                        "write the name and is_local as constants or parameters, or use SET; pg_dump can \
                         dump one shard: PGOPTIONS='-c weir.shard=NAME' pg_dump …",
                    ));
                }
            }
        }
        Ok(())
    }

    /// The statements have succeeded: asks what the settings are now.
    pub(super) async fn learn_configured(&mut self) -> Result<(), Stop> {
        if self.configured.is_empty() {
            return Ok(());
        }
        self.protocol = Protocol::Simple;
        for Configured { at, name, local } in take(&mut self.configured) {
            // It need not be there: the call may not have been reached.
            let quoted = quote_literal(&name);
            let question = format!("SELECT pg_catalog.current_setting({quoted}, true)");
            let value = self.value_on(at, &question).await?;
            let to = quote_literal(&value);
            let text = format!("SELECT pg_catalog.set_config({quoted}, {to}, {local})");
            if local {
                self.txn.settings.set_local(&name, value);
                self.say_to_others(at, Setup::Local(text)).await?;
            } else {
                self.txn.settings.set(&name, value.clone());
                if let Some(participant) = self.txn.participants.get_mut(at) {
                    let applied = Arc::make_mut(&mut participant.lease.session.applied);
                    applied.insert(name, value);
                }
                self.overrule_locals(at, &text).await?;
            }
        }
        Ok(())
    }
}

fn constant(argument: &Argument, values: &[Value<'_>]) -> Option<String> {
    match argument {
        Argument::Constant(text) => Some(text.clone()),
        Argument::Parameter(index) => match values.get(*index) {
            Some(Value::Text(bytes)) => String::from_utf8(bytes.to_vec()).ok(),
            // Text looks the same in binary, and a boolean is one byte.
            Some(Value::Binary([0])) => Some("false".to_owned()),
            Some(Value::Binary([1])) => Some("true".to_owned()),
            Some(Value::Binary(bytes)) => String::from_utf8(bytes.to_vec()).ok(),
            Some(Value::Null) | None => None,
        },
        Argument::Computed => None,
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}
