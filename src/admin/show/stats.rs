//! SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS: PgBouncer's statistics, times in microseconds.
use super::Show;
use crate::admin::system::{Stats as Row, System};
use crate::admin::table::{Cell, Table, bigint, numeric, text};

pub struct Stats;
pub struct StatsTotals;
pub struct StatsAverages;
pub struct Totals;

/// In the order of [`Row::total`].
const TOTAL: [&str; 11] = [
    "total_server_assignment_count",
    "total_xact_count",
    "total_query_count",
    "total_received",
    "total_sent",
    "total_xact_time",
    "total_query_time",
    "total_wait_time",
    "total_client_parse_count",
    "total_server_parse_count",
    "total_bind_count",
];
const AVERAGE: [&str; 11] = [
    "avg_server_assignment_count",
    "avg_xact_count",
    "avg_query_count",
    "avg_recv",
    "avg_sent",
    "avg_xact_time",
    "avg_query_time",
    "avg_wait_time",
    "avg_client_parse_count",
    "avg_server_parse_count",
    "avg_bind_count",
];
/// As PgBouncer calls them where only one kind is shown.
const ALONE: [&str; 11] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "bytes_received",
    "bytes_sent",
    "xact_time",
    "query_time",
    "wait_time",
    "client_parse_count",
    "server_parse_count",
    "bind_count",
];

impl Show for Stats {
    fn name(&self) -> &'static str {
        "STATS"
    }

    fn help(&self) -> &'static str {
        "each database: transactions, statements, bytes and times, since the start and lately"
    }

    fn table(&self, system: &dyn System) -> Table {
        let names = TOTAL.into_iter().chain(AVERAGE);
        table(system, names, |row| row.total.into_iter().chain(row.average).collect())
    }
}

impl Show for StatsTotals {
    fn name(&self) -> &'static str {
        "STATS_TOTALS"
    }

    fn help(&self) -> &'static str {
        "the same, since the start only"
    }

    fn table(&self, system: &dyn System) -> Table {
        table(system, ALONE.into_iter(), |row| row.total.to_vec())
    }
}

impl Show for StatsAverages {
    fn name(&self) -> &'static str {
        "STATS_AVERAGES"
    }

    fn help(&self) -> &'static str {
        "the same, lately only"
    }

    fn table(&self, system: &dyn System) -> Table {
        table(system, ALONE.into_iter(), |row| row.average.to_vec())
    }
}

impl Show for Totals {
    fn name(&self) -> &'static str {
        "TOTALS"
    }

    fn help(&self) -> &'static str {
        "the same over all databases"
    }

    fn table(&self, system: &dyn System) -> Table {
        let mut table = Table::new([text("name"), bigint("value")]);
        let rows = system.stats();
        let sum = |of: fn(&Row) -> &[u64; 11], index: usize| -> Cell {
            let values = rows.iter().filter_map(|row| of(row).get(index).copied());
            values.fold(0, u64::saturating_add).into()
        };
        // PgBouncer calls bytes otherwise here.
        let named = |name: &'static str| match name {
            "total_received" => "total_client_bytes",
            "total_sent" => "total_server_bytes",
            "avg_recv" => "avg_client_bytes",
            "avg_sent" => "avg_server_bytes",
            name => name,
        };
        for (index, name) in TOTAL.into_iter().enumerate() {
            table.push([named(name).into(), sum(|row| &row.total, index)]);
        }
        for (index, name) in AVERAGE.into_iter().enumerate() {
            table.push([named(name).into(), sum(|row| &row.average, index)]);
        }
        table
    }
}

fn table(
    system: &dyn System,
    names: impl Iterator<Item = &'static str>,
    values: impl Fn(&Row) -> Vec<u64>,
) -> Table {
    let mut table = Table::new(std::iter::once(text("database")).chain(names.map(numeric)));
    for row in system.stats() {
        let values: Vec<Cell> = values(&row).into_iter().map(Cell::from).collect();
        table.push(std::iter::once(row.database.into()).chain(values));
    }
    table
}
