//! SET, RESET, SHOW of weir's own, DISCARD ALL: settings that follow the client.
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::relay::Show;
use crate::ids::ShardId;
use crate::plan::{Access, Route};
use crate::txn::settings::{IDENTITY, quote_identifier, quote_literal};
use crate::txn::{Setup, Status};
use crate::wire::server::DataRow;
use crate::wire::{encode, frame};
use std::sync::Arc;

impl Session {
    /// A setting of weir's own.
    pub(super) fn set_own(
        &mut self,
        name: &str,
        value: Option<String>,
        tag: &str,
    ) -> Result<(), Stop> {
        match name {
            "weir.shard" => {
                self.named_shard = match value.as_deref() {
                    None | Some("") => None,
                    Some(shard) => Some(self.shard_named(shard)?),
                };
                self.complete(tag)
            }
            _ => Err(unknown_setting(name).into()),
        }
    }

    fn shard_named(&self, name: &str) -> Result<ShardId, Error> {
        let rules = &self.serving.rules;
        rules.shard_ids().find(|&id| rules.shard(id).is_some_and(|s| s.name == name)).ok_or_else(
            || {
                let names: Vec<_> = rules.shards.iter().map(|shard| shard.name.as_str()).collect();
                Error::client(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("shard \"{name}\" does not exist"),
                )
                .hint(format!("the shards are {}", names.join(", ")))
            },
        )
    }

    /// SET on one server, which judges the value; what it made of it is then the client's setting,
    /// and other servers are aligned when the client next uses them.
    pub(super) async fn set(&mut self, name: &str, statement: &str) -> Result<(), Stop> {
        if name.starts_with("transaction_") {
            return self.set_local(name, Some(String::new()), statement).await;
        }
        let at = self.site(Route::Any, Access::Read).await?;
        self.say(at, statement, Show::Forward).await?;
        let value = self.setting_on(at, name).await?;
        if name == "session_authorization" {
            // Who changes that is no longer in any role.
            self.txn.settings.reset("role");
        }
        self.txn.settings.set(name, value);
        self.aligned(at);
        self.settle_unless_pipelined().await;
        Ok(())
    }

    /// What a server says a setting is.
    pub(super) async fn setting_on(&mut self, at: usize, name: &str) -> Result<String, Stop> {
        self.relay.captured.clear();
        let text = format!("SELECT pg_catalog.current_setting({}, true)", quote_literal(name));
        self.say(at, &text, Show::Capture).await?;
        let captured = self.relay.captured.split();
        let header = frame::scan(&captured, usize::MAX).map_err(Error::from)?;
        let row = header.and_then(|header| captured.get(5..header.len)).unwrap_or_default();
        let row = DataRow::read(row).map_err(Error::from)?;
        let value = row.values().next().flatten().unwrap_or_default();
        Ok(String::from_utf8_lossy(value).into_owned())
    }

    /// The participant's server has what the client's session wants.
    pub(super) fn aligned(&mut self, at: usize) {
        let wanted = self.txn.settings.session().clone();
        if let Some(participant) = self.txn.participants.get_mut(at) {
            participant.lease.session.applied = wanted;
        }
    }

    pub(super) async fn settle_unless_pipelined(&mut self) {
        if self.txn.unsynced().is_empty() {
            self.settle().await;
        }
    }

    pub(super) async fn set_local(
        &mut self,
        name: &str,
        value: Option<String>,
        statement: &str,
    ) -> Result<(), Stop> {
        if self.txn.status() == Status::Idle {
            self.warn(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET LOCAL can only be used in transaction blocks",
            );
            return self.complete("SET");
        }
        let at = self.site(Route::Any, Access::Read).await?;
        self.say(at, statement, Show::Forward).await?;
        for other in self.txn.begun().into_iter().filter(|&other| other != at) {
            self.ask(other, statement, Show::Swallow);
        }
        self.drain().await?;
        let statement = statement.to_owned();
        self.txn.remember_setup(match name.starts_with("transaction_") {
            true => Setup::Characteristics(statement),
            false => Setup::Local(statement),
        });
        if value.is_some() || self.txn.settings.get(name).is_some() {
            let value = self.setting_on(at, name).await?;
            self.txn.settings.set_local(name, value);
        }
        Ok(())
    }

    /// Back to what the start-up packet asked for, else to the server's default.
    pub(super) async fn reset(&mut self, name: &str, tag: &str) -> Result<(), Stop> {
        if name.starts_with("weir.") {
            return self.set_own(name, None, tag);
        }
        let text = match self.txn.settings.startup_value(name) {
            Some(value) => format!(
                "SELECT pg_catalog.set_config({}, {}, false)",
                quote_literal(name),
                quote_literal(value)
            ),
            None if name == "session_authorization" => "RESET SESSION AUTHORIZATION".to_owned(),
            None => {
                let parts: Vec<_> = name.split('.').map(quote_identifier).collect();
                format!("RESET {}", parts.join("."))
            }
        };
        let at = self.site(Route::Any, Access::Read).await?;
        self.say(at, &text, Show::Swallow).await?;
        self.txn.settings.reset(name);
        self.aligned(at);
        self.settle_unless_pipelined().await;
        self.complete(tag)
    }

    pub(super) async fn reset_all(&mut self, tag: &str) -> Result<(), Stop> {
        let at = self.site(Route::Any, Access::Read).await?;
        self.say(at, "RESET ALL", Show::Swallow).await?;
        if let Some(participant) = self.txn.participants.get_mut(at) {
            let applied = Arc::make_mut(&mut participant.lease.session.applied);
            applied.retain(|name, _| IDENTITY.contains(&name.as_str()));
        }
        self.txn.settings.reset_all();
        self.align(at, Show::Swallow).await?;
        self.settle_unless_pipelined().await;
        self.complete(tag)
    }

    pub(super) async fn discard_all(&mut self) -> Result<(), Stop> {
        if self.txn.status() != Status::Idle {
            return Err(Error::client(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "DISCARD ALL cannot run inside a transaction block",
            )
            .into());
        }
        self.statements.clear();
        self.cursors.clear();
        self.named_shard = None;
        self.temporary.clear();
        for participant in &mut self.txn.participants {
            participant.tied = false;
            participant.lease.taint("its session was discarded");
        }
        self.settle().await;
        for name in IDENTITY {
            self.txn.settings.reset(name);
        }
        self.reset_all("DISCARD ALL").await
    }

    pub(super) fn show_own(&mut self, name: &str) -> Result<(), Stop> {
        let rules = &self.serving.rules;
        let value = match name {
            "weir.shard" => self.named_shard.map_or("", |shard| rules.shard_name(shard)).to_owned(),
            _ => return Err(unknown_setting(name).into()),
        };
        encode::data_row(&[Some(value.as_bytes())], &mut self.client.output);
        self.complete("SHOW")
    }
}

pub(super) fn is_own_setting(name: &str) -> bool {
    name.starts_with("weir.")
}

fn unknown_setting(name: &str) -> Error {
    Error::client(
        SqlState::UNDEFINED_OBJECT,
        format!("unrecognized configuration parameter \"{name}\""),
    )
    .hint("weir's own settings: weir.shard")
}
