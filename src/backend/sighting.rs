//! What one look at a server shows: its role, which cluster it belongs to, how far it is.
//!
//! One statement, one round trip. Every function it calls may be called by PUBLIC (PostgreSQL 15;
//! only an administrator's REVOKE changes that, and then the error names the GRANT). Without
//! pg_read_all_stats a replica's timeline is read from its control file, which may lag behind a
//! primary's promotion until the next restart point; a primary's own timeline is always exact.
use super::control::{Client, failed};
use crate::error::{Error, SqlState};
use std::fmt;
use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    pub role: Role,
    /// Drawn by initdb: a primary and all its replicas have the same one.
    pub system_identifier: u64,
    /// Counts promotions. A replica's is the newest that it is known to follow.
    pub timeline: u32,
    /// What is inserted on a primary, so that every commit that it acknowledged before the look is
    /// below; what is replayed on a replica.
    pub lsn: Lsn,
    /// Whether `default_transaction_read_only` is on: a primary that is asked not to be written.
    pub read_only: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Primary,
    Replica,
}

/// A position in the write-ahead log, in bytes. Comparable only on one timeline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

/// `pg_control_checkpoint` still shows the old timeline for a while after a promotion, so a primary's
/// is taken from the name of the file that it writes to. GREATEST passes over NULL, which is what
/// received_tli is without pg_read_all_stats or without a connection to the primary.
const LOOK: &str = "\
WITH now AS MATERIALIZED (SELECT pg_catalog.pg_is_in_recovery() AS replica)
SELECT now.replica,
       (SELECT system_identifier FROM pg_catalog.pg_control_system()),
       CASE WHEN now.replica THEN GREATEST(
           (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
           (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
           (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver))::int8
       ELSE ('x' || left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8)
           )::bit(32)::int8 END,
       CASE WHEN now.replica THEN COALESCE(pg_catalog.pg_last_wal_replay_lsn(), '0/0')
       ELSE pg_catalog.pg_current_wal_insert_lsn() END,
       current_setting('default_transaction_read_only')::bool,
       current_setting('wal_block_size')::int8,
       pg_catalog.pg_size_bytes(current_setting('wal_segment_size'))
FROM now";

const GRANT: &str = "as a superuser: GRANT EXECUTE ON FUNCTION pg_control_system(), \
    pg_control_checkpoint(), pg_control_recovery(), pg_is_in_recovery(), pg_walfile_name(pg_lsn), \
    pg_current_wal_insert_lsn(), pg_last_wal_replay_lsn() TO the control user; \
    GRANT SELECT ON pg_stat_wal_receiver TO the control user";

/// Looks at the server once. Not bounded in time: the caller knows how long it wants to wait.
pub async fn look(client: &Client) -> Result<Sighting, Error> {
    let rows = client.query_typed(LOOK, &[]).await.map_err(|error| {
        let error = failed(error);
        match error.code {
            SqlState::INSUFFICIENT_PRIVILEGE => error.hint(GRANT),
            _ => error,
        }
    })?;
    let row = rows.first().ok_or_else(|| Error::internal("a look at a server gave no row"))?;
    read(row).map_err(failed)
}

fn read(row: &Row) -> Result<Sighting, tokio_postgres::Error> {
    let role = match row.try_get(0)? {
        true => Role::Replica,
        false => Role::Primary,
    };
    let position = Lsn(u64::from(row.try_get::<_, PgLsn>(3)?));
    let block = row.try_get::<_, i64>(5)?.unsigned_abs();
    let segment = row.try_get::<_, i64>(6)?.unsigned_abs();
    Ok(Sighting {
        role,
        // PostgreSQL shows an unsigned number as a signed one.
        system_identifier: row.try_get::<_, i64>(1)?.cast_unsigned(),
        timeline: u32::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default(),
        lsn: match role {
            Role::Primary => position.end_of_last_record(block, segment),
            Role::Replica => position,
        },
        read_only: row.try_get(4)?,
    })
}

/// Bytes that begin each page of the write-ahead log, and the first page of each of its files.
const PAGE_HEADER: u64 = 24;
const FILE_HEADER: u64 = 40;

impl Lsn {
    /// Where the last record ends. The insert position is where the next one will begin: if the last
    /// one fills its page, that is behind the next page's header, and a replica that has replayed
    /// everything would look as if it had not, for as long as nothing is written. What is left of a
    /// record that began on the page before takes at least 8 bytes, so none ends there.
    fn end_of_last_record(self, page: u64, file: u64) -> Self {
        let within = |unit: u64| self.0.checked_rem(unit).unwrap_or_default();
        match (within(file), within(page)) {
            (FILE_HEADER, _) => Self(self.0 - FILE_HEADER),
            (_, PAGE_HEADER) => Self(self.0 - PAGE_HEADER),
            _ => self,
        }
    }
}

/// As PostgreSQL writes it.
impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_behind_a_page_header_is_where_the_record_before_ended() {
        let (file, page) = (0x2A00_0000, 0x2A00_4000);
        for (position, expected) in [
            (page, page),
            (page + 24, page),
            (page + 32, page + 32),
            (page + 40, page + 40),
            (page + 8184, page + 8184),
            (file + 40, file),
            (file + 48, file + 48),
        ] {
            assert_eq!(Lsn(position).end_of_last_record(8192, 16 << 20), Lsn(expected));
        }
        assert_eq!(Lsn(24).end_of_last_record(0, 0), Lsn(24));
    }

    #[test]
    fn positions_are_written_as_postgresql_writes_them() {
        assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
    }
}
