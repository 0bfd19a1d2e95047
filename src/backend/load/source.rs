//! The database that is loaded from: what it has, and one snapshot for everybody who reads it.
use super::{failed, quoted};
use crate::backend::control::Client;
use crate::error::Error;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// What is to be loaded, and what has to be known about it before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Source {
    /// Which database of which server this is; the same after a restart.
    pub identity: String,
    /// Two equal ones mean that no transaction has ended in between.
    pub snapshot: String,
    /// For `SET TRANSACTION SNAPSHOT`.
    pub exported: String,
    pub major: u32,
    pub encoding: String,
    pub collation: String,
    /// Ordinary tables and leaves of partitioned ones, the largest first.
    pub tables: Vec<SourceTable>,
    pub sequences: Vec<SequenceState>,
    /// Extensions with their versions.
    pub extensions: Vec<(String, String)>,
    /// Roles that own something, or are granted something.
    pub roles: Vec<String>,
    /// What is not loaded: see [`Stays`].
    pub stays: Vec<(Stays, String)>,
}

/// A table whose rows are read: no partitioned one, but its partitions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SourceTable {
    pub schema: String,
    pub name: String,
    /// What the rules call it: the table itself, or the partitioned table that it is part of.
    pub root_schema: String,
    pub root: String,
    /// Those that are written: not the generated ones.
    pub columns: Vec<String>,
    /// Columns among them that may be NULL.
    pub nullable: Vec<String>,
    pub blocks: u64,
    /// With what is stored apart.
    pub bytes: u64,
    /// Two equal ones mean that nothing has been written there, as far as statistics tell.
    pub written: String,
}

/// A sequence and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SequenceState {
    pub schema: String,
    pub name: String,
    pub last: i64,
    pub called: bool,
}

/// What a load leaves where it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stays {
    LargeObjects,
    ForeignTable,
    MaterializedView,
    ExtensionRows,
    DatabaseSettings,
    Tablespace,
    Publication,
    Subscription,
}

impl SourceTable {
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    pub fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// Equal for the same server after restarts and fail-overs; some services hide it.
const SYSTEM: &str = "SELECT system_identifier::text FROM pg_control_system()";

const IDENTITY: &str = "\
    SELECT current_database()::text, \
           pg_current_snapshot()::text, pg_export_snapshot(), \
           current_setting('server_version_num')::int / 10000, \
           pg_encoding_to_char(encoding)::text, datcollate::text \
    FROM pg_database WHERE datname = current_database()";

/// Who is no user's: the system, weir, and what extensions have made.
const OURS: &str = "\
    n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'weir') \
    AND n.nspname !~ '^pg_(toast_)?temp_' \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
                    AND d.objid = c.oid AND d.deptype = 'e')";

const TABLES: &str = "\
    SELECT n.nspname::text, c.relname::text, rn.nspname::text, r.relname::text, \
           ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
                 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum), \
           ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
                 AND NOT a.attisdropped AND a.attgenerated = '' AND NOT a.attnotnull), \
           pg_relation_size(c.oid) / current_setting('block_size')::int, pg_table_size(c.oid), \
           concat_ws(' ', pg_relation_filenode(c.oid), pg_stat_get_tuples_inserted(c.oid), \
                     pg_stat_get_tuples_updated(c.oid), pg_stat_get_tuples_deleted(c.oid)) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid)::oid, c.oid) \
    JOIN pg_namespace rn ON rn.oid = r.relnamespace \
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {ours} \
    ORDER BY 8 DESC, 1, 2";

const SEQUENCES: &str = "\
    SELECT n.nspname::text, c.relname::text \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {ours} ORDER BY 1, 2";

const EXTENSIONS: &str = "SELECT extname::text, extversion FROM pg_extension ORDER BY 1";

/// Nothing is kept of what the superuser that initdb made owns, so that one is always among them.
const ROLES: &str = "\
    SELECT rolname::text FROM pg_roles WHERE oid = 10 OR oid IN ( \
        SELECT refobjid FROM pg_shdepend s JOIN pg_database b ON b.oid = s.dbid \
        WHERE b.datname = current_database() AND s.refclassid = 'pg_authid'::regclass) ORDER BY 1";

