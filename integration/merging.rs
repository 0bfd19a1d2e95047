//! What other proxies get wrong when they unite the answers of several shards, each as a test: plain
//! PostgreSQL's answer, from weir over three shards, in the simple and the extended protocol, as text and
//! in binary.
mod meaning;
mod steady;

use crate::cluster::{Cluster, DATABASE};
use crate::oracle::answer::{Answer, Said};
use crate::oracle::statement::{Order, Part, Statement};
use crate::oracle::talk::{Fetch, How, Results, Step};
use crate::oracle::{TypeNames, query, type_names};
use crate::raw::Raw;
use crate::weir::Weir;

const SHARDS: usize = 3;
const SCHEMA: &str = "
    CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE t (
        k bigint NOT NULL, id int NOT NULL, n int, big bigint, num numeric, money numeric(12,2), f float8,
        txt text, icu text COLLATE \"und-x-icu\", nocase text COLLATE nocase, ch char(6), b boolean,
        ts timestamptz, iv interval, j jsonb, PRIMARY KEY (k, id));
    CREATE TABLE u (k bigint NOT NULL, id int NOT NULL, t_id int, txt text, PRIMARY KEY (k, id));
    CREATE TABLE r (id int PRIMARY KEY, name text, f float8);
    CREATE VIEW v_steady AS SELECT id, lower(name) AS name FROM r WHERE id < 3;
    CREATE VIEW v_one AS SELECT name FROM r LIMIT 1;
    CREATE VIEW v_nested AS SELECT name FROM v_one;
    CREATE VIEW v_texts AS SELECT string_agg(name, ',') AS name FROM r;
    CREATE VIEW v_numbered AS SELECT id, row_number() OVER ()::text AS name FROM r;
    CREATE VIEW v_random AS SELECT random()::text AS name;
    CREATE VIEW v_time AS SELECT clock_timestamp()::text || CURRENT_TIMESTAMP AS name;";
const VIEWS: &[&str] =
    &["v_steady", "v_one", "v_nested", "v_texts", "v_numbered", "v_random", "v_time"];

struct Scene {
    oracle: Raw,
    weir: Raw,
    types: [TypeNames; 2],
    differences: Vec<String>,
    refused: Vec<String>,
    _weir: Weir,
    _cluster: Cluster,
}

impl Scene {
    /// Rows are INSERTs of one row each, with a literal key: weir puts them where they belong.
    fn new(rows: &[String]) -> Self {
        Self::under("", rows)
    }

    /// `settings` are made before anybody connects.
    fn under(settings: &str, rows: &[String]) -> Self {
        let cluster = Cluster::start(1);
        let server = cluster.shard(0);
        server.sql(DATABASE, SCHEMA).unwrap();
        let mut rules =
            format!("database = '{DATABASE}'\n[gather]\ndsn = '{}'\n", server.dsn("gather"));
        for shard in 0..SHARDS {
            let dsn = server.dsn(&format!("s{shard}"));
            rules.push_str(&format!("[[shard]]\nname = 's{shard}'\nprimary = '{dsn}'\n"));
        }
        rules.push_str("[[distribution]]\nname = 'by_key'\nfunction = 'fnv32'\nkey_type = 'bigint'\nbuckets = 64\n");
        for table in ["t", "u"] {
            rules.push_str(&format!(
                "[[table]]\nname = '{table}'\ndistribution = 'by_key'\nkey = 'k'\n"
            ));
        }
        for table in ["r"].iter().chain(VIEWS) {
            rules.push_str(&format!("[[table]]\nname = '{table}'\nreference = true\n"));
        }
        for database in ["gather", "s0", "s1", "s2"] {
            server
                .sql("postgres", &format!("CREATE DATABASE {database} TEMPLATE {DATABASE}"))
                .unwrap();
        }
        server.sql("postgres", settings).unwrap();
        let weir = Weir::with_rules(
            &cluster,
            &rules.replace(" user=postgres", ""),
            "[auth]\nmethod = 'trust'",
        );
        let connect = |port| Raw::connect(port, &[("user", "postgres"), ("database", DATABASE)]);
        let (mut oracle, mut through) = (connect(server.port()), connect(weir.port()));
        for row in rows {
            query(&mut oracle, row);
            query(&mut through, row);
        }
        let types = [type_names(&mut oracle), type_names(&mut oracle)];
        let (differences, refused) = (Vec::new(), Vec::new());
        Self { oracle, weir: through, types, differences, refused, _weir: weir, _cluster: cluster }
    }

