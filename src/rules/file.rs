//! What may be written in a rules file. The only place that reads its format.
//!
//! Each value keeps its line, so that `check` can say where a problem is. What is missing or has
//! the wrong type is reported here and read as absent, so that one mistake hides no other.
use super::problem::{Problem, nearest};
use crate::sharding::Setting;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and the line it stands on.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    pub line: usize,
}

#[derive(Debug)]
pub struct File {
    pub database: Option<At<String>>,
    pub home: Option<At<String>>,
    pub unlisted: Option<At<String>>,
    pub pool_mode: Option<At<String>>,
    pub reads: Option<At<String>>,
    pub consistency: Option<At<String>>,
    pub commit: Option<At<String>>,
    pub gather: Option<GatherEntry>,
    pub ids: Option<IdsEntry>,
    pub shards: Vec<ShardEntry>,
    pub distributions: Vec<DistributionEntry>,
    pub tables: Vec<TableEntry>,
    pub functions: Vec<FunctionEntry>,
}

#[derive(Debug)]
pub struct GatherEntry {
    pub dsn: Option<At<String>>,
    pub max_bytes: Option<At<String>>,
    pub max_rows: Option<At<i64>>,
    pub max_concurrent: Option<At<i64>>,
    pub timeout: Option<At<String>>,
    pub notice: Option<At<bool>>,
    pub line: usize,
}

/// How generated ids are kept apart.
#[derive(Debug)]
pub struct IdsEntry {
    pub stride: Option<At<i64>>,
}

#[derive(Debug)]
pub struct ShardEntry {
    pub line: usize,
    pub name: Option<At<String>>,
    pub primary: Option<At<String>>,
    pub replicas: Vec<At<String>>,
}

#[derive(Debug)]
pub struct DistributionEntry {
    pub line: usize,
    pub name: Option<At<String>>,
    pub function: Option<At<String>>,
    pub key_type: Option<At<String>>,
    pub shards: Option<At<Vec<At<String>>>>,
    pub map: Option<At<Vec<MapEntry>>>,
    /// Everything else: the function's own settings.
    pub own: BTreeMap<String, At<Setting>>,
}

#[derive(Debug)]
pub struct MapEntry {
    pub shard: At<String>,
    pub buckets: At<String>,
}

#[derive(Debug)]
pub struct TableEntry {
    pub line: usize,
    pub name: Option<At<String>>,
    pub distribution: Option<At<String>>,
    pub key: Option<At<String>>,
    pub fallback: Option<FallbackEntry>,
    pub reference: Option<At<bool>>,
    pub shard: Option<At<String>>,
    pub hot_key: Option<At<Vec<At<String>>>>,
}

#[derive(Debug)]
pub struct FallbackEntry {
    pub line: usize,
    pub key: Option<At<String>>,
    pub distribution: Option<At<String>>,
}

/// A user-defined function and the tables it reads.
#[derive(Debug)]
pub struct FunctionEntry {
    pub name: At<String>,
    pub tables: Vec<At<String>>,
}

/// Reads as much of the text as can be read.
pub fn read(text: &str) -> (File, Vec<Problem>) {
    let mut reader = Reader { lines: line_starts(text), problems: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = reader.line(error.span().map_or(0, |span| span.start));
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        reader.report(line, message, "the file is TOML: https://toml.io".to_owned());
    }
    let mut root = Section::new("the file", document.get_ref(), 1);
    let file = File {
        database: root.required_text("database", &mut reader),
        home: root.text("home", &mut reader),
        unlisted: root.text("unlisted", &mut reader),
        pool_mode: root.text("pool_mode", &mut reader),
        reads: root.text("reads", &mut reader),
        consistency: root.text("consistency", &mut reader),
        commit: root.text("commit", &mut reader),
        gather: root.section("gather", "[gather]", &mut reader).map(|mut section| {
            let entry = GatherEntry {
                dsn: section.required_text("dsn", &mut reader),
                max_bytes: section.text("max_bytes", &mut reader),
                max_rows: section.number("max_rows", &mut reader),
                max_concurrent: section.number("max_concurrent", &mut reader),
                timeout: section.text("timeout", &mut reader),
                notice: section.flag("notice", &mut reader),
                line: section.line,
            };
            section.finish(&mut reader);
            entry
        }),
        ids: root.section("ids", "[ids]", &mut reader).map(|mut section| {
            let entry = IdsEntry { stride: section.number("stride", &mut reader) };
            section.finish(&mut reader);
            entry
        }),
        shards: root.each("shard", "[[shard]]", &mut reader, shard),
        distributions: root.each("distribution", "[[distribution]]", &mut reader, distribution),
        tables: root.each("table", "[[table]]", &mut reader, table),
        functions: functions(&mut root, &mut reader),
    };
    root.finish(&mut reader);
    (file, reader.problems)
}

