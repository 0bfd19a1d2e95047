//! TPC-H's eight tables at a scale, made up as its specification describes them: the same columns, ranges
//! and dependencies between columns. Comments are shorter; the words that queries look for are in them.
use crate::beside::{Rows, shard_of};
use rand::{RngExt, SeedableRng};
use std::fmt::Write as _;

type Random = rand::rngs::StdRng;

pub const BUCKETS: usize = 1024;
pub const SCHEMA: &str = "
    CREATE TABLE region (r_regionkey int PRIMARY KEY, r_name char(25) NOT NULL, r_comment varchar(152));
    CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name char(25) NOT NULL, n_regionkey int NOT NULL,
        n_comment varchar(152));
    CREATE TABLE supplier (s_suppkey int PRIMARY KEY, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL,
        s_nationkey int NOT NULL, s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL,
        s_comment varchar(101) NOT NULL);
    CREATE TABLE part (p_partkey int PRIMARY KEY, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL,
        p_brand char(10) NOT NULL, p_type varchar(25) NOT NULL, p_size int NOT NULL,
        p_container char(10) NOT NULL, p_retailprice numeric(15,2) NOT NULL, p_comment varchar(23) NOT NULL);
    CREATE TABLE partsupp (ps_partkey int NOT NULL, ps_suppkey int NOT NULL, ps_availqty int NOT NULL,
        ps_supplycost numeric(15,2) NOT NULL, ps_comment varchar(199) NOT NULL,
        PRIMARY KEY (ps_partkey, ps_suppkey));
    CREATE TABLE customer (c_custkey int PRIMARY KEY, c_name varchar(25) NOT NULL,
        c_address varchar(40) NOT NULL, c_nationkey int NOT NULL, c_phone char(15) NOT NULL,
        c_acctbal numeric(15,2) NOT NULL, c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL);
    CREATE TABLE orders (o_orderkey bigint PRIMARY KEY, o_custkey int NOT NULL, o_orderstatus char(1) NOT NULL,
        o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL,
        o_clerk char(15) NOT NULL, o_shippriority int NOT NULL, o_comment varchar(79) NOT NULL);
    CREATE TABLE lineitem (l_orderkey bigint NOT NULL, l_partkey int NOT NULL, l_suppkey int NOT NULL,
        l_linenumber int NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL,
        l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL,
        l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL,
        l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL,
        l_comment varchar(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber));
    CREATE INDEX ON lineitem (l_partkey, l_suppkey);
    CREATE INDEX ON orders (o_custkey);";

const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];
#[rustfmt::skip]
const NATIONS: [(&str, usize); 25] = [
    ("ALGERIA", 0), ("ARGENTINA", 1), ("BRAZIL", 1), ("CANADA", 1), ("EGYPT", 4), ("ETHIOPIA", 0),
    ("FRANCE", 3), ("GERMANY", 3), ("INDIA", 2), ("INDONESIA", 2), ("IRAN", 4), ("IRAQ", 4),
    ("JAPAN", 2), ("JORDAN", 4), ("KENYA", 0), ("MOROCCO", 0), ("MOZAMBIQUE", 0), ("PERU", 1),
    ("CHINA", 2), ("ROMANIA", 3), ("SAUDI ARABIA", 4), ("VIETNAM", 2), ("RUSSIA", 3),
    ("UNITED KINGDOM", 3), ("UNITED STATES", 1),
];
#[rustfmt::skip]
const COLOURS: [&str; 92] = [
    "almond", "antique", "aquamarine", "azure", "beige", "bisque", "black", "blanched", "blue",
    "blush", "brown", "burlywood", "burnished", "chartreuse", "chiffon", "chocolate", "coral",
    "cornflower", "cornsilk", "cream", "cyan", "dark", "deep", "dim", "dodger", "drab", "firebrick",
    "floral", "forest", "frosted", "gainsboro", "ghost", "goldenrod", "green", "grey", "honeydew",
    "hot", "indian", "ivory", "khaki", "lace", "lavender", "lawn", "lemon", "light", "lime",
    "linen", "magenta", "maroon", "medium", "metallic", "midnight", "mint", "misty", "moccasin",
    "navajo", "navy", "olive", "orange", "orchid", "pale", "papaya", "peach", "peru", "pink",
    "plum", "powder", "puff", "purple", "red", "rose", "rosy", "royal", "saddle", "salmon", "sandy",
    "seashell", "sienna", "sky", "slate", "smoke", "snow", "spring", "steel", "tan", "thistle",
    "tomato", "turquoise", "violet", "wheat", "white", "yellow",
];
const TYPES: [&[&str]; 3] = [
    &["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"],
    &["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"],
    &["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"],
];
const CONTAINERS: [&[&str]; 2] = [
    &["SM", "LG", "MED", "JUMBO", "WRAP"],
    &["CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"],
];
const SEGMENTS: [&str; 5] = ["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"];
const PRIORITIES: [&str; 5] = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
const INSTRUCTIONS: [&str; 4] = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];
const MODES: [&str; 7] = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
const WORDS: [&str; 16] = [
    "carefully",
    "special",
    "requests",
    "quickly",
    "pending",
    "deposits",
    "ironic",
    "packages",
    "accounts",
    "final",
    "sleep",
    "furiously",
    "express",
    "theodolites",
    "unusual",
    "foxes",
];
/// 1992-01-01, 1995-06-17 and 1998-08-02 as days since 1970: the first order, "today", the last order.
const FIRST_DAY: i64 = 8035;
const TODAY: i64 = 9298;
const LAST_DAY: i64 = 10_440;

