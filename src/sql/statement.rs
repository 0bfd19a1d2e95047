//! What a statement says, as far as routing needs it: small owned trees without any rules.
//!
//! Whatever cannot matter for the proof is folded into [`Expr::Other`], which keeps its operands
//! (a subquery or a function call may hide in them) and proves nothing.
use std::ops::Range;

/// A relation's or function's name, folded as PostgreSQL folds it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Name {
    pub schema: Option<String>,
    pub name: String,
}

#[derive(Debug)]
pub enum Statement {
    Query(Query),
    Insert(Insert),
    Update(Update),
    Delete(Delete),
    Merge(Merge),
    Copy(Copy),
    /// `EXPLAIN`: like its statement; `analyze` runs it.
    Explain {
        analyze: bool,
        statement: Box<Statement>,
    },
    Ddl(Ddl),
    /// `LOCK TABLE`.
    Lock(Vec<Name>),
    Notify,
    /// `CALL`: nobody knows what it touches.
    Opaque(&'static str),
}

/// A query with everything that may surround a SELECT.
#[derive(Debug)]
pub struct Query {
    pub recursive: bool,
    pub ctes: Vec<Cte>,
    pub body: Body,
    /// ORDER BY, LIMIT and OFFSET expressions.
    pub tail: Vec<Expr>,
    /// So many of them are ORDER BY's.
    pub ordered: usize,
    /// LIMIT, OFFSET or FETCH: which rows come out depends on all rows.
    pub limited: bool,
    pub locks: Locks,
}

/// `FOR UPDATE` or another lock on rows. Which items it names is in the notes of the analysis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Locks {
    None,
    /// It waits for rows that others have locked.
    Waiting,
    /// NOWAIT, SKIP LOCKED.
    Impatient,
}

#[derive(Debug)]
pub struct Cte {
    pub name: String,
    pub columns: Vec<String>,
    pub query: Query,
}

#[derive(Debug)]
pub enum Body {
    Select(Box<Select>),
    Nested(Box<Query>),
    Set(Box<Body>, Box<Body>),
    Values(Vec<Vec<Expr>>),
    /// A data-modifying CTE.
    Write(Box<Statement>),
}

#[derive(Debug)]
pub struct Select {
    /// Where its SELECT stands.
    pub at: Place,
    pub distinct: Distinct,
    pub outputs: Vec<Output>,
    pub from: Vec<From>,
    pub filter: Option<Expr>,
    pub grouping: Grouping,
    pub having: Option<Expr>,
    pub windows: Vec<Window>,
    /// A window function is called among the outputs.
    pub windowed: bool,
}

#[derive(Debug)]
pub enum Distinct {
    No,
    Rows,
    On(Vec<Expr>),
}

#[derive(Debug)]
pub enum Grouping {
    None,
    By(Vec<Expr>),
    /// GROUPING SETS, CUBE, ROLLUP: a grouped column may come out NULL.
    Sets(Vec<Expr>),
}

#[derive(Debug)]
pub enum Output {
    Expr { expr: Expr, alias: Option<String> },
    Star,
    StarOf(Vec<String>),
}

#[derive(Debug)]
pub enum From {
    Table(TableItem),
    Derived {
        query: Query,
        alias: Alias,
        lateral: bool,
    },
    /// A function, VALUES-like expression or table function: its operands only.
    Function {
        operands: Vec<Expr>,
        alias: Alias,
    },
    Join(Box<Join>),
}

#[derive(Debug)]
pub struct TableItem {
    pub name: Name,
    /// Where its name begins and ends.
    pub at: Range<Place>,
    pub alias: Alias,
}

/// What an item is called in its scope, and its columns if they are renamed.
#[derive(Clone, Default, Debug)]
pub struct Alias {
    pub name: Option<String>,
    pub columns: Vec<String>,
}

#[derive(Debug)]
pub struct Join {
    pub kind: JoinKind,
    pub left: From,
    pub right: From,
    pub on: On,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Debug)]
