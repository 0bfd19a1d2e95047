//! SET, RESET, SHOW, DISCARD, and what they report.
use super::{Script, Stage, check};

#[test]
fn settings_are_followed_and_reported_as_by_postgresql() {
    check(SCRIPTS);
}

#[test]
fn weirs_own_settings_are_set_shown_and_reset_like_others() {
    let stage = Stage::new("[pool]\nsize = 1\n");
    let mut a = stage.client_with(&[("options", "-c weir.tier=batch")]);
    assert_eq!(a.value("SHOW weir.tier"), "batch");
    assert_eq!(a.value("SHOW weir.reads"), "primary");
    a.query("SET weir.tier = 'interactive'").query("SET weir.reads TO primary");
    assert_eq!(a.value("SHOW weir.tier"), "interactive");
    a.query("RESET weir.tier").query("SET weir.reads TO DEFAULT");
    assert_eq!(a.value("SHOW weir.tier"), "batch");
    assert_eq!(a.value("SHOW weir.reads"), "primary");
    a.query("BEGIN").query("SET LOCAL weir.tier = 'interactive'");
    assert_eq!(a.value("SHOW weir.tier"), "interactive");
    a.query("ROLLBACK");
    assert_eq!(a.value("SHOW weir.tier"), "batch");
    a.query("SET weir.tier = 'interactive'").query("DISCARD ALL");
    assert_eq!(a.value("SHOW weir.tier"), "batch");
    for wrong in [
        "SET weir.tier = 'bach'",
        "SET weir.reads = 'both'",
        "/* weir: tier=bach */ SELECT 1",
        "/* weir: reads=both */ SELECT 1",
        "/* weir: mood=good */ SELECT 1",
    ] {
        assert_eq!(a.value(wrong), "22023", "{wrong}");
    }
    assert_eq!(a.value("SHOW weir.mood"), "42704");
    assert_eq!(a.value("/* weir: tier=batch reads=primary */ SELECT 1"), "1");
    // Nothing is known of a plain database's tables and functions.
    for unproved in ["SET weir.reads = 'replica'", "/* weir: reads=replica */ SELECT 1"] {
        assert_eq!(a.value(unproved), "0A000", "{unproved}");
    }
    // No server has heard of it.
    assert_eq!(a.value("SELECT current_setting('weir.tier', true)"), "NULL");
}

