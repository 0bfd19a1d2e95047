//! The catalog that the planner works with: read from a server, and from the same CREATE statements.
use crate::cluster::{Cluster, DATABASE};
use weir::backend::catalog::load;
use weir::cli::servers::Servers;
use weir::cli::shop;
use weir::plan::Catalog;

#[tokio::test]
async fn a_server_says_of_the_example_what_its_schema_file_says() {
    let cluster = Cluster::start(1);
    cluster.on_every_shard(shop::SCHEMA);
    let dsn = format!("host=127.0.0.1 port={} dbname={DATABASE}", cluster.shard(0).port());
    let text = shop::rules(&[dsn], "host=127.0.0.1 port=1 dbname=gather");
    let rules = weir::rules::parse(&text, "rules.toml").expect("the example is in order");
    let clients = Servers::new("postgres").connect(&rules).await.expect("the server answers");
    let client = clients.first().expect("there is one shard");
    let loaded = load(client).await.expect("the catalogs can be read").catalog();
    let written = Catalog::from_ddl(shop::SCHEMA).expect("the schema file can be read");
    assert_eq!(facts(&loaded), facts(&written));
    let again = load(client).await.expect("the catalogs can be read twice").catalog();
    assert_eq!(loaded.version, again.version);
}

/// Relations and columns in words; serial columns' own sequences included.
fn facts(catalog: &Catalog) -> Vec<String> {
    let mut facts: Vec<String> = catalog
        .relations()
        .map(|relation| {
            let columns: Vec<String> = relation
                .columns
                .iter()
                .map(|column| format!("{} {:?} {:?}", column.name, column.fill, column.sequence))
                .collect();
            let (name, kind, owner) = (&relation.name, relation.kind, &relation.owner);
            format!("{}.{name} {kind:?} {owner:?} ({})", relation.schema, columns.join(", "))
        })
        .collect();
    facts.sort();
    facts
}
