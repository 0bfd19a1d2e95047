//! A connection is taken from its pool and given back. The server is a thread that lets everybody in.
use bytes::BytesMut;
use divan::Bencher;
use futures_util::FutureExt;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use weir::auth::{Login, Secret};
use weir::backend::{Address, ConnectOptions};
use weir::ids::{ShardId, TierId};
use weir::pool::{
    Ask, Begins, Budget, Cluster, Fleet, FleetConfig, Lease, Place, PoolConfig, Shard,
};
use weir::pool::{TierConfig, Wanted};
use weir::wire::encode;
use weir::wire::server::TransactionStatus;

/// A server with nothing behind it; its port.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            thread::spawn(|| welcome(client.unwrap()));
        }
    });
    port
}

/// Logs in whoever comes, and waits until it has gone.
fn welcome(mut client: TcpStream) {
    let mut length = [0; 4];
    client.read_exact(&mut length).unwrap();
    client.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4]).unwrap();
    let mut answer = BytesMut::new();
    encode::authentication_ok(&mut answer);
    encode::parameter_status("server_version", b"15.0", &mut answer);
    encode::backend_key_data(1, &[0; 4], &mut answer);
    encode::ready(TransactionStatus::Idle, &mut answer);
    client.write_all(&answer).unwrap();
    // It ends with the program at the latest.
    client.read_to_end(&mut Vec::new()).ok();
}

fn pools(size: u32) -> Cluster {
    let address = format!("host=127.0.0.1 port={} dbname=shop sslmode=disable", server());
    let login = Arc::new(Login::new("app", Secret::None));
    let options = ConnectOptions::default();
    let place =
        Place { address: Arc::new(Address::parse(&address).unwrap()), options, control: login };
    let shard = Shard { name: "s0".into(), servers: vec![place] };
    let fleet = Arc::new(Fleet::new(FleetConfig::default(), &[shard], None));
    let tiers = vec![TierConfig { size, ..TierConfig::default() }];
    let config = PoolConfig { tiers, ..PoolConfig::default() };
    Cluster::new(config, fleet, None, Budget::default())
}

async fn lease(pools: &Cluster, login: &Arc<Login>) -> Lease {
    let (wanted, begins, tier) = (Wanted::Primary, Begins::Now, TierId::INTERACTIVE);
    let ask = Ask { shard: ShardId(0), wanted, tier, begins, database: None, login };
    pools.lease(ask).await.unwrap()
}

/// One is free, as nearly always.
#[divan::bench(sample_size = 1000)]
fn take_and_give_back(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (pools, login) = (pools(20), Arc::new(Login::new("app", Secret::None)));
    drop(runtime.block_on(lease(&pools, &login)));
    let _inside = runtime.enter();
    bencher.bench_local(|| lease(&pools, &login).now_or_never().is_some());
}
