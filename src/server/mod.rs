//! Assemble everything, listen, reload, shut down.
//!
//! - `config`: `weir.toml`
pub mod config;
