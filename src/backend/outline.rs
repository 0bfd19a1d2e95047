//! What statements can see of a server's schema, in words without object ids: two servers of equal
//! outlines understand every statement alike. So the gather database is compared with the shards.
use super::control::{Client, failed};
use crate::error::{Error, SqlState};
use tokio_postgres::SimpleQueryMessage;

/// One fact. `schema` and `table` are empty where it is not about one relation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    pub kind: String,
    pub schema: String,
    pub table: String,
    pub name: String,
    pub says: String,
}

/// Rows of a [`Fact`]'s columns. What belongs to an extension is told by the extension's version.
///
/// pg_get_viewdef and pg_get_functiondef lock what they read about.
const OUTLINE: &str = "\
WITH spaces AS MATERIALIZED (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'weir')
      AND nspname !~ '^pg_(toast_)?temp_'
), members AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relations AS MATERIALIZED (
    SELECT c.oid, s.nspname, c.relname, c.relkind FROM pg_class c
    JOIN spaces s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM members m
                      WHERE (m.classid = 'pg_class'::regclass AND m.objid = c.oid)
                         OR (m.classid = 'pg_type'::regclass AND m.objid = c.reltype))
)
SELECT 'database', '', '', 'version',
       ((current_setting('server_version_num'))::int / 10000)::text
UNION ALL
SELECT 'database', '', '', 'collation', concat_ws(' ', pg_encoding_to_char(encoding), datcollate,
       datctype, to_jsonb(d) ->> 'datlocprovider',
       coalesce(to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale'),
       to_jsonb(d) ->> 'datcollversion')
FROM pg_database d WHERE datname = current_database()
UNION ALL
SELECT 'extension', '', '', e.extname, concat(e.extversion, ' in schema ', n.nspname)
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
UNION ALL
SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                    WHEN 'c' THEN 'type' ELSE 'table' END,
       nspname, relname, format('%I.%I', nspname, relname),
       CASE WHEN relkind IN ('v', 'm')
            THEN btrim(regexp_replace(pg_get_viewdef(oid), '\\s+', ' ', 'g')) ELSE 'there' END
FROM relations
UNION ALL
SELECT 'column', r.nspname, r.relname, format('%I.%I.%I', r.nspname, r.relname, a.attname),
       concat_ws(' ', 'number',
           row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum),
           format_type(a.atttypid, a.atttypmod),
           CASE WHEN a.attcollation <> t.typcollation THEN
               'COLLATE ' || (SELECT collname FROM pg_collation l WHERE l.oid = a.attcollation) END)
FROM pg_attribute a JOIN relations r ON r.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'primary key of', r.nspname, r.relname, format('%I.%I', r.nspname, r.relname),
       pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN relations r ON r.oid = k.conrelid WHERE k.contype = 'p'
UNION ALL
SELECT 'type', '', '', format('%I.%I', s.nspname, t.typname), CASE t.typtype
       WHEN 'e' THEN 'enum ' || (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                                 FROM pg_enum e WHERE e.enumtypid = t.oid)
       WHEN 'd' THEN concat_ws(' ', 'domain', format_type(t.typbasetype, t.typtypmod),
           CASE WHEN t.typnotnull THEN 'NOT NULL' END,
           (SELECT string_agg(pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname)
            FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'))
       WHEN 'r' THEN 'range of ' || (SELECT format_type(g.rngsubtype, NULL)
                                     FROM pg_range g WHERE g.rngtypid = t.oid)
       ELSE t.typtype::text END
FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
WHERE t.typtype <> 'c' AND NOT (t.typelem <> 0 AND t.typcategory = 'A')
  AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
UNION ALL
SELECT 'function', '', '',
       format('%I.%I(%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
       concat_ws(' ', 'returns', pg_get_function_result(p.oid), 'by', CASE p.prokind
           WHEN 'a' THEN (SELECT concat_ws(' ', g.aggtransfn, g.aggfinalfn, g.aggcombinefn,
                                           format_type(g.aggtranstype, NULL), g.agginitval)
                          FROM pg_aggregate g WHERE g.aggfnoid = p.oid)
           ELSE md5(pg_get_functiondef(p.oid)) END)
FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
UNION ALL
SELECT 'operator', '', '', o.oid::regoperator::text, concat_ws(' ', o.oprcode, o.oprcom, o.oprnegate)
FROM pg_operator o JOIN spaces s ON s.oid = o.oprnamespace
WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_operator'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'cast', '', '', format('%s AS %s', c.castsource::regtype, c.casttarget::regtype),
       concat_ws(' ', c.castfunc::regproc, c.castcontext, c.castmethod)
FROM pg_cast c WHERE c.oid >= 16384
  AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_cast'::regclass AND m.objid = c.oid)
UNION ALL
SELECT 'collation', '', '', format('%I.%I', s.nspname, l.collname),
       (to_jsonb(l) - 'oid' - 'collnamespace' - 'collowner')::text
FROM pg_collation l JOIN spaces s ON s.oid = l.collnamespace
WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_collation'::regclass AND m.objid = l.oid)";

/// One text that differs on one server as soon as its outline does, and now and then when it does not.
/// Waits for nobody's locks.
const DIGEST: &str = "\
WITH spaces AS MATERIALIZED (
    SELECT oid FROM pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'weir')
      AND nspname !~ '^pg_(toast_)?temp_'
), relations AS MATERIALIZED (
    SELECT c.oid, c.relnamespace, c.relname, c.relkind FROM pg_class c
    WHERE c.relnamespace IN (SELECT oid FROM spaces)
      AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'
), entries(entry) AS (
    SELECT to_jsonb(r) FROM relations r
    UNION ALL SELECT to_jsonb(n) FROM pg_namespace n WHERE n.oid IN (SELECT oid FROM spaces)
    UNION ALL SELECT to_jsonb(e) FROM pg_extension e
    UNION ALL SELECT jsonb_build_array(a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod,
                                       a.attcollation)
              FROM pg_attribute a JOIN relations r ON r.oid = a.attrelid
              WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT jsonb_build_array(w.ev_class, w.ev_action::text)
              FROM pg_rewrite w JOIN relations r ON r.oid = w.ev_class
    UNION ALL SELECT to_jsonb(k) FROM pg_constraint k
              WHERE k.connamespace IN (SELECT oid FROM spaces) AND k.contype IN ('p', 'c')
    UNION ALL SELECT to_jsonb(t) FROM pg_type t WHERE t.typnamespace IN (SELECT oid FROM spaces)
    UNION ALL SELECT to_jsonb(e) FROM pg_enum e
    UNION ALL SELECT to_jsonb(p) FROM pg_proc p WHERE p.pronamespace IN (SELECT oid FROM spaces)
    UNION ALL SELECT to_jsonb(g) FROM pg_aggregate g JOIN pg_proc p ON p.oid = g.aggfnoid
              WHERE p.pronamespace IN (SELECT oid FROM spaces)
    UNION ALL SELECT to_jsonb(o) FROM pg_operator o WHERE o.oprnamespace IN (SELECT oid FROM spaces)
    UNION ALL SELECT to_jsonb(c) FROM pg_cast c WHERE c.oid >= 16384
    UNION ALL SELECT to_jsonb(l) FROM pg_collation l WHERE l.collnamespace IN (SELECT oid FROM spaces)
)
SELECT concat_ws('.', current_setting('server_version_num'), count(*),
                 sum(hashtextextended(entry::text, 0)))
FROM entries";

/// Tables and materialized views that may have rows, without those of extensions. Those of `weir`
/// are among them: only a shard has any there.
const WITH_STORAGE: &str = "\
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND n.nspname !~ '^pg_(toast_)?temp_'
  AND (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated) AND c.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
  AND coalesce(pg_relation_size(c.oid), 0) > 0
ORDER BY 1";

/// Statements that take from everybody the right to read and write tables.
const REVOKES: &str = "\
SELECT DISTINCT format('REVOKE SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLE %I.%I FROM %s CASCADE',
       n.nspname, c.relname,
       CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) acl
