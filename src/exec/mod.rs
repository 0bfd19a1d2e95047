//! Run a plan over connections.
//!
//! - `line`: the client's socket and its buffers
//! - `relay`: carries answers to the client in the order of the questions
//! - `describe`: ask a server about a statement, beside any transaction
pub mod line;
pub mod relay;
pub mod describe;
