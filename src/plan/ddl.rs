//! Schema statements: on every shard, unless what they concern is on one shard only.
use super::analyst::Analyst;
use super::catalog::RelationKind;
use super::names::{self, Home};
use super::scope::Env;
use super::{Access, Context, Target, Tie, Unroutable};
use crate::ids::ShardId;
use crate::rules::Unlisted;
use crate::sql::lexer::{self, Lexer, Token, TokenKind};
use crate::sql::statement::{Concerns, CreateTable, Ddl, Name, Query};
use crate::sql::verb::{Object, Verb, classify};

/// Where a schema statement runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Every,
    One(ShardId),
}

impl Analyst<'_> {
    pub fn ddl(&mut self, ddl: &Ddl, env: &Env<'_>) -> Result<Target, Unroutable> {
        self.at_least(Access::Write);
        let home = self.context.rules.home;
        let drops = ddl.what.starts_with("drop");
        Ok(match &ddl.concerns {
            Concerns::Everything => Target::EveryShard,
            Concerns::Relations(names) => target(place_of_all(names, drops, self.context)?),
            Concerns::NewView { temporary: true, name, .. }
            | Concerns::NewSequence { temporary: true, name } => {
                self.ties = Some(Tie::TemporaryTable);
                self.temporary.push(name.name.clone());
                Target::Shard(home)
            }
            Concerns::NewView { query, .. } if ddl.what == "create materialized view" => {
                self.query(query, env, None)?;
                if !self.instances.is_empty() {
                    let what = String::from("CREATE MATERIALIZED VIEW of a sharded table");
                    return Err(Unroutable::Unsupported { what });
                }
                Target::EveryShard
            }
            Concerns::NewView { .. } | Concerns::NewSequence { .. } => Target::EveryShard,
            Concerns::CreateTable(table) => self.create_table(table, env)?,
        })
    }

    fn create_table(&mut self, table: &CreateTable, env: &Env<'_>) -> Result<Target, Unroutable> {
        if table.temporary || is_temporary(&table.name) {
            self.ties = Some(Tie::TemporaryTable);
            self.temporary.push(table.name.name.clone());
            if let Some(query) = &table.query {
                self.filled_from(query, self.context.rules.home, env)?;
            }
            return Ok(Target::Shard(self.context.rules.home));
        }
        let place = match (place_of(&table.name, false, self.context), &table.partition_of) {
            (Err(Unroutable::Unlisted { .. } | Unroutable::NoSuchTable { .. }), Some(parent)) => {
                place_of(parent, false, self.context)?
            }
            (
                Err(
                    Unroutable::Unlisted { table: name, .. }
                    | Unroutable::NoSuchTable { table: name },
                ),
                None,
            ) => {
                let columns: Vec<&str> =
                    table.columns.iter().map(|column| column.name.as_str()).collect();
                let rule = names::rule_for_columns(&table.name, &columns, self.context.rules);
                return Err(Unroutable::Unlisted { table: name, rule });
            }
            (place, _) => place?,
        };
        match (&table.query, place) {
            (None, place) => Ok(target(place)),
            (Some(query), Place::One(shard)) => {
                self.filled_from(query, shard, env)?;
                Ok(Target::Shard(shard))
            }
            (Some(_), Place::Every) => Err(Unroutable::Unsupported {
                what: String::from("CREATE TABLE … AS on several shards"),
            }),
        }
    }

    /// The query of CREATE TABLE … AS must read what that shard has whole.
    fn filled_from(
        &mut self,
        query: &Query,
        shard: ShardId,
        env: &Env<'_>,
    ) -> Result<(), Unroutable> {
        self.query(query, env, None)?;
        let elsewhere = self.needs.iter().find(|need| need.shard != shard);
        if let Some(need) = elsewhere {
            return Err(Unroutable::Apart {
                what: format!("{} is not where the new table will be", need.what),
                needs: String::from("create the table first, then insert"),
            });
        }
        match self.instances.first() {
            Some(instance) => Err(Unroutable::Unproved {
                table: instance.table.clone(),
                key: instance.key_column.to_owned(),
            }),
            None => Ok(()),
        }
    }
}

fn target(place: Place) -> Target {
    match place {
        Place::Every => Target::EveryShard,
        Place::One(shard) => Target::Shard(shard),
    }
}

fn is_temporary(name: &Name) -> bool {
    name.schema.as_deref().is_some_and(|schema| schema.starts_with("pg_temp"))
}

fn place_of_all(names: &[Name], drops: bool, context: &Context<'_>) -> Result<Place, Unroutable> {
    let mut place = None;
    for name in names {
        let found = place_of(name, drops, context)?;
        if place.is_some_and(|before| before != found) {
            return Err(Unroutable::Apart {
                what: String::from("these tables are not on the same shards"),
                needs: String::from("send one statement for each table"),
            });
        }
        place = Some(found);
    }
    Ok(place.unwrap_or(Place::Every))
}

