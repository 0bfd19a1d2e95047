//! Statements that weir refuses, judged by PostgreSQL first: one that it refuses, too, for its syntax or a
//! name that is not there, gets its error. Nothing runs: the home shard is asked to parse.
use super::together::Wording;
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::ids::Oid;
use crate::plan::{Access, Unroutable};
use crate::txn::Status;
use crate::wire::frontend;
use std::ops::Range;

/// Which of a server's errors the client is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heeds {
    All,
    /// Those that PostgreSQL finds before it looks at a name.
    Syntax,
}

impl Session {
    /// What the client is told of a statement that weir refuses. `shift`: where it begins in what the
    /// client has sent, in characters.
    pub(super) async fn judged(
        &mut self,
        statement: &str,
        types: &[Oid],
        shift: i32,
        refusal: Error,
    ) -> Stop {
        let refused =
            [SqlState::FEATURE_NOT_SUPPORTED, SqlState::SYNTAX_ERROR, SqlState::UNDEFINED_TABLE];
        let failed = matches!(self.txn.status(), Status::Failed(_));
        if failed || self.serving.rules.is_plain() || !refused.contains(&refusal.code) {
            return refusal.into();
        }
        self.keep_budget(None);
        match self.parse_at_home(statement, types, shift, Heeds::All).await {
            Ok(()) | Err(Stop::Say(_)) => refusal.into(),
            Err(stop) => stop,
        }
    }

    /// The same of one that is a simple query, or a part of one.
    pub(super) async fn judged_here(&mut self, statement: &str, refusal: Error) -> Stop {
        let shift = self.edit.as_ref().map_or(0, |edit| edit.shift);
        self.judged(statement, &[], shift, refusal).await
    }

    /// The same of a Parse message.
    pub(super) async fn judged_parse(&mut self, body: &[u8], refusal: Error) -> Stop {
        let Ok(parse) = frontend::Parse::read(body) else { return refusal.into() };
        let types: Vec<Oid> = parse.types().collect();
        match self.readable(parse.sql).map(|text| text.into_owned()) {
            Ok(text) => self.judged(&text, &types, 0, refusal).await,
            Err(_) => refusal.into(),
        }
    }

    /// PostgreSQL runs nothing of a text that it cannot read to its end.
    pub(super) async fn check_syntax(
        &mut self,
        text: &str,
        statements: &[Range<usize>],
    ) -> Result<(), Stop> {
        if self.txn.status() != Status::Idle || self.serving.rules.is_plain() {
            return Ok(());
        }
        for range in statements {
            let statement = text.get(range.clone()).unwrap_or_default();
            let planned = self.database.planner.borrow_mut().plan(statement, &self.context());
            let is_read = match planned {
                Ok(planned) => !planned.plan.is_unread,
                Err(Unroutable::NotParsed { .. } | Unroutable::Unsupported { .. }) => false,
                Err(_) => true,
            };
            if is_read {
                continue;
            }
            let before = text.get(..range.start).unwrap_or_default().chars().count();
            let shift = i32::try_from(before).unwrap_or_default();
            self.keep_budget(None);
            match self.parse_at_home(statement, &[], shift, Heeds::Syntax).await {
                // What else is wrong is told in its turn.
                Ok(()) | Err(Stop::Say(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// An error has been told. `Ok`: PostgreSQL has nothing against it, or what it has is not its last
    /// word.
    async fn parse_at_home(
        &mut self,
        statement: &str,
        types: &[Oid],
        shift: i32,
        heeds: Heeds,
    ) -> Result<(), Stop> {
        self.catch_up().await?;
        let home = self.serving.rules.home;
        let at = self.site_on(home, self.own_need(Access::Read)).await?;
        let wording = Wording::shifted(statement, shift);
        let mut fan = self.fan_out("weir_all", &[at], &wording, types);
        fan.close(&mut self.txn.participants);
        self.go(&mut fan).await?;
        self.finish_quietly(&mut fan, &wording).await?;
        let Some(code) = fan.failure().map(|failure| failure.code()) else { return Ok(()) };
        let heeded = match heeds {
            Heeds::All => !self.may_be_elsewhere(code),
            Heeds::Syntax => code == SqlState::SYNTAX_ERROR,
        };
        match heeded {
            true => Err(self.fail_all(&mut fan, &wording).await),
            false => {
                self.note_failed(&fan.failed());
                Ok(())
            }
        }
    }

    /// Whether the home shard may lack what another shard has.
    fn may_be_elsewhere(&self, code: SqlState) -> bool {
        let missing = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
        let elsewhere = !self.temporary.is_empty() || self.serving.rules.has_tables_beside_home();
        elsewhere && missing.contains(&code)
    }
}