    /// Something for both servers.
    fn both(&mut self, text: &str) -> &mut Self {
        query(&mut self.oracle, text);
        query(&mut self.weir, text);
        self
    }

    /// What weir does with it, in its own words.
    fn strategy(&mut self, text: &str) -> String {
        self.weir.take_transcript();
        self.weir.query(&format!("EXPLAIN (WEIR) {text}"));
        self.weir.take_transcript()
    }

    /// The same rows in the same order.
    fn ordered(&mut self, text: &str) -> &mut Self {
        self.same(text, Order::Total)
    }

    /// The same rows.
    fn rows(&mut self, text: &str) -> &mut Self {
        self.same(text, Order::Any)
    }

    /// As many rows.
    fn count(&mut self, text: &str) -> &mut Self {
        self.same(text, Order::CountOnly)
    }

    fn same(&mut self, text: &str, order: Order) -> &mut Self {
        let statement = Statement::split(vec![Part::Text(text.to_owned())]).swap_remove(0);
        let bound = |results| How::Bound { results, fetch: Fetch::All };
        let hows = [
            How::Simple,
            bound(Results::Text),
            bound(Results::Binary),
            How::Bound { results: Results::Text, fetch: Fetch::Portions(2) },
            How::Described { results: Results::Binary, twice: true },
        ];
        for (number, how) in hows.into_iter().enumerate() {
            let step = Step { statements: vec![statement.clone()], how, number };
            let oracle = step.run(&mut self.oracle, &self.types[0]);
            let failed = oracle.said.iter().any(|said| matches!(said, Said::Error(_)));
            assert!(!failed, "no statement of this test fails in PostgreSQL: {text}\n{oracle}");
            let weir = step.run(&mut self.weir, &self.types[1]);
            if let Some(refusal) = weir.refusal() {
                self.refused.push(format!("{text}\n    {}", refusal.message));
                break;
            }
            let look = |answer: &Answer| answer.comparable(&[order, order]);
            if look(&weir) != look(&oracle) {
                let told = format!("{}  PostgreSQL:\n{oracle}  weir:\n{weir}", step.show());
                self.differences.push(told);
                break;
            }
        }
        self
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
        assert!(self.refused.is_empty(), "refused:\n{}", self.refused.join("\n"));
    }
}

/// Rows of t: so many keys with so many rows each, in which these columns have values.
fn rows(keys: i64, each: i64, columns: &str, values: impl Fn(i64) -> String) -> Vec<String> {
    let row = |at: i64| {
        let (key, id) = (at / each + 1, at);
        format!("INSERT INTO t (k, id, {columns}) VALUES ({key}, {id}, {})", values(at))
    };
    (0..keys * each).map(row).collect()
}

/// Numbers with NULLs, of which some are equal.
fn numbers() -> Scene {
    let value = |at: i64| if at % 5 == 0 { "NULL".to_owned() } else { (at * 7 % 11).to_string() };
    Scene::new(&rows(8, 4, "n, txt", |at| format!("{}, 'w{}'", value(at), at % 3)))
}

/// `None` is NULL.
fn with(column: &str, values: &[Option<&str>]) -> Scene {
    let value = |at: i64| match values[at as usize % values.len()] {
        Some(text) => format!("'{text}'"),
        None => "NULL".to_owned(),
    };
    Scene::new(&rows(values.len() as i64, 2, column, |at| value(at * 3 / 2)))
}

#[test]
fn limit_without_order_gives_so_many_rows_and_not_so_many_of_each_shard() {
    let mut scene = numbers();
    scene.count("SELECT id FROM t LIMIT 5").count("SELECT id FROM t LIMIT 100");
    scene.count("SELECT id FROM t LIMIT 5 OFFSET 30").count("SELECT id FROM t OFFSET 3");
    scene.count("SELECT id FROM t LIMIT 0").count("SELECT id FROM t LIMIT NULL");
    scene.count("SELECT id FROM t LIMIT ALL").count("SELECT id FROM t FETCH FIRST ROW ONLY");
}

#[test]
fn limit_by_an_expression_counts() {
    let mut scene = numbers();
    scene.ordered("SELECT id FROM t ORDER BY id LIMIT 2 + 1");
    scene.ordered("SELECT id FROM t ORDER BY id LIMIT length('abcd') OFFSET 1 + 1");
    scene.ordered("SELECT id FROM t ORDER BY id LIMIT (SELECT 3)");
    scene.ordered("SELECT id FROM t ORDER BY id DESC LIMIT '4'::bigint OFFSET abs(-2)");
}