fn place_of(name: &Name, drops: bool, context: &Context<'_>) -> Result<Place, Unroutable> {
    let relation = names::relation(name, context);
    // Views and free sequences are on every shard; a column's sequence is where its table is.
    let owner = relation.and_then(|relation| relation.owner.clone());
    if let Some((schema, table)) = owner {
        return place_of(&Name { schema: Some(schema), name: table }, drops, context);
    }
    let kind = relation.map(|relation| relation.kind);
    let everywhere = matches!(kind, Some(RelationKind::View | RelationKind::Sequence));
    match names::find(name, context) {
        Ok(found) => Ok(match found.home {
            Home::Sharded { .. } | Home::Reference => Place::Every,
            Home::Single(shard) => match everywhere {
                true => Place::Every,
                false => Place::One(shard),
            },
            Home::System if everywhere => Place::Every,
            Home::System | Home::Temporary => Place::One(context.rules.home),
        }),
        Err(Unroutable::View { .. }) => Ok(Place::Every),
        Err(Unroutable::Unlisted { .. } | Unroutable::NoSuchTable { .. }) if drops => {
            Ok(match context.rules.unlisted {
                Unlisted::Refuse => Place::Every,
                Unlisted::Shard(shard) => Place::One(shard),
            })
        }
        Err(other) => Err(other),
    }
}

/// What a statement's words alone say.
pub struct ByWords {
    pub target: Target,
    pub ties: Option<Tie>,
    /// Temporary tables that it makes.
    pub temporary: Vec<String>,
}

impl From<Target> for ByWords {
    fn from(target: Target) -> Self {
        Self { target, ties: None, temporary: Vec::new() }
    }
}

/// A statement that the parser does not know, by its first words; `None`: they do not say enough.
pub fn by_words(text: &str, context: &Context<'_>) -> Result<Option<ByWords>, Unroutable> {
    let verb = classify(text);
    let one_only = |what: &str| Err(Unroutable::OneShardOnly { what: what.to_owned() });
    let every = || Ok(Some(Target::EveryShard.into()));
    let on_tables = |words: &Words<'_>, keyword: &str, drops: bool| {
        let names = words.names_after(keyword);
        match names.is_empty() {
            true => Ok(None),
            false => Ok(Some(target(place_of_all(&names, drops, context)?).into())),
        }
    };
    let words = Words::new(text);
    match verb {
        Verb::Create(object) | Verb::Alter(object) | Verb::Drop(object) => {
            let drops = matches!(verb, Verb::Drop(_));
            let creates = matches!(verb, Verb::Create(_));
            match object {
                Object::TemporaryTable => {
                    let temporary: Vec<String> =
                        words.names_after("table").into_iter().map(|name| name.name).collect();
                    Ok((!temporary.is_empty()).then(|| ByWords {
                        ties: Some(Tie::TemporaryTable),
                        temporary,
                        ..Target::Shard(context.rules.home).into()
                    }))
                }
                Object::Table | Object::ForeignTable => on_tables(&words, "table", drops),
                Object::Index if creates => on_tables(&words, "on", false),
                // CREATE RULE … AS ON UPDATE TO table
                Object::Rule if creates => on_tables(&words, "to", false),
                Object::Trigger | Object::Policy | Object::Rule => on_tables(&words, "on", drops),
                Object::Sequence if !creates => on_tables(&words, "sequence", drops),
                Object::MaterializedView | Object::View if !creates => {
                    on_tables(&words, "view", drops)
                }
                // Nobody has looked at what it reads.
                Object::MaterializedView => Err(Unroutable::Unsupported {
                    what: String::from("CREATE MATERIALIZED VIEW in this form"),
                }),
                Object::Index
                | Object::Sequence
                | Object::View
                | Object::Schema
                | Object::Type
                | Object::Domain
                | Object::Function
                | Object::EventTrigger
                | Object::Extension
                | Object::DefaultPrivileges
                | Object::Other => every(),
                Object::Role
                | Object::Database
                | Object::Tablespace
                | Object::ForeignServer
                | Object::Replication
                | Object::System => one_only("a statement about roles, databases or servers"),
            }
        }
        Verb::Truncate => on_tables(&words, "truncate", false),
        Verb::Comment if words.has("table") => on_tables(&words, "table", false),
        Verb::Comment | Verb::SecurityLabel | Verb::Grant | Verb::Revoke => every(),
        Verb::Lock => one_only("LOCK TABLE"),
        // Where the database has another name on each shard, PostgreSQL says so.
        Verb::Reindex if words.has("database") || words.has("system") => one_only("this REINDEX"),
        Verb::Vacuum | Verb::Analyze | Verb::Cluster | Verb::Reindex => {
            Ok(Some(target(words.place_of_maintained(context)?).into()))
        }
        Verb::RefreshMaterializedView => on_tables(&words, "view", false),
        Verb::Checkpoint | Verb::Load | Verb::ImportForeignSchema => one_only("this statement"),
        Verb::ReassignOwned | Verb::DropOwned => every(),
        Verb::Do => Err(Unroutable::Opaque { what: String::from("DO") }),
        Verb::Call => Err(Unroutable::Opaque { what: String::from("CALL") }),
        Verb::Notify => Ok(Some(Target::Shard(context.rules.home).into())),
        // Not PostgreSQL's: it says so itself, on whichever server.
        Verb::Unknown => Ok(Some(Target::Shard(context.rules.home).into())),
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
        | Verb::Control
        | Verb::Empty => Ok(None),
    }
}

