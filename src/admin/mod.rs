//! What operators see and do: tables and actions, over a console and over HTTP.
//!
//! - `system`: weir as views and actions see it; `server` stands behind it
//! - `table`: what a view answers
//! - `show`: one view, one file; [`SHOWS`] lists them
//! - `action`: one action, one file; [`ACTIONS`] lists them
//! - `command`: what may be said on the console
//! - `console`: PostgreSQL's protocol for clients of the database `weir`
//! - `rulebook`: the rules files: what is in force, what a text would change
//! - `http`: the admin port: /metrics, /healthz, /readyz, the API
//!
//! Invariant: nothing here knows `server`. A view looks and changes nothing.
pub mod system;
pub mod table;
pub mod show;
pub mod action;
pub mod command;
pub mod console;
pub mod rulebook;
pub mod http;

use action::Action;
use show::Show;

/// Every view, in the order of SHOW HELP.
pub const SHOWS: &[&dyn Show] = &[
    &show::help::Help,
    &show::version::Version,
    &show::pools::Pools,
    &show::servers::Servers,
    &show::databases::Databases,
    &show::probes::Probes,
    &show::breakers::Breakers,
    &show::hot_rows::HotRows,
    &show::tiers::Tiers,
    &show::transactions::Transactions,
];

/// Every action, in the order of SHOW HELP.
pub const ACTIONS: &[&dyn Action] = &[
    &action::pause::Pause,
    &action::resume::Resume,
    &action::reconnect::Reconnect,
    &action::drain::Drain,
    &action::reload::Reload,
];