#[test]
fn limit_with_ties_gives_all_ties_of_all_shards() {
    let mut scene = numbers();
    scene.rows("SELECT n FROM t ORDER BY n FETCH FIRST 3 ROWS WITH TIES");
    scene.rows("SELECT n, id FROM t ORDER BY n DESC NULLS LAST FETCH FIRST 4 ROWS WITH TIES");
    scene.rows("SELECT id FROM t ORDER BY n NULLS FIRST FETCH FIRST 1 ROW WITH TIES");
}

#[test]
fn rows_are_ordered_by_a_column_that_is_not_returned() {
    let mut scene = numbers();
    scene
        .ordered("SELECT txt FROM t ORDER BY id DESC")
        .ordered("SELECT txt, n FROM t ORDER BY k, id LIMIT 7");
    scene.ordered("SELECT n AS id FROM t ORDER BY t.id").ordered("SELECT 1 FROM t ORDER BY id");
}

#[test]
fn nulls_come_first_or_last_as_asked() {
    let mut scene = numbers();
    for direction in ["ASC", "DESC"] {
        for nulls in ["", "NULLS FIRST", "NULLS LAST"] {
            scene.ordered(&format!(
                "SELECT n, id FROM t ORDER BY n {direction} {nulls}, id LIMIT 20"
            ));
        }
    }
    scene.ordered("SELECT n, id FROM t ORDER BY n USING >, id");
}

#[test]
fn text_is_ordered_by_its_collation_and_not_by_bytes() {
    let words =
        ["Zebra", "apple", "Äpfel", "apfel", "Apple", "a b", "ab", "a-b", "_", "10", "9", ""];
    let rows = rows(12, 2, "txt, icu", |at| {
        let word = words[at as usize % words.len()];
        format!("'{word}', '{word}'")
    });
    let mut scene = Scene::new(&rows);
    scene.ordered("SELECT icu, id FROM t ORDER BY icu, id");
    scene.ordered("SELECT txt, id FROM t ORDER BY txt, id");
    scene.ordered("SELECT txt, id FROM t ORDER BY txt COLLATE \"und-x-icu\" DESC, id");
    scene.ordered("SELECT icu, id FROM t ORDER BY icu COLLATE \"C\", id LIMIT 9");
    scene.ordered("SELECT min(icu), max(icu), min(txt), max(txt) FROM t");
    scene.ordered("SELECT DISTINCT icu FROM t ORDER BY icu");
    scene.ordered("SELECT icu, count(*) FROM t GROUP BY icu ORDER BY icu DESC");
}

#[test]
fn text_that_a_collation_calls_equal_is_one_group() {
    let mut scene = with("nocase", &[Some("a"), Some("A"), Some("b"), None, Some("B"), Some("ab")]);
    scene.rows("SELECT lower(nocase), count(*) FROM t GROUP BY lower(nocase)");
    scene.rows("SELECT count(*) FROM t GROUP BY nocase");
    scene.ordered("SELECT count(DISTINCT nocase) FROM t");
    scene.count("SELECT DISTINCT nocase FROM t");
    scene.ordered("SELECT id FROM t WHERE nocase = 'A' ORDER BY id");
    scene.ordered("SELECT id FROM t ORDER BY nocase, id");
    scene.rows("SELECT count(*) FROM t a JOIN t b ON a.nocase = b.nocase");
}

#[test]
fn rows_are_ordered_by_an_expression() {
    let mut scene = numbers();
    scene
        .ordered("SELECT id, n FROM t ORDER BY n % 4, id")
        .ordered("SELECT id FROM t ORDER BY -n, id");
    scene.ordered("SELECT id FROM t ORDER BY CASE WHEN n > 5 THEN 0 ELSE 1 END, id DESC LIMIT 9");
    scene
        .ordered("SELECT id, n AS m FROM t ORDER BY m, 1")
        .ordered("SELECT id, n + 1 FROM t ORDER BY 2, 1");
    scene.ordered("SELECT id FROM t ORDER BY n IS NULL, coalesce(n, id), id");
}

