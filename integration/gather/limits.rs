//! Queries that are merged until they take more memory than is allowed: then they are gathered.
use super::{SETTINGS, World, world};
use crate::raw::Raw;

const MERGED: &[&str] = &[
    "SELECT id AS g, count(*), sum(user_id) FROM orders GROUP BY g ORDER BY g",
    "SELECT DISTINCT n, order_id FROM items WHERE n <> 9 ORDER BY n",
    "SELECT DISTINCT id, id % 7 FROM orders ORDER BY id DESC LIMIT 100 OFFSET 3",
    "SELECT n % 140 AS g, min(order_id), bool_and(n > 3) FROM items WHERE n <> $1 GROUP BY 1 ORDER BY 1",
];

fn gathered(world: &World) -> u32 {
    let line = "weir_several_shards_total{database=\"shop\",strategy=\"gather\"}";
    world.metric(line).parse().unwrap()
}

fn run(client: &mut Raw, text: &str, block: bool) {
    if block {
        client.query("BEGIN").query("INSERT INTO items VALUES (900, 7, 1, 9)");
    }
    match text.contains('$') {
        false => drop(client.query(text)),
        true => {
            client.parse("", text, &[]).bind("", "", &[Some("5")]);
            client.describe(b'P', "").execute("", 0).sync();
        }
    }
    // In portions, with another statement between.
    let value = text.contains('$').then_some(Some("9"));
    client.parse("s", text, &[]).bind("p", "s", value.as_slice()).execute("p", 2);
    client.parse("", "SELECT count(*) FROM users", &[]).bind("", "", &[]).execute("", 0);
    client.execute("p", 3).execute("p", 0).close(b'P', "p").close(b'S', "s").sync();
    if block {
        client.query("SELECT sum(n) FROM items").query("ROLLBACK");
    }
}

#[test]
fn what_a_merge_cannot_hold_is_gathered() {
    let settings = format!("{SETTINGS}[limits]\nmerge_size = '8kB'\n");
    let world = world("", &settings);
    let (mut weir, mut plain) = (world.client(), world.plain());
    for text in MERGED {
        for block in [false, true] {
            let before = gathered(&world);
            let [ours, theirs] = [&mut weir, &mut plain].map(|client| {
                client.take_transcript();
                run(client, text, block);
                client.take_transcript()
            });
            assert_eq!(ours, theirs, "{text}");
            assert_eq!(gathered(&world), before + 2, "{text} was merged first, then gathered");
        }
    }
    // What fits is merged, and where rows come sorted by all that they show nothing is held.
    let before = gathered(&world);
    for text in [
        "SELECT DISTINCT n, order_id FROM items ORDER BY n, order_id",
        "SELECT DISTINCT id FROM orders ORDER BY id DESC OFFSET 3",
    ] {
        super::same(&world, &[text]);
    }
    assert_eq!(gathered(&world), before);
    assert_eq!(weir.value("SELECT count(*) FROM (SELECT DISTINCT mood FROM users) m"), "4");
    weir.query("SELECT DISTINCT n % 3 FROM items");
    assert!(gathered(&world) <= before + 1);
    assert!(world.is_clean());
}
