//! What the database contains, as far as names must be resolved: relations with their columns, and
//! functions. A value: read from the home shard, or from a file of CREATE statements.
use crate::ids::Oid;
use crate::sql::lexer;
use crate::sql::statement::{Concerns, CreateTable, Fill, Name, Statement};
use std::collections::HashMap;

/// Everything outside pg_catalog and information_schema.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Changes whenever the contents do: part of every plan's cache key.
    pub version: u64,
    pub equality: Equality,
    relations: HashMap<String, Vec<Relation>>,
    functions: HashMap<String, Vec<Function>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Relation {
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    /// In the table's order.
    pub columns: Vec<Column>,
    /// The partitioned or inherited-from table.
    pub parent: Option<(String, String)>,
    /// The owner of a serial column's or identity column's sequence: schema, table.
    pub owner: Option<(String, String)>,
    pub marks: Vec<Mark>,
    /// Foreign keys that point here.
    pub referenced: Vec<Reference>,
    /// Of a view; `None`: it could not be read.
    pub definition: Option<Definition>,
}

/// What a view reads.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Definition {
    pub query: String,
    /// The search_path under which the names in it are found.
    pub search_path: String,
}

/// What a table has that makes its writes do more, or other things, than they say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mark {
    /// CREATE RULE.
    Rules,
    /// Row security is on.
    Policies,
    /// Triggers that somebody has made, and that are not switched off.
    Triggers,
    /// Its rows are in its partitions; those of other tables may be in tables that inherit from it.
    Partitioned,
    /// A view that all servers that have the same rows work out alike: nothing in it depends on chance, on the
    /// time, or on the order of rows.
    Steady,
}

/// A foreign key, as the table sees it that it points to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reference {
    pub name: String,
    /// The table whose rows point here: its schema and name.
    pub table: (String, String),
    pub columns: Vec<ReferenceColumn>,
    pub on_delete: OnChange,
    pub on_update: OnChange,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReferenceColumn {
    /// In the table that points here.
    pub name: String,
    pub referenced: String,
    /// ON DELETE SET NULL or SET DEFAULT sets it.
    pub set: bool,
}

/// What a foreign key does with the rows that point to one that goes or changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnChange {
    /// NO ACTION, RESTRICT: nothing; it is an error if there are any.
    Keep,
    Cascade,
    /// SET NULL, SET DEFAULT.
    Set,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RelationKind {
    Table,
    View,
    MaterializedView,
    ForeignTable,
    Sequence,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Column {
    pub name: String,
    /// As `format_type` writes it: `bigint`, `character varying(20)`.
    pub type_name: String,
    /// 0 when unknown.
    pub type_oid: Oid,
    pub fill: Fill,
    /// The sequence behind a serial or identity column, as `pg_get_serial_sequence` writes it; or
    /// `weir.next_id()`.
    pub sequence: Option<String>,
    /// How its texts are ordered.
    pub collation: Collation,
    pub in_primary_key: bool,
    pub nulls: Nulls,
    /// The default's expression, if it tells the time.
    pub time: Option<String>,
}

/// Whether a column may be NULL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Nulls {
    /// Or it is not known.
    Taken,
    Refused,
}

