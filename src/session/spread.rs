//! What a session asks of whoever keeps the schema known: that every weir of the cluster has seen
//! what was committed.
use tokio::sync::{mpsc, oneshot};

/// One session's wish; it waits for the outcome.
pub type Spread = oneshot::Sender<Spreading>;

/// Where wishes go.
pub type Spreader = mpsc::Sender<Spread>;

/// How far a change of the schema is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Spreading {
    Everywhere,
    /// That many other weirs have not said that they know.
    NotBy(usize),
    /// It could not be found out: why.
    Unsure(String),
}