fn shard(section: &mut Section, reader: &mut Reader) -> ShardEntry {
    ShardEntry {
        line: section.line,
        name: section.required_text("name", reader),
        primary: section.required_text("primary", reader),
        replicas: section.texts("replicas", reader).map_or_else(Vec::new, |list| list.value),
    }
}

fn distribution(section: &mut Section, reader: &mut Reader) -> DistributionEntry {
    DistributionEntry {
        line: section.line,
        name: section.required_text("name", reader),
        function: section.required_text("function", reader),
        key_type: section.required_text("key_type", reader),
        shards: section.texts("shards", reader),
        map: section.section("map", "[distribution.map]", reader).map(|map| {
            let buckets = map.table.iter().filter_map(|(shard, value)| {
                let line = reader.line(shard.span().start);
                let shard = At { value: shard.get_ref().to_string(), line };
                let buckets = reader.text(&shard.value, value)?;
                Some(MapEntry { shard, buckets })
            });
            At { value: buckets.collect(), line: map.line }
        }),
        own: section.rest(reader),
    }
}

fn table(section: &mut Section, reader: &mut Reader) -> TableEntry {
    TableEntry {
        line: section.line,
        name: section.required_text("name", reader),
        distribution: section.text("distribution", reader),
        key: section.text("key", reader),
        fallback: section.section("fallback", "fallback", reader).map(|mut section| {
            let entry = FallbackEntry {
                line: section.line,
                key: section.required_text("key", reader),
                distribution: section.required_text("distribution", reader),
            };
            section.finish(reader);
            entry
        }),
        reference: section.flag("reference", reader),
        shard: section.text("shard", reader),
        hot_key: section.texts("hot_key", reader),
    }
}

fn functions(root: &mut Section, reader: &mut Reader) -> Vec<FunctionEntry> {
    let Some(section) = root.section("functions", "[functions]", reader) else {
        return Vec::new();
    };
    let entry = |(name, value): (&Spanned<_>, &Spanned<_>)| {
        let line = reader.line(name.span().start);
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        let tables = reader.texts(name, value)?.value;
        Some(FunctionEntry { name: At { value: name.to_string(), line }, tables })
    };
    section.table.iter().filter_map(entry).collect()
}

struct Reader {
    /// The byte at which each line starts.
    lines: Vec<usize>,
    problems: Vec<Problem>,
}

impl Reader {
    fn line(&self, byte: usize) -> usize {
        self.lines.partition_point(|start| *start <= byte).max(1)
    }

    fn report(&mut self, line: usize, message: String, hint: String) {
        self.problems.push(Problem { line, message, hint });
    }

    fn wrong_type(&mut self, key: &str, value: &Spanned<DeValue>, wanted: &str) {
        let line = self.line(value.span().start);
        let message = format!("{key} is of type {}", value.get_ref().type_str());
        self.report(line, message, format!("write {key} = {wanted}"));
    }

    fn text(&mut self, key: &str, value: &Spanned<DeValue>) -> Option<At<String>> {
        let line = self.line(value.span().start);
        let text = value.get_ref().as_str().map(|text| At { value: text.to_owned(), line });
        if text.is_none() {
            self.wrong_type(key, value, "\"text\"");
        }
        text
    }

    fn texts(&mut self, key: &str, value: &Spanned<DeValue>) -> Option<At<Vec<At<String>>>> {
        let line = self.line(value.span().start);
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "[\"text\", \"text\"]");
            return None;
        };
        Some(At { value: list.iter().filter_map(|item| self.text(key, item)).collect(), line })
    }
}

/// A table of the file: hands out its keys and knows in the end which nobody asked for.
struct Section<'a, 'i> {
    title: &'static str,
    table: &'a DeTable<'i>,
    line: usize,
    known: Vec<&'static str>,
    rest: Rest,
}

/// Whose the keys are that no field has asked for.
enum Rest {
    Unknown,
    Taken,
}

impl<'a, 'i> Section<'a, 'i> {
    fn new(title: &'static str, table: &'a DeTable<'i>, line: usize) -> Self {
        Section { title, table, line, known: Vec::new(), rest: Rest::Unknown }
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.known.push(key);
        self.table.get(key)
    }

