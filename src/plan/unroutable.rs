//! Why a statement is not run: the reason, what it is about, and the way out.
use crate::error::{Blame, Error, SqlState};

/// A statement whose right execution is not proved, or not built yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unroutable {
    /// A sharded table instance that no condition limits to one shard.
    Unproved {
        table: String,
        key: String,
    },
    /// The keys are proved, but they live on several shards.
    SeveralShards {
        what: String,
    },
    /// Something must run on one shard, the rest on another.
    Apart {
        what: String,
        needs: String,
    },
    /// No rule names the table; `rule` is one to paste.
    Unlisted {
        table: String,
        rule: String,
    },
    /// Neither a rule nor the catalog knows it.
    NoSuchTable {
        table: String,
    },
    /// `why`: of who reads it, what is in the way.
    View {
        view: String,
        why: Option<String>,
    },
    /// Rows of several shards are needed, and this is in the way.
    NotGathered {
        what: String,
    },
    /// A write concerns rows of several shards, and this is in the way.
    NotScattered {
        what: String,
    },
    /// A write to a reference table, of which it is not proved that all copies would be written alike.
    NotCopied {
        table: String,
        what: String,
    },
    /// A write that reads another sharded table, of which nothing says that only rows of the same key count.
    NotJoined {
        table: String,
        other: String,
        key: String,
    },
    /// The name may mean a temporary table of this session.
    MaybeTemporary {
        table: String,
    },
    WritesReference {
        table: String,
    },
    /// A write inside WITH, and a part of the statement that no key limits to one shard.
    InnerWrite {
        written: String,
        table: String,
        key: String,
    },
    SetsKey {
        table: String,
        column: String,
    },
    /// Rows would have to leave their shards, and this is in the way.
    NotMoved {
        table: String,
        column: String,
        what: String,
    },
    /// A foreign key's action would set what decides where a row lives.
    FarKey {
        foreign_key: String,
        table: String,
        column: String,
    },
    /// A foreign key's action would write one copy of a reference table.
    FarCopy {
        foreign_key: String,
        table: String,
    },
    /// INSERT whose key is only known when it runs.
    KeyUnknown {
        table: String,
        column: String,
        by: &'static str,
    },
    /// INSERT … SELECT (or MERGE) that does not hand the key through.
    KeyNotPassed {
        table: String,
        column: String,
    },
    NullKey {
        table: String,
        column: String,
    },
    /// The columns' order is needed and not known.
    ColumnsUnknown {
        table: String,
    },
    /// The key's value has a form that only PostgreSQL interprets.
    Unfolded {
        column: String,
        form: String,
    },
    /// The value has a type with which PostgreSQL would not compare the key.
    TypeMismatch {
        column: String,
        form: String,
    },
    /// No bucket takes this key.
    NoBucket {
        column: String,
        key: String,
    },
    /// PostgreSQL would refuse the value: its own words.
    Value(Error),
    /// A parameter the client did not bind.
    NoParameter(u32),
    Function {
        function: String,
    },
    HiddenTables {
        function: String,
    },
    Remembers {
        function: String,
    },
    /// The parser does not know the statement.
    NotParsed {
        message: String,
    },
    Unsupported {
        what: String,
    },
    TooBig,
    SeveralStatements,
    /// `search_path` names another schema before pg_catalog.
    OperatorsHidden,
    /// `DO`, `CALL`.
    Opaque {
        what: String,
    },
    /// Understood, refused until it can be done on every shard.
    OneShardOnly {
        what: String,
    },
    SetSequence {
        sequence: String,
    },
    /// A column that COPY leaves out, whose default would be another value on each shard.
    CopyDefault {
        table: String,
        column: String,
    },
    /// An option of COPY.
    CopyOption {
        what: String,
    },
    CopyServerFile,
    SelectInto,
    NoSuchShard {
        shard: String,
    },
}

