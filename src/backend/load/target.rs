//! What a shard has before it is loaded, and how it is emptied for another attempt.
use super::failed;
use super::source::SourceTable;
use crate::backend::control::Client;
use crate::error::Error;
use std::collections::BTreeSet;
use tokio_postgres::types::FromSql;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Target {
    pub major: u32,
    pub encoding: String,
    pub collation: String,
    pub superuser: bool,
    /// Names of users' relations, types and functions, some of them.
    pub objects: Vec<String>,
    /// Every role of the server.
    pub roles: BTreeSet<String>,
    /// The extensions that could be made, with the versions they would have.
    pub extensions: BTreeSet<(String, String)>,
}

const TARGET: &str = "\
    SELECT current_setting('server_version_num')::int / 10000, \
           pg_encoding_to_char(encoding)::text, datcollate::text, \
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \
    FROM pg_database WHERE datname = current_database()";

/// What pg_dump would make again.
const OBJECTS: &str = "\
    WITH spaces AS (SELECT oid, nspname FROM pg_namespace n \
        WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'weir') \
          AND nspname !~ '^pg_(toast_)?temp_' \
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass \
                          AND d.objid = n.oid AND d.deptype = 'e')) \
    SELECT text FROM ( \
        SELECT 'pg_class'::regclass AS class, c.oid, format('%s.%s', nspname, relname) AS text \
        FROM pg_class c JOIN spaces ON spaces.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
        UNION ALL SELECT 'pg_proc'::regclass, p.oid, format('%s.%s()', nspname, proname) \
        FROM pg_proc p JOIN spaces ON spaces.oid = pronamespace \
        UNION ALL SELECT 'pg_type'::regclass, t.oid, format('type %s.%s', nspname, typname) \
        FROM pg_type t JOIN spaces ON spaces.oid = typnamespace WHERE typtype IN ('e', 'd', 'r') \
        UNION ALL SELECT 'pg_namespace'::regclass, oid, format('schema %s', nspname) FROM spaces \
        WHERE nspname <> 'public') found \
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = found.class AND d.objid = found.oid \
                      AND d.deptype = 'e') \
    ORDER BY 1 LIMIT 4";

pub async fn look(client: &Client) -> Result<Target, Error> {
    super::prepare(client).await?;
    let row = client.query_one(TARGET, &[]).await.map_err(failed)?;
    let get = |index| row.try_get::<_, String>(index).map_err(failed);
    let mut target = Target {
        major: row.try_get::<_, i32>(0).map_err(failed)?.unsigned_abs(),
        encoding: get(1)?,
        collation: get(2)?,
        superuser: row.try_get(3).map_err(failed)?,
        objects: column(client, OBJECTS).await?,
        ..Target::default()
    };
    target.roles =
        column(client, "SELECT rolname::text FROM pg_roles").await?.into_iter().collect();
    let available = "SELECT name::text, coalesce(default_version, '') FROM pg_available_extensions";
    for row in client.query(available, &[]).await.map_err(failed)? {
        let pair = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        target.extensions.insert(pair);
    }
    Ok(target)
}

/// For a load of rows only: what keeps the rows of this table out.
pub async fn unfit(client: &Client, table: &SourceTable) -> Result<Option<String>, Error> {
    let oid = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'r'";
    let found = client.query_opt(oid, &[&table.schema, &table.name]).await.map_err(failed)?;
    let Some(row) = found else { return Ok(Some(String::from("is not there"))) };
    let oid: u32 = row.try_get(0).map_err(failed)?;
    let columns = "SELECT attname::text FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 \
                   AND NOT attisdropped AND attgenerated = ''";
    let rows = client.query(columns, &[&oid]).await.map_err(failed)?;
    let there: Vec<String> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(failed)?;
    let missing: Vec<&str> =
        table.columns.iter().filter(|column| !there.contains(column)).map(String::as_str).collect();
    if !missing.is_empty() {
        return Ok(Some(format!("has no column {}", missing.join(", "))));
    }
    let rows = format!("SELECT EXISTS (SELECT FROM ONLY {})", table.quoted());
    let filled: bool =
        client.query_one(&rows, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    Ok(filled.then(|| String::from("has rows already")))
}

/// Brings a sequence where the source's stands; whether it is there.
pub async fn set_sequence(
    client: &Client,
    schema: &str,
    name: &str,
    last: i64,
    called: bool,
) -> Result<bool, Error> {
    let set = "SELECT setval(c.oid::regclass, $3, $4) FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'S'";
    let rows = client.query(set, &[&schema, &name, &last, &called]).await.map_err(failed)?;
    Ok(!rows.is_empty())
}

/// As every new database has it.
const NEW_PUBLIC: &str = "\
    CREATE SCHEMA IF NOT EXISTS public; COMMENT ON SCHEMA public IS 'standard public schema'; \
    DO $$BEGIN IF current_setting('server_version_num')::int >= 150000 THEN \
        ALTER SCHEMA public OWNER TO pg_database_owner; GRANT USAGE ON SCHEMA public TO PUBLIC; \
    ELSE GRANT ALL ON SCHEMA public TO PUBLIC; END IF; END$$";

/// Removes every schema with all that is in it, extensions too, and gives the database a new `public`.
pub async fn wipe(client: &Client) -> Result<(), Error> {
    let extensions = "SELECT format('DROP EXTENSION IF EXISTS %I CASCADE', extname) FROM pg_extension \
                      WHERE extname <> 'plpgsql'";
    let schemas = "SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) FROM pg_namespace \
                   WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'weir') \
                     AND nspname !~ '^pg_(toast_)?temp_'";
    let mut statements = column(client, extensions).await?;
    statements.extend(column(client, schemas).await?);
    statements.push(NEW_PUBLIC.to_owned());
    let text = format!("BEGIN; {}; COMMIT", statements.join("; "));
    client.batch_execute(&text).await.map_err(failed)
}

/// Removes the rows of these tables.
pub async fn truncate(client: &Client, tables: &[&SourceTable]) -> Result<(), Error> {
    if tables.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = tables.iter().map(|table| table.quoted()).collect();
    client.batch_execute(&format!("TRUNCATE {}", names.join(", "))).await.map_err(failed)
}

pub async fn analyze(client: &Client, tables: &[&SourceTable]) -> Result<(), Error> {
    for table in tables {
        client.batch_execute(&format!("ANALYZE {}", table.quoted())).await.map_err(failed)?;
    }
    Ok(())
}

async fn column<T: for<'a> FromSql<'a>>(client: &Client, query: &str) -> Result<Vec<T>, Error> {
    let rows = client.query(query, &[]).await.map_err(failed)?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(failed)
}
