//! What is left of a CREATE INDEX CONCURRENTLY, or one of its kin, on the shard where it has failed.
use super::Session;
use crate::exec::at_once::AtOnce;
use crate::ids::ShardId;
use std::time::Duration;

/// Says which indexes of a shard are not valid, as warnings.
const INVALID: &str = "DO $weir$
DECLARE it record;
BEGIN
    FOR it IN
        SELECT i.indexrelid::pg_catalog.regclass AS index, i.indrelid::pg_catalog.regclass AS of
        FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        WHERE NOT i.indisvalid AND c.relkind = 'i'
    LOOP
        RAISE WARNING 'shard {shard}: index % of % is not valid', it.index, it.of
            USING HINT = pg_catalog.format(
                '/* weir: shard={shard} */ DROP INDEX CONCURRENTLY %s', it.index);
    END LOOP;
END $weir$";

impl Session {
    /// The indexes that are not valid on a shard, if it answers: a warning for each.
    pub(super) async fn tell_invalid(&mut self, shard: ShardId) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let Some(at) = self.txn.find_primary(shard) else { return };
        let text = INVALID.replace("{shard}", self.serving.rules.shard_name(shard));
        let mut asked = AtOnce::default();
        asked.ask(&mut self.txn.participants, at, &text);
        let mut lines = self.relay.lines(&mut self.client, &mut self.txn.participants);
        // What it does not say in time is not told; `answers` closes the connection then.
        drop(tokio::time::timeout(PATIENCE, asked.wait(&mut lines)).await);
        drop(asked.answers(&mut self.txn.participants));
    }
}
