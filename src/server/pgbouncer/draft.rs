//! A weir.toml in the making, with where each line comes from.
use super::ini::Place;

/// Tables in the order of their making.
#[derive(Debug, Default)]
pub struct Draft {
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    /// `[pool]`, `[[user]]`; empty: what stands before the first table.
    header: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    key: String,
    value: String,
    from: Option<String>,
}

/// Text as TOML writes it.
pub fn text(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

pub fn texts(values: &[String]) -> String {
    let values: Vec<_> = values.iter().map(|value| text(value)).collect();
    format!("[{}]", values.join(", "))
}

/// Milliseconds as weir.toml writes them.
pub fn milliseconds(ms: u64) -> String {
    match ms % 1000 {
        0 => text(&format!("{}s", ms / 1000)),
        _ => text(&format!("{ms}ms")),
    }
}

impl Draft {
    /// A table of which there may be several begins.
    pub fn begin(&mut self, header: &str) {
        self.tables.push(Table { header: header.to_owned(), lines: Vec::new() });
    }

    /// What is set twice is what was set last, as in PgBouncer.
    pub fn set(&mut self, header: &str, key: &str, value: String, from: Option<&Place>) {
        if !self.tables.iter().any(|table| table.header == header) {
            self.begin(header);
        }
        let last = self.tables.iter_mut().rfind(|table| table.header == header);
        let Some(table) = last else { return };
        table.lines.retain(|line| line.key != key);
        let from = from.map(Place::to_string);
        table.lines.push(Line { key: key.to_owned(), value, from });
    }

    /// The same where nothing is set yet.
    pub fn set_default(&mut self, header: &str, key: &str, value: String) {
        let mut tables = self.tables.iter().filter(|table| table.header == header);
        if !tables.any(|table| table.lines.iter().any(|line| line.key == key)) {
            self.set(header, key, value, None);
        }
    }

    /// The file.
    pub fn write(&self) -> String {
        let mut file = String::new();
        let (top, tables): (Vec<_>, Vec<_>) =
            self.tables.iter().partition(|table| table.header.is_empty());
        for table in top.into_iter().chain(tables) {
            if !table.header.is_empty() {
                file.push('\n');
                file.push_str(&table.header);
                file.push('\n');
            }
            for line in &table.lines {
                let from = line.from.as_ref().map(|from| format!("    # {from}"));
                let from = from.unwrap_or_default();
                file.push_str(&format!("{} = {}{from}\n", line.key, line.value));
            }
        }
        file
    }
}
