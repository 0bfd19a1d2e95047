//! What names mean where an output is called as a column is.
use super::numbers;

#[test]
fn a_name_in_distinct_on_means_an_output_first() {
    let mut scene = numbers();
    scene.ordered("SELECT DISTINCT ON (k) txt AS k, id FROM t ORDER BY k, id");
    scene.ordered("SELECT DISTINCT ON (id) k AS id, n FROM t ORDER BY id, t.id");
    scene.ordered("SELECT DISTINCT ON (1) txt AS k, id FROM t ORDER BY k, id");
    scene.ordered("SELECT DISTINCT ON (t.k) txt AS k, id FROM t ORDER BY t.k, id");
    scene.ordered(
        "SELECT DISTINCT ON (k) lower(txt) AS k, id, n FROM t ORDER BY k, id DESC LIMIT 2",
    );
    scene.rows("SELECT count(*), count(DISTINCT id) FROM (SELECT DISTINCT ON (k) txt AS k, id FROM t ORDER BY k, id) x");
    scene.rows(
        "SELECT count(*), count(DISTINCT k) FROM (SELECT DISTINCT ON (k) n % 2 AS k FROM t) x",
    );
    scene.rows("WITH x AS (SELECT DISTINCT ON (k) txt AS k, k AS own FROM t ORDER BY k, id) SELECT count(*) FROM x JOIN r ON true");
}

#[test]
fn a_condition_around_distinct_on_leaves_no_row_out_before_it() {
    let mut scene = numbers();
    for key in 1..9 {
        scene.rows(&format!(
            "SELECT * FROM (SELECT DISTINCT ON (k) txt AS k, t.k AS own, id FROM t ORDER BY k, id) x \
             WHERE own = {key}"
        ));
        scene.rows(&format!(
            "SELECT * FROM (SELECT k AS n, n AS k, count(*) FROM t GROUP BY k, n) x WHERE n = {key}"
        ));
    }
}

#[test]
fn a_name_in_group_by_and_partition_by_means_a_column_first() {
    let mut scene = numbers();
    scene.rows("SELECT txt AS k, count(*) FROM t GROUP BY t.k, txt");
    scene.rows("SELECT min(txt) AS k, count(*) FROM t GROUP BY k");
    scene.rows("SELECT min(k) AS txt, count(*) FROM t GROUP BY txt");
    scene.rows("SELECT k AS own, count(*) FROM t GROUP BY own");
    scene.rows("SELECT n AS k, id, row_number() OVER (PARTITION BY k ORDER BY id) FROM t");
    scene.rows("SELECT k AS n, id, row_number() OVER (PARTITION BY n ORDER BY id) FROM t");
    scene.ordered("SELECT txt AS id, id AS k FROM t ORDER BY k");
    scene.ordered("SELECT -id AS id FROM t ORDER BY id LIMIT 3");
    scene.rows("SELECT txt AS n, n AS txt, count(*) FROM t GROUP BY n, txt");
    scene.ordered("SELECT txt AS n, sum(n) AS txt FROM t GROUP BY txt ORDER BY txt, n");
}

#[test]
fn a_users_collation_is_not_pg_catalogs_of_the_same_name() {
    let mut scene = numbers();
    let collation =
        "CREATE SCHEMA shadow; CREATE COLLATION shadow.\"C\" (provider = icu, locale = 'und')";
    scene.both(collation);
    for (id, text) in ["a", "B", "c", "D", "e", "F"].into_iter().enumerate() {
        scene.both(&format!("INSERT INTO t (k, id, txt) VALUES ({id}, {}, '{text}')", id + 1000));
    }
    scene.ordered("SELECT txt, id FROM t WHERE id >= 1000 ORDER BY txt COLLATE shadow.\"C\"");
    scene.ordered("SELECT txt, id FROM t WHERE id >= 1000 ORDER BY txt COLLATE \"C\"");
    let bytes = "SELECT txt, id FROM t WHERE id >= 1000 ORDER BY txt COLLATE pg_catalog.\"C\"";
    scene.ordered(bytes);
    assert!(scene.strategy(bytes).contains("merge of"));
}

#[test]
fn operators_that_hide_pg_catalogs_are_no_way_to_a_shard() {
    let mut scene = numbers();
    scene.both("CREATE SCHEMA shadow");
    for path in ["pg_catalog, public", "public", "public, shadow", "\"$user\", public"] {
        scene.both(&format!("SET search_path = {path}"));
        scene.rows("SELECT id FROM t WHERE k = 3").rows("SELECT count(*) FROM t");
    }
    scene.weir.query("SET search_path = shadow, pg_catalog, public");
    for text in
        ["SELECT id FROM t WHERE k = 3", "SELECT count(*) FROM t", "DELETE FROM t WHERE k = 3"]
    {
        scene.weir.take_transcript();
        scene.weir.query(text);
        let heard = scene.weir.take_transcript();
        assert!(heard.contains("C=0A000") && heard.contains("search_path"), "{text}: {heard}");
    }
    assert_eq!(scene.weir.value("SELECT 1 + 1"), "2");
}

#[test]
fn no_number_of_rows_with_ties_is_an_error_as_in_postgres() {
    let mut scene = numbers();
    let text = "SELECT n FROM t ORDER BY n FETCH FIRST NULL ROWS WITH TIES";
    for client in [&mut scene.oracle, &mut scene.weir] {
        client.take_transcript();
        client.query(text);
        let heard = client.take_transcript();
        assert!(heard.contains("C=2201W"), "{heard}");
    }
    // A parameter may be NULL all the same.
    for text in [
        "SELECT n FROM t ORDER BY n FETCH FIRST $1 ROWS WITH TIES",
        "SELECT n FROM t ORDER BY n OFFSET 1 FETCH FIRST $1 ROWS WITH TIES",
    ] {
        let [ours, theirs] = [&mut scene.weir, &mut scene.oracle].map(|client| {
            client.take_transcript();
            client.parse("", text, &[]).bind("", "", &[None]).execute("", 0).sync();
            client.take_transcript()
        });
        assert_eq!(ours, theirs, "{text}");
    }
    scene.count("SELECT n FROM t ORDER BY n FETCH FIRST NULL ROWS ONLY");
}
