//! Two looks → a frame: a line of signals, and tables that can be sorted.
use super::metrics::{Between, Metrics};
use super::source::{Look, View};
use serde_json::Value;
use std::cmp::Ordering;

const SECONDS: &str = "weir_statement_seconds";
/// A cell that is longer is cut, unless it is the row's last.
const WIDEST: usize = 24;
/// Of one statement's text.
const WIDEST_LAST: usize = 100;

/// Lines of text, the first tables' first.
pub struct Frame {
    pub lines: Vec<Line>,
    /// Each table's number of columns.
    columns: Vec<usize>,
}

pub struct Line {
    pub text: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Signals,
    Title,
    /// Of the table that keys are for.
    Chosen,
    Head,
    Row,
}

/// What each table is sorted by.
#[derive(Default)]
pub struct Sorting {
    table: usize,
    tables: [Option<Order>; TABLES],
}

#[derive(Clone, Copy)]
struct Order {
    column: usize,
    down: bool,
}

const TABLES: usize = 4;

impl Sorting {
    pub fn next_table(&mut self, frame: &Frame) {
        self.table = (self.table + 1) % frame.columns.len().max(1);
    }

    pub fn next_column(&mut self, frame: &Frame, step: isize) {
        let count = frame.columns.get(self.table).copied().unwrap_or(0).max(1) as isize;
        if let Some(order) = self.tables.get_mut(self.table) {
            let column = order.map_or(if step > 0 { -1 } else { 0 }, |order| order.column as isize);
            let column = (column + step).rem_euclid(count) as usize;
            *order = Some(Order { column, down: order.is_none_or(|order| order.down) });
        }
    }

    pub fn reverse(&mut self, frame: &Frame) {
        match self.tables.get_mut(self.table) {
            Some(Some(order)) => order.down = !order.down,
            Some(None) => self.next_column(frame, 1),
            None => {}
        }
    }
}

/// A table before it is text.
struct Grid {
    title: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

enum Cell {
    Nothing,
    Text(String),
    Number(f64),
    /// In seconds.
    Time(f64),
}

impl Frame {
    /// `height`: lines that there is room for.
    pub fn new(before: &Look, now: &Look, sorting: &Sorting, height: usize) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        let between = Between { before: &before.metrics, now: &now.metrics, seconds };
        let mut grids = vec![shards(&between, &now.shards), pools(&now.pools)];
        grids.extend(plans(&before.plans, &now.plans, seconds));
        grids.extend((!now.hot.rows.is_empty()).then(|| of_view("hot", &now.hot)));
        let mut frame = Self { lines: Vec::new(), columns: Vec::new() };
        let first = format!("weir {} at {} · {}", now.version, now.place, now.ready);
        frame.push(Kind::Signals, first);
        frame.push(Kind::Signals, signals(&between));
        let mut room = height.saturating_sub(2);
        let count = grids.len();
        for (index, mut grid) in grids.into_iter().enumerate() {
            let order = sorting.tables.get(index).copied().flatten();
            if let Some(order) = order {
                grid.sort(order);
            }
            // Each table has its share of what is left, so that the last one is seen, too.
            let share = room / (count - index);
            let used = grid.draw(order, index == sorting.table, share, &mut frame);
            room = room.saturating_sub(used);
        }
        frame
    }

    pub fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + line.text.trim_end() + "\n")
    }

    fn push(&mut self, kind: Kind, text: String) {
        self.lines.push(Line { text, kind });
    }
}

impl Grid {
    fn sort(&mut self, Order { column, down }: Order) {
        let compare =
            |one: &Vec<Cell>, other: &Vec<Cell>| match (one.get(column), other.get(column)) {
                (Some(one), Some(other)) => one.compare(other),
                (_, _) => Ordering::Equal,
            };
        self.rows.sort_by(|one, other| match down {
            true => compare(other, one),
            false => compare(one, other),
        });
    }

