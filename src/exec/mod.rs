//! Run a plan over connections.
//!
//! - `line`: the client's socket and its buffers
//! - `spare`: a buffer for large answers, lent to who reads one
//! - `doom`: why a statement is cancelled, if its client has not asked for it
//! - `alarm`: one timer of a session
//! - `budget`: how much longer the statement that runs may take
//! - `broken`: what ends a session or a participant
//! - `running`: a statement while it runs, and what is known of it at its end
//! - `relay`: carries answers to the client in the order of the questions
//! - `fan_out`: one query on several servers at the same time
//! - `copy`: COPY data for several servers
//! - `at_once`: words of weir's own, said to several servers at the same time
//! - `gather`: rows on their way into the gather database
//! - `describe`: ask a server about a statement, beside any transaction
pub mod line;
mod spare;
pub mod doom;
mod alarm;
pub mod budget;
pub mod broken;
pub mod running;
pub mod relay;
pub mod fan_out;
pub mod copy;
pub mod at_once;
pub mod gather;
pub mod describe;
