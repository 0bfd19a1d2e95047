//! Control statements as clients write them.
use super::*;

#[track_caller]
fn check(text: &str, expected: Control) {
    assert_eq!(parse(text, true), Ok(Some(expected)), "{text}");
}

#[track_caller]
fn refused(text: &str, message: &str) {
    assert_eq!(parse(text, true).unwrap_err().message, message, "{text}");
}

fn set(name: &str, value: &str) -> Control {
    Control::Set { local: false, name: name.into(), value: Some(value.into()) }
}

fn default(name: &str) -> Control {
    Control::Set { local: false, name: name.into(), value: None }
}

#[test]
fn other_statements_are_none_of_ours() {
    for text in
        ["", "select 1", "explain select 1", "explain (analyze) select 1", "( begin )", "'x"]
    {
        assert_eq!(parse(text, true), Ok(None), "{text}");
    }
}

#[test]
fn transactions_begin_and_end() {
    check("begin", Control::Begin { modes: "".into() });
    check("BEGIN WORK;", Control::Begin { modes: "".into() });
    check(
        "begin transaction isolation level serializable, read only not deferrable",
        Control::Begin { modes: "isolation level serializable, read only not deferrable".into() },
    );
    check("start transaction read write", Control::Begin { modes: "read write".into() });
    check("commit", Control::Commit { chain: false });
    check("END TRANSACTION", Control::Commit { chain: false });
    check("commit work and no chain", Control::Commit { chain: false });
    check("commit and chain", Control::Commit { chain: true });
    check("rollback and chain", Control::Rollback { chain: true });
    check("abort", Control::Rollback { chain: false });
    check("rollback transaction to savepoint \"A b\"", Control::RollbackTo { name: "A b".into() });
    check("rollback to A", Control::RollbackTo { name: "a".into() });
    check("savepoint S1", Control::Savepoint { name: "s1".into() });
    check("release savepoint s1", Control::Release { name: "s1".into() });
    check("release savepoint", Control::Release { name: "savepoint".into() });
    check("prepare transaction 'x'", Control::TwoPhase);
    check("commit prepared 'x'", Control::TwoPhase);
    check("rollback prepared 'x'", Control::TwoPhase);
}

#[test]
fn malformed_control_statements_say_what_postgresql_says() {
    refused("begin isolation", "syntax error at or near \"isolation\"");
    refused("commit foo", "syntax error at or near \"foo\"");
    refused("start", "syntax error at end of input");
    refused("set x", "syntax error at end of input");
    refused("set x = ", "syntax error at end of input");
    refused("set x from current", "syntax error at or near \"from\"");
    refused("set work_mem = 1, 2", "SET work_mem takes only one argument");
    refused("discard everything", "syntax error at or near \"everything\"");
    refused("savepoint 'a'", "syntax error at or near \"'a'\"");
    refused("set x = 'a", "unterminated quoted string at or near \"'a\"");
}

#[test]
fn set_gives_the_value_that_set_config_takes() {
    check("set x = 5", set("x", "5"));
    check("SET SESSION Work_Mem TO '64MB'", set("work_mem", "64MB"));
    check("set x = -1.5", set("x", "-1.5"));
    check("set x = 042", set("x", "42"));
    check("set x to ON", set("x", "on"));
    check("set x to \"On\"", set("x", "On"));
    check("set x = default", default("x"));
    check("set weir.shard = 's1'", set("weir.shard", "s1"));
    check("set datestyle to ISO, DMY", set("datestyle", "iso, dmy"));
    check(
        "set local x to e'a\\nb'",
        Control::Set { local: true, name: "x".into(), value: Some("a\nb".into()) },
    );
    check("set session = 5", set("session", "5"));
    check("set local.x = 5", set("local.x", "5"));
}

#[test]
fn elements_of_a_search_path_are_quoted_where_needed() {
    check(
        "set search_path to a, \"$user\", 'B', \"x\"\"y\"",
        set("search_path", "a, \"$user\", \"B\", \"x\"\"y\""),
    );
    check("set search_path = 'a, b'", set("search_path", "\"a, b\""));
    check("set search_path = ''", set("search_path", "\"\""));
    check("set schema 'a'", set("search_path", "a"));
}

#[test]
fn special_forms_come_under_the_settings_own_name() {
    check("set time zone 'UTC'", set("timezone", "UTC"));
    check("set time zone -8", set("timezone", "-8"));
    check("set time zone local", default("timezone"));
    check("set time zone interval '-08:00' hour to minute", set("timezone", "INTERVAL '-08:00'"));
    check("set names 'utf8'", set("client_encoding", "utf8"));
    check("set names", default("client_encoding"));
    check("set role admin", set("role", "admin"));
    check("set role none", set("role", "none"));
    check("set role to admin", set("role", "admin"));
    check(
        "set local role 'Admin'",
        Control::Set { local: true, name: "role".into(), value: Some("Admin".into()) },
    );
    check("set session authorization bob", set("session_authorization", "bob"));
    check("set session authorization default", default("session_authorization"));
    check("set xml option document", set("xmloption", "document"));
    check(
        "set transaction /* or */ read only -- read write",
        Control::SetTransaction { modes: "read only".into() },
    );
    check("set transaction read only", Control::SetTransaction { modes: "read only".into() });
    check("set local transaction read only", Control::SetTransaction { modes: "read only".into() });
    check("set transaction snapshot 'x'", Control::SetTransaction { modes: "snapshot 'x'".into() });
    check(
        "set session characteristics as transaction isolation level read committed, read only",
        Control::SetCharacteristics {
            settings: vec![
                ("default_transaction_isolation", "read committed"),
                ("default_transaction_read_only", "on"),
            ],
        },
    );
    check("set constraints all deferred", Control::SetConstraints { text: "all deferred".into() });
}

