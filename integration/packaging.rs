//! What weir is shipped in: the files of docker/ against the program that they are for.
use crate::cluster::{Cluster, DATABASE};
use crate::weir::{Home, said};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use weir::server::config::Config;
use yaml_rust2::{Yaml, YamlLoader};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn shipped(file: &str) -> String {
    fs::read_to_string(root().join("docker").join(file)).unwrap()
}

fn documents(file: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&shipped(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn text(yaml: &Yaml) -> &str {
    yaml.as_str().unwrap_or_else(|| panic!("{yaml:?} is no text"))
}

/// With the drain that a file's settings say, weir ends within what its keeper waits.
fn drain_ends_within(weir_toml: &str, seconds: i64) {
    let drain = Config::parse(weir_toml, "weir.toml").unwrap().timeouts.drain;
    assert!(drain.as_secs() < seconds.unsigned_abs(), "{drain:?} of {seconds} s");
}

#[test]
fn the_shards_of_the_compose_file_are_served() {
    let cluster = Cluster::start(4);
    let folder = root().join("rules/shop");
    let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    cluster.on_every_shard(&(file("schema.sql") + &file("reference.sql")));
    let included = folder.join("schema.sql").display().to_string();
    let gather = shipped("compose/gather.sql");
    let gather = gather.replace("/docker-entrypoint-initdb.d/1-schema.sql", &included);
    cluster.shard(0).sql("postgres", &gather).unwrap();
    let mut rules = shipped("compose/rules.toml");
    for (number, shard) in cluster.shards().iter().enumerate() {
        let here = format!("host=127.0.0.1 port={} ", shard.port());
        rules = rules.replace(&format!("host=s{number} "), &here);
    }
    let home = Home::new(&cluster, &rules, "");
    let setup = home.run(&["setup", "--rules", "rules.toml"]);
    assert!(setup.status.success(), "{}", said(&setup));
    let theirs = shipped("compose/weir.toml");
    let ours = home.read("weir.toml");
    let listen = |text: &str| {
        let rest = text.split("[listen]").nth(1).unwrap();
        rest.split("\n[").next().unwrap().to_owned()
    };
    home.write(
        "weir.toml",
        &theirs.replace(&listen(&theirs), &format!("{}\n", listen(&ours).trim_end())),
    );
    let weir = home.serve_with(&[("WEIR_CONTROL_PASSWORD", "weir")]);
    let place = "user=postgres password=weir dbname=shop";
    assert_eq!(weir.psql(place, "SELECT count(*) FROM orders").as_deref(), Ok("0"));
    assert!(weir.log().contains("the gather database is ready"), "{}", weir.log());
    let ping = |more: &[&str]| {
        let admin = format!("127.0.0.1:{}", weir.home().admin_port());
        let mut arguments = vec!["ping", "--admin", &admin];
        arguments.extend(more);
        weir.home().run(&arguments)
    };
    assert!(ping(&[]).status.success() && ping(&["--alive"]).status.success());
    let nobody = weir.home().run(&["ping", "--admin", "127.0.0.1:1"]);
    assert!(!nobody.status.success() && said(&nobody).contains("no answer from 127.0.0.1:1"));
}

#[test]
fn the_compose_file_agrees_with_what_it_mounts_and_starts() {
    let document = documents("compose.yaml").remove(0);
    let services = document["services"].as_hash().unwrap();
    let names: BTreeSet<&str> = services.keys().map(text).collect();
    for (name, service) in services {
        let name = text(name);
        // Merge keys are the reader's to follow.
        let base = &service["<<"];
        let of = |key: &str| match &service[key] {
            Yaml::BadValue => &base[key],
            own => own,
        };
        for mount in of("volumes").as_vec().into_iter().flatten() {
            let source = text(mount).split(':').next().unwrap();
            let there = root().join("docker").join(source).exists();
            assert!(there, "{name} mounts {source}, which is not there");
        }
        for needed in of("depends_on").as_hash().into_iter().flatten() {
            assert!(names.contains(text(needed.0)), "{name} needs {needed:?}");
        }
    }
    let weir = &document["services"]["weir"];
    let config = Config::parse(&shipped("compose/weir.toml"), "weir.toml").unwrap();
    let port = config.listen.clients[0].port();
    let published: Vec<&str> = weir["ports"].as_vec().unwrap().iter().map(text).collect();
    assert!(published.contains(&format!("127.0.0.1:{port}:{port}").as_str()), "{published:?}");
    assert_eq!(config.listen.admin, Config::default().listen.admin, "what `weir ping` asks");
    let grace = text(&weir["stop_grace_period"]).trim_end_matches('s').parse().unwrap();
    drain_ends_within(&shipped("compose/weir.toml"), grace);
}

#[test]
fn the_sidecars_files_are_in_order_and_its_end_is_waited_for() {
    let documents = documents("kubernetes/sidecar.yaml");
    let kinds: Vec<&str> = documents.iter().map(|document| text(&document["kind"])).collect();
    assert_eq!(kinds, ["ConfigMap", "Secret", "Deployment"]);
    let files = &documents[0]["data"];
    let (settings, rules) = (text(&files["weir.toml"]), text(&files["rules.toml"]));
    let config = Config::parse(settings, "weir.toml").unwrap();
    assert_eq!(config.listen.admin, Config::default().listen.admin, "what `weir ping` asks");
    weir::rules::parse(rules, "rules.toml").unwrap_or_else(|problems| panic!("{problems}"));
    let secrets: Vec<&str> =
        documents[1]["stringData"].as_hash().unwrap().keys().map(text).collect();
    assert_eq!(secrets, ["users.txt", "control"]);
    assert!(secrets.iter().all(|name| settings.contains(&format!("/run/secrets/weir/{name}"))));
    let pod = &documents[2]["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"].as_i64().unwrap();
    let application = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64();
    drain_ends_within(settings, grace - application.unwrap());
    let sidecar = &pod["initContainers"][0];
    assert_eq!(text(&sidecar["restartPolicy"]), "Always");
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let command = sidecar[probe]["exec"]["command"].as_vec().unwrap();
        assert_eq!(command.iter().take(2).map(text).collect::<Vec<_>>(), ["weir", "ping"]);
    }
}

#[test]
fn the_image_is_built_from_all_that_the_build_reads() {
    let dockerfile = shipped("Dockerfile");
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| line.split_whitespace().rev().skip(1))
        .collect();
    let covered = |path: &Path| copied.iter().any(|from| path.starts_with(from));
    // What the manifest names has to be there, built or not.
    for line in fs::read_to_string(root().join("Cargo.toml")).unwrap().lines() {
        if let Some(path) = line.strip_prefix("path = ") {
            let path = Path::new(path.trim_matches('"'));
            assert!(covered(path), "the Dockerfile does not copy {}", path.display());
        }
    }
    for file in sources(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for rest in code.split("include_str!(").chain(code.split("include_bytes!(")).skip(1) {
            let Some(named) = rest.trim_start().strip_prefix('"') else { continue };
            let named = named.split('"').next().unwrap();
            let path = file.parent().unwrap().join(named);
            let Ok(path) = path.canonicalize() else { continue };
            let path = path.strip_prefix(root()).unwrap().to_owned();
            assert!(covered(&path), "the Dockerfile does not copy {}", path.display());
        }
    }
    let config = Config::parse(&shipped("weir.toml"), "docker/weir.toml").unwrap();
    let port = config.listen.clients[0].port();
    assert!(dockerfile.contains(&format!("EXPOSE {port}\n")));
    assert_eq!(config.listen.admin, Config::default().listen.admin, "what `weir ping` asks");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false if path.extension().is_some_and(|extension| extension == "rs") => {
                found.push(path)
            }
            false => {}
        }
    }
    found
}