    /// An empty line, the title, the heads, as many rows as there is room for; the number of lines.
    fn draw(self, order: Option<Order>, chosen: bool, room: usize, frame: &mut Frame) -> usize {
        const FIXED: usize = 3;
        frame.columns.push(self.columns.len());
        let heads = self.columns.iter().enumerate().map(|(index, name)| {
            let mark = order.filter(|order| order.column == index);
            format!("{name}{}", mark.map_or("", |order| if order.down { "▼" } else { "▲" }))
        });
        let heads: Vec<String> = heads.collect();
        let rows = self.rows.iter().take(room.saturating_sub(FIXED));
        let rows: Vec<Vec<String>> = rows.map(|row| shown(row)).collect();
        let width = |index: usize| {
            let cells = rows.iter().chain([&heads]).filter_map(|row| row.get(index));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let right = |index: usize| {
            let mut cells = self.rows.iter().filter_map(|row| row.get(index));
            cells.any(|cell| matches!(cell, Cell::Number(_) | Cell::Time(_)))
        };
        let right: Vec<bool> = (0..heads.len()).map(right).collect();
        let line = |row: &[String]| {
            let cells =
                row.iter().zip(&widths).zip(&right).map(|((cell, width), right)| match right {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                });
            cells.collect::<Vec<_>>().join("  ")
        };
        frame.push(Kind::Row, String::new());
        frame.push(if chosen { Kind::Chosen } else { Kind::Title }, self.title.to_owned());
        frame.push(Kind::Head, line(&heads));
        for row in &rows {
            frame.push(Kind::Row, line(row));
        }
        FIXED + rows.len()
    }
}

fn shown(row: &[Cell]) -> Vec<String> {
    let last = row.len().saturating_sub(1);
    let cut = |(index, cell): (usize, &Cell)| {
        let (text, most) = (cell.text(), if index == last { WIDEST_LAST } else { WIDEST });
        match text.chars().count() > most {
            true => text.chars().take(most - 1).chain(['…']).collect(),
            false => text,
        }
    };
    row.iter().enumerate().map(cut).collect()
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Nothing => "-".to_owned(),
            // A statement's line breaks would break the table, and its control characters the terminal.
            Self::Text(text) => text
                .split(|c: char| c.is_control() || c == ' ')
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" "),
            Self::Number(number) => amount(*number),
            Self::Time(seconds) => time(*seconds),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.number(), other.number()) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            (None, None) => self.text().cmp(&other.text()),
            (one, other) => one.is_some().cmp(&other.is_some()),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) | Self::Time(number) => Some(*number),
            Self::Nothing | Self::Text(_) => None,
        }
    }
}

fn optional(value: Option<f64>, cell: fn(f64) -> Cell) -> Cell {
    value.map_or(Cell::Nothing, cell)
}

fn amount(number: f64) -> String {
    match number.fract() == 0.0 || number.abs() >= 100.0 {
        true => format!("{number:.0}"),
        false => format!("{number:.1}"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.1} s"),
    }
}

/// Where weir counts statements by their time, and where it does not yet.
fn statements(metrics: &Metrics) -> &'static str {
    match metrics.has("weir_statement_seconds_count") {
        true => "weir_statement_seconds_count",
        false => "weir_statements_total",
    }
}

fn signals(between: &Between<'_>) -> String {
    let rate = |name| between.rate(name, &[]).map_or("-".to_owned(), amount);
    let quantile = |share| between.quantile(share, SECONDS, &[]).map_or("-".to_owned(), time);
    let now = |name| amount(between.now.sum(name, &[]));
    let (hits, misses) = ("weir_plan_cache_hits_total", "weir_plan_cache_misses_total");
    let cached = match (between.rate(hits, &[]), between.rate(misses, &[])) {
        (Some(hits), Some(misses)) if hits + misses > 0.0 => amount(100.0 * hits / (hits + misses)),
        (_, _) => "-".to_owned(),
    };
    format!(
        "statements/s {} · errors/s {} · refused/s {} · p50 {} · p99 {} · clients {} · waiting {} · plans cached {cached} %",
        rate(statements(between.now)),
        rate("weir_statement_errors_total"),
        rate("weir_refused_total"),
        quantile(0.5),
        quantile(0.99),
        now("weir_clients"),
        now("weir_checkout_waiting"),
    )
}

