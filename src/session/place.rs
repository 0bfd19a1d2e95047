//! Places among the statements that gather: there are so many at a time.
//!
//! A place is taken before connections are, so that whoever has connections does not wait for one who
//! waits for connections. A query whose merge turns out not to fit has them already: it gives them back
//! where it can, and waits with them where the client's transaction is on them.
use super::several::Asked;
use super::{Session, Stop};
use crate::error::{Blame, Error, SqlState};
use crate::exec::budget;
use crate::exec::relay::Show;
use crate::plan::Planned;
use crate::txn::Status;
use tokio::sync::OwnedSemaphorePermit;

/// Of one query.
pub(super) enum Place {
    Taken(OwnedSemaphorePermit),
    /// It was to be merged, and has connections. `fresh`: the client's transaction had none before.
    Open {
        fresh: bool,
    },
}

impl Session {
    /// Waits for as long as for a connection.
    pub(super) async fn place(&mut self, planned: &Planned) -> Result<OwnedSemaphorePermit, Stop> {
        let places = self.serving.gathering.clone();
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let tier = self.tier(planned);
        let cluster = self.database.cluster(&self.serving);
        let patience = cluster.config().tier(&self.login.user, tier)?.checkout;
        let place = tokio::select! {
            biased;
            place = places.acquire_owned() => place.ok(),
            () = self.slot.requested() => return Err(self.slot.reason().into()),
            () = self.relay.budget.spent() => return Err(budget::canceled().into()),
            () = tokio::time::sleep(patience) => None,
        };
        Ok(place.ok_or_else(|| {
            let most = self.serving.rules.gather.as_ref().map_or(0, |gather| gather.max_concurrent);
            let message = format!("{most} statements use the gather database already");
            Error::new(SqlState::TOO_MANY_CONNECTIONS, Blame::Client, message)
                .hint("try again later, or raise max_concurrent under [gather] in the rules file")
        })?)
    }

    /// The place that was taken, or one now.
    pub(super) async fn place_for(
        &mut self,
        asked: &Asked<'_>,
        place: Place,
    ) -> Result<OwnedSemaphorePermit, Stop> {
        match place {
            Place::Taken(place) => Ok(place),
            Place::Open { fresh } => self.late_place(asked, fresh).await,
        }
    }

    /// A place for a query whose merge has turned out not to fit.
    async fn late_place(
        &mut self,
        asked: &Asked<'_>,
        fresh: bool,
    ) -> Result<OwnedSemaphorePermit, Stop> {
        if let Ok(place) = self.serving.gathering.clone().try_acquire_owned() {
            return Ok(place);
        }
        // The time that was told would not be that of a transaction that begins anew.
        let told = asked.moment.is_some() && self.txn.status() != Status::Idle;
        if fresh && !told {
            self.let_go().await?;
            return self.place(asked.planned).await;
        }
        self.place(asked.planned).await.map_err(|stop| match stop {
            Stop::Say(error) if error.code == SqlState::TOO_MANY_CONNECTIONS => {
                Stop::Say(error.hint(
                    "run the query outside of the transaction or first in it, or raise max_concurrent \
                     under [gather] in the rules file",
                ))
            }
            stop => stop,
        })
    }

    /// Gives back all connections: nothing that the client knows of has happened on them.
    async fn let_go(&mut self) -> Result<(), Stop> {
        let begun = self.txn.begun();
        if !begun.is_empty() {
            self.roll_back_on(&begun).await?;
            for &at in &begun {
                if let Some(participant) = self.txn.participants.get_mut(at) {
                    participant.rolled_back();
                }
            }
            self.txn.reads_anew();
        }
        for at in self.txn.unsynced() {
            self.sync_one(at, Show::Discard);
        }
        self.drain().await?;
        self.give_back().await;
        Ok(())
    }
}
