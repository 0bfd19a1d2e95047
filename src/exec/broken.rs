//! What ends a session or a participant, and how it is told.
use crate::error::{Error, Severity, SqlState};
use crate::txn::Participant;
use std::io;

#[derive(Debug)]
pub enum Broken {
    /// The client is gone.
    Client,
    /// A participant's connection is unusable: its position and why.
    Server(usize, Error),
}

pub(super) fn lost(index: usize, participant: &mut Participant, cause: &io::Error) -> Broken {
    participant.lease.broke();
    let error = Error::shard(
        SqlState::CONNECTION_FAILURE,
        format!("lost the connection to shard {}: {cause}", participant.shard),
    );
    Broken::Server(
        index,
        error.hint(
            "the statement may or may not have taken effect there; look before you repeat it",
        ),
    )
}

/// Another server is the primary now: what this one still does, nobody will see again.
pub(super) fn cut_off(index: usize, participant: &mut Participant) -> Broken {
    participant.lease.taint("its server is not the primary any more");
    let message = format!("{} is not the primary any more", participant.lease.work.server.name);
    let error = Error::shard(SqlState::CONNECTION_FAILURE, message);
    Broken::Server(index, error.hint("run the transaction again: it goes to the new primary"))
}

/// The server has ended its session. The client's may go on, so to the client this is not fatal.
pub(super) fn ended(index: usize, participant: &mut Participant, mut error: Error) -> Broken {
    participant.lease.taint("the server ended its session");
    error.severity = Severity::Error;
    Broken::Server(index, error)
}

pub(super) fn desync(index: usize, participant: &mut Participant, what: &str) -> Broken {
    participant.lease.taint("it broke the protocol");
    Broken::Server(
        index,
        Error::shard(
            SqlState::PROTOCOL_VIOLATION,
            format!("shard {} sent {what}", participant.shard),
        ),
    )
}