pub enum On {
    Nothing,
    Expr(Expr),
    Using(Vec<String>),
    Natural,
}

#[derive(Debug)]
pub struct Insert {
    pub ctes: Vec<Cte>,
    pub recursive: bool,
    pub table: Name,
    pub alias: Option<String>,
    pub columns: Vec<String>,
    /// Where a column list would be spliced in: after the table's name and alias.
    pub columns_at: Place,
    pub source: Source,
    pub conflict: Option<Conflict>,
    pub returning: Vec<Output>,
}

/// A place in the analysed text: line and column, both from 1, as the parser counts them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

#[derive(Debug)]
pub enum Source {
    Defaults,
    /// `None` in a row: DEFAULT.
    Rows(Vec<Vec<Option<Expr>>>),
    Query(Query),
}

#[derive(Debug)]
pub struct Conflict {
    pub set: Vec<Assignment>,
    pub filter: Option<Expr>,
}

/// `column = value`, or `(a, b) = …`.
#[derive(Debug)]
pub struct Assignment {
    pub columns: Vec<String>,
    pub value: Expr,
}

#[derive(Debug)]
pub struct Update {
    pub ctes: Vec<Cte>,
    pub recursive: bool,
    pub table: TableItem,
    pub set: Vec<Assignment>,
    pub from: Vec<From>,
    pub filter: Option<Expr>,
    pub returning: Vec<Output>,
}

#[derive(Debug)]
pub struct Delete {
    pub ctes: Vec<Cte>,
    pub recursive: bool,
    pub table: TableItem,
    pub using: Vec<From>,
    pub filter: Option<Expr>,
    pub returning: Vec<Output>,
}

#[derive(Debug)]
pub struct Merge {
    pub ctes: Vec<Cte>,
    pub recursive: bool,
    pub table: TableItem,
    pub source: From,
    pub on: Expr,
    pub actions: Vec<MergeAction>,
    pub returning: Vec<Output>,
}

#[derive(Debug)]
pub struct MergeAction {
    /// WHEN NOT MATCHED BY SOURCE: concerns every row of the target.
    pub by_source: bool,
    pub filter: Option<Expr>,
    pub action: Action,
}

#[derive(Debug)]
pub enum Action {
    Nothing,
    Delete,
    Update(Vec<Assignment>),
    /// `None` among the values: DEFAULT; no values at all: DEFAULT VALUES.
    Insert {
        columns: Vec<String>,
        values: Vec<Option<Expr>>,
    },
}

#[derive(Debug)]
pub struct Copy {
    pub source: CopySource,
    pub direction: CopyDirection,
}

#[derive(Debug)]
pub enum CopySource {
    Table { table: Name, columns: Vec<String> },
    Query(Query),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyDirection {
    FromClient,
    ToClient,
    /// A file or program on the server.
    Server,
}

/// A schema statement.
#[derive(Debug)]
pub struct Ddl {
    /// In the user's words: `create table`, `drop view`.
    pub what: String,
    pub concerns: Concerns,
}

#[derive(Debug)]
pub enum Concerns {
    CreateTable(CreateTable),
    /// These relations, or all; they are where the statement goes.
    Relations(Vec<Name>),
    /// A new relation that reads others: a view, a CREATE TABLE … AS.
    NewView {
        name: Name,
        query: Query,
        temporary: bool,
    },
    /// Something that every shard has: a type, a function, a schema, a role.
    Everything,
    /// A new sequence.
    NewSequence {
        name: Name,
        temporary: bool,
    },
}

#[derive(Debug)]
pub struct CreateTable {
    pub name: Name,
    pub temporary: bool,
    pub columns: Vec<ColumnFacts>,
    pub partition_of: Option<Name>,
    pub inherits: Vec<Name>,
    pub query: Option<Query>,
}

/// A column as CREATE TABLE writes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnFacts {
    pub name: String,
    /// Lower case, as written.
    pub type_name: String,
    pub fill: Fill,
    /// `COLLATE`, without its schema, if that is pg_catalog or none.
    pub collation: Option<String>,
}