#[test]
fn groups_by_an_expression_or_an_alias_stay_apart() {
    let mut scene = numbers();
    scene
        .rows("SELECT n % 3, count(*) FROM t GROUP BY n % 3")
        .rows("SELECT count(*) FROM t GROUP BY n % 3");
    scene.rows("SELECT n % 3 AS rest, sum(n) FROM t GROUP BY rest");
    scene.rows("SELECT upper(txt) AS w, n > 4 AS large, count(*) FROM t GROUP BY 1, 2");
    scene
        .rows("SELECT n FROM t GROUP BY n, txt")
        .rows("SELECT txt AS n, count(*) FROM t GROUP BY txt, t.n");
    scene.ordered("SELECT txt, count(*) FROM t GROUP BY txt ORDER BY txt");
    scene.ordered("SELECT n % 3 AS rest, count(*) FROM t GROUP BY rest ORDER BY count(*), rest");
    // weir's own names for keys and parts are no other outputs.
    scene.ordered("SELECT txt AS g2, avg(n) AS a1 FROM t GROUP BY txt, n % 4 ORDER BY txt, n % 4");
}

#[test]
fn having_is_asked_of_whole_groups() {
    let mut scene = numbers();
    scene.rows("SELECT txt FROM t GROUP BY txt HAVING count(*) > 10");
    scene.rows("SELECT txt, sum(n) FROM t GROUP BY txt HAVING sum(n) > 30 AND min(n) = 0");
    scene.rows("SELECT n FROM t GROUP BY n HAVING count(*) = 2 OR n IS NULL");
    scene
        .rows("SELECT count(*) FROM t HAVING count(*) > 30")
        .rows("SELECT 1 FROM t HAVING sum(n) > 1000000");
    scene.rows("SELECT k FROM t GROUP BY k HAVING avg(n) > 4");
}

#[test]
fn an_average_is_that_of_all_rows() {
    let mut scene = numbers();
    scene.rows("SELECT avg(n) FROM t").rows("SELECT txt, avg(n) FROM t GROUP BY txt");
    scene
        .rows("SELECT avg(n) FROM t WHERE id < 7")
        .rows("SELECT avg(n)::int, avg(id), avg(n * 1.5) FROM t");
    scene.rows("SELECT avg(n) FILTER (WHERE n > 3), avg(DISTINCT n) FROM t");
}

#[test]
fn expressions_over_aggregates_give_one_row() {
    let mut scene = numbers();
    for value in [
        "coalesce(sum(n), 0)",
        "sum(id) / count(*)",
        "sum(n) - sum(id)",
        "max(n) + 1",
        "round(avg(n), 2)",
        "count(*) > 3",
        "sum(n)::text || '!'",
        "greatest(max(n), max(id))",
        "CASE WHEN count(n) = 0 THEN NULL ELSE sum(n) * 100.0 / count(n) END",
        "(SELECT 5) + count(*)",
    ] {
        scene
            .rows(&format!("SELECT {value} FROM t"))
            .rows(&format!("SELECT {value} AS v, txt FROM t GROUP BY txt"));
    }
}

#[test]
fn distinct_values_are_counted_once_over_all_shards() {
    let mut scene = numbers();
    scene
        .rows("SELECT count(DISTINCT n) FROM t")
        .rows("SELECT count(DISTINCT txt), count(txt) FROM t");
    scene
        .rows("SELECT txt, count(DISTINCT n) FROM t GROUP BY txt")
        .rows("SELECT sum(DISTINCT n) FROM t");
    scene
        .rows("SELECT count(DISTINCT (n, txt)) FROM t")
        .rows("SELECT k, count(DISTINCT n) FROM t GROUP BY k");
    scene
        .rows("SELECT DISTINCT n FROM t")
        .ordered("SELECT DISTINCT n, txt FROM t ORDER BY 2, 1 LIMIT 5");
    scene.rows("SELECT count(*) FROM (SELECT DISTINCT n FROM t) AS d");
}

#[test]
fn windows_are_over_all_rows_unless_the_key_parts_them() {
    let mut scene = numbers();
    scene.ordered("SELECT id, row_number() OVER (ORDER BY id) FROM t ORDER BY id");
    scene.ordered("SELECT id, rank() OVER (ORDER BY n) FROM t ORDER BY id");
    scene.ordered("SELECT id, sum(n) OVER (PARTITION BY txt ORDER BY id) FROM t ORDER BY id");
    scene.ordered("SELECT id, lag(n) OVER (PARTITION BY k ORDER BY id) FROM t ORDER BY id");
    scene.ordered(
        "SELECT id, count(*) OVER (), count(*) OVER (PARTITION BY k) FROM t ORDER BY id LIMIT 6",
    );
    scene.rows("SELECT txt, rank() OVER (ORDER BY sum(n)) FROM t GROUP BY txt");
}

