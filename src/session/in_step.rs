//! Schema statements in the gather database: which of them run there, and in which words. It is to
//! have what names mean on the shards, and no rows.
use super::{GatherState, Session, Stop};
use crate::backend::next_id;
use crate::error::{Error, SqlState};
use crate::exec::relay::Show;
use crate::plan::{Access, Planned};
use crate::sql::lexer::{self, Lexer, Token, TokenKind};
use crate::sql::verb::{Object, Verb, classify};
use crate::txn::{Participant, Status};
use crate::wire::encode;
use crate::wire::server::TransactionStatus;
use std::borrow::Cow;

impl Session {
    /// Runs a schema statement in the gather database, too, as one more participant of its transaction.
    /// What fails there fails for statements that gather, not for this one.
    ///
    /// Before the shards: statements that gather lock the tables there first as well, so that the two
    /// never wait for each other in a circle that no server sees whole.
    pub(super) async fn keep_gather_in_step(
        &mut self,
        statement: &str,
        planned: &Planned,
    ) -> Result<(), Stop> {
        let Some(gather) = self.serving.rules.gather_shard() else { return Ok(()) };
        let of_one_shard = self.txn.settings.own().shard.is_some();
        let in_step = self.serving.gather == GatherState::Ready;
        if !in_step || of_one_shard || planned.plan.ties.is_some() {
            return Ok(());
        }
        let text = planned.text(statement);
        let Some(words) = words(&text).filter(|text| !names_any(text, &self.temporary)) else {
            return Ok(());
        };
        let words = words.into_owned();
        if let Err(error) = self.serving.servers.fleet.answering_primary(gather) {
            self.tell_out_of_step(&error.message);
            return Ok(());
        }
        self.open_implicit().await?;
        let at = match self.site_on(gather, self.need(planned).of(Access::Read)).await {
            Ok(at) => at,
            Err(Stop::Say(error)) if !matches!(self.txn.status(), Status::Failed(_)) => {
                self.tell_out_of_step(&error.message);
                return Ok(());
            }
            Err(stop) => return Err(stop),
        };
        if words.contains(next_id::CALL) {
            self.say(at, &next_id::definition(next_id::GATHER), Show::Discard).await?;
        }
        self.say(at, &words, Show::Discard).await?;
        let refused = |participant: &&Participant| participant.status == TransactionStatus::Failed;
        if self.txn.participants.get(at).filter(refused).is_some() {
            self.say(at, "ROLLBACK", Show::Discard).await?;
            if let Some(participant) = self.txn.participants.get_mut(at) {
                participant.rolled_back();
            }
            self.tell_out_of_step("it refused the statement");
        }
        Ok(())
    }

    /// The statement goes on without it.
    pub(super) fn tell_out_of_step(&mut self, why: &str) {
        let message = format!("the gather database does not follow this change: {why}");
        let warning = Error::client(SqlState(*b"01000"), message).hint(
            "until it has the shards' schema again no statement is finished there: weir setup \
             --gather, see docs/gather.md",
        );
        encode::notice(&warning, &mut self.client.output);
    }
}

/// The statement as the gather database is to run it; `None`: it is nothing for it, since it is about
/// rows, rights on tables, or what a server has only once.
fn words(statement: &str) -> Option<Cow<'_, str>> {
    let tokens = tokens(statement);
    match classify(statement) {
        // No names change their meaning, and there is no transaction in which it could run.
        _ if tokens.iter().any(|token| token.is(statement, "concurrently")) => None,
        Verb::Create(Object::MaterializedView) => Some(without_rows(statement, &tokens)),
        Verb::Create(Object::Table) if has_query(statement, &tokens) => {
            Some(without_rows(statement, &tokens))
        }
        Verb::Create(object) | Verb::Alter(object) | Verb::Drop(object) => match object {
            Object::Table
            | Object::ForeignTable
            | Object::Index
            | Object::Sequence
            | Object::View
            | Object::MaterializedView
            | Object::Schema
            | Object::Type
            | Object::Domain
            | Object::Function
            | Object::Trigger
            | Object::Rule
            | Object::Policy
            | Object::Extension
            | Object::Other => Some(Cow::Borrowed(statement)),
            Object::TemporaryTable
            | Object::EventTrigger
            | Object::Role
            | Object::Database
            | Object::Tablespace
            | Object::ForeignServer
            | Object::Replication
            | Object::DefaultPrivileges
            | Object::System => None,
        },
        Verb::Grant | Verb::Revoke => {
            about_meaning(statement, &tokens).then_some(Cow::Borrowed(statement))
        }
        Verb::Select
        | Verb::Insert
        | Verb::Update
        | Verb::Delete
        | Verb::Merge
        | Verb::Copy
        | Verb::Values
        | Verb::Table
        | Verb::With
        | Verb::Explain
        | Verb::Truncate
        | Verb::Comment
        | Verb::SecurityLabel
        | Verb::ReassignOwned
        | Verb::DropOwned
        | Verb::ImportForeignSchema
        | Verb::Vacuum
        | Verb::Analyze
        | Verb::Cluster
        | Verb::Reindex
        | Verb::RefreshMaterializedView
        | Verb::Checkpoint
        | Verb::Load
        | Verb::Do
        | Verb::Call
        | Verb::Lock
        | Verb::Notify
        | Verb::Control
        | Verb::Empty
        | Verb::Unknown => None,
    }
}

