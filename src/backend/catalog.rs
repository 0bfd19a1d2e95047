//! Reads from the home shard what names mean: relations with their columns, and functions.
use super::control::{Client, failed};
use crate::error::Error;
use crate::ids::Oid;
use crate::plan::Catalog;
use crate::plan::catalog::{Column, Function, Relation, RelationKind, Volatility};
use crate::sql::statement::Fill;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// Relations of users, with the table they are part of and the table whose column owns them.
const RELATIONS: &str = "\
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
           pn.nspname::text, p.relname::text, wn.nspname::text, w.relname::text \
    FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid AND i.inhseqno = 1 \
    LEFT JOIN pg_catalog.pg_class p ON p.oid = i.inhparent \
    LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
    LEFT JOIN pg_catalog.pg_depend d \
           ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 \
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0 \
          AND d.deptype IN ('a', 'i') AND c.relkind = 'S' \
    LEFT JOIN pg_catalog.pg_class w ON w.oid = d.refobjid \
    LEFT JOIN pg_catalog.pg_namespace wn ON wn.oid = w.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' \
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
    ORDER BY 2, 3";

const COLUMNS: &str = "\
    SELECT a.attrelid, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), \
           a.atttypid, a.attgenerated <> '', a.attidentity <> '', d.adbin IS NOT NULL, \
           pg_catalog.pg_get_serial_sequence(pg_catalog.format('%I.%I', n.nspname, c.relname), \
                                             a.attname::text) \
    FROM pg_catalog.pg_attribute a \
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ANY ($1) \
      AND c.relkind <> 'S' \
    ORDER BY a.attrelid, a.attnum";

const FUNCTIONS: &str = "\
    SELECT n.nspname::text, p.proname::text, p.provolatile::text, \
           l.lanname IN ('c', 'internal') \
    FROM pg_catalog.pg_proc p \
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') \
    ORDER BY 1, 2, 3";

/// The catalog of the database that the client is connected to. Its version is a hash of what was
/// read: the same contents have the same version.
pub async fn load(client: &Client) -> Result<Catalog, Error> {
    let mut oids: Vec<u32> = Vec::new();
    let mut relations = BTreeMap::new();
    for row in client.query(RELATIONS, &[]).await.map_err(failed)? {
        let oid: u32 = get(&row, 0)?;
        oids.push(oid);
        relations.insert(oid, relation(&row)?);
    }
    for row in client.query(COLUMNS, &[&oids]).await.map_err(failed)? {
        let column = column(&row)?;
        if let Some(relation) = relations.get_mut(&get::<u32>(&row, 0)?) {
            relation.columns.push(column);
        }
    }
    let mut functions = Vec::new();
    for row in client.query(FUNCTIONS, &[]).await.map_err(failed)? {
        functions.push(function(&row)?);
    }
    let mut relations: Vec<Relation> = relations.into_values().collect();
    relations.sort_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
    let mut hasher = DefaultHasher::new();
    (&relations, &functions).hash(&mut hasher);
    Ok(Catalog::new(hasher.finish(), relations, functions))
}

fn relation(row: &Row) -> Result<Relation, Error> {
    let pair = |first: usize| -> Result<Option<(String, String)>, Error> {
        let schema: Option<String> = get(row, first)?;
        let name: Option<String> = get(row, first + 1)?;
        Ok(schema.zip(name))
    };
    let kind: String = get(row, 3)?;
    Ok(Relation {
        schema: get(row, 1)?,
        name: get(row, 2)?,
        kind: match kind.as_str() {
            "v" => RelationKind::View,
            "m" => RelationKind::MaterializedView,
            "f" => RelationKind::ForeignTable,
            "S" => RelationKind::Sequence,
            _ => RelationKind::Table,
        },
        columns: Vec::new(),
        parent: pair(4)?,
        owner: pair(6)?,
    })
}

fn column(row: &Row) -> Result<Column, Error> {
    let sequence: Option<String> = get(row, 7)?;
    let fill = match (get::<bool>(row, 4)?, get::<bool>(row, 5)?, get::<bool>(row, 6)?) {
        (true, ..) => Fill::Generated,
        (_, true, _) => Fill::Identity,
        (_, _, true) if sequence.is_some() => Fill::Serial,
        (_, _, true) => Fill::Default,
        (_, _, false) => Fill::Null,
    };
    Ok(Column {
        name: get(row, 1)?,
        type_name: get(row, 2)?,
        type_oid: Oid(get(row, 3)?),
        fill,
        sequence,
    })
}

fn function(row: &Row) -> Result<Function, Error> {
    let volatility: String = get(row, 2)?;
    Ok(Function {
        schema: get(row, 0)?,
        name: get(row, 1)?,
        volatility: match volatility.as_str() {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        },
        compiled: get(row, 3)?,
    })
}

fn get<'r, T: FromSql<'r>>(row: &'r Row, index: usize) -> Result<T, Error> {
    row.try_get(index)
        .map_err(|error| Error::internal(format!("a catalog query's column {index}: {error}")))
}
