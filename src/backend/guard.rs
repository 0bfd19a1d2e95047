//! weir.guard() on the servers: a trigger that writes a reference table writes one copy of it, so it is stopped.
//!
//! What a trigger's function does cannot be proved beforehand. So each reference table has a trigger, too: it
//! lets pass what is written directly, and what weir writes to all copies, and raises an error for what
//! another trigger writes. docs/decisions/0007-a-guard-on-reference-tables.md says what else was thought of.
use super::control::{Client, failed};
use crate::error::Error;
use crate::plan::several::copies::MARKER;
use crate::rules::{Placement, Rules, Table};

/// The trigger's name.
pub const NAME: &str = "weir_guard";

/// Directly written tables are those whose trigger is not called inside of another one.
fn function() -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS weir;
CREATE OR REPLACE FUNCTION weir.guard() RETURNS trigger LANGUAGE plpgsql AS $weir$
BEGIN
    IF pg_catalog.pg_trigger_depth() > 1
       AND pg_catalog.strpos(pg_catalog.current_query(), '{MARKER}') = 0
       AND pg_catalog.current_setting('weir.guard', true) IS DISTINCT FROM 'off' THEN
        RAISE EXCEPTION 'a trigger writes reference table %, which would change one shard''s copy only',
            TG_TABLE_NAME
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'write it by a statement of its own; where all copies are written alike, '
                      'SET weir.guard = ''off'' in the trigger''s function';
    END IF;
    RETURN NULL;
END $weir$;
COMMENT ON FUNCTION weir.guard() IS
    'keeps triggers from writing one copy of a reference table: see docs/writes.md'"
    )
}

const TABLES: &str = "\
    SELECT n.nspname::text, pg_catalog.format('%I.%I', n.nspname, c.relname), EXISTS (SELECT FROM pg_catalog.pg_trigger t \
        WHERE t.tgrelid = c.oid AND t.tgname = $2) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'weir') \
      AND n.nspname !~ '^pg_(toast_)?temp_'";

/// Guards the reference tables that are there and not guarded yet: their names.
pub async fn set_up(client: &Client, rules: &Rules) -> Result<Vec<String>, Error> {
    let mut guarded = Vec::new();
    let reference = |table: &&Table| matches!(table.placement, Placement::Reference);
    let tables: Vec<&Table> = rules.tables.iter().filter(reference).collect();
    if tables.is_empty() {
        return Ok(guarded);
    }
    client.batch_execute(&function()).await.map_err(failed)?;
    for table in tables {
        for row in client.query(TABLES, &[&table.name, &NAME]).await.map_err(failed)? {
            let schema: String = row.try_get(0).map_err(failed)?;
            let name: String = row.try_get(1).map_err(failed)?;
            let has: bool = row.try_get(2).map_err(failed)?;
            if has || table.schema.as_ref().is_some_and(|listed| *listed != schema) {
                continue;
            }
            let text = format!(
                "CREATE TRIGGER {NAME} BEFORE INSERT OR UPDATE OR DELETE ON {name} \
                 FOR EACH STATEMENT EXECUTE FUNCTION weir.guard()"
            );
            client.batch_execute(&text).await.map_err(failed)?;
            guarded.push(name);
        }
    }
    Ok(guarded)
}
