//! What a server's session has been told that its next user must know.

/// The state of one server's session.
#[derive(Debug, Default)]
pub struct ServerSession {}
