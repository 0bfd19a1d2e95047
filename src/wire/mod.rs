//! PostgreSQL's messages and values: bytes to facts and back. Home of pgwire.
pub mod params;