const SCRIPTS: &[Script] = &[
    ("SET reports the parameters that clients know", |c| {
        c.query("SET datestyle = 'German'").query("SET TIME ZONE 'Asia/Tokyo'");
        c.query("SET application_name = 'x''y\\z'").query("SET work_mem = '5MB'");
        c.query("SET NAMES 'LATIN1'").query("SET client_encoding = 'UTF8'");
        c.query("SET standard_conforming_strings = off").query("SELECT 'a\\'b'");
        c.query("SET standard_conforming_strings = on")
            .query("SELECT 'a\\'")
            .query("SHOW work_mem");
        c.query("SHOW datestyle").query("SHOW timezone").query("SHOW application_name");
    }),
    ("SET of what is not there or not allowed", |c| {
        c.query("SET nonsense = 1").query("SET work_mem = 'much'").query("SET port = 5");
        c.query("SET shared_buffers = '1GB'").query("RESET nonsense").query("SHOW nonsense");
        c.query("SET timezone = 'Nowhere/Land'").query("SHOW timezone").query("SET my.own = 'x'");
        c.query("SHOW my.own").query("RESET my.own").query("SHOW my.own").query("SHOW not.there");
    }),
    ("RESET goes back", |c| {
        c.query("SET datestyle = 'German'").query("RESET datestyle").query("SHOW datestyle");
        c.query("SET datestyle = 'German'")
            .query("SET datestyle TO DEFAULT")
            .query("SHOW datestyle");
        c.query("SET timezone = 'Asia/Tokyo'").query("SET work_mem = '5MB'").query("RESET ALL");
        c.query("SHOW timezone").query("SHOW work_mem");
    }),
    ("ROLLBACK undoes SET", |c| {
        c.query("BEGIN").query("SET datestyle = 'German'").query("SHOW datestyle");
        c.query("ROLLBACK").query("SHOW datestyle");
        c.query("BEGIN")
            .query("SET timezone = 'Asia/Tokyo'")
            .query("COMMIT")
            .query("SHOW timezone");
        c.query("BEGIN").query("RESET timezone").query("ROLLBACK").query("SHOW timezone");
    }),
    ("SET LOCAL ends with the block", |c| {
        c.query("BEGIN").query("SET LOCAL datestyle = 'German'").query("SELECT '2026-01-02'::date");
        c.query("COMMIT").query("SELECT '2026-01-02'::date");
        c.query("BEGIN").query("SET LOCAL datestyle = 'German'").query("SET datestyle = 'SQL'");
        c.query("COMMIT").query("SHOW datestyle").query("BEGIN").query("SET datestyle = 'ISO'");
        c.query("SET LOCAL datestyle = 'German'").query("SHOW datestyle").query("COMMIT");
        c.query("SHOW datestyle");
    }),
    ("savepoints and settings", |c| {
        c.query("BEGIN").query("SET timezone = 'Asia/Tokyo'").query("SAVEPOINT a");
        c.query("SET timezone = 'Europe/Rome'").query("SET LOCAL work_mem = '7MB'");
        c.query("SHOW timezone")
            .query("ROLLBACK TO a")
            .query("SHOW timezone")
            .query("SHOW work_mem");
        c.query("SET LOCAL timezone = 'America/Lima'").query("RELEASE a").query("SHOW timezone");
        c.query("COMMIT").query("SHOW timezone").query("SHOW work_mem");
    }),
    ("a multi-statement text that fails undoes its SET", |c| {
        c.query("SET datestyle = 'German'; SELECT 1/0").query("SHOW datestyle");
        c.query("SET datestyle = 'German'; SELECT 1").query("SHOW datestyle");
        c.query("SET datestyle = 'ISO'; SELECT '2026-01-02'::date; SET datestyle = 'SQL'; SELECT '2026-01-02'::date");
        c.query("SET LOCAL datestyle = 'German'; SELECT '2026-01-02'::date")
            .query("SHOW datestyle");
    }),
    ("search_path", |c| {
        c.query(
            "CREATE SCHEMA other; CREATE TABLE other.t (x text); INSERT INTO other.t VALUES ('o')",
        );
        c.parse("s", "SELECT * FROM t LIMIT 1", &[]).bind("", "s", &[]).execute("", 0).sync();
        c.query("SET search_path = other, public").query("SELECT * FROM t LIMIT 1");
        c.query("SHOW search_path").query("SET search_path TO \"$user\", 'public'");
        c.query("SHOW search_path").query("SELECT id FROM t LIMIT 1").query("SET search_path = ''");
        c.query("SELECT id FROM t LIMIT 1").query("SET SCHEMA 'other'").query("SELECT * FROM t");
    }),
    ("roles", |c| {
        c.query("SELECT current_user, session_user").query("DROP ROLE IF EXISTS someone");
        c.query("CREATE ROLE someone").query("SET ROLE someone").query("SELECT current_user");
        c.query("SELECT * FROM t").query("RESET ROLE").query("SELECT current_user");
        c.query("SET SESSION AUTHORIZATION someone").query("SELECT session_user, current_user");
        c.query("RESET SESSION AUTHORIZATION")
            .query("SELECT session_user")
            .query("SET ROLE missing");
        c.query("BEGIN")
            .query("SET LOCAL ROLE someone")
            .query("SELECT current_user")
            .query("COMMIT");
        c.query("SELECT current_user").query("SET ROLE someone").query("SET ROLE NONE");
        c.query("SELECT current_user").query("DROP ROLE someone");
    }),
    ("RESET ALL leaves roles alone, DISCARD ALL does not", |c| {
        c.query("DROP ROLE IF EXISTS one, two")
            .query("CREATE ROLE one; CREATE ROLE two; GRANT two TO one");
        c.query("SET SESSION AUTHORIZATION one").query("SET ROLE two").query("RESET ALL");
        c.query("SELECT session_user, current_user")
            .query("SET work_mem = '6MB'")
            .query("SHOW role");
        c.query("SELECT session_user, current_user").query("DISCARD ALL");
        c.query("SELECT session_user, current_user").query("SET ROLE two");
        c.query("SET SESSION AUTHORIZATION one").query("SELECT session_user, current_user");
        c.query("DISCARD ALL").query("DROP ROLE one, two");
    }),
    ("DISCARD ALL", |c| {
        c.query("SET datestyle = 'German'").query("SET work_mem = '5MB'");
        c.parse("s", "SELECT 1", &[]).sync();
        c.query("DISCARD ALL").query("SHOW work_mem").query("SHOW datestyle");
        c.bind("", "s", &[]).sync();
        c.query("BEGIN").query("DISCARD ALL").query("ROLLBACK").query("DISCARD TEMP");
        c.query("DISCARD PLANS").query("DISCARD SEQUENCES").query("SELECT 1; DISCARD ALL");
    }),
    ("set_config", |c| {
        c.query("SELECT set_config('datestyle', 'German', false)").query("SHOW datestyle");
        c.query("SELECT '2026-01-02'::date").query("RESET datestyle").query("SHOW datestyle");
        c.query("BEGIN").query("SELECT set_config('timezone', 'Asia/Tokyo', true)");
        c.query("SHOW timezone").query("COMMIT").query("SHOW timezone");
        c.query("BEGIN")
            .query("SELECT set_config('timezone', 'Asia/Tokyo', false)")
            .query("ROLLBACK");
        c.query("SHOW timezone")
            .query("SELECT set_config('my.own', 'v', false)")
            .query("SHOW my.own");
        c.parse("", "SELECT set_config($1, $2, false)", &[]);
        c.bind("", "", &[Some("work_mem"), Some("6MB")]).execute("", 0).sync();
        c.query("SHOW work_mem");
    }),
    ("a statement means what its settings meant when it was prepared", |c| {
        c.query("SET timezone = 'Asia/Tokyo'");
        c.parse("s", "SELECT '2026-01-01 00:00'::timestamptz", &[]).sync();
        c.query("SET timezone = 'UTC'");
        c.bind("", "s", &[]).execute("", 0).sync();
        c.query("SET datestyle = 'German'");
        c.bind("", "s", &[]).execute("", 0).sync();
    }),
    ("LATIN1 clients", |c| {
        c.query("SET client_encoding = 'LATIN1'").query("SELECT chr(228)").query("SELECT 1");
        c.put(b'Q', b"SELECT '\xe4', length('\xe4')\0").send();
        c.await_ready();
        c.parse("", "SELECT $1::text, length($1)", &[]);
        c.bind_as("", "", &[], &[Some(b"\xe4\xf6")], &[]).execute("", 0).sync();
        c.query("SET client_encoding = 'UTF8'").query("SELECT length('ä')");
    }),
    ("bytes that are not UTF-8", |c| {
        c.put(b'Q', b"SELECT '\xe4'\0").send();
        c.await_ready().query("SELECT 1");
    }),
    ("SHOW ALL is a table", |c| {
        c.query("SHOW server_version").query("SHOW server_encoding").query("SHOW \"TimeZone\"");
        c.query("SHOW TRANSACTION ISOLATION LEVEL").query("SHOW SESSION AUTHORIZATION");
    }),
];
