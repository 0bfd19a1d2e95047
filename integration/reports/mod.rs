//! Reports that the owner of an order system asks for, over the schema of rules/shop on four shards.
//!
//! ```sh
//! WEIR_REPORTS_USERS=20000 cargo test --test integration reports -- --nocapture     # prints the table
//! ```
use crate::beside::{Beside, Rows, queries, shard_of};
use crate::oracle::{Random, setting};
use rand::{RngExt, SeedableRng};
use weir::cli::shop;

/// As many as take some seconds; the environment can say another number.
const USERS: usize = 600;
const BUCKETS: usize = 1024;
const PRODUCTS: usize = 60;
const QUERIES: &str = include_str!("queries.sql");

#[test]
fn twenty_reports_of_an_order_system_are_answered_as_by_one_postgresql() {
    let users = setting("WEIR_REPORTS_USERS", USERS);
    let mut beside = Beside::new(shop::SCHEMA, &rules(), rows(users));
    let all = queries(QUERIES);
    assert_eq!(all.len(), 20);
    for (name, text) in all {
        beside.compare(name, text);
    }
    let empty = beside.empty();
    assert!(empty.is_empty(), "the rows show nothing of {empty:?}");
    println!("{users} users");
    beside.finish();
}

/// The example's rules without what they say of servers.
fn rules() -> String {
    let all = shop::rules(&[], "");
    let from = all.find("[[distribution]]").expect("the example has distributions");
    all[from..].to_owned()
}

fn rows(users: usize) -> Vec<Rows> {
    let random = &mut Random::seed_from_u64(1);
    let mut makers = Maker {
        users: Rows::of("users"),
        orders: Rows::of("orders"),
        items: Rows::of("order_items"),
        payments: Rows::of("payments"),
        id: 0,
    };
    let [mut warehouses, mut products] = ["warehouses", "products"].map(Rows::of);
    for (id, city) in ["Köln", "Graz", "Oslo", "Lyon"].iter().enumerate() {
        warehouses.everywhere(&format!("{}\t{city}", id + 1));
    }
    for id in 1..=PRODUCTS {
        products.everywhere(&format!(
            "{id}\tP-{id:03}\tproduct {id}\t{}\t{}",
            price(id),
            id % 3 + 1
        ));
    }
    for user in 1..=users {
        let name = random.random_range(0..users);
        let row = format!("{user}\tu{user}@example.com\tname {name}\t2024-01-01 00:00:00+00");
        makers.users.add(shard_of(&user.to_string(), BUCKETS), &row);
        // Every tenth has not ordered yet.
        let orders = if user % 10 == 0 { 0 } else { random.random_range(1..9) };
        (0..orders).for_each(|_| makers.order(Some(user), random));
    }
    (0..users / 2).for_each(|_| makers.order(None, random));
    vec![warehouses, products, makers.users, makers.orders, makers.items, makers.payments]
}

fn price(product: usize) -> String {
    format!("{}.{:02}", 1 + product * 7 % 90, product * 13 % 100)
}

struct Maker {
    users: Rows,
    orders: Rows,
    items: Rows,
    payments: Rows,
    id: usize,
}

impl Maker {
    /// An order of a user or a guest, with its lines and mostly with its payment.
    fn order(&mut self, user: Option<usize>, random: &mut Random) {
        const STATES: [&str; 6] = ["new", "paid", "packed", "shipped", "returned", "cancelled"];
        self.id += 1;
        let id = self.id;
        let number = format!("N-{id:07}");
        let shard = shard_of(&user.map_or(number.clone(), |user| user.to_string()), BUCKETS);
        let user = user.map_or("\\N".to_owned(), |user| user.to_string());
        let day = random.random_range(0..400);
        let at = format!(
            "{} {:02}:{:02}:00+00",
            crate::tpch::date(20_089 + day),
            random.random_range(0..24),
            random.random_range(0..60),
        );
        let mut cents = 0;
        for line in 1..=random.random_range(1..5) {
            // Two of the products are nobody's wish.
            let product = random.random_range(1..=PRODUCTS - 2);
            let quantity = random.random_range(1..4);
            let price = price(product);
            cents += quantity * price.replace('.', "").parse::<usize>().unwrap();
            let row = format!(
                "{}\t{user}\t{number}\t{line}\t{product}\t{quantity}\t{price}",
                id * 10 + line
            );
            self.items.add(shard, &row);
        }
        if id.is_multiple_of(97) {
            cents += 1;
        }
        let total = format!("{}.{:02}", cents / 100, cents % 100);
        let state = STATES[random.random_range(0..STATES.len())];
        self.orders.add(shard, &format!("{id}\t{user}\t{number}\t{state}\t{total}\t\\N\t{at}"));
        if random.random_range(0..4) > 0 {
            let method = ["card", "invoice", "cash"][random.random_range(0..3)];
            self.payments.add(shard, &format!("{id}\t{user}\t{number}\t{total}\t{method}\t{at}"));
        }
    }
}