#[test]
fn distinct_on_gives_one_row_of_all_shards() {
    let mut scene = numbers();
    scene.ordered("SELECT DISTINCT ON (txt) txt, id FROM t ORDER BY txt, id DESC");
    scene.ordered("SELECT DISTINCT ON (n) id FROM t ORDER BY n NULLS FIRST, id LIMIT 4");
    scene.ordered("SELECT DISTINCT ON (k) k, n FROM t ORDER BY k, id");
    scene.ordered("SELECT DISTINCT ON (n % 2, txt) id, n FROM t ORDER BY n % 2, txt, id");
}

#[test]
fn deviations_are_exact() {
    let mut scene = numbers();
    scene.rows("SELECT stddev(n), variance(n), stddev_pop(n), var_pop(n), var_samp(n), stddev_samp(id) FROM t");
    scene
        .rows("SELECT txt, stddev(n) FROM t GROUP BY txt")
        .rows("SELECT n, stddev(n) FROM t GROUP BY n");
}

#[test]
fn least_and_greatest_times_keep_their_microseconds_and_infinities() {
    let times = [
        "2026-01-01 00:00:00.000001+00",
        "infinity",
        "-infinity",
        "1999-12-31 23:59:59.999999+00",
        "0044-03-15 12:00+00 BC",
    ];
    let values: Vec<_> = times.iter().map(|text| Some(*text)).chain([None]).collect();
    let mut scene = with("ts", &values);
    scene.rows("SELECT min(ts), max(ts) FROM t");
    scene
        .rows("SELECT min(ts), max(ts) FROM t WHERE isfinite(ts)")
        .rows("SELECT k % 2, max(ts) FROM t GROUP BY 1");
    scene
        .ordered("SELECT ts, id FROM t ORDER BY ts DESC, id")
        .rows("SELECT max(ts)::date, min(ts) + interval '1 us' FROM t WHERE isfinite(ts)");
}

#[test]
fn a_sum_of_bigints_is_a_numeric_and_does_not_overflow() {
    let mut scene =
        with("big", &[Some("9223372036854775807"), Some("9223372036854775806"), None, Some("-1")]);
    scene
        .rows("SELECT sum(big), avg(big), count(big) FROM t")
        .rows("SELECT sum(big) FROM t WHERE big > 0");
    scene.rows("SELECT sum(big) + 1 FROM t").rows("SELECT k > 2, sum(big) FROM t GROUP BY 1");
    scene.rows("SELECT sum(n), sum(n::smallint), pg_typeof(sum(big)), pg_typeof(sum(n)) FROM t");
}

#[test]
fn numerics_keep_their_scale() {
    let mut scene = with(
        "num",
        &[Some("1"), Some("1.50"), Some("0.0000000001"), Some("-2.250"), None, Some("1e30")],
    );
    scene
        .rows("SELECT sum(num) FROM t")
        .rows("SELECT avg(num) FROM t")
        .rows("SELECT sum(num * 2.00) FROM t");
    scene
        .rows("SELECT sum(num) FROM t WHERE num < 2 AND num > 0")
        .rows("SELECT max(num), min(num) FROM t");
    scene.rows("SELECT sum(num::numeric(20,3)), avg(num::numeric(20,3)) FROM t WHERE num < 100");
    scene
        .ordered("SELECT num FROM t ORDER BY num, id")
        .rows("SELECT sum(num) / 3 FROM t WHERE num < 100");
}

#[test]
fn numbers_that_differ_in_scale_only_are_one_group() {
    let mut scene =
        with("num", &[Some("1"), Some("1.0"), Some("2"), Some("1.00"), Some("2.000"), None]);
    scene
        .rows("SELECT num::int, count(*) FROM t GROUP BY num::int")
        .rows("SELECT count(*) FROM t GROUP BY num");
    scene
        .rows("SELECT trunc(num), sum(num) FROM t GROUP BY trunc(num)")
        .rows("SELECT count(DISTINCT num) FROM t");
    scene.count("SELECT DISTINCT num FROM t").count("SELECT num FROM t UNION SELECT num FROM t");
    scene.ordered("SELECT id FROM t ORDER BY num DESC, id");
}