/// How many rows the tables get.
struct Sizes {
    suppliers: usize,
    parts: usize,
    customers: usize,
}

/// All tables' rows.
pub fn rows(scale: f64, seed: u64) -> Vec<Rows> {
    let of = |rows: f64| (rows * scale) as usize;
    let sizes = Sizes { suppliers: of(10_000.0), parts: of(200_000.0), customers: of(150_000.0) };
    let random = &mut Random::seed_from_u64(seed);
    let mut all = vec![regions(), nations(), suppliers(&sizes, random)];
    all.push(parts(&sizes, random));
    all.push(partsupps(&sizes, random));
    all.push(customers(&sizes, random));
    all.extend(orders(&sizes, random));
    all
}

fn regions() -> Rows {
    let mut rows = Rows::of("region");
    REGIONS
        .iter()
        .enumerate()
        .for_each(|(key, name)| rows.everywhere(&format!("{key}\t{name}\tlar")));
    rows
}

fn nations() -> Rows {
    let mut rows = Rows::of("nation");
    for (key, (name, region)) in NATIONS.iter().enumerate() {
        rows.everywhere(&format!("{key}\t{name}\t{region}\thaggle"));
    }
    rows
}

fn suppliers(sizes: &Sizes, random: &mut Random) -> Rows {
    let mut rows = Rows::of("supplier");
    for key in 1..=sizes.suppliers {
        let nation = random.random_range(0..NATIONS.len());
        let comment = match random.random_range(0..50) {
            0 => "the Customer may have Complaints".to_owned(),
            1 => "the Customer Recommends it".to_owned(),
            _ => comment(4, random),
        };
        rows.everywhere(&format!(
            "{key}\tSupplier#{key:09}\t{}\t{nation}\t{}\t{}\t{comment}",
            address(random),
            phone(nation, random),
            money(random.random_range(-99_999..=999_999)),
        ));
    }
    rows
}

fn parts(sizes: &Sizes, random: &mut Random) -> Rows {
    let mut rows = Rows::of("part");
    for key in 1..=sizes.parts {
        let mut name: Vec<&str> = Vec::new();
        while name.len() < 5 {
            let colour = pick(&COLOURS, random);
            if !name.contains(&colour) {
                name.push(colour);
            }
        }
        let maker = random.random_range(1..=5);
        let kind: Vec<&str> = TYPES.iter().map(|words| pick(words, random)).collect();
        let container: Vec<&str> = CONTAINERS.iter().map(|words| pick(words, random)).collect();
        rows.everywhere(&format!(
            "{key}\t{}\tManufacturer#{maker}\tBrand#{maker}{}\t{}\t{}\t{}\t{}\t{}",
            name.join(" "),
            random.random_range(1..=5),
            kind.join(" "),
            random.random_range(1..=50),
            container.join(" "),
            money(retail_price(key)),
            comment(2, random),
        ));
    }
    rows
}

/// In cents.
fn retail_price(part: usize) -> i64 {
    (90_000 + (part / 10) % 20_001 + 100 * (part % 1000)) as i64
}

/// Each part has four suppliers.
fn supplier_of(part: usize, nth: usize, suppliers: usize) -> usize {
    (part + nth * (suppliers / 4 + (part - 1) / suppliers)) % suppliers + 1
}

fn partsupps(sizes: &Sizes, random: &mut Random) -> Rows {
    let mut rows = Rows::of("partsupp");
    for part in 1..=sizes.parts {
        let shard = shard_of(&part.to_string(), BUCKETS);
        for nth in 0..4 {
            let row = format!(
                "{part}\t{}\t{}\t{}\t{}",
                supplier_of(part, nth, sizes.suppliers),
                random.random_range(1..=9999),
                money(random.random_range(100..=100_000)),
                comment(5, random),
            );
            rows.add(shard, &row);
        }
    }
    rows
}

