//! What transactions over several shards have left behind is brought to its end.
use crate::backend::commit_record::{self, Offers};
use crate::error::Error;
use crate::ids::ShardId;
use crate::rules::Rules;
use crate::session::ServerSet;

/// What each shard offers to transactions over several. One that does not answer keeps what was known.
pub async fn look_at_all(rules: &Rules, servers: &ServerSet) {
    if rules.is_plain() {
        return;
    }
    for shard in rules.shard_ids() {
        match look(servers, shard).await {
            Ok(offers) => {
                if let Some(lack) = servers.footing.saw(shard, offers) {
                    let refusal = lack.refusal(rules.shard_name(shard));
                    tracing::warn!(message = refusal.message, hint = refusal.hint);
                }
            }
            Err(error) => tracing::debug!(%error, "a shard could not be looked at"),
        }
    }
}

async fn look(servers: &ServerSet, shard: ShardId) -> Result<Offers, Error> {
    let client = servers.fleet.primary(shard)?.control().await?;
    commit_record::offers(&client).await
}
