//! PREPARE, EXECUTE, DEALLOCATE as SQL statements.
use super::prepared::already_prepared;
use super::several::Asked;
use super::statements::{Form, Naming, Statement};
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::relay::{Edit, Show, Step};
use crate::ids::Oid;
use crate::plan::{Route, Target};
use crate::sql::control::{self, Control};
use crate::sql::explained::Explained;
use crate::sql::lexer::Lexer;
use crate::txn::settings::differences;
use crate::wire::encode;
use crate::wire::frontend::Object;
use crate::wire::params::{Params, Value};
use crate::wire::value::oid;
use bytes::BytesMut;
use std::rc::Rc;
use std::time::Instant;

impl Session {
    pub(super) async fn prepare_sql(
        &mut self,
        name: String,
        types: &[String],
        text: &str,
        said: &str,
    ) -> Result<(), Stop> {
        if self.statements.contains_key(&name) {
            return Err(already_prepared(&name).into());
        }
        let list = match types {
            [] => String::new(),
            types => format!(" ({})", types.join(", ")),
        };
        let oids: Vec<Oid> = types.iter().map(|name| builtin_oid(name)).collect();
        // Errors point into PREPARE as the client wrote it.
        let theirs = said.rfind(text).and_then(|start| said.get(..start));
        let theirs = theirs.map_or(0, |before| before.chars().count());
        let theirs = i32::try_from(theirs).unwrap_or(0);
        let outer = self.edit.as_ref().map_or(0, |edit| edit.shift);
        let form = Form::Prepare(list);
        let mut prepared = match self.prepare(&name, text, Vec::clone(&oids), form, Naming::Named) {
            Err(Stop::Say(refusal)) => {
                return Err(self.judged(text, &oids, outer + theirs, refusal).await);
            }
            prepared => prepared?,
        };
        let ours = preparing(&prepared).chars().count() - prepared.sent.chars().count();
        let shift = outer + theirs - i32::try_from(ours).unwrap_or(0);
        prepared.edit = Rc::new(Edit { shift, ..(*prepared.edit).clone() });
        let statement = Rc::new(prepared);
        let at = self.site_anywhere().await?;
        self.ensure_said(at, &statement).await?;
        self.keep_statement(name, statement)?;
        self.settle_unless_pipelined().await;
        self.complete("PREPARE")
    }

    /// Makes a server know a statement by PREPARE; waits, so that an error comes before its use.
    async fn ensure_said(&mut self, at: usize, statement: &Statement) -> Result<(), Stop> {
        let limit = self.database.limits.statements_per_server;
        let id = statement.identity.id;
        let Some(participant) = self.txn.participants.get_mut(at) else { return Ok(()) };
        if participant.lease.session.prepared.contains(id) {
            return Ok(());
        }
        for id in participant.lease.session.prepared.prepare(id, limit) {
            // A Close of what is not there is no error, a DEALLOCATE would be.
            let name = format!("weir_{id}");
            encode::close(Object::Statement, name.as_bytes(), &mut participant.lease.output);
            self.relay.expect(at, Step::Close, Show::Swallow);
        }
        let text = preparing(statement);
        let now = self.txn.settings.meaning().clone();
        for there in differences(&now.values, &statement.settings.values) {
            self.say(at, &there, Show::Swallow).await?;
        }
        let edit = self.edit.replace(statement.edit.clone());
        let said = self.say(at, &text, Show::Swallow).await;
        self.edit = edit;
        for back in differences(&statement.settings.values, &now.values) {
            self.say(at, &back, Show::Swallow).await?;
        }
        if said.is_err()
            && let Some(participant) = self.txn.participants.get_mut(at)
        {
            participant.lease.session.prepared.doubt(id);
        }
        said
    }

