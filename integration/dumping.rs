//! pg_dump through weir.
use crate::cluster::Cluster;
use crate::raw::Raw;
use crate::schema::{SETTINGS, rules};
use crate::weir::Weir;
use std::process::Command;

const TABLES: &str = "\
    CREATE TABLE orders (user_id bigint NOT NULL, no text); \
    CREATE TABLE products (id int PRIMARY KEY, name text)";

#[test]
fn pg_dump_dumps_one_shard_or_is_told_how() {
    let cluster = Cluster::start(2);
    cluster.on_every_shard(TABLES);
    let weir = Weir::with_rules(&cluster, &rules(&cluster), SETTINGS);
    let mut client = Raw::connect(weir.port(), &[("user", "postgres"), ("database", "shop")]);
    client.query("INSERT INTO orders VALUES (1, 'one'), (2, 'two')");
    client.query("INSERT INTO products VALUES (7, 'seven')");
    let dump = |options: &str, arguments: &[&str]| {
        let mut command = Command::new(weir::cli::throwaway::client_program("pg_dump"));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &weir.port().to_string()]);
        let output =
            command.args(arguments).arg("shop").env("PGOPTIONS", options).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (done, said, wrong) = dump("", &[]);
    assert!(!done && said.is_empty(), "{said}");
    assert!(wrong.contains("PGOPTIONS='-c weir.shard=NAME' pg_dump"), "{wrong}");
    let (done, said, wrong) = dump("-c weir.shard=s1", &["--exclude-schema=weir"]);
    assert!(done, "{wrong}");
    for there in
        ["CREATE TABLE public.orders", "1\tone\n", "7\tseven", "ADD CONSTRAINT products_pkey"]
    {
        assert!(said.contains(there), "{there}: {said}");
    }
    assert!(!said.contains("two"), "{said}");
    let (done, said, wrong) = dump("-c weir.shard=s0", &["--schema-only", "--exclude-schema=weir"]);
    assert!(done && said.contains("CREATE TABLE public.orders"), "{wrong}");
    // Nothing of it stays with the connections that others use.
    let setting = "SELECT current_setting('search_path'), current_setting('row_security')";
    for _ in 0..4 {
        for user in 1..3 {
            let text = format!("{setting} FROM orders WHERE user_id = {user}");
            let heard = client.query(&text).take_transcript();
            assert!(heard.contains("D \"$user\", public|on"), "{heard}");
        }
    }
}
