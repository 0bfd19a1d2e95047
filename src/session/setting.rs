//! SET, RESET, DISCARD ALL: settings that follow the client.
use super::own::is_own_setting;
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::relay::Show;
use crate::txn::settings::{IDENTITY, alignment, quote_identifier, quote_literal};
use crate::txn::{Setup, Status};
use crate::wire::frame;
use crate::wire::server::DataRow;
use std::sync::Arc;

/// For how long SET changes a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    Session,
    /// SET LOCAL.
    Transaction,
}

impl Session {
    /// SET on one server, which judges the value; what it made of it is then the client's setting,
    /// and other servers are aligned when the client next uses them.
    pub(super) async fn set(&mut self, name: &str, statement: &str) -> Result<(), Stop> {
        if is_characteristic(name) {
            return self.set_characteristic(name, statement, "SET").await;
        }
        self.refuse_while_paused(name)?;
        let at = self.site_anywhere().await?;
        self.say(at, statement, Show::Forward).await?;
        let value = self.setting_on(at, name).await?;
        if name == "session_authorization" {
            // Who changes that is no longer in any role.
            self.txn.settings.reset("role");
        }
        if name == "application_name" {
            self.slot.shown.rename(&value);
        }
        self.txn.settings.set(name, value);
        self.aligned(at);
        self.overrule_locals(at, statement).await?;
        self.settle_unless_pipelined().await;
        Ok(())
    }

    /// What a server says a setting is. By SHOW: a SELECT would take the transaction's snapshot.
    pub(super) async fn setting_on(&mut self, at: usize, name: &str) -> Result<String, Stop> {
        self.value_on(at, &format!("SHOW {}", setting_name(name))).await
    }

    /// The one value that a server answers.
    pub(super) async fn value_on(&mut self, at: usize, question: &str) -> Result<String, Stop> {
        self.relay.captured.clear();
        self.say(at, question, Show::Capture).await?;
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
        if is_characteristic(name) {
            return self.set_characteristic(name, statement, "SET").await;
        }
        self.refuse_while_paused(name)?;
        let at = self.site_anywhere().await?;
        self.say(at, statement, Show::Forward).await?;
        self.say_to_others(at, Setup::Local(statement.to_owned())).await?;
        if value.is_some() || self.txn.settings.get(name).is_some() {
            let value = self.setting_on(at, name).await?;
            self.txn.settings.set_local(name, value);
        }
        Ok(())
    }

    /// SET transaction_isolation and its kin, RESET, too: what SET TRANSACTION says in other words. It is
    /// remembered in those words, so that weir knows what it means.
    async fn set_characteristic(
        &mut self,
        name: &str,
        statement: &str,
        tag: &str,
    ) -> Result<(), Stop> {
        let at = self.site_anywhere().await?;
        self.say(at, statement, Show::Swallow).await?;
        if self.txn.status() == Status::Idle {
            self.settle_unless_pipelined().await;
            return self.complete(tag);
        }
        let value = self.setting_on(at, name).await?;
        let said = match (name, value.as_str()) {
            ("transaction_isolation", level) => format!("ISOLATION LEVEL {level}"),
            ("transaction_read_only", "on") => "READ ONLY".to_owned(),
            ("transaction_read_only", _) => "READ WRITE".to_owned(),
            (_, "on") => "DEFERRABLE".to_owned(),
            (_, _) => "NOT DEFERRABLE".to_owned(),
        };
        self.say_to_others(at, Setup::Characteristics(format!("SET TRANSACTION {said}"))).await?;
        self.complete(tag)
    }

    /// What was said on this participant for the session also ends what was SET LOCAL before. The other
    /// servers have the latter, and those that join later will hear it.
    pub(super) async fn overrule_locals(&mut self, at: usize, text: &str) -> Result<(), Stop> {
        if self.txn.locals().next().is_none() {
            return Ok(());
        }
        self.say_to_others(at, Setup::Local(text.to_owned())).await
    }

    /// What was said on this participant the transaction's other servers hear now, or when they join.
    pub(super) async fn say_to_others(&mut self, at: usize, said: Setup) -> Result<(), Stop> {
        for other in self.txn.begun().into_iter().filter(|&other| other != at) {
            self.ask(other, said.text(), Show::Swallow);
        }
        self.txn.remember_setup(said);
        self.drain().await
    }

    /// Back to what the start-up packet asked for, else to the server's default.
    pub(super) async fn reset(&mut self, name: &str, tag: &str) -> Result<(), Stop> {
        if is_own_setting(name) {
            return self.set_own(name, None, Scope::Session, tag);
        }
        if is_characteristic(name) {
            return self.set_characteristic(name, &format!("RESET {name}"), tag).await;
        }
        self.refuse_while_paused(name)?;
        let text = match self.txn.settings.startup_value(name) {
            Some(value) => format!(
                "SELECT pg_catalog.set_config({}, {}, false)",
                quote_literal(name),
                quote_literal(value)
            ),
            None if name == "session_authorization" => "RESET SESSION AUTHORIZATION".to_owned(),
            None => format!("RESET {}", setting_name(name)),
        };
        let at = self.site_anywhere().await?;
        self.say(at, &text, Show::Swallow).await?;
        self.txn.settings.reset(name);
        self.aligned(at);
        self.overrule_locals(at, &text).await?;
        self.settle_unless_pipelined().await;
        self.complete(tag)
    }

    pub(super) async fn reset_all(&mut self, tag: &str) -> Result<(), Stop> {
        self.refuse_while_paused("all")?;
        let at = self.site_anywhere().await?;
        self.say(at, "RESET ALL", Show::Swallow).await?;
        if let Some(participant) = self.txn.participants.get_mut(at) {
            let applied = Arc::make_mut(&mut participant.lease.session.applied);
            applied.retain(|name, _| IDENTITY.contains(&name.as_str()));
        }
        self.txn.settings.reset_all();
        self.seen.parent = None;
        self.align(at, Show::Swallow).await?;
        let everywhere = alignment(&Arc::default(), self.txn.settings.session());
        let text = format!("RESET ALL;{}", everywhere.unwrap_or_default());
        self.overrule_locals(at, text.trim_end_matches(';')).await?;
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
}

/// As SHOW and RESET take it.
fn setting_name(name: &str) -> String {
    name.split('.').map(quote_identifier).collect::<Vec<_>>().join(".")
}

/// Settings of one transaction, which SET TRANSACTION sets.
fn is_characteristic(name: &str) -> bool {
    ["transaction_isolation", "transaction_read_only", "transaction_deferrable"].contains(&name)
}
