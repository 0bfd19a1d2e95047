//! Money moves between shards through two weirs, while weirs and shards are killed at random. Its sum never
//! changes for who sees all shards at one moment; what was acknowledged is there, what was refused is not.
//!
//! `WEIR_KILLS` sets how many, `WEIR_KILLS_SEED` which.
use super::*;
use crate::weir::wait_for;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{env, thread};

const SHARDS: usize = 4;
const TOTAL: &str = "1600";

/// What the client knows of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Acknowledged,
    Refused,
    Unknown,
}

/// Connects if somebody is there.
fn connect(port: u16) -> Option<Raw> {
    let mut raw = Raw::try_dial(port)?;
    raw.send_startup(3 << 16, &[("user", "postgres"), ("database", DATABASE)]);
    raw.await_ready();
    (raw.pid != 0).then_some(raw)
}

/// One transfer; whether the connection is of use after it.
fn transfer(client: &mut Raw, id: i64, from: usize, to: usize) -> (Fate, bool) {
    client.take_transcript();
    let entry = |user: usize| format!("INSERT INTO entries VALUES ({id}, {user})");
    for text in ["BEGIN", &take(from, 1), &entry(from), &take(to, -1), &entry(to)] {
        let said = client.query(text).take_transcript();
        if !said.lines().last().is_some_and(|line| line.starts_with("Z T")) {
            let open = said.lines().last().is_some_and(|line| line.starts_with("Z"));
            let undone = open && client.query("ROLLBACK").take_transcript().contains("Z I");
            return (Fate::Refused, undone);
        }
    }
    let said = client.query("COMMIT").take_transcript();
    let open = said.lines().last().is_some_and(|line| line.starts_with("Z I"));
    if said.contains("C COMMIT") {
        return (Fate::Acknowledged, open);
    }
    match said.contains(" C=") && !said.contains("C=08007") && open {
        true => (Fate::Refused, open),
        false => (Fate::Unknown, open),
    }
}

#[test]
fn no_money_is_lost_or_made_whoever_is_killed() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("WEIR_KILLS").unwrap_or(8);
    let seed = number("WEIR_KILLS_SEED").unwrap_or_else(rand::random);
    eprintln!("WEIR_KILLS={kills} WEIR_KILLS_SEED={seed}");
    let settings = "[recovery]\ninterval = '200ms'\ngrace = '1s'\n[timeouts]\nresolution = '3s'\n\
                    checkout = '3s'\nprimary = '3s'\n";
    let mut bank = Bank::new(SHARDS, 2, settings);
    let ports: Vec<u16> = bank.weirs.iter().map(|weir| weir.port()).collect();
    let (stop, next, sums) = (AtomicBool::new(false), AtomicI64::new(0), AtomicUsize::new(0));
    let fates: Vec<(i64, Fate)> = thread::scope(|scope| {
        let (stop, next, sums, ports) = (&stop, &next, &sums, &ports);
        let writers: Vec<_> = (0..4)
            .map(|writer: usize| {
                scope.spawn(move || {
                    let mut fates = Vec::new();
                    let mut client = None;
                    while !stop.load(SeqCst) {
                        let Some(mut line) =
                            client.take().or_else(|| connect(ports[writer % ports.len()]))
                        else {
                            thread::sleep(Duration::from_millis(20));
                            continue;
                        };
                        let random = rand::random::<u64>() as usize;
                        let from = random % USERS;
                        let to = (from + 1 + random / 97 % (SHARDS - 1)) % USERS;
                        let id = next.fetch_add(1, SeqCst);
                        let (fate, open) = transfer(&mut line, id, from, to);
                        fates.push((id, fate));
                        client = open.then_some(line);
                    }
                    fates
                })
            })
            .collect();
        let reader = scope.spawn(move || {
            let (mut wrong, mut client) = (Vec::new(), None);
            while !stop.load(SeqCst) {
                let Some(mut line) = client.take().or_else(|| connect(ports[1])) else {
                    thread::sleep(Duration::from_millis(20));
                    continue;
                };
                line.query("SET weir.consistency = 'snapshot'").take_transcript();
                let value = line.value("SELECT sum(balance) FROM accounts");
                match value.as_str() {
                    TOTAL => {
                        sums.fetch_add(1, SeqCst);
                    }
                    // A SQLSTATE has five characters.
                    sum if sum.len() == 4 => wrong.push(value),
                    _ => {}
                }
                let open = line.query("SELECT 1").take_transcript().contains("Z I");
                client = open.then_some(line);
                thread::sleep(Duration::from_millis(10));
            }
            wrong
        });
        let mut random = StdRng::seed_from_u64(seed);
        let began = Instant::now();
        for kill in 0..kills {
            thread::sleep(Duration::from_millis(random.random_range(50..600)));
            match random.random_range(0..10) {
                0..6 => {
                    let weir = &mut bank.weirs[random.random_range(0..2)];
                    weir.kill();
                    weir.restart();
                }
                _ => {
                    let shard = random.random_range(0..SHARDS);
                    bank.cluster.kill(shard);
                    thread::sleep(Duration::from_millis(random.random_range(0..100)));
                    bank.cluster.restart(shard);
                }
            }
            if kill % 50 == 49 {
                eprintln!("{} kills, {:?}", kill + 1, began.elapsed());
            }
        }
        thread::sleep(Duration::from_millis(500));
        stop.store(true, SeqCst);
        let fates = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        assert_eq!(
            reader.join().unwrap(),
            Vec::<String>::new(),
            "sums of what was seen at one moment"
        );
        fates
    });
    wait_for("the end of all doubt", || bank.left() == (0, 0));
    let mut rows: HashMap<i64, usize> = HashMap::new();
    for shard in bank.cluster.shards() {
        for line in shard.sql(DATABASE, "SELECT id FROM entries").unwrap().lines() {
            *rows.entry(line.parse().unwrap()).or_default() += 1;
        }
    }
    let count = |wanted: Fate| fates.iter().filter(|(_, fate)| *fate == wanted).count();
    eprintln!(
        "{kills} kills, {} transfers: {} acknowledged, {} refused, {} unknown; {} sums",
        fates.len(),
        count(Fate::Acknowledged),
        count(Fate::Refused),
        count(Fate::Unknown),
        sums.load(SeqCst),
    );
    for (id, fate) in &fates {
        let rows = rows.remove(id).unwrap_or_default();
        let right = match fate {
            Fate::Acknowledged => rows == 2,
            Fate::Refused => rows == 0,
            Fate::Unknown => rows == 0 || rows == 2,
        };
        assert!(right, "transfer {id} was {fate:?} and has {rows} entries; seed {seed}");
    }
    assert!(rows.is_empty(), "nobody made these: {rows:?}");
    let total: i64 = bank.balances(&(0..USERS).collect::<Vec<_>>()).iter().sum();
    assert_eq!(total.to_string(), TOTAL);
    assert!(count(Fate::Acknowledged) > 0 && sums.load(SeqCst) > 0, "the test sees something");
}
