//! What is lifted and what stays; every text is found again.
use super::*;
use proptest::prelude::*;

#[track_caller]
fn check(sql: &str, expected: &str) {
    assert_eq!(shape(sql, true).unwrap().text, expected);
}

#[track_caller]
fn kept(sql: &str) {
    check(sql, sql);
}

#[test]
fn constants_of_queries_are_lifted() {
    check("select * from t where a = 5 and b='x'", "select * from t where a = $L1 and b=$L2");
    check("insert into t values (1,-2.5,$$x$$, e'y')", "insert into t values ($L1,-$L2,$L3, $L4)");
    check("update t set a = 1 where b in (1, 2)", "update t set a = $L1 where b in ($L2, $L3)");
    check("values (1), (2)", "values ($L1), ($L2)");
    check("with x as (select 1) select 2", "with x as (select $L1) select $L2");
    check("(select 1) union (select 2)", "(select $L1) union (select $L2)");
    check("select x::int in (1,2), array[1,[2]]", "select x::int in ($L1,$L2), array[$L3,[$L4]]");
    check("select case when a then 1 else 2 end", "select case when a then $L1 else $L2 end");
    check("select 1 where a between 1 and 2", "select $L1 where a between $L2 and $L3");
}

#[test]
fn comments_and_blanks_leave_no_trace_but_hints_stay() {
    check(" select -- c\n  a/* b */from\tt ; ", "select a from t");
    check("/* weir: shard=s1 */select 1", "/* weir: shard=s1 */ select $L1");
    check("select 1/* weir: shard=s1 */ ", "select $L1 /* weir: shard=s1 */");
}

#[test]
fn tokens_never_grow_together() {
    check("select'x'from t where a<-1", "select $L1 from t where a< -$L2");
    check("select a/**/b", "select a b");
    check("select'x'\"y\"", "select $L1 \"y\"");
}

#[test]
fn what_is_no_plain_constant_stays() {
    kept("select a, b from t order by 1, (2) limit 5 offset 10");
    kept("select a from t group by rollup(1, 2) fetch first 5 rows only");
    kept("select distinct on (1) a from t");
    kept("select date '2026-01-01', interval '1 day', timestamp with time zone 'x', pg_lsn '0/1'");
    kept("select x::numeric(10,2), cast(x as varchar(10)), varchar(10) 'abc', x::int[3]");
    kept("select extract('year' from a), b[1], sum(a) over (rows 5 preceding)");
    kept("select a like b escape '\\', a at time zone 'UTC'");
    kept("select U&'x', B'1', X'1f', N'x', 0x1F, 1_000, 'a'\n'b'");
    kept("select a from t tablesample bernoulli (10) repeatable (5)");
}

#[test]
fn clauses_after_a_list_of_ordinals_are_lifted_again() {
    check("select a from t group by 1 having a > 5", "select a from t group by 1 having a > $L1");
    check(
        "(select a from t order by 1) union select 5",
        "(select a from t order by 1) union select $L1",
    );
    check("select sum(a) over (order by 1), 5", "select sum(a) over (order by 1), $L1");
    check(
        "select extract('year' from date_trunc('day', b)), 5",
        "select extract('year' from date_trunc($L1, b)), $L2",
    );
}

#[test]
fn statements_that_are_no_queries_keep_their_literals() {
    kept("set x = 5");
    kept("create table t (a varchar(10) default 'x', check (a in ('b')))");
    kept("create view v as select 5");
    kept("explain (costs off, analyze) execute p(5)");
    kept("prepare p as select 5");
    kept("notify a, 'b'");
    check("explain (costs off, buffers 1) select 5", "explain (costs off, buffers 1) select $L1");
    check("explain analyze verbose select 5", "explain analyze verbose select $L1");
}

#[test]
fn a_literal_has_its_value() {
    for (literal, value) in [
        ("'it''s'", Some("it's")),
        ("''", Some("")),
        ("E'a\\nb'", Some("a\nb")),
        ("$q$it's$q$", Some("it's")),
        ("$$$$", Some("")),
        ("042", Some("042")),
        ("1.50", Some("1.50")),
        ("E'\\xff'", None),
    ] {
        let text = format!("select {literal}");
        let shape = shape(&text, true).unwrap();
        assert_eq!(shape.literals[0].value(&text).as_deref(), value, "{literal}");
        assert_eq!(shape.literals[0].source(&text), literal);
    }
    let text = r"select 'a\nb'";
    assert_eq!(shape(text, false).unwrap().literals[0].value(text).as_deref(), Some("a\nb"));
}

#[test]
fn kept_strings_read_as_under_standard_conforming_strings() {
    let shape = shape(r"select date'a\'', b", false).unwrap();
    assert_eq!(shape.text, r"select date E'a\'', b");
    assert_eq!(shape.original_offset(shape.text.find(", b").unwrap()), 16);
}

#[test]
fn a_reused_shape_forgets_the_statement_before() {
    let mut buffer = Shape::default();
    shape_into("select 1, 2 order by (3", true, &mut buffer).unwrap();
    shape_into("select 4", true, &mut buffer).unwrap();
    assert_eq!(buffer, shape("select 4", true).unwrap());
}

#[test]
fn placeholders_are_counted_from_zero() {
    assert_eq!(placeholder("$L1"), Some(0));
    assert_eq!(placeholder("$1"), None);
    assert_eq!(placeholder("$L0"), None);
}

proptest! {
    /// Putting each literal back and cutting blanks gives what the lexer saw.
    #[test]
    fn a_shape_is_the_same_tokens(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "select ", "a", " b ", "'it''s'", "E'\\''", "5", "1.5 ", "(", ")", ",", "+", "-", "<",
                " ::int", " order by ", "limit ", " from ", "/* c */", "-- c\n", "\n", "[", "]", "$1 ",
                "\"q\"", "$$d$$", " as ", " numeric", ".", "in", " and ", ";",
            ]),
            0..20,
        )
    ) {
        let text = format!("select {}", words.concat());
        let Ok(shape) = shape(&text, true) else { return Ok(()) };
        let mut back = shape.text.clone();
        for literal in shape.literals.iter().rev() {
            let end = literal.at + 2 + (shape.literals.len().to_string().len()).min(
                back[literal.at + 2..].find(|c: char| !c.is_ascii_digit()).unwrap_or(back.len() - literal.at - 2));
            back.replace_range(literal.at..end, literal.source(&text));
        }
        let texts = |text: &str| -> Vec<String> {
            let tokens = crate::sql::lexer::tokens(text, true).unwrap();
            tokens.iter().map(|token| token.text(text).to_owned()).collect()
        };
        let mut expected = texts(&text);
        while expected.last().is_some_and(|last| last == ";") {
            expected.pop();
        }
        prop_assert_eq!(texts(&back), expected);
    }

    #[test]
    fn every_token_is_found_again_in_the_original(text in "select ([a-c5',+ \n(]|/\\*x\\*/){0,30}") {
        let Ok(shape) = shape(&text, true) else { return Ok(()) };
        // `$L1` is no token of the lexer: read it as `#L1`, which is three bytes as well.
        let readable = shape.text.replace("$L", "##");
        let mut at = 0;
        for token in Lexer::new(&readable, true).map_while(Result::ok) {
            prop_assert_eq!(token.start, at);
            at = token.end;
            if token.kind == TokenKind::Word {
                let original = shape.original_offset(token.start);
                prop_assert!(text[original..].starts_with(token.text(&readable)));
            }
        }
    }
}
