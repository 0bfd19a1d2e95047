//! What a statement costs whose plan is known: no allocation, from its text to its shard.
use super::planner::LookedUp;
use super::{Catalog, Context, Planner, Route};
use crate::ids::{Oid, ShardId};
use crate::rules::{self, Rules};
use crate::wire::params::{Params, Value};
use std::{fs, path::Path};

fn shop() -> (Rules, Catalog) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/shop");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let rules = rules::parse(&read("rules.toml"), "rules.toml").unwrap();
    (rules, Catalog::from_ddl(&read("schema.sql")).unwrap())
}

/// How often planning and routing allocates once a statement of that shape has been planned.
fn allocations(statement: &str, params: &Params<'_>) -> u64 {
    let (rules, catalog) = shop();
    let context = Context {
        rules: &rules,
        catalog: &catalog,
        search_path: "\"$user\", public",
        user: "app",
        standard_conforming_strings: true,
        temporary: &[],
        named_shard: None,
    };
    let mut planner = Planner::new(10);
    let mut run = || {
        let planned = planner.plan(statement, &context).unwrap();
        let route = planned.route(statement, params, &rules).unwrap();
        assert!(matches!(route, Route::One(ShardId(0..4))), "{route:?}");
        planner.give_back(planned);
    };
    // The first makes the plan, the second the buffers.
    run();
    run();
    let counted = allocation_counter::measure(run);
    assert_eq!(planner.take_looked_up(), LookedUp { hits: 2, misses: 1 });
    counted.count_total
}

#[test]
fn a_statement_whose_plan_is_known_reaches_its_shard_without_an_allocation() {
    for statement in [
        "SELECT name, email FROM users WHERE id = 42",
        "/* app:web */ SELECT o.id, o.total FROM orders o JOIN order_items i ON i.user_id = o.user_id
         AND i.order_id = o.id WHERE o.user_id = -7 AND o.status = 'paid' AND o.note LIKE E'a\\\\%'",
        "UPDATE users SET name = 'somebody', email = NULL WHERE id = 42",
        "INSERT INTO orders (user_id, order_no, total) VALUES (42, 'o-1', 12.50)",
        "DELETE FROM payments WHERE user_id = '42'",
    ] {
        assert_eq!(allocations(statement, &Params::default()), 0, "{statement}");
    }
}

#[test]
fn a_bound_number_is_a_key_without_an_allocation() {
    let statement = "SELECT name, email FROM users WHERE id = $1";
    for (type_oid, value) in [
        (Oid(20), Value::Binary(&[0, 0, 0, 0, 0, 0, 0, 42])),
        (Oid(23), Value::Binary(&[0, 0, 0, 42])),
        (Oid(0), Value::Text(b"42")),
    ] {
        let params = Params { types: &[type_oid], values: &[value] };
        assert_eq!(allocations(statement, &params), 0, "{value:?}");
    }
}
