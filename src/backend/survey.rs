//! Reads from one server's catalogs what `rules::survey` compares.
use super::control::{Client, failed};
use super::{guard, sequences};
use crate::error::Error;
use crate::rules::survey::{
    ColumnFacts, Filled, ForeignKey, ShardSurvey, TableFacts, Unique, UniqueBy,
};
use std::collections::BTreeMap;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

const DATABASE: &str = "\
    SELECT current_setting('server_version_num')::int, oid, \
           pg_encoding_to_char(encoding)::text, datcollate::text \
    FROM pg_database WHERE datname = current_database()";

/// From PostgreSQL 15 on; older servers keep no version for a database's collation.
const COLLATION_VERSION: &str = "SELECT pg_database_collation_actual_version($1)";

/// What decides how values look: the defaults of this login, and those of each role.
const SETTINGS: &str = "\
    WITH wanted (name) AS (VALUES ('timezone'), ('datestyle'), ('intervalstyle'), \
        ('extra_float_digits'), ('bytea_output'), ('lc_monetary')) \
    SELECT lower(s.name), s.reset_val FROM pg_settings s JOIN wanted w ON w.name = lower(s.name) \
    UNION ALL \
    SELECT concat(w.name, ' of role ', r.rolname, \
                  CASE WHEN s.setdatabase <> 0 THEN ' in the database' END), \
           substr(c, strpos(c, '=') + 1) \
    FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole \
    CROSS JOIN unnest(s.setconfig) c JOIN wanted w ON w.name = lower(split_part(c, '=', 1)) \
    WHERE s.setdatabase = 0 \
       OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Ordinary and partitioned tables, without partitions: what applies to one applies to its parent.
const TABLES: &str = "\
    SELECT c.oid, n.nspname::text, c.relname::text \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'weir') \
      AND n.nspname NOT LIKE 'pg\\_toast%' \
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
                      AND d.objid = c.oid AND d.deptype = 'e') \
    ORDER BY 2, 3";

const COLUMNS: &str = "\
    SELECT a.attrelid, a.attname::text, t.typname::text, format_type(a.atttypid, a.atttypmod), \
           CASE WHEN a.attcollation <> t.typcollation \
                THEN concat_ws(' ', l.collname, l.collversion) END, \
           coalesce(l.collisdeterministic, true), a.attnotnull, \
           a.attgenerated <> '', \
           a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false), \
           d.adbin IS NOT NULL \
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
    LEFT JOIN pg_collation l ON l.oid = a.attcollation \
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ANY ($1) \
    ORDER BY a.attrelid, a.attnum";

const UNIQUES: &str = "\
    SELECT i.indrelid, x.relname::text, \
           ARRAY(SELECT a.attname::text \
                 FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY k(num, place) \
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num \
                 ORDER BY k.place) \
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid \
    WHERE i.indisunique AND i.indrelid = ANY ($1) ORDER BY 1, 2";

/// The columns that are compared by `=`.
const EXCLUSIONS: &str = "\
    SELECT c.conrelid, c.conname::text, \
           ARRAY(SELECT a.attname::text \
                 FROM unnest(c.conkey, c.conexclop) WITH ORDINALITY k(num, operator, place) \
                 JOIN pg_operator o ON o.oid = k.operator AND o.oprname = '=' \
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num \
                 ORDER BY k.place) \
    FROM pg_constraint c WHERE c.contype = 'x' AND c.conrelid = ANY ($1) ORDER BY 1, 2";

const FOREIGN_KEYS: &str = "\
    SELECT c.conrelid, c.conname::text, n.nspname::text, r.relname::text, \
           ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(num, place) \
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num \
                 ORDER BY k.place), \
           ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(num, place) \
                 JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num \
                 ORDER BY k.place), \
           ARRAY(SELECT a.attname::text FROM pg_attribute a \
                 WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) \
                   AND c.confdeltype IN ('n', 'd') \
                   AND (jsonb_typeof(to_jsonb(c) -> 'confdelsetcols') IS DISTINCT FROM 'array' \
                        OR to_jsonb(c) -> 'confdelsetcols' @> to_jsonb(a.attnum))), \
           ARRAY(SELECT a.attname::text FROM pg_attribute a \
                 WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) \
                   AND c.confupdtype IN ('c', 'n', 'd')) \
    FROM pg_constraint c JOIN pg_class r ON r.oid = c.confrelid \
    JOIN pg_namespace n ON n.oid = r.relnamespace \
    WHERE c.contype = 'f' AND c.conrelid = ANY ($1) ORDER BY 1, 2";

