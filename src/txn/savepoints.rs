//! SAVEPOINT, ROLLBACK TO, RELEASE: how far a transaction can go back.
use super::settings::Settings;
use super::{Continuity, Status, Transaction, settings};
use crate::error::{Error, SqlState};

pub(super) struct Savepoint {
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) setup: usize,
}

impl Transaction {
    pub fn savepoint(&mut self, name: &str) {
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            settings: self.settings.clone(),
            setup: self.setup.len(),
        });
        for participant in &mut self.participants {
            participant.applied_at_savepoint.push(participant.lease.session.applied.clone());
        }
    }

    /// How many savepoints are open.
    pub fn depth(&self) -> usize {
        self.savepoints.len()
    }

    /// The innermost savepoint of that name, as PostgreSQL finds it.
    fn savepoint_position(&self, name: &str) -> Result<usize, Error> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            Error::client(
                SqlState::INVALID_SAVEPOINT,
                format!("savepoint \"{name}\" does not exist"),
            )
        })
    }

    pub fn has_savepoint(&self, name: &str) -> Result<(), Error> {
        self.savepoint_position(name).map(|_| ())
    }

    /// ROLLBACK TO has succeeded on all participants: the savepoint stays, later ones are gone.
    pub fn rolled_back_to(&mut self, name: &str) -> Result<(), Error> {
        let position = self.savepoint_position(name)?;
        self.savepoints.truncate(position + 1);
        // What failed may have failed before it drew.
        self.draws_only_on(None);
        if let Some(savepoint) = self.savepoints.last() {
            self.settings = savepoint.settings.clone();
            self.setup.truncate(savepoint.setup);
        }
        for participant in &mut self.participants {
            participant.applied_at_savepoint.truncate(position + 1);
            if let Some(applied) = participant.applied_at_savepoint.last() {
                participant.lease.session.applied = applied.clone();
            }
        }
        if let Status::Failed(block) = self.status {
            self.status = Status::Open(block);
        }
        Ok(())
    }

    /// RELEASE: the savepoint and later ones are gone, what they did stays.
    pub fn released(&mut self, name: &str) -> Result<(), Error> {
        let position = self.savepoint_position(name)?;
        self.savepoints.truncate(position);
        for participant in &mut self.participants {
            participant.applied_at_savepoint.truncate(position);
        }
        Ok(())
    }

    /// Whether ROLLBACK TO has something to return to.
    pub fn can_return(&self) -> Result<(), Error> {
        match self.continuity {
            Continuity::Whole => Ok(()),
            Continuity::Lost => Err(Error::client(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "the transaction lost a server, its savepoints are gone",
            )
            .hint("ROLLBACK, and run the transaction again")),
        }
    }

    /// As far back as a transaction that has failed has to go at least.
    pub fn way_back(&self) -> String {
        match self.savepoints.last() {
            None => "ROLLBACK".to_owned(),
            Some(savepoint) => {
                format!("ROLLBACK TO SAVEPOINT {}", settings::quote_identifier(&savepoint.name))
            }
        }
    }
}