    fn text(&mut self, key: &'static str, reader: &mut Reader) -> Option<At<String>> {
        let value = self.take(key)?;
        reader.text(key, value)
    }

    fn required_text(&mut self, key: &'static str, reader: &mut Reader) -> Option<At<String>> {
        if !self.table.contains_key(key) {
            let hint = format!("add {key} = \"…\"");
            reader.report(self.line, format!("{} has no {key}", self.title), hint);
        }
        self.text(key, reader)
    }

    fn texts(&mut self, key: &'static str, reader: &mut Reader) -> Option<At<Vec<At<String>>>> {
        let value = self.take(key)?;
        reader.texts(key, value)
    }

    fn flag(&mut self, key: &'static str, reader: &mut Reader) -> Option<At<bool>> {
        let value = self.take(key)?;
        let line = reader.line(value.span().start);
        let flag = value.get_ref().as_bool().map(|value| At { value, line });
        if flag.is_none() {
            reader.wrong_type(key, value, "true");
        }
        flag
    }

    fn number(&mut self, key: &'static str, reader: &mut Reader) -> Option<At<i64>> {
        let value = self.take(key)?;
        let line = reader.line(value.span().start);
        let number = value.get_ref().as_integer().and_then(|number| {
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
        });
        if number.is_none() {
            reader.wrong_type(key, value, "64");
        }
        number.map(|value| At { value, line })
    }

    fn section(
        &mut self,
        key: &'static str,
        title: &'static str,
        reader: &mut Reader,
    ) -> Option<Section<'a, 'i>> {
        let value = self.take(key)?;
        let line = reader.line(value.span().start);
        let table = value.get_ref().as_table();
        if table.is_none() {
            reader.wrong_type(key, value, "{ … }");
        }
        table.map(|table| Section::new(title, table, line))
    }

    /// The entries of an array of tables.
    fn each<T>(
        &mut self,
        key: &'static str,
        title: &'static str,
        reader: &mut Reader,
        read: impl Fn(&mut Section, &mut Reader) -> T,
    ) -> Vec<T> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(entries) = value.get_ref().as_array() else {
            let line = reader.line(value.span().start);
            reader.report(line, format!("{key} is not a list"), format!("write {title}"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for entry in entries.iter() {
            let Some(table) = entry.get_ref().as_table() else {
                reader.wrong_type(key, entry, "{ … }");
                continue;
            };
            let mut section = Section::new(title, table, reader.line(entry.span().start));
            found.push(read(&mut section, reader));
            section.finish(reader);
        }
        found
    }

    /// The keys that nobody took, as a function's settings.
    fn rest(&mut self, reader: &Reader) -> BTreeMap<String, At<Setting>> {
        let rest =
            self.table.iter().filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref()));
        let settings = rest.map(|(key, value)| {
            let line = reader.line(key.span().start);
            (key.get_ref().to_string(), At { value: setting(value.get_ref()), line })
        });
        let settings = settings.collect();
        // Whoever reads the settings says which of them are unknown.
        self.rest = Rest::Taken;
        settings
    }

    fn finish(self, reader: &mut Reader) {
        let unclaimed = match self.rest {
            Rest::Unknown => Some(self.table),
            Rest::Taken => None,
        };
        for key in unclaimed.into_iter().flat_map(DeTable::keys) {
            if !self.known.contains(&key.get_ref().as_ref()) {
                let line = reader.line(key.span().start);
                let message = format!("unknown key {:?} in {}", key.get_ref(), self.title);
                reader.report(line, message, nearest(key.get_ref(), &self.known));
            }
        }
    }
}

fn setting(value: &DeValue) -> Setting {
    match value {
        DeValue::String(text) => Setting::Text(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            match i64::from_str_radix(&digits, number.radix()) {
                Ok(number) => Setting::Int(number),
                Err(_) => Setting::Other("a number beyond 64 bits"),
            }
        }
        DeValue::Datetime(time) => Setting::Text(time.to_string()),
        DeValue::Array(list) => {
            Setting::List(list.iter().map(|item| setting(item.get_ref())).collect())
        }
        DeValue::Table(table) => {
            let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue>)| {
                (key.get_ref().to_string(), setting(value.get_ref()))
            };
            Setting::Table(table.iter().map(entry).collect())
        }
        DeValue::Float(_) => Setting::Other("a number with a fraction"),
        DeValue::Boolean(_) => Setting::Other("true or false"),
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_breaks).collect()
}