    pub(super) async fn execute_sql(
        &mut self,
        name: &str,
        arguments: &[String],
        said: &str,
        explained: Option<&Explained>,
    ) -> Result<(), Stop> {
        let statement = self.current(name)?;
        let route = self.route_executed(&statement, name, arguments)?;
        let route = self.timed_route(&statement.planned, route);
        if route == Route::Many {
            let several = self.execute_on_several(&statement, name, arguments, explained);
            return Box::pin(several).await;
        }
        self.foresee(self.shape_of(&statement.planned, route))?;
        let row = with_arguments(&statement, arguments, |params| {
            statement.planned.lock_target(&statement.text, params)
        });
        if explained.is_none_or(Explained::runs) {
            self.await_turn(row, route, self.tier(&statement.planned)).await?;
        }
        let call = match explained {
            None => self.admit(self.shape_of(&statement.planned, route))?,
            Some(_) => None,
        };
        let at = self.site_evenly(route, self.need(&statement.planned)).await?;
        self.tie(at, &statement.planned);
        let statement = self.retold_statement(at, &statement).await?.unwrap_or(statement);
        self.ensure_said(at, &statement).await?;
        let mut running = Box::new(self.running(&statement.planned, at, call));
        running.asks(Instant::now());
        let outer = self.edit.take();
        let (mut text, mut edit) = executing(said, name, &statement, outer.as_deref());
        if let Some(explained) = explained {
            let about = explained.about(&text);
            edit.shift -= i32::try_from(about.chars().count() - text.chars().count()).unwrap_or(0);
            text = about;
        }
        self.edit = Some(Rc::new(edit));
        let outcome = self.say(at, &text, Show::Forward).await;
        self.edit = outer;
        self.ended_alone(*running, &outcome);
        outcome
    }