const STAYS: &str = "\
    SELECT 0, count(*)::text FROM pg_largeobject_metadata HAVING count(*) > 0 \
    UNION ALL SELECT 1, format('%s.%s', n.nspname, c.relname) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f' AND {ours} \
    UNION ALL SELECT 2, format('%s.%s', n.nspname, c.relname) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND {ours} \
    UNION ALL SELECT 3, format('%s of %s', t.oid::regclass, e.extname) \
    FROM pg_extension e JOIN pg_class t ON t.oid = ANY (e.extconfig) WHERE t.relkind = 'r' \
    UNION ALL SELECT 4, array_to_string(setconfig, ', ') FROM pg_db_role_setting s \
    JOIN pg_database b ON b.oid = s.setdatabase WHERE b.datname = current_database() \
    UNION ALL SELECT 5, spcname::text FROM pg_tablespace WHERE oid IN (SELECT reltablespace FROM pg_class) \
    AND spcname NOT LIKE 'pg\\_%' \
    UNION ALL SELECT 6, pubname::text FROM pg_publication \
    UNION ALL SELECT 7, subname::text FROM pg_stat_subscription ORDER BY 1, 2";

/// Opens a transaction in which everything is read, and keeps its tables from being altered until the
/// connection ends.
pub async fn open(client: &Client) -> Result<Source, Error> {
    super::prepare(client).await?;
    let system = client.query_one(SYSTEM, &[]).await.and_then(|row| row.try_get(0));
    let system: String = system.unwrap_or_default();
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(failed)?;
    let row = client.query_one(IDENTITY, &[]).await.map_err(failed)?;
    let mut source = Source {
        identity: format!("{} {system}", get::<String>(&row, 0)?),
        snapshot: get(&row, 1)?,
        exported: get(&row, 2)?,
        major: get::<i32>(&row, 3)?.unsigned_abs(),
        encoding: get(&row, 4)?,
        collation: get(&row, 5)?,
        ..Source::default()
    };
    source.tables = tables(client).await?;
    for table in &source.tables {
        let lock = format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", table.quoted());
        client.batch_execute(&lock).await.map_err(failed)?;
    }
    for row in rows(client, SEQUENCES).await? {
        let (schema, name): (String, String) = (get(&row, 0)?, get(&row, 1)?);
        let state =
            format!("SELECT last_value, is_called FROM {}.{}", quoted(&schema), quoted(&name));
        let state = client.query_one(&state, &[]).await.map_err(failed)?;
        let (last, called) = (get(&state, 0)?, get(&state, 1)?);
        source.sequences.push(SequenceState { schema, name, last, called });
    }
    for row in rows(client, EXTENSIONS).await? {
        source.extensions.push((get(&row, 0)?, get(&row, 1)?));
    }
    for row in rows(client, ROLES).await? {
        source.roles.push(get(&row, 0)?);
    }
    for row in rows(client, STAYS).await? {
        if let Some(stays) = Stays::numbered(get(&row, 0)?) {
            source.stays.push((stays, get(&row, 1)?));
        }
    }
    Ok(source)
}

impl Stays {
    /// In the order of the query's parts.
    fn numbered(number: i32) -> Option<Self> {
        [
            Stays::LargeObjects,
            Stays::ForeignTable,
            Stays::MaterializedView,
            Stays::ExtensionRows,
            Stays::DatabaseSettings,
            Stays::Tablespace,
            Stays::Publication,
            Stays::Subscription,
        ]
        .get(usize::try_from(number).ok()?)
        .copied()
    }
}

/// Another connection that reads what the first one's snapshot shows.
pub async fn join(client: &Client, exported: &str) -> Result<(), Error> {
    super::prepare(client).await?;
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'",
        exported.replace('\'', "''")
    );
    client.batch_execute(&begin).await.map_err(failed)
}

/// Has the table a row that is NULL in all these columns?
pub async fn has_nulls(
    client: &Client,
    table: &SourceTable,
    columns: &[&str],
) -> Result<bool, Error> {
    let nulls: Vec<_> =
        columns.iter().map(|column| format!("{} IS NULL", quoted(column))).collect();
    let query = format!(
        "SELECT EXISTS (SELECT FROM ONLY {} WHERE {})",
        table.quoted(),
        nulls.join(" AND ")
    );
    get(&client.query_one(&query, &[]).await.map_err(failed)?, 0)
}

async fn tables(client: &Client) -> Result<Vec<SourceTable>, Error> {
    let mut tables = Vec::new();
    for row in rows(client, TABLES).await? {
        let unsigned = |index| get::<i64>(&row, index).map(i64::unsigned_abs);
        tables.push(SourceTable {
            schema: get(&row, 0)?,
            name: get(&row, 1)?,
            root_schema: get(&row, 2)?,
            root: get(&row, 3)?,
            columns: get(&row, 4)?,
            nullable: get(&row, 5)?,
            blocks: unsigned(6)?,
            bytes: unsigned(7)?,
            written: get(&row, 8)?,
        });
    }
    Ok(tables)
}

async fn rows(client: &Client, query: &str) -> Result<Vec<Row>, Error> {
    client.query(&query.replace("{ours}", OURS), &[]).await.map_err(failed)
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, Error> {
    row.try_get(index).map_err(failed)
}