#[test]
fn nothing_counts_zero_and_sums_to_null() {
    let mut scene = Scene::new(&["INSERT INTO t (k, id, n) VALUES (1, 1, 5)".to_owned()]);
    scene.rows("SELECT count(*), sum(n), avg(n), max(n), bool_or(b) FROM t");
    scene.rows("SELECT count(*), count(n), sum(n), avg(n), min(n), coalesce(sum(n), 0) FROM t WHERE n > 100");
    scene.rows("SELECT n, count(*) FROM t WHERE n > 100 GROUP BY n").rows("SELECT count(*) FROM u");
    scene
        .rows("SELECT sum(t_id), string_agg(txt, ',') FROM u")
        .rows("SELECT max(id) FROM u HAVING count(*) > 0");
    scene.rows("SELECT * FROM u").rows("SELECT count(*) FROM t GROUP BY ()");
}

#[test]
fn nulls_are_one_group() {
    let mut scene = numbers();
    scene
        .rows("SELECT n, count(*), count(n) FROM t GROUP BY n")
        .rows("SELECT n, b, count(*) FROM t GROUP BY n, b");
    scene.rows("SELECT b, sum(n) FROM t GROUP BY b").rows("SELECT DISTINCT b FROM t");
    scene
        .rows("SELECT n FROM t UNION SELECT NULL")
        .rows("SELECT DISTINCT n, b FROM t WHERE n IS NULL");
}

#[test]
fn floats_that_are_no_numbers_have_their_places() {
    let mut scene = with(
        "f",
        &[
            Some("NaN"),
            Some("-0"),
            Some("0"),
            Some("Infinity"),
            Some("-Infinity"),
            None,
            Some("1.5"),
        ],
    );
    scene.ordered("SELECT f, id FROM t WHERE f <> 0 OR f IS NULL ORDER BY f, id");
    scene
        .ordered("SELECT id FROM t ORDER BY f DESC, id")
        .ordered("SELECT id FROM t ORDER BY f NULLS FIRST, id");
    scene.rows("SELECT min(f), max(f) FROM t").rows("SELECT max(f), sum(f) FROM t WHERE f < 'NaN'");
    scene
        .rows("SELECT count(*) FROM t GROUP BY f")
        .rows("SELECT count(DISTINCT f) FROM t")
        .count("SELECT DISTINCT f FROM t");
    scene
        .rows("SELECT abs(f), count(*) FROM t GROUP BY abs(f)")
        .rows("SELECT sum(f), avg(f) FROM t WHERE f = 1.5");
    scene.ordered("SELECT num, id FROM (SELECT 'NaN'::numeric AS num, id FROM t WHERE id = 1 UNION ALL SELECT id, id FROM t) AS x ORDER BY num, id");
}

#[test]
fn intervals_are_compared_by_their_length() {
    let mut scene = with(
        "iv",
        &[
            Some("1 day"),
            Some("24 hours"),
            Some("1 mon"),
            Some("30 days"),
            Some("29 days 24:00:01"),
            None,
            Some("-1 day"),
        ],
    );
    scene
        .ordered("SELECT id FROM t ORDER BY iv, id")
        .ordered("SELECT id FROM t ORDER BY iv DESC NULLS LAST, id");
    scene.rows("SELECT count(*) FROM t GROUP BY iv").rows("SELECT count(DISTINCT iv) FROM t");
    scene.rows("SELECT sum(iv), avg(iv), max(iv) FROM t").rows("SELECT min(iv) FROM t");
    scene
        .rows("SELECT extract(epoch FROM iv), count(*) FROM t GROUP BY 1")
        .count("SELECT DISTINCT iv FROM t");
}

#[test]
fn padded_text_keeps_its_blanks_and_is_equal_without_them() {
    let mut scene =
        with("ch", &[Some("a"), Some("a  "), Some("ab"), Some(""), None, Some("b     ")]);
    scene
        .rows("SELECT ch, count(*) FROM t GROUP BY ch")
        .ordered("SELECT ch, id FROM t ORDER BY ch, id");
    scene
        .rows("SELECT min(ch), max(ch), count(DISTINCT ch) FROM t")
        .rows("SELECT DISTINCT ch FROM t");
    scene
        .rows("SELECT count(*) FROM t WHERE ch = 'a'")
        .rows("SELECT ch || '|' AS c, count(*) FROM t GROUP BY 1");
}

#[test]
fn truth_is_united_with_unknowns_left_out() {
    let mut scene = with("b", &[Some("t"), None, Some("f"), Some("t"), None]);
    scene
        .rows("SELECT bool_and(b), bool_or(b), every(b) FROM t")
        .rows("SELECT bool_and(b) FROM t WHERE b IS NULL");
    scene
        .rows("SELECT k, bool_and(b), bool_or(b) FROM t GROUP BY k")
        .rows("SELECT b, count(*) FROM t GROUP BY b");
    scene
        .rows("SELECT k % 2, bool_or(b) AND bool_and(b) FROM t GROUP BY 1")
        .ordered("SELECT b, id FROM t ORDER BY b, id");
    scene
        .rows("SELECT bit_and(id), bit_or(id), bit_xor(id) FROM t")
        .rows("SELECT bit_or(n) FROM t");
}

