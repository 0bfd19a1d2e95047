//! The admin port as scripts meet it, with curl: what is answered to whom, over HTTP and HTTPS.
use super::{TRUST, sharded, two_shards};
use crate::weir::{Weir, said};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

const TOKEN: &str = "a-token-of-the-test";
const LOOK_TOKEN: &str = "a-token-that-looks";

/// What curl is told besides the address: status and body.
fn curl(weir: &Weir, scheme: &str, path: &str, options: &[&str]) -> (u16, String) {
    let url = format!("{scheme}://127.0.0.1:{}{path}", weir.home().admin_port());
    let mut curl = Command::new("curl");
    curl.current_dir(weir.home().folder()).args(["-sS", "-m", "30", "-w", "\n%{http_code}"]);
    let output = curl.args(options).arg(url).output().expect("curl is installed");
    let printed = String::from_utf8(output.stdout).unwrap();
    let (body, status) = printed.rsplit_once('\n').unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {complaint}");
    (status.parse().unwrap(), body.to_owned())
}

/// As somebody with this token, or without; POST if there is a body.
fn ask(weir: &Weir, path: &str, token: Option<&str>, body: Option<&str>) -> (u16, String) {
    let header = token.map(|token| format!("Authorization: Bearer {token}"));
    let mut options = Vec::new();
    if let Some(header) = &header {
        options.extend(["-H", header]);
    }
    if let Some(body) = body {
        options.extend(["-H", "Content-Type: application/json", "-d", body]);
    }
    curl(weir, "http", path, &options)
}

#[test]
fn scripts_look_act_explain_and_compare_rules_over_http() {
    let cluster = two_shards();
    let rules = sharded(&cluster, &[("s0", 0), ("s1", 1)], 2, "");
    let settings = format!("{TRUST}[admin]\ntoken = '{TOKEN}'\nlook_token = '{LOOK_TOKEN}'\n");
    let weir = Weir::with_rules(&cluster, &rules, &settings);

    assert_eq!(ask(&weir, "/healthz", None, None), (200, "alive\n".to_owned()));
    assert_eq!(ask(&weir, "/api/v1/shards", None, None).0, 401);
    assert_eq!(ask(&weir, "/api/v1/shards", Some("wrong"), None).0, 401);
    let (status, list) = ask(&weir, "/api/v1", Some(LOOK_TOKEN), None);
    assert!(status == 200 && list.contains("\"may\":\"look\""), "{list}");
    let (status, servers) = ask(&weir, "/api/v1/shards", Some(LOOK_TOKEN), None);
    assert!(status == 200 && servers.contains("\"shard\":\"s1\""), "{servers}");

    let pause = Some("{\"database\":\"shop\",\"shard\":\"s1\"}");
    assert_eq!(ask(&weir, "/api/v1/pause", Some(LOOK_TOKEN), pause).0, 403);
    let (status, done) = ask(&weir, "/api/v1/pause", Some(TOKEN), pause);
    assert_eq!((status, done.as_str()), (200, "{\"action\":\"PAUSE\",\"done\":true}"));
    let (status, error) = ask(&weir, "/api/v1/pause", Some(TOKEN), Some("{\"database\":\"no\"}"));
    assert!(status == 400 && error.contains("those known are shop"), "{error}");
    assert_eq!(ask(&weir, "/api/v1/resume", Some(TOKEN), Some("{}")).0, 200);

    let question =
        "{\"statement\":\"SELECT * FROM orders WHERE user_id = $1\",\"parameters\":[\"3\"]}";
    let (status, route) = ask(&weir, "/api/v1/explain", Some(LOOK_TOKEN), Some(question));
    assert!(status == 200 && route.contains("shard s1"), "{route}");

    let files = || ask(&weir, "/api/v1/rules/files", Some(LOOK_TOKEN), None).1;
    assert!(files().contains("\"reload\":\"nothing\""), "{}", files());
    weir.home().write("rules.toml", &format!("{rules}hot_key = ['id']\n"));
    assert!(files().contains("\"reload\":\"applies\""), "{}", files());
    assert_eq!(ask(&weir, "/api/v1/reload", Some(TOKEN), Some("{}")).0, 200);
    assert!(files().contains("\"reload\":\"nothing\""), "{}", files());
    weir.home().write("rules.toml", "database = 'shop'\nprimary = 'password=s3cret'\n");
    let broken = files();
    assert!(broken.contains("\"line\":2") && !broken.contains("s3cret"), "{broken}");

    watched_in_a_terminal(&weir);

    let moved = rules.replace("buckets = 2", "buckets = 4").replace('\n', "\\n");
    let text = format!("{{\"text\":\"{moved}\"}}");
    let (status, checked) = ask(&weir, "/api/v1/rules/check", Some(LOOK_TOKEN), Some(&text));
    assert!(status == 200 && checked.contains("needs adoption"), "{checked}");
    let (status, refused) = ask(&weir, "/api/v1/rules", Some(TOKEN), Some(&text));
    assert!(status == 405 && refused.contains("weir writes no rules file"), "{refused}");
}