/// A row for each server, from the metrics; `view` adds how many buckets its shard has.
fn shards(between: &Between<'_>, view: &View) -> Grid {
    let columns = [
        "database", "shard", "server", "role", "state", "stmt/s", "errors/s", "p50", "p99",
        "active", "open", "max", "waiting", "probe", "buckets",
    ];
    let now = between.now;
    let mut rows = Vec::new();
    for database in now.values("weir_server_up", "database", &[]) {
        for shard in now.values("weir_server_up", "shard", &[("database", &database)]) {
            let shard_of = [("database", database.as_str()), ("shard", shard.as_str())];
            for server in now.values("weir_server_up", "server", &shard_of) {
                let here = [shard_of[0], shard_of[1], ("server", server.as_str())];
                let of = |name| now.sum(name, &here);
                let (up, breaker) =
                    (of("weir_server_up") > 0.0, of("weir_server_breaker_open") > 0.0);
                let state = match (up, breaker) {
                    (false, _) => "DOWN",
                    (true, true) => "BREAKER",
                    (true, false) => "up",
                };
                let role = if of("weir_server_primary") > 0.0 { "primary" } else { "replica" };
                let open = of("weir_server_connections");
                rows.push(vec![
                    Cell::Text(database.clone()),
                    Cell::Text(shard.clone()),
                    Cell::Text(server.clone()),
                    Cell::Text(role.to_owned()),
                    Cell::Text(state.to_owned()),
                    optional(between.rate(statements(now), &shard_of), Cell::Number),
                    optional(between.rate("weir_statement_errors_total", &shard_of), Cell::Number),
                    optional(between.quantile(0.5, SECONDS, &shard_of), Cell::Time),
                    optional(between.quantile(0.99, SECONDS, &shard_of), Cell::Time),
                    Cell::Number(open - of("weir_server_connections_idle")),
                    Cell::Number(open),
                    Cell::Number(of("weir_server_connections_max")),
                    Cell::Number(of("weir_checkout_waiting")),
                    Cell::Time(of("weir_probe_seconds")),
                    buckets(view, &database, &shard),
                ]);
            }
        }
    }
    Grid { title: "SHARDS", columns: columns.map(str::to_owned).to_vec(), rows }
}

fn buckets(view: &View, database: &str, shard: &str) -> Cell {
    let is = |row: &serde_json::Map<String, Value>, name: &str, value: &str| {
        row.get(name).and_then(Value::as_str) == Some(value)
    };
    let row = view.rows.iter().find(|row| is(row, "database", database) && is(row, "shard", shard));
    row.and_then(|row| row.get("buckets")).map_or(Cell::Nothing, cell)
}

/// The busiest first.
fn pools(view: &View) -> Grid {
    let mut grid = of_view("POOLS", view);
    for name in ["sv_active", "active", "cl_waiting", "waiting"] {
        if let Some(column) = grid.columns.iter().position(|column| column == name) {
            grid.sort(Order { column, down: true });
        }
    }
    grid
}

/// The statements that took most of the time since the look before; of all time, if there was none.
fn plans(before: &View, now: &View, seconds: f64) -> Option<Grid> {
    let (time, key) = ("total_us", ["database", "shape", "statement"]);
    if now.rows.is_empty() || !now.columns.iter().any(|column| column.name == time) {
        return (!now.rows.is_empty()).then(|| of_view("HEAVIEST STATEMENTS", now));
    }
    let number =
        |row: &serde_json::Map<String, Value>, name: &str| row.get(name).and_then(Value::as_f64);
    let same = |one: &serde_json::Map<String, Value>, other: &serde_json::Map<String, Value>| {
        key.iter().all(|name| one.get(*name) == other.get(*name))
    };
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for row in &now.rows {
        let known = before.rows.iter().find(|known| same(known, row));
        let grown = |name: &str| {
            let old = known.and_then(|known| number(known, name)).unwrap_or(0.0);
            (number(row, name).unwrap_or(0.0) - old).max(0.0)
        };
        let load = (seconds > 0.0).then(|| grown(time) / 1e6 / seconds);
        let text = |name: &str| row.get(name).map_or(Cell::Nothing, cell);
        rows.push(vec![
            optional(load, Cell::Number),
            optional((seconds > 0.0).then(|| grown("calls") / seconds), Cell::Number),
            optional(number(row, "mean_us").map(|us| us / 1e6), Cell::Time),
            optional(number(row, "max_us").map(|us| us / 1e6), Cell::Time),
            text("database"),
            text("strategy"),
            text("statement"),
        ]);
    }
    let columns = ["busy", "calls/s", "mean", "max", "database", "strategy", "statement"];
    let mut grid = Grid {
        title: "HEAVIEST STATEMENTS (busy: that many at a time)",
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    };
    grid.sort(Order { column: 0, down: true });
    Some(grid)
}

