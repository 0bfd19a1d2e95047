//! What a name means: search_path, temporary tables, partitions, and the rule that applies.
use super::catalog::{Catalog, Column, Mark, Relation, RelationKind};
use super::{Context, Unroutable};
use crate::ids::{DistributionId, ShardId};
use crate::rules::{Fallback, Placement, Rules, Table, Unlisted};
use crate::sql::statement::Name;

/// Where a relation's rows are.
#[derive(Clone, Debug)]
pub enum Home<'a> {
    Sharded {
        key: &'a str,
        distribution: DistributionId,
        fallback: Option<&'a Fallback>,
    },
    /// Whole on every shard.
    Reference,
    /// On one shard, because a rule says so or nobody listed it.
    Single(ShardId),
    /// A system catalog: the home shard's is what clients see.
    System,
    /// A temporary table: on the server that the session holds.
    Temporary,
}

/// A relation that a statement names.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    pub home: Home<'a>,
    /// `None`: the catalog does not know it.
    pub relation: Option<&'a Relation>,
    /// What the rules say of it, or of the table of which it is a partition.
    pub rule: Option<&'a Table>,
}

impl<'a> Found<'a> {
    pub fn columns(&self) -> Option<&'a [Column]> {
        let relation = self.relation?;
        (!relation.columns.is_empty()).then_some(relation.columns.as_slice())
    }

    pub fn has(&self, mark: Mark) -> bool {
        self.relation.is_some_and(|relation| relation.has(mark))
    }

    /// A view of which servers with the same rows may make other rows.
    pub fn is_unsteady_view(&self) -> bool {
        let view = |relation: &Relation| relation.kind == RelationKind::View;
        self.relation.is_some_and(view) && !self.has(Mark::Steady)
    }
}

/// The schemas of a search_path's raw value, in order.
pub fn search_path(raw: &str, user: &str) -> Vec<String> {
    let mut schemas = Vec::new();
    let mut rest = raw.trim();
    while !rest.is_empty() {
        let (schema, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"').unwrap_or(quoted.len());
                let (schema, after) = quoted.split_at(end);
                (schema.to_owned(), after.trim_start_matches('"'))
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (schema, after) = rest.split_at(end);
                (schema.trim().to_ascii_lowercase(), after)
            }
        };
        match schema.as_str() {
            "$user" => schemas.push(user.to_owned()),
            "" => {}
            _ => schemas.push(schema),
        }
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    schemas
}

/// pg_catalog comes first, unless search_path puts other schemas before it: then `=` may be an operator
/// of a user's.
pub fn admit_operators(search_path: &str) -> Result<(), Unroutable> {
    let path = self::search_path(search_path, "");
    match path.iter().position(|schema| schema == "pg_catalog") {
        None | Some(0) => Ok(()),
        Some(_) => Err(Unroutable::OperatorsHidden),
    }
}

/// Where the rows of the named relation are.
pub fn find<'a>(name: &Name, context: &Context<'a>) -> Result<Found<'a>, Unroutable> {
    if is_system(name, context) {
        return Ok(Found { home: Home::System, relation: None, rule: None });
    }
    if is_temporary_schema(name) {
        return Ok(Found { home: Home::Temporary, relation: None, rule: None });
    }
    let relation = relation(name, context);
    let rule = rule(name, relation, context);
    if name.schema.is_none() && context.temporary.contains(&name.name) {
        // It comes first, unless it is gone again: a known name may be hidden or not.
        return match rule.is_none() && relation.is_none() {
            true => Ok(Found { home: Home::Temporary, relation: None, rule: None }),
            false => Err(Unroutable::MaybeTemporary { table: name.to_string() }),
        };
    }
    let Some(rule) = rule else { return unlisted(name, relation, context) };
    let view = relation.is_some_and(|relation| match relation.kind {
        RelationKind::View => true,
        RelationKind::Table
        | RelationKind::MaterializedView
        | RelationKind::ForeignTable
        | RelationKind::Sequence => false,
    });
    let home = match &rule.placement {
        Placement::Sharded { .. } if view => {
            return Err(Unroutable::View { view: name.to_string(), why: None });
        }
        Placement::Sharded { key, distribution, fallback } => {
            Home::Sharded { key, distribution: *distribution, fallback: fallback.as_ref() }
        }
        Placement::Reference => Home::Reference,
        Placement::Single(shard) => Home::Single(*shard),
    };
    Ok(Found { home, relation, rule: Some(rule) })
}

/// Names of pg_catalog come before every schema of the path; all of them begin with `pg_`.
fn is_system(name: &Name, context: &Context<'_>) -> bool {
    match name.schema.as_deref() {
        Some(schema) => matches!(schema, "pg_catalog" | "information_schema" | "pg_toast"),
        None => {
            let from_path = || {
                search_path(context.search_path, context.user)
                    .first()
                    .is_some_and(|first| first == "information_schema")
            };
            (name.name.starts_with("pg_") || from_path()) && relation(name, context).is_none()
        }
    }
}

fn is_temporary_schema(name: &Name) -> bool {
    name.schema.as_deref().is_some_and(|schema| schema.starts_with("pg_temp"))
}

