//! weir.next_id() on the servers: 64-bit ids that grow with time and are given once in the whole cluster.
//!
//! From the sign downwards: 41 bits of milliseconds since 2020, 10 bits of the shard's number, 12 bits of a
//! counter. What was given last is kept in a sequence, as milliseconds and counter in one number. The next one is
//! that plus one, or the clock, if that is further. So a shard repeats nothing when its clock goes back, when
//! more than 4096 ids are wanted in one millisecond, or when it is restarted; and shards differ in their
//! number. How many weirs there are does not matter.
use super::control::{Client, failed};
use crate::error::Error;
use crate::ids::ShardId;

/// As a column's default is written.
pub const CALL: &str = "weir.next_id()";

/// The number of the gather database, which keeps no rows.
pub const GATHER: ShardId = ShardId(SHARDS_MAX);

/// Shards that have a number.
const SHARDS_MAX: u16 = 1023;

/// Numbers are given by a sequence, which forgets nothing if a transaction is rolled back. Who moves it to the clock
/// must be alone: the lock is held in a subtransaction, which ends with it, in the midst of the client's.
const BODY: &str = "
DECLARE
    shard CONSTANT bigint := {shard};
    clock bigint;
    given bigint;
BEGIN
    BEGIN
        PERFORM pg_advisory_xact_lock(2003134834, 5);
        clock := ((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1577836800000) << 12;
        SELECT last_value INTO given FROM weir.id_clock;
        IF given < clock THEN
            given := setval('weir.id_clock', clock);
        ELSE
            given := nextval('weir.id_clock');
        END IF;
        RAISE SQLSTATE 'WEIR1';
    EXCEPTION WHEN SQLSTATE 'WEIR1' THEN
    END;
    RETURN ((given >> 12) << 22) | (shard << 12) | (given & 4095);
END";

/// What makes it, or makes it anew.
pub fn definition(shard: ShardId) -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS weir;
CREATE SEQUENCE IF NOT EXISTS weir.id_clock MINVALUE 0 MAXVALUE 9007199254740991 START 0;
CREATE OR REPLACE FUNCTION weir.next_id() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $weir${}$weir$;
COMMENT ON FUNCTION weir.next_id() IS 'ids that grow with time: see docs/rules.md';
GRANT USAGE ON SCHEMA weir TO PUBLIC;
",
        body(shard)
    )
}

fn body(shard: ShardId) -> String {
    BODY.replace("{shard}", &shard.0.to_string())
}

/// Makes it where it is missing or another shard's.
pub async fn set_up(client: &Client, shard: ShardId) -> Result<(), Error> {
    const SAME: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_proc p \
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
        WHERE n.nspname = 'weir' AND p.proname = 'next_id' AND p.prosrc = $1)";
    if shard.0 >= SHARDS_MAX {
        // There is no number for it; so many shards nobody has.
        return Ok(());
    }
    let same = client.query_one(SAME, &[&body(shard)]).await.map_err(failed)?;
    match same.try_get(0).map_err(failed)? {
        true => Ok(()),
        false => client.batch_execute(&definition(shard)).await.map_err(failed),
    }
}