/// When texts are equal, whatever their column.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Equality {
    /// When their bytes are: every collation is deterministic.
    #[default]
    OfBytes,
    /// There are collations under which different texts are equal.
    ByCollation,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Collation {
    /// By their bytes.
    Bytes,
    /// By another rule, or it is no text, or it is not known.
    Other,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Function {
    pub schema: String,
    pub name: String,
    pub volatility: Volatility,
    /// Written in C: it belongs to an extension, most likely.
    pub compiled: bool,
    pub aggregate: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

impl Catalog {
    pub fn new(
        version: u64,
        relations: impl IntoIterator<Item = Relation>,
        functions: impl IntoIterator<Item = Function>,
    ) -> Self {
        let mut catalog = Self { version, ..Self::default() };
        for relation in relations {
            catalog.relations.entry(relation.name.clone()).or_default().push(relation);
        }
        for function in functions {
            catalog.functions.entry(function.name.clone()).or_default().push(function);
        }
        catalog
    }

    /// From CREATE statements, as pg_dump writes them. Statements that say nothing about names are
    /// passed over; `Err`: text that cannot be cut into statements.
    pub fn from_ddl(text: &str) -> Result<Self, lexer::SyntaxError> {
        let mut relations = Vec::new();
        for statement in crate::sql::split::split(text, true)? {
            let statement = text.get(statement).unwrap_or("");
            let Ok(analysis) = crate::sql::compat::for_analysis(statement) else { continue };
            let Ok(Statement::Ddl(ddl)) = crate::sql::parse::parse(&analysis.text) else {
                continue;
            };
            match ddl.concerns {
                Concerns::CreateTable(table) => from_create_table(table, &mut relations),
                Concerns::NewView { name, .. } => {
                    relations.push(bare(&name, RelationKind::View));
                }
                Concerns::NewSequence { name, .. } => {
                    relations.push(bare(&name, RelationKind::Sequence));
                }
                Concerns::Relations(_) | Concerns::Everything => {}
            }
        }
        Ok(Self::new(0, relations, []))
    }

    pub fn is_empty(&self) -> bool {
        self.relations.is_empty()
    }

    pub fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.named(name).find(|relation| relation.schema == schema)
    }

    /// Relations of that name in any schema.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Relation> {
        self.relations.get(name).into_iter().flatten()
    }

    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values().flatten()
    }

    /// A relation with its partitions and the tables that inherit from it, however far below.
    pub fn family<'c>(&'c self, relation: &'c Relation) -> Vec<&'c Relation> {
        let mut family = vec![relation];
        let mut at = 0;
        while let Some(&parent) = family.get(at) {
            let is_child = |other: &&Relation| {
                let above = other.parent.as_ref();
                above.is_some_and(|(schema, name)| *schema == parent.schema && *name == parent.name)
            };
            // Nobody is its own ancestor, but a catalog is only text.
            let children = self.relations().filter(is_child);
            let new: Vec<_> = children
                .filter(|child| !family.iter().any(|one| std::ptr::eq(*one, *child)))
                .collect();
            family.extend(new);
            at += 1;
        }
        family
    }

    pub fn all_functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.values().flatten()
    }

    /// Functions of that name in any schema.
    pub fn functions(&self, name: &str) -> impl Iterator<Item = &Function> {
        self.functions.get(name).into_iter().flatten()
    }
}

impl Relation {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub fn has(&self, mark: Mark) -> bool {
        self.marks.contains(&mark)
    }
}

fn from_create_table(table: CreateTable, relations: &mut Vec<Relation>) {
    let schema = table.name.schema.clone().unwrap_or_else(|| String::from("public"));
    let in_public = |name: &Name| {
        (name.schema.clone().unwrap_or_else(|| String::from("public")), name.name.clone())
    };
    let parent = table.partition_of.as_ref().or(table.inherits.first()).map(in_public);
    let mut columns: Vec<Column> = match &parent {
        // A partition has its parent's columns.
        Some((schema, name)) => relations
            .iter()
            .find(|relation| relation.schema == *schema && relation.name == *name)
            .map(|relation| relation.columns.clone())
            .unwrap_or_default(),
        None => Vec::new(),
    };
    for column in table.columns {
        let sequence = match column.fill {
            Fill::Serial | Fill::Identity => {
                Some(format!("{schema}.{}_{}_seq", table.name.name, column.name))
            }
            Fill::Null | Fill::Default | Fill::Generated => None,
        };
        if let Some(sequence) = &sequence {
            let name = sequence.trim_start_matches(&format!("{schema}.")).to_owned();
            let name = Name { schema: Some(schema.clone()), name };
            let owner = Some((schema.clone(), table.name.name.clone()));
            relations.push(Relation { owner, ..bare(&name, RelationKind::Sequence) });
        }
        columns.push(Column {
            name: column.name,
            type_name: column.type_name,
            type_oid: Oid(0),
            fill: column.fill,
            sequence,
            collation: match column.collation.as_deref() {
                Some("C" | "POSIX" | "ucs_basic") => Collation::Bytes,
                Some(_) | None => Collation::Other,
            },
            in_primary_key: false,
            nulls: Nulls::Taken,
            time: None,
        });
    }
    let name = table.name.name;
    relations.push(Relation {
        schema,
        name,
        kind: RelationKind::Table,
        columns,
        parent,
        owner: None,
        marks: Vec::new(),
        referenced: Vec::new(),
        definition: None,
    });
}

fn bare(name: &Name, kind: RelationKind) -> Relation {
    Relation {
        schema: name.schema.clone().unwrap_or_else(|| String::from("public")),
        name: name.name.clone(),
        kind,
        columns: Vec::new(),
        parent: None,
        owner: None,
        marks: Vec::new(),
        referenced: Vec::new(),
        definition: None,
    }
}
