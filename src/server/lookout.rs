//! Looks at the shards now and then, so that `/readyz` knows of a placement that somebody else has
//! replaced even while no client makes weir open connections.
use super::assemble::{Shared, Source, control_client};
use crate::backend::placement;
use std::sync::Arc;
use std::time::Duration;

const PACE: Duration = Duration::from_secs(10);

pub async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PACE).await;
        for source in shared.databases.values() {
            look(source).await;
        }
    }
}

async fn look(source: &Source) {
    let (serving, fence) = (source.serving.load_full(), source.fence.load_full());
    if serving.rules.is_plain() {
        return;
    }
    for id in serving.rules.shard_ids() {
        // A shard that does not answer says nothing about its placement.
        let Ok(client) = control_client(&serving.servers.fleet, id).await else { continue };
        let outcome = placement::verify(&client, &serving.rules, id).await;
        if let Err(error) = &outcome {
            tracing::warn!(message = error.message, "the placement was looked at");
        }
        fence.heard(id, &outcome.map(|_| ()));
    }
}