fn of_view(title: &'static str, view: &View) -> Grid {
    let title = if title == "hot" { "HOT" } else { title };
    let columns: Vec<String> = view.columns.iter().map(|column| column.name.clone()).collect();
    let row = |row: &serde_json::Map<String, Value>| {
        view.columns
            .iter()
            .map(|column| row.get(&column.name).map_or(Cell::Nothing, cell))
            .collect()
    };
    Grid { title, rows: view.rows.iter().map(row).collect(), columns }
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Nothing,
        Value::Number(number) => Cell::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Cell::Text(text.clone()),
        other => Cell::Text(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// Plans: each statement's calls and time.
    fn look(at: Instant, plans: &[(&str, u64, u64)]) -> Look {
        let row = |&(statement, calls, us): &(&str, u64, u64)| {
            serde_json::json!({"database": "shop", "shape": statement, "strategy": "one", "calls": calls,
                "total_us": us, "mean_us": us / calls, "max_us": us, "statement": statement})
        };
        let plans = serde_json::json!({
            "columns": [{"name": "statement"}, {"name": "total_us"}],
            "rows": plans.iter().map(row).collect::<Vec<_>>(),
        });
        Look {
            at,
            place: "127.0.0.1:6433".to_owned(),
            version: "1.2.3".to_owned(),
            ready: "ready".to_owned(),
            metrics: Metrics::parse(
                "weir_clients 7\nweir_server_up{database=\"shop\",shard=\"s0\",server=\"a:1\"} 0\n",
            ),
            pools: View::default(),
            shards: View::default(),
            plans: serde_json::from_value(plans).unwrap(),
            hot: View::default(),
        }
    }

    /// The statements in the order of the frame, and all of its text.
    fn statements(sorting: &Sorting) -> (Vec<String>, String, Frame) {
        let begin = Instant::now();
        let before = look(begin, &[("old", 100, 9_000_000), ("busy", 1, 1)]);
        let later = begin + Duration::from_secs(2);
        let plans =
            [("old", 100, 9_000_000), ("busy", 11, 1_000_001), ("drop\ntable\u{1b}[2J", 3, 3)];
        let frame = Frame::new(&before, &look(later, &plans), sorting, usize::MAX);
        let text = frame.text();
        let rows = text.lines().skip_while(|line| !line.starts_with("busy")).skip(1);
        let last = |line: &str| line.split("one  ").nth(1).unwrap_or_default().trim().to_owned();
        (rows.map(last).collect(), text, frame)
    }

    #[test]
    fn the_heaviest_since_the_last_look_come_first() {
        let (statements, text, _) = statements(&Sorting::default());
        assert_eq!(statements, ["busy", "drop table [2J", "old"]);
        assert!(text.starts_with("weir 1.2.3 at 127.0.0.1:6433 · ready\n"), "{text}");
        assert!(text.contains("clients 7") && text.contains("DOWN"), "{text}");
        // Half a call at a time, five a second.
        assert!(text.contains(" 0.5        5  "), "{text}");
    }

    #[test]
    fn keys_choose_table_column_and_direction() {
        let mut sorting = Sorting::default();
        let (_, _, frame) = statements(&sorting);
        sorting.next_table(&frame);
        sorting.next_table(&frame);
        sorting.next_column(&frame, -1);
        let (names, text, _) = statements(&sorting);
        assert_eq!(names, ["old", "drop table [2J", "busy"], "{text}");
        sorting.reverse(&frame);
        assert_eq!(statements(&sorting).0, ["busy", "drop table [2J", "old"]);
    }

    #[test]
    fn a_frame_keeps_to_the_height_of_its_screen() {
        let begin = Instant::now();
        let plans: Vec<(String, u64, u64)> = (0..99).map(|n| (n.to_string(), 1, 1)).collect();
        let plans: Vec<(&str, u64, u64)> =
            plans.iter().map(|(s, c, t)| (s.as_str(), *c, *t)).collect();
        let (before, now) = (look(begin, &plans), look(begin + Duration::from_secs(1), &plans));
        for height in [5, 12, 30] {
            assert!(
                Frame::new(&before, &now, &Sorting::default(), height).lines.len()
                    <= height.max(11)
            );
        }
    }
}
