//! avg() in two steps: what shards add up and the gather database divides is PostgreSQL's own average.
use super::{SETTINGS, World, check_ok, same, world};
use crate::weir::wait_for;

const TABLE: &str = "CREATE TABLE notes (user_id bigint, i interval, d float8, r real, s smallint, \
                     n int, b bigint, q numeric)";
const ROWS: &[&str] = &[
    "(1, '2500000000:00:00.000001', '-0', '-0', 32767, 2147483647, 9223372036854775807, 1.000)",
    "(2, '1 month 3 days 00:00:00.000001', '-0', '-0', 32767, 2147483647, 9223372036854775807, 2.0)",
    "(3, '-7 days 10:00', '-0', '-0', 1, 2, 3, 1e-20)",
    "(4, '2400000000:59:59.999997', NULL, NULL, -5, -5, -5, 12345678901234567890.5)",
    "(5, NULL, '-0', '-0', NULL, NULL, NULL, NULL)",
    "(6, NULL, NULL, 16777216, NULL, NULL, NULL, NULL)",
    "(7, NULL, NULL, 1, NULL, NULL, NULL, NULL)",
    "(8, NULL, NULL, 3e38, NULL, NULL, NULL, NULL)",
    "(9, NULL, NULL, 3e38, NULL, NULL, NULL, NULL)",
];

fn scene() -> World {
    let world = world("", SETTINGS);
    let plain = &mut world.plain();
    let weir = &mut world.client();
    for client in [plain, weir] {
        check_ok(client, TABLE);
        for row in ROWS {
            check_ok(client, &format!("INSERT INTO notes VALUES {row}"));
        }
    }
    wait_for("the new table", || world.client().value("SELECT count(*) FROM notes") == "9");
    world
}

#[test]
fn averages_of_every_type_are_those_of_one_postgres() {
    let world = scene();
    same(
        &world,
        &[
            "SELECT avg(i) FROM notes",
            "SELECT avg(i) FROM notes WHERE user_id IN (1, 2, 3) HAVING count(*) > 2",
            "SELECT user_id / 5 AS g, avg(i), avg(i) FILTER (WHERE d = 0) FROM notes GROUP BY g ORDER BY g",
            "SELECT avg(d), avg(-d), avg(r) FROM notes WHERE user_id < 6",
            "SELECT user_id % 2 AS g, avg(d), avg(r) FROM notes GROUP BY g ORDER BY g",
            "SELECT avg(r), avg(r + 1) FROM notes WHERE user_id IN (6, 7)",
            "SELECT avg(r) FROM notes WHERE user_id > 7",
            "SELECT avg(s), avg(n), avg(b), avg(q), avg(s + 1), avg(q * 3) FROM notes",
            "SELECT avg(i) IS NULL, avg(d), avg(q) FROM notes WHERE user_id > 100",
        ],
    );
    let gathered = world.metric("weir_several_shards_total{database=\"shop\",strategy=\"gather\"}");
    assert!(gathered.parse::<u32>().unwrap() >= 7, "{gathered} were gathered");
    assert!(world.is_clean());
}

#[test]
fn an_average_of_times_is_an_interval() {
    let world = world("", SETTINGS);
    for client in [&mut world.plain(), &mut world.client()] {
        check_ok(client, "CREATE TABLE notes (user_id bigint, begins time, ends time(0))");
        for id in 1..10 {
            let row = format!("({id}, '{id:02}:30', '{:02}:15:01')", id + 10);
            check_ok(client, &format!("INSERT INTO notes VALUES {row}"));
        }
    }
    wait_for("the new table", || world.client().value("SELECT count(*) FROM notes") == "9");
    same(
        &world,
        &[
            "SELECT avg(begins), avg(ends), avg(ends - begins) FROM notes",
            "SELECT user_id % 2 AS g, avg(begins) FROM notes GROUP BY g ORDER BY g",
            "SELECT avg(begins + interval '1 hour'), avg('08:00'::time) FROM notes",
        ],
    );
}