/// `weir top`: one frame as text; and in a terminal, until its reader has had enough.
fn watched_in_a_terminal(weir: &Weir) {
    let url = format!("http://127.0.0.1:{}", weir.home().admin_port());
    let once = ["top", "--once", "--interval", "50ms", "--url", &url, "--token", LOOK_TOKEN];
    let frame = said(&weir.home().run(&once));
    assert!(frame.contains("statements/s") && frame.contains("primary  up"), "{frame}");
    let refused = said(&weir.home().run(&["top", "--once", "--url", &url]));
    assert!(refused.contains("needs a token") && refused.contains("WEIR_ADMIN_TOKEN"), "{refused}");

    let watch = format!("stty rows 24 cols 120; {} top --url {url}", env!("CARGO_BIN_EXE_weir"));
    let mut terminal = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "script", "-qec", &watch, "/dev/null"])
        .env("WEIR_ADMIN_TOKEN", LOOK_TOKEN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keys, mut output) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut until = |wanted: &str| {
        let mut some = [0; 4096];
        while !String::from_utf8_lossy(&shown).contains(wanted) {
            let count = output.read(&mut some).unwrap();
            assert!(count > 0, "{wanted} was not shown: {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&some[..count]);
        }
        shown.clear();
    };
    until("q quit");
    keys.write_all(b"s").unwrap();
    until("database▼");
    keys.write_all(b"r").unwrap();
    until("database▲");
    keys.write_all(b"q").unwrap();
    // The screen before comes back.
    until("\x1b[?1049l");
    assert!(terminal.wait().unwrap().success());
}

#[test]
fn over_https_a_certificate_of_the_authority_acts_and_other_addresses_may_be_listened_on() {
    let cluster = two_shards();
    let weir = Weir::plain(&cluster, "shop", TRUST);
    let home = weir.home();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    home.write("authority.crt", &authority.pem());
    for (name, host) in [("weir", "127.0.0.1"), ("boss", "boss")] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        home.write(&format!("{name}.crt"), &params.signed_by(&key, &authority).unwrap().pem());
        home.write(&format!("{name}.key"), &key.serialize_pem());
    }
    let own = home.read("weir.toml");
    let secure = "[admin]\ncertificate = 'weir.crt'\nkey = 'weir.key'\nclient_authorities = 'authority.crt'\n";
    home.write("weir.toml", &format!("{own}{secure}"));
    assert!(weir.reload().contains("reloaded configuration"), "{}", weir.log());

    let verified = ["--cacert", "authority.crt"];
    let known = ["--cacert", "authority.crt", "--cert", "boss.crt", "--key", "boss.key"];
    assert_eq!(curl(&weir, "https", "/readyz", &verified).0, 200);
    assert_eq!(curl(&weir, "https", "/api/v1/pools", &verified).0, 401);
    assert_eq!(curl(&weir, "https", "/api/v1/pools", &known).0, 200);
    let act = ["-H", "Content-Type: application/json", "-d", "{}"];
    assert_eq!(curl(&weir, "https", "/api/v1/reconnect", &[&known[..], &act].concat()).0, 200);
    // A browser would send the certificate for any page.
    let foreign = [&known[..], &act, &["-H", "Origin: https://evil.example"]].concat();
    assert_eq!(curl(&weir, "https", "/api/v1/reconnect", &foreign).0, 403);

    let everywhere = |text: &str| text.replace("admin = '127.0.0.1:", "admin = '0.0.0.0:");
    let serve = |text: &str| {
        home.write("weir.toml", text);
        said(&home.run(&["serve", "--check"]))
    };
    assert!(serve(&everywhere(&own)).contains("listen.admin must be a loopback address"));
    assert!(serve(&everywhere(&format!("{own}{secure}"))).contains("is in order"));
}
