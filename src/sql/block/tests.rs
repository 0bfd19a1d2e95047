//! The scanner against the corpus of what applications send, against the syntax tree, and on traps.
use super::*;
use crate::sql::compat::for_analysis;
use crate::sql::parse::{self, Unread};
use crate::sql::shape::shape;
use crate::sql::split::split;
use crate::sql::statement::{self, Statement};
use proptest::prelude::*;

fn statements() -> Vec<&'static str> {
    let corpora =
        [include_str!("../corpus/parsed.sql"), include_str!("../../../rules/traps/queries.sql")];
    let all = corpora
        .into_iter()
        .flat_map(|text| split(text, true).unwrap().into_iter().map(move |range| &text[range]));
    let all: Vec<_> = all.collect();
    assert!(all.len() > 100);
    all
}

fn parsed(shape: &str) -> Result<statement::Query, String> {
    let analysis = for_analysis(shape).map_err(|error| format!("{error:?}"))?;
    match parse::parse(&analysis.text) {
        Ok(Statement::Query(query)) => Ok(query),
        Ok(_) => Err(String::from("no query")),
        Err(Unread::Syntax(error) | Unread::Unsupported(error)) => Err(error),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// The parts that tile a query, and what may stand between them.
fn parts(query: &Query) -> Vec<Bytes> {
    let mut parts: Vec<Bytes> = query.with.iter().map(|with| with.range.clone()).collect();
    for (index, arm) in query.arms.iter().enumerate() {
        match arm {
            Arm::Select(block) => {
                parts.push(block.head.clone());
                parts.extend(block.outputs.iter().map(|output| output.range.clone()));
                let group = block.group.as_ref().map(|group| &group.clause);
                let clauses =
                    [block.from.as_ref(), block.filter.as_ref(), group, block.having.as_ref()];
                let clauses = clauses.into_iter().chain([block.window.as_ref()]);
                parts.extend(clauses.flatten().map(|clause| clause.range.clone()));
            }
            Arm::Values(range) | Arm::Table(range) | Arm::Nested(range) => {
                parts.push(range.clone());
            }
        }
        parts.extend(query.operators.get(index).map(|operator| operator.range.clone()));
    }
    parts.extend(query.tail.order.iter().map(|order| order.range.clone()));
    let amounts = [&query.tail.limit, &query.tail.offset].into_iter().flatten();
    let mut tail: Vec<Bytes> = amounts.map(|amount| amount.range.clone()).collect();
    tail.extend(query.tail.locks.clone());
    tail.sort_by_key(|range| range.start);
    parts.extend(tail);
    parts.retain(|part| !part.is_empty());
    parts
}

fn tiles(text: &str, query: &Query) {
    let mut done = query.range.start;
    for part in parts(query) {
        let between = text.get(done..part.start).unwrap_or("overlap");
        assert!(matches!(between, "" | " " | "," | ", " | " ," | " , "), "{between:?} in {text}");
        done = part.end;
    }
    assert_eq!(done, query.range.end, "{text}");
}

#[test]
fn the_parts_of_every_query_of_the_corpus_tile_it() {
    let mut queries = 0;
    for sql in statements() {
        let shape = shape(sql, true).unwrap();
        let Some(blocks) = Blocks::of(&shape.text) else {
            // SELECT INTO is no query, nor is what stops in the middle.
            assert!(sql.contains(" INTO ") || sql.contains(" AND FROM"), "{sql}");
            continue;
        };
        for query in &blocks.queries {
            // The two halves of a lock around a limit are one range.
            if query.tail.locks.is_none() {
                tiles(&shape.text, query);
                queries += 1;
            }
        }
    }
    assert!(queries > 200, "{queries}");
}

#[test]
fn the_syntax_tree_sees_the_same_parts() {
    let (mut agreed, mut disagreed) = (0, Vec::new());
    for sql in statements() {
        let shape = shape(sql, true).unwrap();
        let Ok(parsed) = parsed(&shape.text) else { continue };
        let blocks = Blocks::of(&shape.text).unwrap_or_else(|| panic!("{sql}"));
        let whole = blocks.whole().unwrap_or_else(|| panic!("{sql}"));
        match whole.agrees(&shape.text, &parsed) {
            true => agreed += 1,
            false => disagreed.push(sql),
        }
    }
    // The text for analysis has another output there, or another alias.
    let known = ["SELECT", "SELECT a[1],", "SELECT date '2026-01-01',"];
    let begins = |sql: &&str| known.iter().any(|known| sql.starts_with(known));
    assert!(disagreed.len() == known.len() && disagreed.iter().all(begins), "{disagreed:?}");
    assert!(agreed > 300, "{agreed}");
}

/// The statement's own query, its parts in words.
#[track_caller]
fn check(sql: &str, expected: &str) {
    let shape = shape(sql, true).unwrap();
    let text = &shape.text;
    let blocks = Blocks::of(text).unwrap();
    let query = blocks.whole().unwrap();
    tiles(text, query);
    let mut said = Vec::new();
    let words = |range: &Bytes| text[range.clone()].to_owned();
    let list = |ranges: &[Bytes]| ranges.iter().map(words).collect::<Vec<_>>().join(" | ");
    let mut say = |what: &str, range: String| said.push(format!("{what}: {range}"));
    for cte in query.with.iter().flat_map(|with| &with.ctes) {
        say("cte", format!("{} {}", words(&cte.name), words(&cte.body)));
    }
    for (index, arm) in query.arms.iter().enumerate() {
        match arm {
            Arm::Values(range) | Arm::Table(range) | Arm::Nested(range) => {
                say("arm", words(range));
            }
            Arm::Select(block) => {
                if let Distinct::On(exprs) = &block.distinct {
                    say("on", list(exprs));
                }
                let outputs: Vec<_> = block.outputs.iter().map(|o| o.range.clone()).collect();
                say("select", list(&outputs));
                block.from.iter().for_each(|from| say("from", words(&from.body)));
                if block.filter.is_some() {
                    say("where", list(&block.conjuncts));
                }
                block.group.iter().for_each(|group| say("group", list(&group.items)));
                block.having.iter().for_each(|having| say("having", words(&having.body)));
                block.window.iter().for_each(|window| say("window", words(&window.body)));
            }
        }
        if let Some(operator) = query.operators.get(index) {
            say("set", format!("{:?}{}", operator.kind, if operator.all { " all" } else { "" }));
        }
    }
    for key in &query.tail.keys {
        let nulls = key.nulls_first.map_or("", |first| if first { " first" } else { " last" });
        say("key", format!("{} {:?}{nulls}", words(&key.expr), key.direction));
    }
    query.tail.limit.iter().for_each(|limit| say("limit", format!("{:?}", limit.value)));
    query.tail.offset.iter().for_each(|offset| say("offset", format!("{:?}", offset.value)));
    assert_eq!(said.join("\n"), expected);
}

#[test]
fn clauses_are_found_at_their_depth() {
    check(
        "SELECT DISTINCT ON (a, b) extract(year FROM at), x IS NOT DISTINCT FROM y, t.from AS from \
         FROM t JOIN ROWS FROM (f(1)) g ON t.a IS DISTINCT FROM g WHERE a = 1",
        "on: a | b\n\
         select: extract(year FROM at) | x IS NOT DISTINCT FROM y | t.from AS from\n\
         from: t JOIN ROWS FROM (f($L1)) g ON t.a IS DISTINCT FROM g\n\
         where: a = $L2",
    );
    check(
        "SELECT rows FROM t GROUP BY rows HAVING percentile_cont(0.5) WITHIN GROUP (ORDER BY x) > 1 \
         WINDOW w AS (PARTITION BY a ORDER BY b), v AS (w)",
        "select: rows\nfrom: t\ngroup: rows\n\
         having: percentile_cont($L1) WITHIN GROUP (ORDER BY x) > $L2\n\
         window: w AS (PARTITION BY a ORDER BY b), v AS (w)",
    );
}

#[test]
fn a_condition_is_cut_at_its_own_ands() {
    check(
        "SELECT 1 WHERE a BETWEEN b AND c AND CASE WHEN x AND y THEN p ELSE q END AND (d OR e AND f) \
         AND g NOT BETWEEN SYMMETRIC h AND i",
        "select: $L1\nwhere: a BETWEEN b AND c | CASE WHEN x AND y THEN p ELSE q END | \
         (d OR e AND f) | g NOT BETWEEN SYMMETRIC h AND i",
    );
    check("SELECT 1 WHERE a AND b OR c", "select: $L1\nwhere: a AND b OR c");
    check("SELECT 1 WHERE NOT a AND t.and AND t.or", "select: $L1\nwhere: NOT a | t.and | t.or");
}

#[test]
fn the_tail_is_read_in_any_order() {
    check(
        "SELECT a FROM t ORDER BY a DESC NULLS LAST, b USING >, c.desc, \"asc\" LIMIT 5 OFFSET $2",
        "select: a\nfrom: t\nkey: a Descending last\nkey: b Using\nkey: c.desc Ascending\n\
         key: \"asc\" Ascending\nlimit: Number(5)\noffset: Param(2)",
    );
    check(
        "SELECT a FROM t OFFSET 3 ROWS FETCH NEXT ROW ONLY",
        "select: a\nfrom: t\nlimit: Number(1)\noffset: Number(3)",
    );
    check(
        "SELECT a FROM t FETCH FIRST (1 + 2) ROWS WITH TIES",
        "select: a\nfrom: t\nlimit: Other(28..35)",
    );
    check("SELECT a FROM t LIMIT ALL OFFSET NULL", "select: a\nfrom: t\nlimit: All\noffset: All");
    check("SELECT a FROM t LIMIT -1", "select: a\nfrom: t\nlimit: Other(22..24)");
}

#[test]
fn arms_and_ctes_are_kept_apart() {
    check(
        "WITH RECURSIVE a (x) AS NOT MATERIALIZED (SELECT 1 UNION ALL SELECT x FROM a), \
         b AS (TABLE c) (SELECT 1 LIMIT 2) UNION ALL VALUES (1, 2), (3, 4) EXCEPT TABLE b \
         INTERSECT SELECT x FROM a ORDER BY 1",
        "cte: a SELECT $L1 UNION ALL SELECT x FROM a\ncte: b TABLE c\n\
         arm: (SELECT $L2 LIMIT 2)\nset: Union all\narm: VALUES ($L3, $L4), ($L5, $L6)\n\
         set: Except\narm: TABLE b\nset: Intersect\nselect: x\nfrom: a\nkey: 1 Ascending",
    );
    check("SELECT", "select: ");
    check("SELECT FROM t", "select: \nfrom: t");
}

#[test]
fn an_alias_is_what_the_syntax_tree_says() {
    let sql = "SELECT x::double precision, a b, c AS d, count(*) OVER w FROM t WINDOW w AS ()";
    let shape = shape(sql, true).unwrap();
    let blocks = Blocks::of(&shape.text).unwrap();
    let block = blocks.whole().unwrap().only().unwrap();
    let aliases = [None, Some("b"), Some("d"), None];
    let exprs = block
        .outputs
        .iter()
        .zip(aliases)
        .map(|(output, alias)| &shape.text[output.expr(alias).unwrap()]);
    let expected = ["x::double precision", "a", "c", "count(*) OVER w"];
    assert_eq!(exprs.collect::<Vec<_>>(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever the words, it comes back; what it says of a query tiles it.
    #[test]
    fn any_words_are_tiled_or_refused(words in prop::collection::vec(0usize..WORDS.len(), 0..30)) {
        let mut text = String::from("SELECT");
        for word in words {
            text.push(' ');
            text.push_str(WORDS[word]);
        }
        if let Some(blocks) = Blocks::of(&text) {
            for query in blocks.queries.iter().filter(|query| query.tail.locks.is_none()) {
                tiles(&text, query);
            }
        }
    }

    /// What is made of clauses is read as these clauses.
    #[test]
    fn queries_put_together_at_random_agree_with_the_tree(
        choices in prop::collection::vec(0usize..5, 12),
    ) {
        let sql = random(&choices);
        let shape = shape(&sql, true).unwrap();
        let parsed = parsed(&shape.text).unwrap();
        let blocks = Blocks::of(&shape.text).unwrap();
        let whole = blocks.whole().unwrap();
        tiles(&shape.text, whole);
        prop_assert!(whole.agrees(&shape.text, &parsed), "{}", sql);
    }
}

const WORDS: [&str; 40] = [
    "SELECT",
    "a",
    "b",
    ",",
    "(",
    ")",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "OFFSET",
    "FETCH FIRST",
    "ROWS ONLY",
    "UNION ALL",
    "EXCEPT",
    "AND",
    "OR",
    "CASE",
    "END",
    "BETWEEN",
    "DISTINCT",
    "ON",
    "AS",
    ".",
    "WITH",
    "VALUES",
    "TABLE",
    "NULLS FIRST",
    "DESC",
    "USING",
    "$1",
    "$L1",
    "5",
    "=",
    "WINDOW",
    "ROW",
    "WITHIN GROUP",
    "[",
];

fn random(choices: &[usize]) -> String {
    let pick = |index: usize, from: [&str; 5]| from[choices[index]].to_owned();
    let block = |index: usize| {
        let parts = [
            pick(
                index,
                [
                    "SELECT a",
                    "SELECT DISTINCT a",
                    "SELECT DISTINCT ON (a, b) a",
                    "SELECT ALL a",
                    "SELECT a c",
                ],
            ),
            pick(
                index + 1,
                [
                    "",
                    ", b AS from",
                    ", (SELECT 1 FROM u ORDER BY 1) s",
                    ", t.*",
                    ", sum(b ORDER BY c)",
                ],
            ),
            pick(
                index + 2,
                [
                    " FROM t",
                    " FROM t, u",
                    " FROM t JOIN u USING (a)",
                    " FROM (SELECT 1) t",
                    " FROM ONLY t",
                ],
            ),
            pick(
                index + 3,
                [
                    "",
                    " WHERE a = 1",
                    " WHERE a BETWEEN 1 AND 2 AND b",
                    " WHERE a OR b",
                    " WHERE a IN (SELECT 1)",
                ],
            ),
            pick(
                index + 4,
                [
                    "",
                    " GROUP BY a",
                    " GROUP BY a, b HAVING c",
                    " GROUP BY ROLLUP (a, b)",
                    " HAVING a",
                ],
            ),
        ];
        parts.concat()
    };
    let set = pick(10, ["", "", " UNION ALL ", " INTERSECT ", " EXCEPT ALL "]);
    let second = if set.is_empty() { String::new() } else { block(5) };
    let tail = ["", " ORDER BY a, b DESC", " LIMIT 1", " ORDER BY 1 OFFSET 1", " OFFSET 1 LIMIT 1"];
    format!("{}{set}{second}{}", block(0), pick(11, tail))
}