fn tokens(text: &str) -> Vec<Token> {
    Lexer::of_shape(text).map_while(Result::ok).filter(|token| !token.kind.is_blank()).collect()
}

fn names_any(text: &str, names: &[String]) -> bool {
    let named = |token: &Token| lexer::name(*token, text).is_some_and(|name| names.contains(&name));
    !names.is_empty() && tokens(text).iter().filter(|token| token.kind.is_name()).any(named)
}

/// CREATE TABLE … AS: the word outside of parentheses.
fn has_query(text: &str, tokens: &[Token]) -> bool {
    let mut depth = 0usize;
    tokens.iter().any(|token| {
        match token.kind {
            TokenKind::OpenParen => depth += 1,
            TokenKind::CloseParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.is(text, "as")
    })
}

/// `… WITH NO DATA`, whatever was said of data.
fn without_rows<'t>(text: &'t str, tokens: &[Token]) -> Cow<'t, str> {
    let mut tokens = tokens;
    while let Some((last, before)) = tokens.split_last()
        && last.kind == TokenKind::Semicolon
    {
        tokens = before;
    }
    for ending in [&["with", "no", "data"][..], &["with", "data"]] {
        if let Some(at) = tokens.len().checked_sub(ending.len())
            && let Some((before, last)) = tokens.split_at_checked(at)
            && last.iter().zip(ending).all(|(token, word)| token.is(text, word))
        {
            tokens = before;
            break;
        }
    }
    let end = tokens.last().map_or(0, |token| token.end);
    Cow::Owned(format!("{} WITH NO DATA", text.get(..end).unwrap_or(text)))
}

/// GRANT and REVOKE that decide whether a name may be used at all. Nobody may read tables there, and
/// rights on what a server has only once are given on a shard of the same server already.
fn about_meaning(text: &str, tokens: &[Token]) -> bool {
    let mut behind = tokens.iter().skip_while(|token| !token.is(text, "on")).skip(1);
    let is_one = |token: Option<&Token>, words: &[&str]| {
        token.is_some_and(|token| words.iter().any(|word| token.is(text, word)))
    };
    match behind.next() {
        Some(token) if token.is(text, "all") => {
            is_one(behind.next(), &["functions", "procedures", "routines"])
        }
        first => is_one(first, &["schema", "function", "procedure", "routine", "type", "domain"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(statement: &str, expected: Option<&str>) {
        assert_eq!(words(statement).as_deref(), expected, "{statement}");
    }

    #[test]
    fn what_names_mean_is_made_there_too() {
        for same in [
            "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a + 1) STORED)",
            "ALTER TABLE t ADD COLUMN c text",
            "DROP VIEW v",
            "CREATE TYPE status AS ENUM ('open')",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "GRANT USAGE ON SCHEMA app TO web",
            "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA app TO web",
        ] {
            check(same, Some(same));
        }
    }

    #[test]
    fn what_concerns_rows_rights_or_the_whole_server_is_not() {
        for none in [
            "TRUNCATE t",
            "CREATE TEMP TABLE t (a int)",
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "REFRESH MATERIALIZED VIEW m",
            "GRANT SELECT ON t TO web",
            "GRANT SELECT ON ALL TABLES IN SCHEMA app TO web",
            "GRANT CONNECT ON DATABASE shop TO web",
            "GRANT admins TO web",
            "COMMENT ON TABLE t IS 'x'",
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO web",
            "CREATE ROLE web",
        ] {
            check(none, None);
        }
    }

    #[test]
    fn tables_from_queries_are_made_without_rows() {
        for (statement, expected) in [
            ("CREATE TABLE t AS SELECT 1 AS a;", "CREATE TABLE t AS SELECT 1 AS a WITH NO DATA"),
            ("create table t as select 1 with data", "create table t as select 1 WITH NO DATA"),
            ("CREATE TABLE t AS TABLE u WITH NO DATA", "CREATE TABLE t AS TABLE u WITH NO DATA"),
            (
                "CREATE MATERIALIZED VIEW m AS SELECT 1 -- one",
                "CREATE MATERIALIZED VIEW m AS SELECT 1 WITH NO DATA",
            ),
        ] {
            check(statement, Some(expected));
        }
    }
}