/// Where a column's value comes from when a statement gives none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fill {
    Null,
    Default,
    Serial,
    Identity,
    Generated,
}

/// An expression, as far as it can limit rows or have effects.
#[derive(Debug)]
pub enum Expr {
    /// `user_id`, `o.user_id`, `public.orders.user_id`
    Column(Vec<String>),
    Literal(Literal),
    /// `$n`
    Param(u32),
    Cast(Box<Expr>, TypeName),
    Negative(Box<Expr>),
    Equal(Box<Expr>, Box<Expr>),
    And(Vec<Expr>),
    InList(Box<Expr>, Vec<Expr>),
    /// `x IN (SELECT …)`, not negated; also `x = ANY (SELECT …)`.
    InQuery(Box<Expr>, Box<Query>),
    /// `x = ANY (array)`
    EqualAny(Box<Expr>, Box<Expr>),
    IsNull(Box<Expr>),
    Row(Vec<Expr>),
    Array(Vec<Expr>),
    Call(Call),
    /// A scalar subquery or EXISTS.
    Subquery(Box<Query>),
    Star,
    Other(Vec<Expr>),
}

/// A constant as it is written.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Literal {
    Null,
    Boolean(bool),
    /// The digits as written.
    Number(String),
    /// The characters meant.
    Text(String),
    /// A literal lifted out of the statement's shape: its index.
    Lifted(usize),
    /// A constant of another form (bit strings, U&'…'): it has a value that is not worked out.
    Unread,
}

/// A type as written, in lower case and without a length: `bigint`, `character varying`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TypeName {
    pub name: String,
    /// A length or precision was given: the cast may change the value.
    pub modified: bool,
    pub array: bool,
}

#[derive(Debug)]
pub struct Call {
    pub name: Name,
    /// Its arguments, and then whatever stands in its clauses.
    pub operands: Vec<Expr>,
    pub clauses: Vec<CallClause>,
}

/// What a call of an aggregate or window function says besides its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallClause {
    Distinct,
    /// ORDER BY among the arguments, or another clause there.
    Ordered,
    WithinGroup,
    Filter,
    Over(Over),
}

/// Over which rows a window function looks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Over {
    /// The named window that it is, or builds upon.
    pub base: Option<String>,
    /// The operands that are PARTITION BY's.
    pub partition: Range<usize>,
}

/// `WINDOW name AS (…)`
#[derive(Debug)]
pub struct Window {
    pub name: String,
    pub exprs: Vec<Expr>,
    /// Its partition is among `exprs`.
    pub over: Over,
}

impl Call {
    pub fn plain(name: Name, operands: Vec<Expr>) -> Self {
        Self { name, operands, clauses: Vec::new() }
    }

    pub fn over(&self) -> Option<&Over> {
        self.clauses.iter().find_map(|clause| match clause {
            CallClause::Over(over) => Some(over),
            CallClause::Distinct
            | CallClause::Ordered
            | CallClause::WithinGroup
            | CallClause::Filter => None,
        })
    }
}

impl Name {
    pub fn bare(name: impl Into<String>) -> Self {
        Self { schema: None, name: name.into() }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

impl Place {
    /// The byte of `text` at this place.
    pub fn byte(self, text: &str) -> Option<usize> {
        let Range { start, end } = line(text, self.line)?;
        let mut column = 1;
        for (index, _) in text.get(start..end)?.char_indices() {
            if column == self.column {
                return Some(start + index);
            }
            column += 1;
        }
        (column == self.column).then_some(end)
    }
}

fn line(text: &str, number: u64) -> Option<Range<usize>> {
    let mut start = 0;
    for _ in 1..number {
        start += text.get(start..)?.find('\n')? + 1;
    }
    let end = text.get(start..)?.find('\n').map_or(text.len(), |length| start + length);
    Some(start..end)
}