#[test]
fn reset_and_show_name_a_setting() {
    check("reset all", Control::ResetAll);
    check("reset Work_mem", Control::Reset { name: "work_mem".into() });
    check("reset role", Control::Reset { name: "role".into() });
    check("reset session authorization", Control::Reset { name: "session_authorization".into() });
    check("show all", Control::Show { name: "all".into() });
    check("show time zone", Control::Show { name: "timezone".into() });
    check(
        "show transaction isolation level",
        Control::Show { name: "transaction_isolation".into() },
    );
    check("show weir.shard", Control::Show { name: "weir.shard".into() });
}

#[test]
fn statements_are_prepared_and_executed_by_name() {
    check(
        "prepare P (int, numeric(10,2)) as select $1, 'x'; ",
        Control::Prepare {
            name: "p".into(),
            types: vec!["int".into(), "numeric(10,2)".into()],
            statement: "select $1, 'x'".into(),
        },
    );
    check(
        "execute p (1, f(2, 3), 'a,b')",
        Control::Execute {
            name: "p".into(),
            arguments: vec!["1".into(), "f(2, 3)".into(), "'a,b'".into()],
        },
    );
    check("execute p", Control::Execute { name: "p".into(), arguments: vec![] });
    refused("execute p (1", "syntax error at end of input");
    refused("execute p (1,)", "syntax error at or near \")\"");
    check("deallocate all", Control::Deallocate { name: None });
    check("deallocate prepare p", Control::Deallocate { name: Some("p".into()) });
    check("deallocate prepare", Control::Deallocate { name: Some("prepare".into()) });
}

#[test]
fn cursors_channels_and_the_rest() {
    check(
        "declare c binary no scroll cursor with hold for select 1",
        Control::DeclareCursor {
            name: "c".into(),
            options: vec![CursorOption::Binary, CursorOption::NoScroll, CursorOption::Hold],
            query: "select 1".into(),
        },
    );
    use Direction::{Absolute, Back, Forward, Relative};
    for (text, gives, direction) in [
        ("fetch c", Gives::Rows, Forward(Some(1))),
        ("fetch next from C", Gives::Rows, Forward(Some(1))),
        ("fetch in c", Gives::Rows, Forward(Some(1))),
        ("fetch forward all in c", Gives::Rows, Forward(None)),
        ("fetch all c", Gives::Rows, Forward(None)),
        ("fetch +7 c", Gives::Rows, Forward(Some(7))),
        ("fetch forward 0 from c", Gives::Rows, Forward(Some(0))),
        ("fetch -7 in c", Gives::Rows, Back),
        ("move backward -5 from c", Gives::Count, Forward(Some(5))),
        ("move backward from c", Gives::Count, Back),
        ("move backward all c", Gives::Count, Back),
        ("move prior c", Gives::Count, Back),
        ("fetch last c", Gives::Rows, Back),
        ("fetch first c", Gives::Rows, Absolute(1)),
        ("fetch absolute 0 c", Gives::Rows, Back),
        ("fetch absolute 9 c", Gives::Rows, Absolute(9)),
        ("fetch relative 2 c", Gives::Rows, Relative(2)),
        ("fetch relative 0 c", Gives::Rows, Forward(Some(0))),
        ("fetch relative -1 c", Gives::Rows, Back),
    ] {
        check(text, Control::Fetch { cursor: "c".into(), gives, direction });
    }
    check(
        "fetch next",
        Control::Fetch { cursor: "next".into(), gives: Gives::Rows, direction: Forward(Some(1)) },
    );
    refused("fetch sideways from c", "syntax error at or near \"from\"");
    refused("fetch 99999999999 from c", "syntax error at or near \"99999999999\"");
    check("close all", Control::CloseCursor { name: None });
    check("close c", Control::CloseCursor { name: Some("c".into()) });
    check("listen C", Control::Listen { channel: "c".into() });
    check("unlisten *", Control::Unlisten { channel: None });
    check("discard temp", Control::DiscardTemp);
    check("explain (weir) select 1", Control::ExplainWeir { statement: "select 1".into() });
}

#[test]
fn calls_of_set_config_are_seen() {
    for (text, expected) in [
        ("select pg_catalog.Set_Config('a', 'b', false)", true),
        ("select \"set_config\"('a', 'b', false)", true),
        ("select 'set_config('", false),
        ("select set_config from t", false),
    ] {
        let tokens = crate::sql::lexer::tokens(text, true).unwrap();
        assert_eq!(mentions_set_config(text, &tokens), expected, "{text}");
    }
}