fn customers(sizes: &Sizes, random: &mut Random) -> Rows {
    let mut rows = Rows::of("customer");
    for key in 1..=sizes.customers {
        let nation = random.random_range(0..NATIONS.len());
        rows.everywhere(&format!(
            "{key}\tCustomer#{key:09}\t{}\t{nation}\t{}\t{}\t{}\t{}",
            address(random),
            phone(nation, random),
            money(random.random_range(-99_999..=999_999)),
            pick(&SEGMENTS, random),
            comment(6, random),
        ));
    }
    rows
}

/// Orders and their lines: ten orders for each customer, but a third of the customers have none.
fn orders(sizes: &Sizes, random: &mut Random) -> [Rows; 2] {
    let mut orders = Rows::of("orders");
    let mut lines = Rows::of("lineitem");
    for nth in 0..sizes.customers * 10 {
        // Eight keys of 32 are in use.
        let key = nth / 8 * 32 + nth % 8 + 1;
        let customer = loop {
            let customer = random.random_range(1..=sizes.customers);
            if customer % 3 != 0 {
                break customer;
            }
        };
        let day = random.random_range(FIRST_DAY..=LAST_DAY);
        let shard = shard_of(&key.to_string(), BUCKETS);
        let count = random.random_range(1..=7);
        let (mut total, mut shipped) = (0, 0);
        for number in 1..=count {
            let line = line(key, number, day, sizes, random);
            lines.add(shard, &line.text);
            total += line.total;
            shipped += usize::from(line.shipped);
        }
        let status = match shipped {
            0 => "O",
            all if all == count => "F",
            _ => "P",
        };
        let row = format!(
            "{key}\t{customer}\t{status}\t{}\t{}\t{}\tClerk#{:09}\t0\t{}",
            money(total),
            date(day),
            pick(&PRIORITIES, random),
            random.random_range(1..=sizes.suppliers),
            comment(5, random),
        );
        orders.add(shard, &row);
    }
    [orders, lines]
}

struct Line {
    text: String,
    /// With discount and tax, in cents.
    total: i64,
    shipped: bool,
}

fn line(order: usize, number: usize, day: i64, sizes: &Sizes, random: &mut Random) -> Line {
    let part = random.random_range(1..=sizes.parts);
    let supplier = supplier_of(part, random.random_range(0..4), sizes.suppliers);
    let quantity = random.random_range(1..=50);
    let (discount, tax) = (random.random_range(0..=10), random.random_range(0..=8));
    let price = quantity * retail_price(part);
    let ship = day + random.random_range(1..=121);
    let commit = day + random.random_range(30..=90);
    let receipt = ship + random.random_range(1..=30);
    let returned = match receipt <= TODAY {
        true => pick(&["R", "A"], random),
        false => "N",
    };
    let shipped = ship <= TODAY;
    let status = if shipped { "F" } else { "O" };
    let mut text =
        format!("{order}\t{part}\t{supplier}\t{number}\t{quantity}.00\t{}\t", money(price));
    write!(
        text,
        "{}\t{}\t{returned}\t{status}\t{}\t{}\t{}\t{}\t{}\t{}",
        money(discount),
        money(tax),
        date(ship),
        date(commit),
        date(receipt),
        pick(&INSTRUCTIONS, random),
        pick(&MODES, random),
        comment(3, random),
    )
    .unwrap();
    Line { text, total: price * (100 - discount) * (100 + tax) / 10_000, shipped }
}

fn pick<'a>(among: &[&'a str], random: &mut Random) -> &'a str {
    among[random.random_range(0..among.len())]
}

fn comment(words: usize, random: &mut Random) -> String {
    let words: Vec<&str> = (0..words).map(|_| pick(&WORDS, random)).collect();
    words.join(" ").chars().take(22 * words.len() / 2 + 1).collect::<String>().trim_end().to_owned()
}

fn address(random: &mut Random) -> String {
    format!("{} {} street", random.random_range(1..999), pick(&COLOURS, random))
}

/// The country's code comes first.
fn phone(nation: usize, random: &mut Random) -> String {
    let mut part = |from: usize, to: usize| random.random_range(from..=to);
    format!("{}-{}-{}-{}", nation + 10, part(100, 999), part(100, 999), part(1000, 9999))
}

fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

/// The day in the calendar, of days since 1970 (all of them after 1970).
pub fn date(days: i64) -> String {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut month, mut left) = (1970, 1, days);
    loop {
        let length = match month {
            2 if is_leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if left < length {
            return format!("{year}-{month:02}-{:02}", left + 1);
        }
        left -= length;
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
}

#[test]
fn days_have_their_dates() {
    let days = [FIRST_DAY, TODAY, LAST_DAY].map(date);
    assert_eq!(days, ["1992-01-01", "1995-06-17", "1998-08-02"]);
    assert_eq!(date(59), "1970-03-01");
    assert_eq!(date(11_016), "2000-02-29");
}
