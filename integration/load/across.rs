//! What a transaction costs that writes on one shard, on two and on four.
use super::client::query;
use super::{Crowd, Figures, Stage, Step, asked_for, figures_are_wanted};
use crate::cluster::{Cluster, DATABASE};
use crate::faults::proxy::{Proxy, Weather};
use std::time::Duration;

const SHARDS: usize = 4;
const CLIENTS: usize = 8;
/// Not many: the machine may be busy with something else.
const TURNS: usize = 5;
const ROUNDS: usize = 3;
/// Nobody shares a row with another.
const ROWS: usize = 4 * SHARDS;
/// Half of the time to a shard and back, where round trips are counted.
const AWAY: Duration = Duration::from_millis(20);

/// What a client does again and again, by its number.
type Script = fn(usize) -> Vec<Step>;

const WORKLOADS: [(&str, Script); 6] = [
    ("two rows of one shard", |client| block(client, &[0, SHARDS])),
    ("two rows of two shards", |client| block(client, &[0, 1])),
    ("four rows of one shard", |client| block(client, &[0, SHARDS, 2 * SHARDS, 3 * SHARDS])),
    ("four rows of four shards", |client| block(client, &[0, 1, 2, 3])),
    ("one UPDATE of one shard", |client| update(client, &[0, SHARDS])),
    ("one UPDATE of two shards", |client| update(client, &[0, 1])),
];

#[test]
fn transactions_over_several_shards_cost_a_few_round_trips_more() {
    let cluster = Cluster::start(SHARDS);
    let ports: Vec<u16> = cluster.shards().iter().map(|shard| shard.port()).collect();
    let stage = stage(cluster, &ports);
    let rounds = if figures_are_wanted() { ROUNDS } else { 1 };
    for _ in 0..rounds {
        for (name, script) in WORKLOADS {
            println!("{name:>25}: {}", run(&stage, CLIENTS, script));
        }
    }
    // Each turn adds one to each of its rows; the third and the fourth are written only by transactions
    // over four shards.
    let sums: Vec<Vec<i64>> = stage.cluster.shards().iter().map(sums).collect();
    let sum = |row: usize| sums[row % SHARDS][row / SHARDS];
    assert!(sum(2) == sum(3) && sum(2) > 0, "rows that are only written together: {sums:?}");
    assert!(sum(1) > sum(2), "{sums:?}");
    assert_eq!(prepared(&stage), 0, "transactions that nobody ends");
    drop(stage);
    if asked_for().is_some() {
        count_round_trips();
    }
}

/// How many times as long as the way to a shard and back one client's turn takes.
fn count_round_trips() {
    let cluster = Cluster::start(SHARDS);
    let lines: Vec<Proxy> = cluster.shards().iter().map(|shard| Proxy::new(shard.port())).collect();
    let ports: Vec<u16> = lines.iter().map(Proxy::port).collect();
    let stage = stage(cluster, &ports);
    for (name, script) in WORKLOADS {
        // Connections are made and statements planned before.
        run(&stage, 1, script);
        lines.iter().for_each(|line| line.turn(Weather::Slow(AWAY)));
        let took = run(&stage, 1, script).percentile(50).as_secs_f64();
        lines.iter().for_each(|line| line.turn(Weather::Fair));
        println!("{name:>25}: {:.1} round trips", took / (2.0 * AWAY.as_secs_f64()));
    }
}

fn run(stage: &Stage, clients: usize, script: Script) -> Figures {
    let greeted = stage.clients(clients, &query("SELECT 1"));
    let mut crowd = Crowd::new(greeted, script).at_least(TURNS);
    let (mut figures, _) = stage.run(&mut [&mut crowd], "SELECT 0");
    let figures = figures.remove(0);
    figures.assert_no_error();
    figures
}

/// Row `n` is on shard `n` modulo four; weir finds the shards at these ports.
fn stage(cluster: Cluster, ports: &[u16]) -> Stage {
    for (number, shard) in cluster.shards().iter().enumerate() {
        let rows = format!(
            "CREATE TABLE accounts (id bigint PRIMARY KEY, amount bigint) WITH (fillfactor = 50); \
             INSERT INTO accounts SELECT n, 0 FROM generate_series({number}, {}, {SHARDS}) n; \
             VACUUM ANALYZE",
            CLIENTS * ROWS - 1
        );
        shard.sql(DATABASE, &rows).unwrap();
    }
    let shards = ports.iter().enumerate().map(|(number, port)| {
        format!(
            "[[shard]]\nname = 's{number}'\n\
             primary = 'host=127.0.0.1 port={port} dbname={DATABASE}'\n"
        )
    });
    let rules = format!(
        "database = '{DATABASE}'\n{}\
         [[distribution]]\nname = 'by_account'\nfunction = 'modulo'\nkey_type = 'bigint'\nbuckets = 4\n\
         [[table]]\nname = 'accounts'\ndistribution = 'by_account'\nkey = 'id'\n",
        shards.collect::<String>()
    );
    Stage::over(cluster, &rules, "[pool]\nsize = 20\n")
}

/// What was added on a shard, by the row's place among a client's.
fn sums(shard: &weir::cli::throwaway::Postgres) -> Vec<i64> {
    let text = format!(
        "SELECT sum(amount) FROM accounts GROUP BY id % {ROWS} / {SHARDS} ORDER BY id % {ROWS} / {SHARDS}"
    );
    let said = shard.sql(DATABASE, &text).unwrap();
    said.lines().map(|line| line.parse().unwrap()).collect()
}

fn prepared(stage: &Stage) -> usize {
    let count = |shard: &weir::cli::throwaway::Postgres| {
        let said = shard.sql(DATABASE, "SELECT count(*) FROM pg_prepared_xacts").unwrap();
        said.parse::<usize>().unwrap()
    };
    stage.cluster.shards().iter().map(count).sum()
}

/// BEGIN, an UPDATE for each row, COMMIT.
fn block(client: usize, rows: &[usize]) -> Vec<Step> {
    let row = |row: &usize| {
        let id = client * ROWS + row;
        format!("UPDATE accounts SET amount = amount + 1 WHERE id = {id}")
    };
    let statements = rows.iter().map(row);
    let all = std::iter::once("BEGIN".to_owned()).chain(statements);
    all.chain(["COMMIT".to_owned()]).map(|sql| Step::Ask(query(&sql))).collect()
}

fn update(client: usize, rows: &[usize]) -> Vec<Step> {
    let ids: Vec<String> = rows.iter().map(|row| (client * ROWS + row).to_string()).collect();
    let sql = format!("UPDATE accounts SET amount = amount + 1 WHERE id IN ({})", ids.join(", "));
    vec![Step::Ask(query(&sql))]
}
