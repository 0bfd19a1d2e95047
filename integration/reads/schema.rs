//! The tables, where weir's rules say that their rows live, and the rows.
//!
//! One server has it all: a database for the oracle, and for each world (so many shards) one for each
//! shard and one for gathering. A database is made from a template, which is cheap.
use super::Random;
use super::types::{ALL, Type};
use crate::cluster::{Cluster, DATABASE};
use crate::oracle::query;
use crate::raw::Raw;
use rand::RngExt;
use std::fmt;
use std::fmt::Write as _;

pub struct Table {
    pub name: &'static str,
    pub home: Home,
    pub columns: Vec<Column>,
    /// How many rows it gets, at most.
    rows: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// By column k.
    Key,
    /// By column k, or where it is NULL by column code.
    KeyOrCode,
    Code,
    Reference,
    FirstShard,
}

#[derive(Clone)]
pub struct Column {
    pub name: &'static str,
    pub kind: Type,
}

/// The values of k; few, so that the shards of seven are not all in use.
pub const KEYS: [i64; 11] = [1, 2, 3, 4, 5, 42, 1000, 0, -1, i64::MAX, i64::MIN];
pub const CODES: [&str; 7] = ["A-1", "A-2", "B-1", "b-1", "C 3", "", "Ä"];
const BUCKETS: usize = 64;

pub fn tables() -> Vec<Table> {
    let column = |name, kind| Column { name, kind };
    let keyed = |kinds: &[Type], more: Vec<Column>| {
        let mut columns = vec![column("k", Type::Int8), column("id", Type::Int4)];
        columns.extend(more);
        columns.extend(kinds.iter().map(|&kind| column(kind.column(), kind)));
        columns
    };
    use Type::*;
    let some = [Int4, Money, Numeric, TextC, TextIcu, Timestamptz, Float8, Mood, Bool];
    let few = [Int4, Int8, Money, TextC, TextDefault, Date, Interval];
    vec![
        Table { name: "wide", home: Home::Key, rows: 40, columns: keyed(&ALL, vec![]) },
        Table {
            name: "parts",
            home: Home::Key,
            rows: 60,
            columns: keyed(&some, vec![column("wide_id", Int4)]),
        },
        Table {
            name: "guests",
            home: Home::KeyOrCode,
            rows: 40,
            columns: keyed(&few, vec![column("code", TextC)]),
        },
        Table {
            name: "codes",
            home: Home::Code,
            rows: 25,
            columns: keyed(&[Int4, Money, TextC, TextNoCase], vec![column("code", TextC)]),
        },
        Table {
            name: "kinds",
            home: Home::Reference,
            rows: 6,
            columns: keyed(&[Int4, TextC, Money], vec![]),
        },
        Table {
            name: "moods",
            home: Home::Reference,
            rows: 4,
            columns: keyed(&[Mood, TextDefault], vec![]),
        },
        Table {
            name: "alone",
            home: Home::FirstShard,
            rows: 12,
            columns: keyed(&[Int4, TextC, Jsonb], vec![]),
        },
    ]
}

/// What makes the tables, on whatever server.
pub fn ddl() -> String {
    let mut text = String::from(
        "CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
         CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);",
    );
    for table in tables() {
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| {
                let needed = match (column.name, table.home) {
                    ("id", _) | ("k", Home::Key) | ("code", _) => " NOT NULL",
                    _ => "",
                };
                format!("{} {}{needed}", column.name, column.kind.sql())
            })
            .collect();
        let key = match table.home {
            Home::Key => "PRIMARY KEY (k, id)",
            Home::KeyOrCode => "UNIQUE (id, code)",
            Home::Code => "PRIMARY KEY (code, id)",
            Home::Reference | Home::FirstShard => "PRIMARY KEY (id)",
        };
        writeln!(text, "CREATE TABLE {} ({}, {key});", table.name, columns.join(", ")).unwrap();
    }
    text
}

/// weir's rules for these databases.
pub fn rules(cluster: &Cluster, world: World) -> String {
    let server = cluster.shard(0);
    let mut text =
        format!("database = '{DATABASE}'\n[gather]\ndsn = '{}'\n", server.dsn(&world.gather()));
    for shard in 0..world.shards {
        let dsn = server.dsn(&world.database(shard));
        writeln!(text, "[[shard]]\nname = 's{shard}'\nprimary = '{dsn}'").unwrap();
    }
    for (name, kind) in [("by_key", "bigint"), ("by_code", "text")] {
        writeln!(text, "[[distribution]]\nname = '{name}'\nfunction = 'fnv32'\nkey_type = '{kind}'\nbuckets = {BUCKETS}")
            .unwrap();
    }
    for table in tables() {
        let home = match table.home {
            Home::Key => "distribution = 'by_key'\nkey = 'k'",
            Home::KeyOrCode => {
                "distribution = 'by_key'\nkey = 'k'\nfallback = { key = 'code', distribution = 'by_code' }"
            }
            Home::Code => "distribution = 'by_code'\nkey = 'code'",
            Home::Reference => "reference = true",
            Home::FirstShard => "shard = 's0'",
        };
        writeln!(text, "[[table]]\nname = '{}'\n{home}", table.name).unwrap();
    }
    text.replace(" user=postgres", "")
}