    /// An EXECUTE of a query whose rows are on several shards.
    async fn execute_on_several(
        &mut self,
        statement: &Rc<Statement>,
        name: &str,
        arguments: &[String],
        explained: Option<&Explained>,
    ) -> Result<(), Stop> {
        self.refuse_other_meaning(statement)?;
        let described = self.describe_within(&statement.text, &statement.types).await?;
        let (given, wanted) = (arguments.len(), described.len());
        if given != wanted {
            return Err(Error::client(
                SqlState::SYNTAX_ERROR,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .detail(format!("Expected {wanted} parameters but got {given}."))
            .into());
        }
        let owned: Vec<Option<String>> = arguments.iter().map(|text| literal_value(text)).collect();
        let rounded = arguments.iter().zip(&described).any(|(text, &type_oid)| {
            is_decimal(text.trim()) && !TAKES_DECIMALS.contains(&type_oid)
        });
        if rounded {
            return Err(no_constant(name).into());
        }
        let bound = owned.iter().map(|value| value.as_deref().map(str::as_bytes));
        let mut parameters = BytesMut::new();
        encode::parameters(bound, &mut parameters);
        let values: Vec<Value<'_>> = owned
            .iter()
            .map(|value| value.as_ref().map_or(Value::Null, |text| Value::Text(text.as_bytes())))
            .collect();
        let asked = Asked {
            text: &statement.text,
            planned: &statement.planned,
            types: &described,
            values: &values,
            parameters: &parameters,
            results: &[],
            batch: Some(0),
            name: "weir_all",
            portal: None,
            shift: statement.edit.shift,
            moment: None,
            statement: None,
        };
        match explained {
            None => {
                self.begin_trace(&statement.text);
                let running = self.running_on_several(&statement.planned, None);
                let outcome = self.answer_whole(&asked).await;
                self.ended_on_several(running, &outcome);
                outcome
            }
            Some(explained) => self.explain_whole(&asked, explained).await,
        }
    }

    /// `EXPLAIN EXECUTE`: what it executes is the session's own.
    pub(super) fn explains_executed(&self, explained: &Explained) -> Option<Control> {
        let strings = self.standard_conforming_strings();
        let control = control::parse(&explained.query, strings).ok().flatten()?;
        matches!(control, Control::Execute { .. }).then_some(control)
    }

    pub(super) async fn explain_executed(
        &mut self,
        explained: &Explained,
        control: &Control,
    ) -> Result<(), Stop> {
        self.refuse_if_failed(None)?;
        let Control::Execute { name, arguments } = control else {
            return Err(Error::internal("no EXECUTE to explain").into());
        };
        let planned = self.statement(name)?.planned.clone();
        self.begin_budget(&planned);
        self.execute_sql(name, arguments, &explained.query, Some(explained)).await
    }

    /// Where an EXECUTE goes.
    pub(super) fn route_executed(
        &self,
        statement: &Statement,
        name: &str,
        arguments: &[String],
    ) -> Result<Route, Stop> {
        let keyed = matches!(statement.planned.plan.target, Target::Keyed(_) | Target::Several);
        let is_null = |text: &String| text.trim().eq_ignore_ascii_case("null");
        let unread = |text: &String| literal_value(text).is_none() && !is_null(text);
        if keyed && arguments.iter().any(unread) {
            return Err(no_constant(name).into());
        }
        let route = with_arguments(statement, arguments, |params| {
            statement.planned.route(&statement.text, params, &self.serving.rules)
        });
        match route {
            // A key that PostgreSQL would round, perhaps.
            Err(_) if arguments.iter().any(|text| is_decimal(text.trim())) => {
                Err(no_constant(name).into())
            }
            route => Ok(route?),
        }
    }

    pub(super) fn deallocate(&mut self, name: Option<&str>) -> Result<(), Stop> {
        match name {
            None => {
                self.statements.retain(|name, _| name.is_empty());
                self.complete("DEALLOCATE ALL")
            }
            Some(name) => {
                self.statement(name)?;
                self.statements.remove(name);
                self.complete("DEALLOCATE")
            }
        }
    }
}

fn no_constant(name: &str) -> Error {
    Error::refused(
        format!("EXECUTE {name} has an argument that is not a plain constant of its type"),
        "write numbers and strings as constants, or bind them by the driver",
    )
}

const FLOAT4: Oid = Oid(700);
const FLOAT8: Oid = Oid(701);
/// Types that read a decimal's text as PostgreSQL would convert the number: others round it, say.
const TAKES_DECIMALS: [Oid; 4] = [oid::NUMERIC, FLOAT4, FLOAT8, oid::TEXT];

/// EXECUTE's arguments as parameters; what is no plain constant counts as NULL.
pub(super) fn with_arguments<T>(
    statement: &Statement,
    arguments: &[String],
    read: impl FnOnce(&Params<'_>) -> T,
) -> T {
    let owned: Vec<Option<String>> = arguments.iter().map(|text| literal_value(text)).collect();
    let values: Vec<Value<'_>> = owned
        .iter()
        .map(|value| value.as_ref().map_or(Value::Null, |text| Value::Text(text.as_bytes())))
        .collect();
    read(&Params { types: &statement.types, values: &values })
}

/// The PREPARE that a server gets.
fn preparing(statement: &Statement) -> String {
    let types = match &statement.form {
        Form::Prepare(types) => types.as_str(),
        Form::Parse => "",
    };
    format!("PREPARE {}{types} AS {}", statement.identity.name, statement.sent)
}

/// The client's EXECUTE under the server's name for the statement, and how errors about it read.
pub(super) fn executing(
    said: &str,
    name: &str,
    statement: &Statement,
    outer: Option<&Edit>,
) -> (String, Edit) {
    let tokens =
        Lexer::new(said, true).map_while(Result::ok).filter(|token| !token.kind.is_blank());
    // What comes after EXECUTE and the name.
    let rest = tokens.map(|token| token.start).nth(2).unwrap_or(said.len());
    let before = said.get(..rest).unwrap_or_default().chars().count();
    let server_name = &statement.identity.name;
    let start = format!("EXECUTE {server_name} ");
    let shift = i32::try_from(before).unwrap_or(0) - i32::try_from(start.len()).unwrap_or(0)
        + outer.map_or(0, |edit| edit.shift);
    let text = format!("{start}{}", said.get(rest..).unwrap_or_default());
    let name = Some((server_name.clone(), name.to_owned()));
    (text, Edit { shift, name, spliced: None })
}

/// The value of an EXECUTE argument that is a plain number or string.
fn literal_value(argument: &str) -> Option<String> {
    let text = argument.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    if is_decimal(text) {
        return Some(text.to_owned());
    }
    let inside = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let plain = !inside.contains('\\') && !inside.replace("''", "").contains('\'');
    plain.then(|| inside.replace("''", "'"))
}

/// `-4.5`: digits on both sides of a point.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    text.split_once('.').is_some_and(|(before, after)| digits(before) && digits(after))
}

/// Built-in types by the names that PREPARE's lists use; 0 where a server has to say.
fn builtin_oid(name: &str) -> Oid {
    Oid(match name.trim().to_ascii_lowercase().as_str() {
        "smallint" | "int2" => 21,
        "integer" | "int" | "int4" => 23,
        "bigint" | "int8" => 20,
        "numeric" | "decimal" => 1700,
        "text" => 25,
        "varchar" | "character varying" => 1043,
        "uuid" => 2950,
        "date" => 1082,
        "timestamptz" | "timestamp with time zone" => 1184,
        "bool" | "boolean" => 16,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_constants_have_a_value_before_a_server_sees_them() {
        assert_eq!(literal_value("-42").as_deref(), Some("-42"));
        assert_eq!(literal_value("'it''s'").as_deref(), Some("it's"));
        assert_eq!(literal_value("1 + 1"), None);
        assert_eq!(literal_value("'a' || 'b'"), None);
        assert_eq!(literal_value("-4.50").as_deref(), Some("-4.50"));
        assert_eq!(literal_value("4.5.6"), None);
        assert_eq!(literal_value("1e5"), None);
    }
}
