//! What a statement does, by its leading keywords alone: for what sqlparser cannot parse.
use super::lexer::{Lexer, Token};

/// The first word or words of a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    Select,
    Insert,
    Update,
    Delete,
    Merge,
    Copy,
    Values,
    Table,
    With,
    Explain,
    Create(Object),
    Alter(Object),
    Drop(Object),
    Truncate,
    Grant,
    Revoke,
    Comment,
    SecurityLabel,
    ReassignOwned,
    DropOwned,
    ImportForeignSchema,
    Vacuum,
    Analyze,
    Cluster,
    Reindex,
    RefreshMaterializedView,
    Checkpoint,
    Load,
    Do,
    Call,
    Lock,
    Notify,
    /// What `sql::control` parses.
    Control,
    /// Nothing but blanks.
    Empty,
    /// PostgreSQL will say what it thinks of it.
    Unknown,
}

/// What CREATE, ALTER or DROP is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Object {
    Table,
    TemporaryTable,
    ForeignTable,
    Index,
    Sequence,
    View,
    MaterializedView,
    Schema,
    Type,
    Domain,
    /// FUNCTION, PROCEDURE, AGGREGATE, ROUTINE.
    Function,
    Trigger,
    EventTrigger,
    Rule,
    Policy,
    Extension,
    /// ROLE, USER, GROUP: of the whole server.
    Role,
    Database,
    Tablespace,
    /// FOREIGN DATA WRAPPER, SERVER, USER MAPPING.
    ForeignServer,
    /// PUBLICATION, SUBSCRIPTION.
    Replication,
    DefaultPrivileges,
    System,
    /// COLLATION, CAST, OPERATOR, LANGUAGE, STATISTICS, TEXT SEARCH and the like.
    Other,
}

/// Look at the first words of a statement (the text or its shape).
pub fn classify(text: &str) -> Verb {
    let mut words = Words { text, lexer: Lexer::of_shape(text) };
    let Some(first) = words.next_after_parentheses() else { return Verb::Empty };
    match first.as_str() {
        "select" => Verb::Select,
        "insert" => Verb::Insert,
        "update" => Verb::Update,
        "delete" => Verb::Delete,
        "merge" => Verb::Merge,
        "copy" => Verb::Copy,
        "values" => Verb::Values,
        "table" => Verb::Table,
        "with" => Verb::With,
        "explain" => Verb::Explain,
        "create" => Verb::Create(object(&mut words)),
        "alter" => Verb::Alter(object(&mut words)),
        "drop" => match words.peek().as_deref() {
            Some("owned") => Verb::DropOwned,
            _ => Verb::Drop(object(&mut words)),
        },
        "truncate" => Verb::Truncate,
        "grant" => Verb::Grant,
        "revoke" => Verb::Revoke,
        "comment" => Verb::Comment,
        "security" => Verb::SecurityLabel,
        "reassign" => Verb::ReassignOwned,
        "import" => Verb::ImportForeignSchema,
        "vacuum" => Verb::Vacuum,
        "analyze" | "analyse" => Verb::Analyze,
        "cluster" => Verb::Cluster,
        "reindex" => Verb::Reindex,
        "refresh" => Verb::RefreshMaterializedView,
        "checkpoint" => Verb::Checkpoint,
        "load" => Verb::Load,
        "do" => Verb::Do,
        "call" => Verb::Call,
        "lock" => Verb::Lock,
        "notify" => Verb::Notify,
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release"
        | "set" | "reset" | "show" | "discard" | "prepare" | "execute" | "deallocate"
        | "listen" | "unlisten" | "declare" | "fetch" | "move" | "close" => Verb::Control,
        _ => Verb::Unknown,
    }
}

fn object(words: &mut Words<'_>) -> Object {
    let mut temporary = false;
    // Each turn passes one word that stands before the kind of object.
    for _ in 0..6 {
        let Some(word) = words.next() else { return Object::Other };
        return match word.as_str() {
            "temp" | "temporary" => {
                temporary = true;
                continue;
            }
            "or" | "replace" | "global" | "local" | "unlogged" | "unique" | "recursive"
            | "constraint" | "trusted" | "procedural" => continue,
            "table" if temporary => Object::TemporaryTable,
            "table" => Object::Table,
            "index" => Object::Index,
            "sequence" => Object::Sequence,
            "view" => Object::View,
            "materialized" => Object::MaterializedView,
            "schema" => Object::Schema,
            "type" => Object::Type,
            "domain" => Object::Domain,
            "function" | "procedure" | "aggregate" | "routine" => Object::Function,
            "trigger" => Object::Trigger,
            "event" => Object::EventTrigger,
            "rule" => Object::Rule,
            "policy" => Object::Policy,
            "extension" => Object::Extension,
            "role" | "group" => Object::Role,
            "user" => match words.next().as_deref() {
                Some("mapping") => Object::ForeignServer,
                _ => Object::Role,
            },
            "database" => Object::Database,
            "tablespace" => Object::Tablespace,
            "foreign" => match words.next().as_deref() {
                Some("table") => Object::ForeignTable,
                _ => Object::ForeignServer,
            },
            "server" => Object::ForeignServer,
            "publication" | "subscription" => Object::Replication,
            "default" => Object::DefaultPrivileges,
            "system" => Object::System,
            _ => Object::Other,
        };
    }
    Object::Other
}

struct Words<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
}

impl Words<'_> {
    fn token(&mut self) -> Option<Token> {
        self.lexer.by_ref().map_while(Result::ok).find(|token| !token.kind.is_blank())
    }

    /// The next token in lower case.
    fn next(&mut self) -> Option<String> {
        self.token().map(|token| token.text(self.text).to_ascii_lowercase())
    }

    fn next_after_parentheses(&mut self) -> Option<String> {
        loop {
            let word = self.next()?;
            if word != "(" {
                return Some(word);
            }
        }
    }

    fn peek(&self) -> Option<String> {
        Words { text: self.text, lexer: self.lexer.clone() }.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_known_by_their_first_words() {
        for (text, verb) in [
            ("", Verb::Empty),
            ("/* c */ ((select $L1))", Verb::Select),
            ("CREATE OR REPLACE FUNCTION f()", Verb::Create(Object::Function)),
            ("create unique index concurrently i on t (a)", Verb::Create(Object::Index)),
            ("create global temporary table t (a int)", Verb::Create(Object::TemporaryTable)),
            ("create unlogged table t (a int)", Verb::Create(Object::Table)),
            ("create user mapping for x", Verb::Create(Object::ForeignServer)),
            ("create user x", Verb::Create(Object::Role)),
            ("drop owned by x", Verb::DropOwned),
            ("drop materialized view v", Verb::Drop(Object::MaterializedView)),
            ("alter default privileges grant select", Verb::Alter(Object::DefaultPrivileges)),
            ("do $$ begin end $$", Verb::Do),
            ("set x = 1", Verb::Control),
            ("frobnicate", Verb::Unknown),
        ] {
            assert_eq!(classify(text), verb, "{text}");
        }
    }
}