/// The relation that PostgreSQL would find.
pub fn relation<'a>(name: &Name, context: &Context<'a>) -> Option<&'a Relation> {
    let catalog: &'a Catalog = context.catalog;
    match &name.schema {
        Some(schema) => catalog.relation(schema, &name.name),
        None => search_path(context.search_path, context.user)
            .iter()
            .find_map(|schema| catalog.relation(schema, &name.name)),
    }
}

/// The rule for a relation: its own, or that of the table of which it is a partition.
fn rule<'a>(
    name: &Name,
    relation: Option<&'a Relation>,
    context: &Context<'a>,
) -> Option<&'a Table> {
    let Some(mut relation) = relation else {
        // The catalog does not know it, so PostgreSQL will complain unless it has just been made:
        // what the rules say about that name holds.
        let schema = name.schema.as_deref();
        return context.rules.tables.iter().find(|table| {
            table.name == name.name
                && match (&table.schema, schema) {
                    (Some(listed), Some(named)) => listed == named,
                    (Some(listed), None) => {
                        search_path(context.search_path, context.user).contains(listed)
                    }
                    (None, Some(named)) => named == "public",
                    (None, None) => true,
                }
        });
    };
    // Partitions of partitions are legal; a cycle is not.
    for _ in 0..16 {
        if let Some(rule) = listed(relation, context.rules, context.catalog) {
            return Some(rule);
        }
        let (schema, name) = relation.parent.as_ref()?;
        relation = context.catalog.relation(schema, name)?;
    }
    None
}

/// A rule without a schema means the only table of that name, or the one in `public`.
fn listed<'a>(relation: &Relation, rules: &'a Rules, catalog: &Catalog) -> Option<&'a Table> {
    let named = |table: &&Table| table.name == relation.name;
    let exactly = rules
        .tables
        .iter()
        .filter(named)
        .find(|table| table.schema.as_deref() == Some(relation.schema.as_str()));
    exactly.or_else(|| {
        let alone = catalog.named(&relation.name).count() == 1;
        rules
            .tables
            .iter()
            .filter(named)
            .find(|table| table.schema.is_none() && (alone || relation.schema == "public"))
    })
}

/// PostgreSQL's words that name no table without quotes (appendix C of its manual).
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
];

fn unlisted<'a>(
    name: &Name,
    relation: Option<&'a Relation>,
    context: &Context<'a>,
) -> Result<Found<'a>, Unroutable> {
    match relation.map(|relation| relation.kind) {
        // Drawn from by nextval; read like a table by few: the home shard's is the one.
        Some(RelationKind::Sequence) => {
            return Ok(Found { home: Home::System, relation, rule: None });
        }
        Some(RelationKind::View) => {
            return Err(Unroutable::View { view: name.to_string(), why: None });
        }
        Some(RelationKind::Table | RelationKind::MaterializedView | RelationKind::ForeignTable)
        | None => {}
    }
    match context.rules.unlisted {
        Unlisted::Shard(shard) => Ok(Found { home: Home::Single(shard), relation, rule: None }),
        // `FROM WHERE`: the parser took a word for a name, which PostgreSQL would not.
        Unlisted::Refuse if relation.is_none() && RESERVED.contains(&name.name.as_str()) => {
            Err(Unroutable::NotParsed { message: format!("\"{name}\" is a reserved word") })
        }
        // PostgreSQL would say the same, and no rule to paste would help.
        Unlisted::Refuse if relation.is_none() && !context.catalog.is_empty() => {
            Err(Unroutable::NoSuchTable { table: name.to_string() })
        }
        Unlisted::Refuse => Err(Unroutable::Unlisted {
            table: name.to_string(),
            rule: rule_to_paste(name, relation, context.rules),
        }),
    }
}

/// A rule for a table that none names: like the tables that have a column of the same name as a key.
pub fn rule_to_paste(name: &Name, relation: Option<&Relation>, rules: &Rules) -> String {
    let columns: Vec<&str> = relation
        .map(|relation| relation.columns.iter().map(|column| column.name.as_str()).collect())
        .unwrap_or_default();
    rule_for_columns(name, &columns, rules)
}

/// The same for a table that is about to be created.
pub fn rule_for_columns(name: &Name, columns: &[&str], rules: &Rules) -> String {
    let keys = rules.tables.iter().filter_map(|table| match &table.placement {
        Placement::Sharded { key, distribution, .. } if columns.contains(&key.as_str()) => {
            Some((key, *distribution))
        }
        Placement::Sharded { .. } | Placement::Reference | Placement::Single(_) => None,
    });
    // The key that most tables have: `user_id` rather than the `id` of users.
    let alike = keys
        .clone()
        .rev()
        .max_by_key(|key| keys.clone().filter(|other| other == key).count())
        .and_then(|(key, distribution)| Some((key, rules.distribution(distribution)?)));
    match alike {
        Some((key, distribution)) => format!(
            "[[table]]\nname = \"{name}\"\ndistribution = \"{}\"\nkey = \"{key}\"",
            distribution.name
        ),
        None => {
            format!("[[table]]\nname = \"{name}\"\nshard = \"{}\"", rules.shard_name(rules.home))
        }
    }
}
