//! A text becomes a shape, the shape a plan, and the plan with its values a shard.
//!
//! What a statement costs that comes again and again: so many turns are measured together, or the first,
//! which finds everything cold, would decide how many.
use super::Shop;
use divan::Bencher;
use weir::ids::Oid;
use weir::plan::Planner;
use weir::sql::shape::{Shape, shape_into};
use weir::wire::params::{Params, Value};

/// What applications send, by name.
const STATEMENTS: [Statement; 4] = [
    Statement("select", "SELECT name, email FROM users WHERE id = 4711"),
    Statement("select $1", "SELECT name, email FROM users WHERE id = $1"),
    Statement(
        "join",
        "SELECT o.id, o.order_no, i.product_id, i.quantity FROM orders o JOIN order_items i \
         ON i.user_id = o.user_id AND i.order_id = o.id WHERE o.user_id = 4711 AND o.status = 'paid' \
         ORDER BY o.id, i.product_id LIMIT 20",
    ),
    Statement(
        "insert",
        "INSERT INTO orders (user_id, order_no, status, total) VALUES (4711, 'w-4711', 'new', 99.90)",
    ),
];

struct Statement(&'static str, &'static str);

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// One bigint, as drivers send it.
const BOUND: Params<'static> =
    Params { types: &[Oid(20)], values: &[Value::Binary(&[0, 0, 0, 0, 0, 0, 0x12, 0x67])] };

/// The literals are lifted out.
#[divan::bench(args = &STATEMENTS, sample_size = 1000)]
fn shape(bencher: Bencher<'_, '_>, Statement(_, text): &Statement) {
    let mut shape = Shape::default();
    bencher.bench_local(|| shape_into(divan::black_box(text), true, &mut shape));
}

/// The same, and the plan is found in the cache.
#[divan::bench(args = &STATEMENTS, sample_size = 1000)]
fn plan_known(bencher: Bencher<'_, '_>, Statement(_, text): &Statement) {
    let shop = Shop::new();
    let (mut planner, context) = (Planner::new(100), shop.context());
    bencher.bench_local(|| {
        let planned = planner.plan(divan::black_box(text), &context).unwrap();
        planner.give_back(planned);
    });
}

/// The plan is made: the text is parsed, its names are looked up, the proof is found.
#[divan::bench(args = &STATEMENTS)]
fn plan_new(bencher: Bencher<'_, '_>, Statement(_, text): &Statement) {
    let shop = Shop::new();
    let context = shop.context();
    bencher
        .with_inputs(|| Planner::new(1))
        .bench_refs(|planner| planner.plan(divan::black_box(text), &context).unwrap());
}

/// Which shard it is for these values.
#[divan::bench(args = &STATEMENTS, sample_size = 1000)]
fn route(bencher: Bencher<'_, '_>, Statement(_, text): &Statement) {
    let shop = Shop::new();
    let planned = shop.plan(text);
    bencher.bench_local(|| planned.route(text, divan::black_box(&BOUND), &shop.rules).unwrap());
}

/// All of it, for a statement whose plan is known.
#[divan::bench(args = &STATEMENTS, sample_size = 1000)]
fn from_text_to_shard(bencher: Bencher<'_, '_>, Statement(_, text): &Statement) {
    let shop = Shop::new();
    let (mut planner, context) = (Planner::new(100), shop.context());
    bencher.bench_local(|| {
        let planned = planner.plan(divan::black_box(text), &context).unwrap();
        let route = planned.route(text, &BOUND, &shop.rules).unwrap();
        planner.give_back(planned);
        route
    });
}