#[test]
fn set_operations_and_subqueries_see_all_shards() {
    let mut all = rows(8, 3, "n", |at| (at % 5).to_string());
    let other =
        |at: i64| format!("INSERT INTO u VALUES ({}, {at}, {}, 'x{}')", at % 6 + 3, at % 7, at % 2);
    all.extend((0..15).map(other));
    let mut scene = Scene::new(&all);
    scene
        .rows("SELECT k FROM t UNION SELECT k FROM u")
        .rows("SELECT k FROM t EXCEPT SELECT k FROM u");
    scene
        .rows("SELECT n FROM t INTERSECT ALL SELECT t_id FROM u")
        .rows("SELECT k FROM t UNION ALL SELECT k FROM u");
    scene
        .rows("SELECT (SELECT count(*) FROM t), (SELECT max(t_id) FROM u)")
        .rows("SELECT EXISTS (SELECT FROM u)");
    scene
        .rows("SELECT id FROM t WHERE n IN (SELECT t_id FROM u)")
        .rows("SELECT id FROM t WHERE n NOT IN (SELECT t_id FROM u WHERE t_id > 2)");
    scene
        .rows("SELECT t.id, u.id FROM t JOIN u ON u.t_id = t.n")
        .rows("SELECT t.id, u.id FROM t LEFT JOIN u ON u.k = t.k AND u.t_id = t.n");
    scene
        .rows("SELECT count(*) FROM t FULL JOIN u ON u.t_id = t.n")
        .rows("SELECT t.id, (SELECT count(*) FROM u WHERE u.t_id = t.n) FROM t");
    scene.rows("SELECT id FROM t WHERE EXISTS (SELECT FROM u WHERE u.k = t.k AND u.txt = 'x1')");
    scene
        .rows("WITH a AS (SELECT k, count(*) AS c FROM t GROUP BY k) SELECT sum(c), max(k) FROM a");
    scene.rows("WITH RECURSIVE r AS (SELECT 0 AS n UNION SELECT t.n + 1 FROM t JOIN r ON t.n = r.n) SELECT n FROM r");
}

#[test]
fn floats_are_compared_exactly_whatever_of_them_the_servers_print() {
    // Fractions of two: their sums are exact in any order.
    let values = ["1.0::float8", "1 + 2.0::float8 ^ -30", "1 + 2.0::float8 ^ -29", "3"];
    let rows = rows(8, 2, "f", |at| values[at as usize % 4].to_owned());
    let mut scene = Scene::under("ALTER ROLE postgres SET extra_float_digits = -10", &rows);
    for setting in ["RESET extra_float_digits", "SET extra_float_digits = 0"] {
        scene.both(setting);
        scene.rows("SELECT DISTINCT f FROM t").rows("SELECT f, count(*) FROM t GROUP BY f");
        scene.rows("SELECT sum(f), min(f), max(f) FROM t");
        scene.ordered("SELECT f FROM t ORDER BY f").ordered("SELECT id FROM t ORDER BY f, id");
    }
}

