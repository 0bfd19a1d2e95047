//! Cancel requests at any moment of statements that are gathered: between their steps no server has
//! anything to cancel.
use super::{SETTINGS, SLOW, TWO, World, cancel, check_ok, world};
use crate::oracle::setting;
use crate::raw::Raw;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

/// A statement that is not cancelled goes on for much longer.
const SOON: Duration = Duration::from_secs(10);

/// How a client sends two statements, of which the first is answered at once.
#[derive(Clone, Copy, Debug)]
enum Way {
    Simple,
    Pipeline,
    Block,
}

/// weir is at the second statement.
fn begin(client: &mut Raw, way: Way, text: &str) {
    match way {
        Way::Simple | Way::Block => {
            if matches!(way, Way::Block) {
                check_ok(client, "BEGIN");
            }
            client.ask(&format!("SELECT 1 FROM users WHERE id = 3; {text}"));
        }
        Way::Pipeline => {
            for text in ["SELECT 1 FROM users WHERE id = 3", text] {
                client.parse("", text, &[]).bind("", "", &[]).execute("", 0);
            }
            client.put(b'S', b"").send();
        }
    }
    client.hear_until(b"C");
}

fn check_end(world: &World, client: &mut Raw, way: Way, may_finish: bool, told: &str) {
    let began = Instant::now();
    client.await_ready();
    let (heard, took) = (client.take_transcript(), began.elapsed());
    assert!(heard.contains("C=57014") || may_finish && heard.contains("\nD "), "{told}: {heard}");
    assert!(took < SOON, "{told}: ended after {took:?}");
    if let Way::Block = way {
        client.query("ROLLBACK");
    }
    client.take_transcript();
    // A request that has been answered does not concern what comes next.
    assert_eq!(client.value(TWO), world.two(), "{told}");
    assert_eq!(client.value("SELECT name FROM users WHERE id = 3"), "u3", "{told}");
}

#[test]
fn a_cancel_request_at_any_moment_ends_the_statement_and_no_other() {
    let (seed, rounds) = (setting("WEIR_CANCEL_SEED", 1), setting("WEIR_CANCELS", 45));
    println!("WEIR_CANCEL_SEED={seed}");
    let world = world("", SETTINGS);
    let mut client = world.client();
    client.patient(2 * SOON);
    let mut random = StdRng::seed_from_u64(seed as u64);
    for round in 0..rounds {
        let way = [Way::Simple, Way::Pipeline, Way::Block][round % 3];
        let delay = Duration::from_micros(random.random_range(0..80_000));
        // One never ends by itself, the other does soon.
        let (text, may_finish) = if round % 5 < 3 { (SLOW, false) } else { (TWO, true) };
        begin(&mut client, way, text);
        std::thread::sleep(delay);
        cancel(&world, &client);
        let told = format!("round {round}, {way:?}, after {delay:?}");
        check_end(&world, &mut client, way, may_finish, &told);
    }
    assert!(world.is_clean());
}
