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
