//! SIGHUP: the rules files are read again. All or nothing: a file with a problem, a database that
//! has come or gone, or rules that would put rows elsewhere, and everything stays as it was.
//! Running transactions finish under the rules they began with.
use super::assemble::{Shared, read_rules, servers};
use super::schema;
use crate::error::{Blame, Error, SqlState};
use crate::session::Serving;
use std::sync::Arc;

pub async fn reload(shared: &Arc<Shared>) -> Result<(), Error> {
    let mut renewed = Vec::new();
    for path in &shared.config.rules {
        let mut rules = read_rules(path)?;
        let Some(source) = shared.databases.get(&rules.database) else {
            return Err(refused(format!("database \"{}\" is new", rules.database)));
        };
        let current = source.serving.load_full();
        rules.version = crate::ids::RulesVersion(current.rules.version.0 + 1);
        let servers = servers(&rules, &shared.connecting)?;
        source.fence.verify(&rules, &servers, &shared.config).await?;
        let known = schema::read(&rules, &servers, &shared.config).await?;
        let unchanged = rules.shards.iter().map(|shard| &shard.primary).eq(current
            .rules
            .shards
            .iter()
            .map(|shard| &shard.primary));
        renewed.push((
            source,
            Serving {
                rules: Arc::new(rules),
                catalog_version: known.catalog.version,
                catalog: Arc::new(known.catalog),
                translations: known.translations,
                fingerprints: known.fingerprints,
                servers: if unchanged { current.servers.clone() } else { Arc::new(servers) },
            },
        ));
    }
    if renewed.len() < shared.databases.len() {
        return Err(refused("a database has gone from the rules files".to_owned()));
    }
    for (source, serving) in renewed {
        source.serving.store(Arc::new(serving));
    }
    Ok(())
}

fn refused(message: String) -> Error {
    Error::new(SqlState(*b"F0000"), Blame::Rules, message)
        .hint("restart weir to serve other databases")
}
