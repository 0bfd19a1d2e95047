//! Subqueries that are one value for all rows: each shard could come to another one.
use super::{Scene, numbers};
use crate::cluster::DATABASE;

/// A table that every shard has, with its rows in another order on each server.
fn disordered() -> Scene {
    let mut scene = numbers();
    scene.both("INSERT INTO r SELECT n, 'r' || n, n FROM generate_series(1, 3) n");
    scene.both("INSERT INTO r VALUES (4, 'r1', 1e16), (5, 'r2', -1e16)");
    let server = scene._cluster.shard(0);
    for (shard, first) in ["s0", "s1", "s2"].into_iter().zip(2..) {
        let again = format!("UPDATE r SET name = name WHERE id = {first} OR id = 4");
        server.sql(shard, &format!("UPDATE r SET name = name WHERE id = 1; {again}")).unwrap();
    }
    server.sql(DATABASE, "ANALYZE").unwrap();
    scene
}

#[test]
fn a_random_value_of_all_rows_is_one_for_all_shards() {
    let mut scene = numbers();
    scene.both("INSERT INTO r SELECT n, 'r' || n, n FROM generate_series(1, 3) n");
    for one in [
        "SELECT count(DISTINCT x) FROM (SELECT (SELECT gen_random_uuid()) x FROM t) y",
        "SELECT count(DISTINCT x) FROM (SELECT t.k, r.x FROM t JOIN (SELECT id, random() x FROM r OFFSET 0) r ON r.id = 1) y",
        "WITH one AS (SELECT random() x) SELECT count(DISTINCT x) FROM t, one",
        "SELECT count(*) FROM (SELECT DISTINCT (SELECT random()) FROM t) y",
        "SELECT count(*) FROM (SELECT (SELECT random()) x, count(*) FROM t GROUP BY 1) y",
        "SELECT count(DISTINCT x) FROM (SELECT x FROM t, random() x) y",
        "SELECT count(DISTINCT x) FROM (SELECT x FROM t, (VALUES (random())) v (x)) y",
        "SELECT count(*) IN (0, 32) FROM t WHERE (SELECT random()) < 0.5",
    ] {
        scene.rows(one);
    }
    // One for each row are as many as there are rows.
    scene.rows("SELECT count(DISTINCT x) FROM (SELECT k, random() x FROM t) y");
    scene.count("SELECT random() FROM t");
    assert!(scene.strategy("SELECT k, random() FROM t").contains("merge of"));
    assert!(!scene.strategy("SELECT k, (SELECT random()) FROM t").contains("merge of"));
    for _ in 0..20 {
        let all = scene.weir.value("SELECT count(*) FROM t WHERE (SELECT random()) < 0.5");
        assert!(all == "0" || all == "32", "{all}");
        let texts = "SELECT (SELECT gen_random_uuid()) FROM t";
        scene.weir.take_transcript();
        scene.weir.query(texts);
        let heard = scene.weir.take_transcript();
        let mut rows: Vec<&str> = heard.lines().filter(|line| line.starts_with("D ")).collect();
        assert_eq!(rows.len(), 32, "{heard}");
        rows.dedup();
        assert_eq!(rows.len(), 1, "{heard}");
    }
}

#[test]
fn a_value_that_depends_on_the_order_of_rows_is_one_for_all_shards() {
    let mut scene = disordered();
    for value in [
        "(SELECT name FROM r LIMIT 1)",
        "(SELECT name FROM r OFFSET 4)",
        "(SELECT string_agg(name, ',') FROM r)",
        "(SELECT array_agg(id) FROM r)",
        "ARRAY(SELECT id FROM r)",
        "(SELECT sum(f) FROM r)",
        "(SELECT x.id FROM (SELECT DISTINCT ON (name) name, id FROM r) x WHERE name = 'r1')",
        "(SELECT row_number FROM (SELECT id, row_number() OVER () FROM r) x WHERE id = 1)",
        "(SELECT x FROM (SELECT array_agg(name) x FROM (SELECT name FROM r) y) z)",
    ] {
        scene.rows(&format!("SELECT count(*) FROM (SELECT DISTINCT {value} FROM t) x"));
        scene.rows(&format!("SELECT count(DISTINCT x) FROM (SELECT k, {value} x FROM t) y"));
        scene.rows(&format!("SELECT count(*) FROM (SELECT {value}, count(*) FROM t GROUP BY 1) x"));
        let merged = scene.strategy(&format!("SELECT k, {value} FROM t"));
        assert!(!merged.contains("merge of"), "{value}: {merged}");
    }
    for steady in [
        "(SELECT max(name) FROM r)",
        "(SELECT sum(id) FROM r)",
        "(SELECT name FROM r WHERE r.id = 1)",
        "EXISTS (SELECT FROM r WHERE r.id = t.n)",
        "(SELECT name FROM r WHERE r.f > t.n ORDER BY id LIMIT 1)",
    ] {
        let text = format!("SELECT k, id, {steady} FROM t");
        scene.rows(&text);
        let merged = scene.strategy(&text);
        assert!(merged.contains("merge of"), "{steady}: {merged}");
    }
}

#[test]
fn a_view_that_servers_work_out_differently_is_one_for_all_shards() {
    let mut scene = disordered();
    for value in [
        "(SELECT name FROM v_one)",
        "(SELECT name FROM v_nested)",
        "(SELECT name FROM v_texts)",
        "(SELECT name FROM v_numbered WHERE id = 1)",
        "(SELECT name FROM v_random)",
        "(SELECT name FROM v_time)",
    ] {
        scene.rows(&format!("SELECT count(*) FROM (SELECT DISTINCT {value} FROM t) x"));
        scene.rows(&format!(
            "SELECT count(DISTINCT name) FROM (SELECT k, {value} AS name FROM t) x"
        ));
        let merged = scene.strategy(&format!("SELECT k, {value} FROM t"));
        assert!(!merged.contains("merge of"), "{value}: {merged}");
    }
    for view in ["v_one", "v_nested", "v_random", "v_time"] {
        scene.rows(&format!("SELECT count(DISTINCT v.name) FROM t CROSS JOIN {view} v"));
        let write = format!("UPDATE t SET txt = v.name FROM {view} v WHERE t.n < 3");
        assert_eq!(scene.weir.value(&write), "0A000", "{view}");
    }
    for steady in [
        "SELECT t.k, v.name FROM t JOIN v_steady v ON v.id = t.n",
        "SELECT k, (SELECT max(name) FROM v_steady) FROM t WHERE EXISTS (SELECT FROM v_steady v WHERE v.id = n)",
    ] {
        scene.rows(steady);
        let merged = scene.strategy(steady);
        assert!(merged.contains("merge of"), "{steady}: {merged}");
    }
}