LEFT JOIN pg_roles r ON r.oid = acl.grantee
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND n.nspname !~ '^pg_(toast_)?temp_'
  AND c.relkind IN ('r', 'p', 'm', 'f') AND c.relpersistence <> 't'
  AND acl.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1";

/// Somebody's open transaction has changed what is asked about: ask again later (55P03).
const NO_WAIT: &str = "SET LOCAL lock_timeout = '200ms'";

/// All facts, in one snapshot.
pub async fn read(client: &Client) -> Result<Vec<Fact>, Error> {
    let rows = ask(client, OUTLINE).await?;
    let fact = |row: Vec<Option<String>>| {
        let mut columns = row.into_iter().map(Option::unwrap_or_default);
        Some(Fact {
            kind: columns.next()?,
            schema: columns.next()?,
            table: columns.next()?,
            name: columns.next()?,
            says: columns.next()?,
        })
    };
    let facts: Option<Vec<Fact>> = rows.into_iter().map(fact).collect();
    facts.ok_or_else(|| Error::internal("a fact has five columns"))
}

/// Whether the facts may have changed is whether this has.
pub async fn digest(client: &Client) -> Result<String, Error> {
    let first = ask(client, DIGEST).await?.into_iter().flatten().next().flatten();
    first.ok_or_else(|| Error::internal("a digest has one row"))
}

/// Some table that has rows, if any has.
pub async fn with_rows(client: &Client) -> Result<Option<String>, Error> {
    for table in ask(client, WITH_STORAGE).await?.into_iter().flatten().flatten() {
        let rows = ask(client, &format!("SELECT FROM {table} LIMIT 1")).await?;
        if !rows.is_empty() {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// Nobody but a superuser reads or writes a table there any more.
pub async fn close_tables(client: &Client) -> Result<(), Error> {
    let mut statements: Vec<_> =
        ask(client, REVOKES).await?.into_iter().flatten().flatten().collect();
    if statements.is_empty() {
        return Ok(());
    }
    statements.insert(0, format!("BEGIN; {NO_WAIT}"));
    statements.push("COMMIT".to_owned());
    let outcome = client.batch_execute(&statements.join(";")).await.map_err(failed);
    if outcome.is_err() {
        client.batch_execute("ROLLBACK").await.map_err(failed)?;
    }
    outcome
}

/// Whether an error of these says that somebody's transaction is in the way.
pub fn is_in_the_way(error: &Error) -> bool {
    error.code == SqlState(*b"55P03")
}

/// Names in the answer are the same whatever the user's search_path says.
async fn ask(client: &Client, query: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let text = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog; \
         {NO_WAIT}; {query}; COMMIT"
    );
    let messages = match client.simple_query(&text).await.map_err(failed) {
        Ok(messages) => messages,
        Err(error) => {
            // The connection is used again.
            client.batch_execute("ROLLBACK").await.map_err(failed)?;
            return Err(error);
        }
    };
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}