#[test]
fn systemd_understands_the_unit_and_waits_for_the_drain() {
    let unit = shipped("systemd/weir.service");
    let wait = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    drain_ends_within("", wait.trim_end_matches('s').parse().unwrap());
    assert!(unit.contains("Type=notify\n") && unit.contains("NotifyAccess=all\n"));
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    assert_eq!(start, "/usr/local/bin/weir serve --config /etc/weir/weir.toml");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("weir.service");
    let program = env!("CARGO_BIN_EXE_weir");
    fs::write(&file, unit.replace("/usr/local/bin/weir", program)).unwrap();
    // Not everywhere where the tests run is a systemd.
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&file).output() else {
        return;
    };
    let complaints = said(&verified);
    let ours: Vec<&str> = complaints.lines().filter(|line| line.contains("weir.service")).collect();
    assert_eq!(ours, [""; 0], "{complaints}");
}

#[test]
fn the_page_about_deploying_names_files_that_are_there() {
    let page = fs::read_to_string(root().join("docs/deploy.md")).unwrap();
    for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = link.split('#').next().unwrap();
        if path.is_empty() || path.contains("://") {
            continue;
        }
        assert!(root().join("docs").join(path).exists(), "docs/deploy.md links to {path}");
    }
    for example in page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        Config::parse(example, "deploy.md").unwrap_or_else(|problems| panic!("{problems}"));
    }
    assert!(page.contains(DATABASE));
}
