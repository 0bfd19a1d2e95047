//! What operators see: metrics and health over HTTP.
//!
//! - `http`: /metrics, /healthz, /readyz on a loopback port
pub mod http;
