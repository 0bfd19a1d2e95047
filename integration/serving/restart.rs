//! Another weir takes over while clients work: nobody is refused, nothing is lost.
use super::TRUST;
use crate::cluster::{Cluster, DATABASE};
use crate::weir::{Home, Weir, wait_for};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

const SETTINGS: &str =
    "workers = 2\n[auth]\nmethod = 'trust'\n[timeouts]\nhandover = '20s'\n[pool]\nsize = 8\n";

fn home(cluster: &Cluster) -> Home {
    let address = cluster.shard(0).dsn(DATABASE).replace(" user=postgres", "");
    let rules = format!("database = 'shop'\n[[shard]]\nname = 'only'\nprimary = '{address}'\n");
    let home = Home::new(cluster, &rules, SETTINGS);
    let folder = home.folder().display().to_string();
    let (port, text) = (home.port(), home.read("weir.toml"));
    let more =
        format!("[listen]\nhandover = '{folder}/handover'\nunix = ['{folder}/.s.PGSQL.{port}']\n");
    home.write("weir.toml", &text.replace("[listen]\n", &more));
    home
}

/// What clients have done, all together.
#[derive(Default)]
struct Done {
    connects: AtomicU64,
    commits: AtomicU64,
    enough: AtomicBool,
}

/// Connects, writes, leaves, again and again; nothing of it may fail.
async fn come_and_go(place: String, done: Arc<Done>) {
    while !done.enough.load(Relaxed) {
        let connected = tokio_postgres::connect(&place, NoTls).await;
        let (client, connection) = connected.unwrap_or_else(|error| panic!("{place}: {error:?}"));
        let driver = tokio::spawn(connection);
        done.connects.fetch_add(1, Relaxed);
        let add = "BEGIN; INSERT INTO done VALUES (1); INSERT INTO done VALUES (1); COMMIT";
        client.batch_execute(add).await.unwrap_or_else(|error| panic!("{place}: {error:?}"));
        done.commits.fetch_add(2, Relaxed);
        drop(client);
        drop(driver.await);
    }
}

/// Stays connected over the restart, with a transaction open while it happens.
async fn stay(place: String, done: Arc<Done>) {
    let (client, connection) = tokio_postgres::connect(&place, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    while !done.enough.load(Relaxed) {
        client.batch_execute("BEGIN; INSERT INTO done VALUES (1)").await.expect("a block begins");
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.batch_execute("COMMIT").await.expect("it commits");
        done.commits.fetch_add(1, Relaxed);
    }
    drop(client);
    drop(driver.await);
}

#[test]
fn no_client_notices_that_another_weir_takes_over() {
    let cluster = Cluster::start(1);
    cluster.on_every_shard("CREATE TABLE done (n int)");
    let mut weir = home(&cluster).serve();
    let tcp = format!("host=127.0.0.1 port={} user=postgres dbname=shop", weir.port());
    let folder = weir.home().folder().display();
    let unix = format!("host={folder} port={} user=postgres dbname=shop", weir.port());
    let done = Arc::new(Done::default());
    let clients = {
        let done = done.clone();
        std::thread::spawn(move || work(&tcp, &unix, &done))
    };
    let working = || {
        let before = done.connects.load(Relaxed);
        wait_for("clients that work", || {
            assert!(!clients.is_finished(), "a client has met an error");
            done.connects.load(Relaxed) > before + 100
        });
    };
    working();
    let mut retired = Vec::new();
    // Twice: who has taken over can be followed, too.
    for _ in 0..2 {
        let next = weir.successor();
        working();
        retired.push(std::mem::replace(&mut weir, next));
    }
    done.enough.store(true, Relaxed);
    clients.join().expect("no client has met an error");
    // Nobody is there any more whom they could wait for.
    for mut before in retired {
        assert_eq!(before.ended(), Some(0));
    }
    let count = cluster.shard(0).sql(DATABASE, "SELECT count(*) FROM done").unwrap();
    assert_eq!(count, done.commits.load(Relaxed).to_string());
    assert_eq!(weir.psql("user=postgres dbname=shop", "SELECT 1").as_deref(), Ok("1"));
}

/// All clients, until it is enough; a panic is the first error that one meets.
fn work(tcp: &str, unix: &str, done: &Arc<Done>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for place in [tcp, tcp, tcp, unix] {
            clients.spawn(come_and_go(place.to_owned(), done.clone()));
        }
        for place in [tcp, unix] {
            clients.spawn(stay(place.to_owned(), done.clone()));
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("no client meets an error");
        }
    });
}

#[test]
fn a_weir_that_cannot_serve_takes_nothing_over() {
    let cluster = Cluster::start(1);
    let weir = home(&cluster).serve();
    let file = weir.home().read("weir.toml");
    weir.home().write("weir.toml", &format!("{file}[nonsense]\n"));
    let refused = weir.home().run(&["serve", "--takeover"]);
    assert!(!refused.status.success());
    weir.home().write("weir.toml", &file);
    assert_eq!(weir.psql("user=postgres dbname=shop", "SELECT 1").as_deref(), Ok("1"));
    // The one that is asked by SIGUSR2 starts another itself.
    weir.signal("USR2");
    wait_for("the other's word", || weir.log().contains("another weir has taken over"));
    assert_eq!(weir.psql("user=postgres dbname=shop", "SELECT 1").as_deref(), Ok("1"));
    let alone = Weir::plain(&cluster, DATABASE, TRUST);
    let text = alone.home().run(&["serve", "--takeover"]);
    assert!(crate::weir::said(&text).contains("set listen.handover"), "{text:?}");
}

#[test]
fn systemd_hears_of_start_reload_and_end() {
    let cluster = Cluster::start(1);
    let folder = cluster.folder().join("notify");
    let heard = UnixDatagram::bind(&folder).unwrap();
    heard.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let next = || {
        let mut text = [0; 256];
        let length = heard.recv(&mut text).expect("weir says something");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let mut weir = home(&cluster).serve_with(&[("NOTIFY_SOCKET", &folder.display().to_string())]);
    assert_eq!(next(), format!("READY=1\nMAINPID={}\n", weir.id()));
    weir.signal("HUP");
    assert!(next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(next().starts_with("READY=1\n"));
    weir.signal("TERM");
    assert_eq!(next(), "STOPPING=1\n");
    assert_eq!(weir.ended(), Some(0));
}