#[test]
fn sums_in_two_steps_keep_every_digit_whatever_servers_print() {
    let columns = "n, big, num, money, f, iv, txt";
    let rows = rows(9, 2, columns, |at| {
        let big = [i64::MAX, i64::MIN, 1 << 60, -7][at as usize % 4];
        let num = ["1e-30", "123456789012345678901234567890.10", "-0.00", "0.1"][at as usize % 4];
        let f = ["1 + 2.0::float8 ^ -40", "1e100", "-0.0::float8", "2.0::float8 ^ -60"];
        let iv = ["1 mon -1 day 00:00:00.000001", "-3 years 25:00:00", "P1Y2M", "-1 sec"];
        let group = at % 4;
        format!(
            "{}, {big}, {num}, {num}::numeric(40, 2) % 1000000, {}, '{}', 'g{group}'",
            at * 1_000_003,
            f[at as usize % 4],
            iv[at as usize % 4],
        )
    });
    let mut scene = Scene::under(
        "ALTER ROLE postgres SET extra_float_digits = -10; \
         ALTER ROLE postgres SET IntervalStyle = 'sql_standard'; \
         ALTER ROLE postgres SET DateStyle = 'German'",
        &rows,
    );
    let values = [
        "n",
        "big",
        "num",
        "money",
        "f",
        "iv",
        "n::smallint % 100",
        "n::float4",
        "num::float4::float8",
        "big::money",
        "f::numeric",
        "-f",
        "0.0::float8 * -1",
        "NULL::float8",
        "NULL::int",
    ];
    for setting in
        ["RESET extra_float_digits", "SET IntervalStyle = 'iso_8601'", "SET extra_float_digits = 3"]
    {
        scene.both(setting);
        for value in values {
            let value = value.replace("n::smallint", "(n % 30000)::smallint");
            let value = value.replace("big::money", "(big / 1000)::money");
            // The same number in each group: the order of adding does not show.
            scene.rows(&format!(
                "SELECT txt, n % 1 AS g, sum({value}), sum({value}) FILTER (WHERE id < 9) AS some, count(*), \
                 max(ts), min(ch) FROM t GROUP BY txt, n % 1 HAVING sum({value}) IS NOT NULL \
                 OR count({value}) < 1"
            ));
        }
        scene.rows("SELECT txt, sum(f) / count(*), avg(f), avg(num), avg(n), avg(iv), avg(big) FROM t WHERE f <> 0 GROUP BY txt");
        scene.rows("SELECT sum(n) / count(*), sum(num) + 1, sum(iv) * 2, sum(big) - sum(n), sum(money) FROM t");
        scene.rows(
            "SELECT txt, sum(sum(f)) OVER (ORDER BY txt), sum(sum(n)) OVER () FROM t GROUP BY txt",
        );
    }
    for special in ["NaN", "Infinity", "-Infinity"] {
        scene.both(&format!(
            "INSERT INTO t (k, id, num, f) VALUES (99, {}, '{special}', '{special}')",
            special.len()
        ));
        scene.rows("SELECT sum(f) / count(*), avg(f), sum(num) / count(*), avg(num) FROM t");
    }
}

#[test]
fn bytes_are_united_where_shards_print_them_alike() {
    let rows = rows(8, 2, "txt", |at| format!("'a{}'", at % 3));
    let mut scene = Scene::under("ALTER DATABASE s1 SET bytea_output = 'escape'", &rows);
    scene.weir.take_transcript();
    let heard = scene.weir.query("SELECT DISTINCT txt::bytea FROM t").take_transcript();
    assert!(heard.contains("C=0A000") && heard.contains("SET bytea_output"), "{heard}");
    for form in ["escape", "hex"] {
        scene.both(&format!("SET bytea_output = '{form}'"));
        scene.rows("SELECT DISTINCT txt::bytea FROM t");
        scene.rows("SELECT txt::bytea, count(*) FROM t GROUP BY 1");
    }
}

#[test]
fn texts_are_ordered_as_they_are_stored_and_not_as_they_are_sent() {
    // In KOI8-R the letters have another order than in UTF-8.
    let letters = ["\u{432}", "\u{433}", "\u{430}", "\u{44e}", "\u{446}", "\u{44f}"];
    let mut scene = Scene::new(&rows(6, 2, "txt", |at| format!("'{}'", letters[at as usize / 2])));
    for encoding in ["UTF8", "KOI8R", "SQL_ASCII"] {
        scene.both(&format!("SET client_encoding = '{encoding}'"));
        scene.ordered("SELECT id, txt FROM t ORDER BY txt COLLATE \"C\" DESC, id");
        scene.ordered("SELECT id FROM t ORDER BY txt COLLATE \"C\", id LIMIT 5");
        scene.ordered("SELECT DISTINCT txt COLLATE \"C\" AS c FROM t ORDER BY c");
        scene.rows("SELECT txt, count(*) FROM t GROUP BY txt");
    }
}

#[test]
fn shards_that_show_times_differently_are_not_united() {
    let rows = rows(8, 2, "ts", |at| format!("'2026-01-0{} 20:00:00+00'", at % 5 + 1));
    let mut scene = Scene::under("ALTER DATABASE s1 SET TimeZone = 'Asia/Tokyo'", &rows);
    scene.weir.take_transcript();
    let heard = scene.weir.query("SELECT DISTINCT ts::date FROM t").take_transcript();
    assert!(heard.contains("C=0A000") && heard.contains("TimeZone"), "{heard}");
    scene.both("SET TimeZone = 'America/Lima'");
    scene.rows("SELECT DISTINCT ts::date FROM t").ordered("SELECT id, ts FROM t ORDER BY ts, id");
}