impl Unroutable {
    /// The label under which refusals are counted.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unproved { .. } => "unproved",
            Self::SeveralShards { .. } => "several_shards",
            Self::Apart { .. } => "apart",
            Self::Unlisted { .. } => "unlisted_table",
            Self::NoSuchTable { .. } => "no_such_table",
            Self::View { .. } => "view",
            Self::NotGathered { .. } => "not_gathered",
            Self::NotScattered { .. } => "not_scattered",
            Self::NotCopied { .. } => "not_copied",
            Self::NotJoined { .. } => "not_joined",
            Self::MaybeTemporary { .. } => "maybe_temporary",
            Self::WritesReference { .. } => "writes_reference",
            Self::InnerWrite { .. } => "inner_write",
            Self::SetsKey { .. } => "sets_key",
            Self::NotMoved { .. } => "not_moved",
            Self::FarKey { .. } | Self::FarCopy { .. } => "foreign_key",
            Self::KeyUnknown { .. } => "key_unknown",
            Self::KeyNotPassed { .. } => "key_not_passed",
            Self::NullKey { .. } => "null_key",
            Self::ColumnsUnknown { .. } => "columns_unknown",
            Self::Unfolded { .. } => "key_form",
            Self::TypeMismatch { .. } => "key_type",
            Self::NoBucket { .. } => "no_bucket",
            Self::Value(_) => "bad_value",
            Self::NoParameter(_) => "no_parameter",
            Self::Function { .. } => "function",
            Self::HiddenTables { .. } => "hidden_tables",
            Self::Remembers { .. } => "sequence_state",
            Self::NotParsed { .. } => "not_parsed",
            Self::Unsupported { .. } => "unsupported",
            Self::TooBig => "too_big",
            Self::SeveralStatements => "several_statements",
            Self::OperatorsHidden => "operators_hidden",
            Self::Opaque { .. } => "opaque",
            Self::OneShardOnly { .. } => "one_shard_only",
            Self::SetSequence { .. } => "set_sequence",
            Self::CopyDefault { .. } => "copy_default",
            Self::CopyOption { .. } => "copy",
            Self::CopyServerFile => "copy_file",
            Self::SelectInto => "select_into",
            Self::NoSuchShard { .. } => "no_such_shard",
        }
    }
}

const HINT_SHARD: &str = "name the shard: /* weir: shard=NAME */";