/// Row triggers that run before (bits 1 and 2 of tgtype) an INSERT or UPDATE (bits 4 and 16).
const TRIGGERS: &str = "\
    SELECT tgrelid, tgname::text FROM pg_trigger \
    WHERE NOT tgisinternal AND tgenabled <> 'D' \
      AND tgtype & 3 = 3 AND tgtype & 20 <> 0 AND tgrelid = ANY ($1) ORDER BY 1, 2";

/// Whether there are triggers of users, and whether weir's own is there.
const KINDS: &str = "\
    SELECT tgrelid, bool_or(tgname <> $2), bool_or(tgname = $2) FROM pg_trigger \
    WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgrelid = ANY ($1) GROUP BY tgrelid";

/// What the rules are compared with.
pub async fn survey(client: &Client) -> Result<ShardSurvey, Error> {
    let database = client.query_one(DATABASE, &[]).await.map_err(failed)?;
    let mut collation: String = get(&database, 3)?;
    if get::<i32>(&database, 0)? >= 150_000 {
        let oid: u32 = get(&database, 1)?;
        let row = client.query_one(COLLATION_VERSION, &[&oid]).await.map_err(failed)?;
        if let Some(version) = get::<Option<String>>(&row, 0)? {
            collation = format!("{collation} {version}");
        }
    }
    let mut survey = ShardSurvey {
        encoding: get(&database, 2)?,
        collation,
        settings: BTreeMap::new(),
        tables: Vec::new(),
        sequences: sequences::read(client).await?,
    };
    for row in client.query(SETTINGS, &[]).await.map_err(failed)? {
        survey.settings.insert(get(&row, 0)?, get(&row, 1)?);
    }
    let mut position = BTreeMap::new();
    for row in client.query(TABLES, &[]).await.map_err(failed)? {
        position.insert(get::<u32>(&row, 0)?, survey.tables.len());
        let (schema, name) = (get(&row, 1)?, get(&row, 2)?);
        survey.tables.push(TableFacts { schema, name, ..TableFacts::default() });
    }
    let oids: Vec<u32> = position.keys().copied().collect();
    for (query, add) in [
        (COLUMNS, column as fn(&Row, &mut TableFacts) -> Result<(), Error>),
        (UNIQUES, unique),
        (EXCLUSIONS, exclusion),
        (FOREIGN_KEYS, foreign_key),
        (TRIGGERS, trigger),
    ] {
        for row in client.query(query, &[&oids]).await.map_err(failed)? {
            let table = position.get(&get::<u32>(&row, 0)?);
            if let Some(facts) = table.and_then(|index| survey.tables.get_mut(*index)) {
                add(&row, facts)?;
            }
        }
    }
    for row in client.query(KINDS, &[&oids, &guard::NAME]).await.map_err(failed)? {
        let table = position.get(&get::<u32>(&row, 0)?);
        if let Some(facts) = table.and_then(|index| survey.tables.get_mut(*index)) {
            (facts.acts, facts.guarded) = (get(&row, 1)?, get(&row, 2)?);
        }
    }
    Ok(survey)
}

fn column(row: &Row, facts: &mut TableFacts) -> Result<(), Error> {
    let filled = match (get(row, 7)?, get(row, 8)?, get(row, 9)?) {
        (true, _, _) => Filled::Generated,
        (false, true, _) => Filled::Sequence,
        (false, false, true) => Filled::Default,
        (false, false, false) => Filled::Null,
    };
    facts.columns.push(ColumnFacts {
        name: get(row, 1)?,
        typname: get(row, 2)?,
        type_text: get(row, 3)?,
        collation: get(row, 4)?,
        deterministic: get(row, 5)?,
        not_null: get(row, 6)?,
        filled,
    });
    Ok(())
}

fn unique(row: &Row, facts: &mut TableFacts) -> Result<(), Error> {
    let by = UniqueBy::Equality;
    facts.uniques.push(Unique { name: get(row, 1)?, columns: get(row, 2)?, by });
    Ok(())
}

fn exclusion(row: &Row, facts: &mut TableFacts) -> Result<(), Error> {
    let by = UniqueBy::Exclusion;
    facts.uniques.push(Unique { name: get(row, 1)?, columns: get(row, 2)?, by });
    Ok(())
}

fn foreign_key(row: &Row, facts: &mut TableFacts) -> Result<(), Error> {
    facts.foreign_keys.push(ForeignKey {
        name: get(row, 1)?,
        schema: get(row, 2)?,
        table: get(row, 3)?,
        columns: get(row, 4)?,
        referenced: get(row, 5)?,
        set_on_delete: get(row, 6)?,
        set_on_update: get(row, 7)?,
    });
    Ok(())
}

fn trigger(row: &Row, facts: &mut TableFacts) -> Result<(), Error> {
    facts.triggers.push(get(row, 1)?);
    Ok(())
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, Error> {
    row.try_get(index).map_err(failed)
}
