//! PostgreSQL's messages and values: bytes to facts and back. Home of pgwire.
//!
//! - `read`: the checked cursor every reader is built on
//! - `frame`: where a message begins and ends, seen from its header only
//! - `startup`: the packets without a type byte
//! - `frontend`: what clients say; `server`: what servers say
//! - `encode`: complete messages, to servers and to clients
//! - `error_response`: the only place where an [`Error`](crate::error::Error) becomes bytes
//! - `params`, `value`: bound parameters, undecoded and decoded · `copy`: COPY data
//! - `copy_text`: the first field of a line of COPY's text form
//! - `every_reader`: all readers at once, for tests and the fuzzer
//!
//! Invariants: readers borrow, never panic and never look past the body they are given. Hot-path
//! readers and encoders do not allocate. pgwire encodes the rare control messages; it never decodes
//! foreign bytes, since its reads are unchecked.
mod read;
pub mod frame;
pub mod startup;
pub mod frontend;
pub mod server;
pub mod encode;
pub mod error_response;
pub mod params;
pub mod value;
pub mod copy;
pub mod copy_text;
pub mod every_reader;

pub use read::WireError;

#[cfg(test)]
mod tests;
