//! What operators see and do: tables and actions, over a console and over HTTP.
//!
//! - `system`: weir as views and actions see it; `server` stands behind it
//! - `table`: what a view answers
//! - `show`: one view, one file; [`SHOWS`] lists them
//! - `action`: one action, one file; [`ACTIONS`] lists them
//! - `explain`: EXPLAIN ROUTE
//! - `command`: what may be said on the console
//! - `console`: PostgreSQL's protocol for clients of the database `weir`
//! - `rulebook`: the rules files: what is in force, what a text would change
//! - `dashboard`: the page for browsers there
//! - `http`: the admin port: /metrics, /healthz, /readyz, the API
//!
//! Invariant: nothing here knows `server`. A view looks and changes nothing.
pub mod system;
pub mod table;
pub mod show;
pub mod action;
pub mod explain;
pub mod command;
pub mod console;
pub mod rulebook;
pub mod dashboard;
pub mod http;

use action::Action;
use show::Show;

/// Every view, in the order of SHOW HELP.
pub const SHOWS: &[&dyn Show] = &[
    &show::help::Help,
    &show::version::Version,
    &show::stats::Stats,
    &show::stats::StatsTotals,
    &show::stats::StatsAverages,
    &show::stats::Totals,
    &show::pools::Pools,
    &show::databases::Databases,
    &show::users::Users,
    &show::sockets::Clients,
    &show::sockets::Servers,
    &show::sockets::Sockets,
    &show::sockets::ActiveSockets,
    &show::lists::Lists,
    &show::config::Config,
    &show::mem::Mem,
    &show::state::State,
    &show::shards::Shards,
    &show::shard_pools::ShardPools,
    &show::buckets::Buckets,
    &show::rules::Rules,
    &show::plans::Plans,
    &show::probes::Probes,
    &show::breakers::Breakers,
    &show::hot_rows::HotRows,
    &show::hot_keys::HotKeys,
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
    &action::wait_close::WaitClose,
    &action::disable::Disable,
    &action::enable::Enable,
    &action::kill_client::KillClient,
    &action::kill::Kill,
    &action::suspend::Suspend,
    &action::shutdown::Shutdown,
];

#[cfg(test)]
mod tests {
    use super::system::fake::Fake;
    use super::*;

    const PAGE: &str = include_str!("../../docs/console.md");

    /// From a heading that names the view to the next heading.
    fn section(view: &str) -> Option<&'static str> {
        let begins = PAGE.match_indices("\n### SHOW ").map(|(at, _)| at + 1);
        begins.map(|at| PAGE.get(at..).unwrap_or_default()).find_map(|rest| {
            let (heading, body) = rest.split_once('\n')?;
            let mut names = heading.trim_start_matches("### SHOW ").split(", ");
            names.any(|name| name == view).then(|| body.split("\n##").next().unwrap_or_default())
        })
    }

    #[test]
    fn every_view_and_each_of_its_columns_stands_in_the_reference() {
        for show in SHOWS {
            let section = section(show.name());
            let section = section.unwrap_or_else(|| panic!("no heading for SHOW {}", show.name()));
            for column in show.table(&Fake::default()).columns {
                let row = format!("| `{}` | {} |", column.name, column.kind.name());
                assert!(section.contains(&row), "SHOW {} lacks {row}", show.name());
            }
        }
    }

    #[test]
    fn every_action_stands_in_the_reference() {
        for action in ACTIONS {
            let row = format!("| `{}` |", action.syntax().replace('|', "\\|"));
            assert!(PAGE.contains(&row), "the commands lack {row}");
        }
    }

    #[test]
    fn rows_have_as_many_cells_as_there_are_columns_and_names_are_in_capitals() {
        for show in SHOWS {
            let table = show.table(&Fake::default());
            assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
            assert_eq!(show.name(), show.name().to_uppercase());
        }
    }
}
