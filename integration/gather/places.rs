//! EXPLAIN takes its place among the statements that gather as the statement itself does.
use super::{TWO, UNFIT, world};

const TIMED: &str = "SELECT count(DISTINCT id) FROM orders WHERE at < now()";

#[test]
fn explain_does_not_wait_for_its_place_with_connections_that_others_need() {
    let settings = "[auth]\nmethod = 'trust'\n[control]\ncatalog_interval = '300ms'\n\
                    [pool]\nsize = 1\n[tier.batch]\nsize = 1\ncheckout = '20s'\n\
                    [timeouts]\ncheckout = '20s'\n";
    let world = world("max_concurrent = 1\n", settings);
    let two = world.two();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (world, two) = (&world, &two);
            scope.spawn(move || {
                let mut client = world.client();
                for _ in 0..6 {
                    client.take_transcript();
                    match number {
                        0 => drop(client.query(&format!("EXPLAIN ANALYZE {UNFIT}"))),
                        1 => drop(
                            client
                                .query("BEGIN")
                                .query(&format!("EXPLAIN {UNFIT}"))
                                .query("ROLLBACK"),
                        ),
                        2 => drop(client.query(&format!("EXPLAIN {TIMED}"))),
                        _ => {
                            assert_eq!(&client.value(TWO), two);
                            continue;
                        }
                    }
                    let heard = client.take_transcript();
                    assert!(heard.contains("D Weir Gather"), "{heard}");
                    assert!(heard.contains("->  Finish"), "{heard}");
                }
            });
        }
    });
    assert!(world.is_clean());
}