impl From<Unroutable> for Error {
    fn from(unroutable: Unroutable) -> Self {
        use Unroutable as U;
        match unroutable {
            U::Unproved { table, key } => Error::refused(
                format!(
                    "no condition limits {table} to one shard, and this statement is not run on several"
                ),
                format!("add {key} = … as a condition on {table} itself"),
            ),
            U::SeveralShards { what } => Error::refused(
                format!("the statement concerns several shards: {what}"),
                "send one statement for each shard's keys",
            ),
            U::Apart { what, needs } => {
                Error::refused(format!("the statement needs two shards at once: {what}"), needs)
            }
            U::Unlisted { table, rule } => Error {
                blame: Blame::Rules,
                ..Error::refused(
                    format!("no rule names table {table}"),
                    format!("add to the rules file:\n{rule}"),
                )
            },
            U::NoSuchTable { table } => Error::client(
                SqlState::UNDEFINED_TABLE,
                format!("relation \"{table}\" does not exist"),
            ),
            U::NotGathered { what } => Error::refused(
                format!("{what} in a query over several shards is not supported"),
                "limit every sharded table to one key, or name the shard: /* weir: shard=NAME */",
            ),
            U::NotScattered { what } => Error::refused(
                format!("{what} in a write over several shards is not supported"),
                "limit every sharded table to one key, or write the rows of one shard at a time: \
                 /* weir: shard=NAME */",
            ),
            U::NotCopied { table, what } => Error::refused(
                format!("{what} in a write to reference table {table} is not supported"),
                "every shard has a copy of it: write values that are the same on all of them",
            ),
            U::NotJoined { table, other, key } => Error::refused(
                format!(
                    "nothing limits {other} to the rows of the same key as those of {table} that \
                     are written"
                ),
                format!("join {other} by {key} with the key of {table}, or give both one key"),
            ),
            U::View { view, why: Some(why) } => Error::refused(
                format!("view {view} cannot be read as a sharded table: {why}"),
                "write the view's query in the statement, or name a shard: /* weir: shard=NAME */",
            ),
            U::View { view, why: None } => Error::refused(
                format!("{view} is a view, which can be read by a query only"),
                "name the view's table, or name a shard: /* weir: shard=NAME */",
            ),
            U::MaybeTemporary { table } => Error::refused(
                format!("{table} may be a temporary table of this session or the sharded one"),
                format!("write pg_temp.{table} or the table's schema"),
            ),
            U::WritesReference { table } => Error::refused(
                format!(
                    "{table} is a reference table, whole on every shard: only a statement of its \
                     own can write it"
                ),
                "send an INSERT, UPDATE, DELETE or MERGE without WITH around it",
            ),
            U::InnerWrite { written, table, key } => Error::refused(
                format!(
                    "the statement writes {written} inside WITH, and no condition limits {table} to \
                     one shard"
                ),
                format!(
                    "add {key} = … as a condition on {table} itself, or send the writes one after \
                     the other in one transaction"
                ),
            ),
            U::SetsKey { table, column } => Error::refused(
                format!(
                    "{column} decides where a row of {table} lives: only an UPDATE of its own can \
                     change it"
                ),
                "send an UPDATE without WITH or EXPLAIN around it, or delete the row and insert it \
                 with its new key",
            ),
            U::NotMoved { table, column, what } => Error::refused(
                format!(
                    "{what} in an UPDATE of {column} of {table}, whose rows may belong to another \
                     shard then, is not supported"
                ),
                "delete the row and insert it with its new key, in one transaction",
            ),
            U::FarKey { foreign_key, table, column } => Error::refused(
                format!(
                    "foreign key {foreign_key} would set {column} of {table}, which decides where \
                     a row lives"
                ),
                format!(
                    "give {foreign_key} no action that sets {column}, and change or delete the \
                     rows of {table} first"
                ),
            ),
            U::FarCopy { foreign_key, table } => Error::refused(
                format!(
                    "foreign key {foreign_key} would write reference table {table} on one shard \
                     only"
                ),
                format!(
                    "give {foreign_key} no action, and write {table} by a statement of its own"
                ),
            ),
            U::KeyUnknown { table, column, by } => Error::refused(
                format!(
                    "the value of {column} for {table} comes from {by} and is not known before the insert"
                ),
                format!("give {column} a constant or a parameter"),
            ),
            U::KeyNotPassed { table, column } => Error::refused(
                format!(
                    "nothing tells the shard of the rows that are inserted into {table}: their {column} is \
                     no key of the rows selected"
                ),
                format!(
                    "select {column} from the key column of a sharded table, or give it one constant"
                ),
            ),
            U::NullKey { table, column } => Error::refused(
                format!(
                    "{column} of {table} is NULL, and no other key says where such a row lives"
                ),
                format!("give {column} a value"),
            ),
            U::ColumnsUnknown { table } => Error::refused(
                format!("the columns of {table} and their order are not known"),
                format!("name them: INSERT INTO {table} (…) VALUES (…)"),
            ),
            U::Unfolded { column, form } => Error::refused(
                format!("the value for {column} is {form}, from which weir cannot tell the shard"),
                "give a constant or a parameter of the column's type",
            ),
            U::TypeMismatch { column, form } => Error::refused(
                format!("{column}, which tells the shard, is compared with {form}"),
                "cast the value to the column's type",
            ),
            U::NoBucket { column, key } => Error {
                blame: Blame::Rules,
                ..Error::refused(
                    format!("no bucket takes {column} = {key}"),
                    "add the key's value or range to its distribution in the rules file",
                )
            },
            U::Value(error) => error,
            U::NoParameter(number) => {
                Error::client(SqlState(*b"42P02"), format!("there is no parameter ${number}"))
            }
            U::Function { function } => Error::refused(
                format!("function {function} may read tables, and weir does not know which"),
                "declare it IMMUTABLE if it reads none, or name it and its tables under functions in the \
                 rules file",
            ),
            U::HiddenTables { function } => Error::refused(
                format!("function {function} reads tables that the statement does not name"),
                HINT_SHARD,
            ),
            U::Remembers { function } => Error::refused(
                format!("{function} asks what this session did on one server"),
                "use INSERT … RETURNING; or ask in the same transaction, right behind an INSERT \
                 into one shard that draws the value",
            ),
            U::NotParsed { message } => {
                Error::refused(format!("the statement is not understood: {message}"), HINT_SHARD)
            }
            U::Unsupported { what } => {
                Error::refused(format!("{what} is not supported"), HINT_SHARD)
            }
            U::TooBig => Error {
                code: SqlState::STATEMENT_TOO_COMPLEX,
                ..Error::refused(
                    "the statement is too long or too deeply nested to be analysed",
                    HINT_SHARD,
                )
            },
            U::SeveralStatements => Error::client(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            ),
            U::OperatorsHidden => Error::refused(
                "search_path names a schema before pg_catalog, and = may be an operator of that schema",
                "leave pg_catalog out of search_path, or name it first",
            ),
            U::Opaque { what } => Error::refused(
                format!("weir does not know what {what} reads and writes"),
                HINT_SHARD,
            ),
            U::OneShardOnly { what } => Error::refused(
                format!("{what} cannot run in one transaction on every shard"),
                "run it shard by shard: /* weir: shard=NAME */",
            ),
            U::SetSequence { sequence } => Error::refused(
                "setval of a sequence from which each shard draws values of its own",
                match sequence.as_str() {
                    "" => String::from("ALTER SEQUENCE … RESTART WITH … sets it on all shards"),
                    name => format!("ALTER SEQUENCE {name} RESTART WITH … sets it on all shards"),
                },
            ),
            U::CopyDefault { table, column } => Error::refused(
                format!(
                    "COPY to {table} leaves {column} to its default, which each shard would work \
                     out for itself"
                ),
                format!("name {column} among COPY's columns, and give it a value in each row"),
            ),
            U::CopyOption { what } => Error::refused(
                format!("{what} is not supported over several shards"),
                "leave it out, or copy to one shard: /* weir: shard=NAME */",
            ),
            U::CopyServerFile => Error::refused(
                "COPY to or from a file or program of a server",
                "use COPY … FROM STDIN or TO STDOUT",
            ),
            U::SelectInto => {
                Error::refused("SELECT INTO is not supported", "use CREATE TABLE, then INSERT")
            }
            U::NoSuchShard { shard } => Error::client(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("there is no shard \"{shard}\""),
            ),
        }
    }
}
