//! Looks at each server, now and then and whenever somebody doubts it.
//!
//! Every look asks over a connection of weir's own that no client can take. While something seems
//! wrong it is a new one each time: that a connection from better days still answers says nothing
//! about the next connect.
use super::fleet::{Fleet, Look, Server};
use crate::backend::{ConnectError, control, dial, sighting};
use crate::error::SqlState;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Looks at every server once, all at the same time. What they say is heard in the order of the rules
/// file: whose system a shard is of is not left to who answers first.
pub async fn look_at_all(fleet: &Arc<Fleet>) {
    let mut looks = JoinSet::new();
    for server in fleet.shards().iter().flat_map(|crew| &crew.servers) {
        let (fleet, server) = (Arc::clone(fleet), Arc::clone(server));
        let limit = server.place.options.limit(&server.place.address);
        looks.spawn(async move {
            let began = Instant::now();
            let look = look(&fleet, &server, &mut None, limit).await;
            (server, began, look)
        });
    }
    let mut looked = looks.join_all().await;
    looked.sort_by_key(|(server, ..)| server.id);
    looked.into_iter().for_each(|(server, began, look)| fleet.heard(&server, began, look));
}

/// From now on until the fleet is gone.
pub fn watch(fleet: &Arc<Fleet>) {
    for server in fleet.shards().iter().flat_map(|crew| &crew.servers) {
        tokio::spawn(watch_one(Arc::downgrade(fleet), Arc::clone(server)));
    }
}

async fn watch_one(fleet: Weak<Fleet>, server: Arc<Server>) {
    let mut client = None;
    loop {
        let pause = {
            let Some(fleet) = fleet.upgrade() else { return };
            let probe = &fleet.config.probe;
            if fleet.doubts(&server, Instant::now()) {
                client = None;
            }
            let began = Instant::now();
            let look = look(&fleet, &server, &mut client, probe.timeout).await;
            fleet.heard(&server, began, look);
            match fleet.doubts(&server, Instant::now()) {
                true => probe.interval_in_doubt,
                false => probe.interval,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Not more often than in doubt, however many doubt it.
            () = doubted(&server) => {}
        }
    }
}

async fn doubted(server: &Server) {
    /// Between a doubt and the look.
    const PAUSE: Duration = Duration::from_millis(20);
    server.doubted.notified().await;
    tokio::time::sleep(PAUSE).await;
}

async fn look(
    fleet: &Fleet,
    server: &Server,
    client: &mut Option<control::Client>,
    limit: Duration,
) -> Look {
    let began = Instant::now();
    let looking = async {
        let place = &server.place;
        if place.control.user.is_empty() {
            let knocked = dial::knock(&place.address).await;
            knocked.map_err(|error| unanswered(&error))?;
            return Err(Look::Unclear(
                "somebody listens there; weir has no user to ask with".to_owned(),
            ));
        }
        if client.as_ref().is_none_or(control::Client::is_closed) {
            let connecting = control::connect(&place.address, &place.control, &place.options);
            *client = Some(connecting.await.map_err(|error| unanswered(&error))?);
        }
        // It was put there a moment ago.
        let client = client.as_ref().ok_or_else(|| Look::Silent("no connection".to_owned()))?;
        sighting::look(client).await.map_err(|error| match error.code {
            SqlState::CONNECTION_FAILURE => Look::Silent(error.message),
            _ => Look::Unclear(error.message),
        })
    };
    let looked = tokio::time::timeout(limit, looking).await;
    let took = began.elapsed();
    let look = match looked {
        Ok(Ok(_)) if fleet.config.probe.slow.is_some_and(|slow| took > slow) => {
            Look::Silent(format!("its answer took {} ms", took.as_millis()))
        }
        Ok(Ok(sighting)) => Look::Seen(sighting),
        Ok(Err(look)) => look,
        Err(_) => Look::Silent(format!("no answer within {} ms", limit.as_millis())),
    };
    match look {
        Look::Seen(_) => {}
        Look::Silent(_) | Look::Unclear(_) => *client = None,
    }
    look
}

/// A server that speaks is there, whatever it says, unless it says that it is not ready.
fn unanswered(error: &ConnectError) -> Look {
    match error {
        ConnectError::Refused(refusal) if refusal.code != SqlState::CANNOT_CONNECT_NOW => {
            Look::Unclear(error.to_string())
        }
        ConnectError::Login(_) | ConnectError::Tls(_) => Look::Unclear(error.to_string()),
        ConnectError::Refused(_)
        | ConnectError::Unreachable(_)
        | ConnectError::TimedOut(_)
        | ConnectError::Protocol(_) => Look::Silent(error.to_string()),
    }
}