/// The words of a text, to find names in it.
pub(super) struct Words<'t> {
    text: &'t str,
    tokens: Vec<Token>,
}

impl<'t> Words<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let tokens = Lexer::of_shape(text)
            .map_while(Result::ok)
            .filter(|token| !token.kind.is_blank())
            .collect();
        Self { text, tokens }
    }

    pub(super) fn has(&self, keyword: &str) -> bool {
        self.tokens.iter().any(|token| token.is(self.text, keyword))
    }

    /// Is there a name that begins like this?
    pub(super) fn has_name(&self, beginning: &str) -> bool {
        self.tokens.iter().any(|token| {
            lexer::name(*token, self.text).is_some_and(|name| name.starts_with(beginning))
        })
    }

    /// Where VACUUM and its kin run: behind the verb come options, perhaps in parentheses, and then tables.
    /// Other objects, and tables that are not found by name, may be anywhere.
    fn place_of_maintained(&self, context: &Context<'_>) -> Result<Place, Unroutable> {
        const OPTIONS: [&str; 5] = ["full", "freeze", "verbose", "analyze", "analyse"];
        const NO_TABLES: [&str; 2] = ["index", "schema"];
        let is_one = |token: &Token, of: &[&str]| of.iter().any(|word| token.is(self.text, word));
        let mut at = 1;
        if self.tokens.get(at).is_some_and(|token| token.kind == TokenKind::OpenParen) {
            let close = self.tokens.iter().position(|token| token.kind == TokenKind::CloseParen);
            at = close.map_or(self.tokens.len(), |close| close + 1);
        }
        while self.tokens.get(at).is_some_and(|token| is_one(token, &OPTIONS)) {
            at += 1;
        }
        if self.tokens.get(at).is_some_and(|token| is_one(token, &NO_TABLES)) {
            return Ok(Place::Every);
        }
        place_of_all(&self.names_from(at), false, context)
    }

    /// The comma-separated names behind the first such keyword, passing IF EXISTS and ONLY.
    fn names_after(&self, keyword: &str) -> Vec<Name> {
        let at = self.tokens.iter().position(|token| token.is(self.text, keyword));
        at.map_or_else(Vec::new, |at| self.names_from(at + 1))
    }

    fn names_from(&self, at: usize) -> Vec<Name> {
        let mut names = Vec::new();
        let skipped = ["if", "not", "exists", "only", "table", "concurrently"];
        let mut rest = self.tokens.iter().skip(at).copied().peekable();
        loop {
            while rest
                .next_if(|token| skipped.iter().any(|word| token.is(self.text, word)))
                .is_some()
            {}
            let Some(first) = rest.next().and_then(|token| lexer::name(token, self.text)) else {
                return names;
            };
            let name = match rest.next_if(|token| token.kind == TokenKind::Dot) {
                Some(_) => match rest.next().and_then(|token| lexer::name(token, self.text)) {
                    Some(name) => Name { schema: Some(first), name },
                    None => return names,
                },
                None => Name::bare(first),
            };
            names.push(name);
            if rest.next_if(|token| token.kind == TokenKind::Comma).is_none() {
                return names;
            }
        }
    }
}

/// Nothing in the text can name a table, view or function of the users: it concerns the system.
pub fn names_nothing_of_users(text: &str, context: &Context<'_>) -> bool {
    if context.catalog.is_empty() || !context.temporary.is_empty() {
        return false;
    }
    let words = Words::new(text);
    words.tokens.iter().filter(|token| token.kind.is_name()).all(|token| {
        lexer::name(*token, text).is_some_and(|name| {
            context.catalog.named(&name).next().is_none()
                && context.catalog.functions(&name).next().is_none()
                && context.rules.tables.iter().all(|table| table.name != name)
                && super::functions::builtin(&name) != Some(super::functions::Effect::HiddenTables)
        })
    })
}