/// So many shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct World {
    pub shards: usize,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shards", self.shards)
    }
}

impl World {
    pub fn database(self, shard: usize) -> String {
        format!("w{}s{shard}", self.shards)
    }

    pub fn gather(self) -> String {
        format!("w{}gather", self.shards)
    }

    /// FNV-1a of the key's text; buckets in turn over the shards.
    fn shard_of(self, key: &str) -> usize {
        let fnv = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        key.bytes().fold(0x811c_9dc5, fnv) as usize % BUCKETS % self.shards
    }
}

/// All databases' tables, without rows.
pub fn create(cluster: &Cluster, worlds: &[World]) {
    let server = cluster.shard(0);
    // Large estimates for tables without statistics: compiling takes longer than their rows are worth.
    server.sql("postgres", "ALTER SYSTEM SET jit = off").unwrap();
    server.sql("postgres", "SELECT pg_reload_conf()").unwrap();
    server.sql(DATABASE, &ddl()).expect("the schema is PostgreSQL's");
    for world in worlds {
        let shards = (0..world.shards).map(|shard| world.database(shard));
        for (at, database) in shards.chain([world.gather()]).enumerate() {
            // Each database numbers its types for itself.
            let template = if at % 2 == 0 { DATABASE } else { "template1" };
            let create = format!("CREATE DATABASE {database} TEMPLATE {template}");
            server.sql("postgres", &create).unwrap();
            if at % 2 == 1 {
                server.sql(&database, &ddl()).unwrap();
            }
        }
    }
}

/// The servers' own connections, to fill them.
pub struct Stock {
    in_reverse: bool,
    oracle: Raw,
    worlds: Vec<(World, Vec<Raw>)>,
}

impl Stock {
    pub fn new(cluster: &Cluster, worlds: &[World]) -> Self {
        let connect = |database: &str| {
            Raw::connect(cluster.shard(0).port(), &[("user", "postgres"), ("database", database)])
        };
        let shards =
            |world: &World| (0..world.shards).map(|at| connect(&world.database(at))).collect();
        let worlds = worlds.iter().map(|world| (*world, shards(world))).collect();
        Self { in_reverse: false, oracle: connect(DATABASE), worlds }
    }

    /// The worlds get their rows in the other order.
    pub fn in_reverse(self) -> Self {
        Self { in_reverse: true, ..self }
    }

    /// New rows everywhere.
    pub fn fill(&mut self, random: &mut Random) {
        let tables = tables();
        let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
        let clear = format!("TRUNCATE {};", names.join(","));
        let mut all = clear.clone();
        let mut texts: Vec<Vec<String>> =
            self.worlds.iter().map(|(world, _)| vec![clear.clone(); world.shards]).collect();
        for table in &tables {
            let empty = random.random_range(0..12) == 0;
            let keys = random.random_range(1..=KEYS.len());
            let count = if empty { 0 } else { random.random_range(1..=table.rows) };
            let mut rows: Vec<_> = (1..=count).map(|id| table.row(id, keys, random)).collect();
            rows.iter().for_each(|(row, _)| all.push_str(row));
            if self.in_reverse {
                rows.reverse();
            }
            for (row, key) in rows {
                for ((world, _), texts) in self.worlds.iter().zip(&mut texts) {
                    match table.home {
                        Home::Reference => texts.iter_mut().for_each(|text| text.push_str(&row)),
                        Home::FirstShard => texts[0].push_str(&row),
                        Home::Key | Home::KeyOrCode | Home::Code => {
                            texts[world.shard_of(&key)].push_str(&row);
                        }
                    }
                }
            }
        }
        query(&mut self.oracle, &all);
        for ((_, shards), texts) in self.worlds.iter_mut().zip(&texts) {
            shards.iter_mut().zip(texts).for_each(|(shard, text)| drop(query(shard, text)));
        }
    }
}

impl Table {
    /// One row as INSERT, and what it is placed by.
    fn row(&self, id: usize, keys: usize, random: &mut Random) -> (String, String) {
        let k = match self.home {
            Home::KeyOrCode | Home::Code | Home::Reference | Home::FirstShard
                if random.random_range(0..4) == 0 =>
            {
                None
            }
            _ => Some(KEYS[random.random_range(0..keys)].to_string()),
        };
        let code = CODES[random.random_range(0..CODES.len())];
        let values: Vec<String> = self
            .columns
            .iter()
            .map(|column| match column.name {
                "k" => k.clone().map_or("NULL".to_owned(), |k| format!("'{k}'")),
                "id" => id.to_string(),
                "wide_id" => random.random_range(1..30).to_string(),
                "code" => format!("'{code}'"),
                _ => column.kind.literal(random),
            })
            .collect();
        let key = match (self.home, k) {
            (Home::Key | Home::KeyOrCode, Some(k)) => k,
            _ => code.to_owned(),
        };
        (format!("INSERT INTO {} VALUES ({});", self.name, values.join(",")), key)
    }
}
