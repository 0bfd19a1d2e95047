//! What the admin port shows: metrics, readiness and the rules files; and whom, as `[admin]` says.
use super::assemble::Shared;
use super::config::{Config, Look};
use super::console::Console;
use crate::admin::http::access::{self, Gate, Token};
use crate::admin::http::{Pages, Readiness};
use crate::admin::rulebook::{Checked, Problem, Reload, RuleBook, RulesFile};
use crate::auth::tls::{Acceptor, Identity};
use crate::backend::Address;
use crate::error::{Blame, Error, SqlState};
use crate::rules::difference::{changes, masked, moves_rows};
use crate::rules::{self, Rules};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Of a rules file that is shown.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Secrets and certificates are read from their files; `listens`: where the port is.
pub fn open_gate(config: &Config, listens: Option<SocketAddr>) -> Result<Gate, Error> {
    let admin = &config.admin;
    let problem = |message: String| {
        Error::new(SqlState(*b"F0000"), Blame::Rules, format!("[admin]: {message}"))
    };
    if let Some(first) = admin.check(listens).first() {
        return Err(problem((*first).to_owned()));
    }
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| problem(format!("{}: {error}", path.display())))
    };
    let tls = match (&admin.certificate, &admin.key) {
        (Some(certificate), Some(key)) => {
            let (certificates, key) = (read(certificate)?, read(key)?);
            let identity = Identity { certificates: &certificates, key: &key };
            let acceptor = match &admin.client_authorities {
                None => Acceptor::new(identity),
                Some(path) => Acceptor::with_client_authorities(identity, &read(path)?),
            };
            Some(acceptor.map_err(|error| problem(error.to_string()))?)
        }
        (_, _) => None,
    };
    let token = |secret: &Option<super::config::Secret>| {
        secret.as_ref().and_then(|secret| secret.reveal()).map(Token::new)
    };
    Ok(Gate {
        tls,
        token: token(&admin.token),
        look_token: token(&admin.look_token),
        look: match admin.look {
            Look::Token => access::Look::Nobody,
            Look::Loopback => access::Look::Loopback,
        },
        hosts: admin.hosts.clone(),
    })
}

impl Pages for Console {
    fn metrics(&self) -> String {
        self.shared.metrics_now()
    }

    fn readiness(&self) -> Readiness {
        if self.shared.draining.load(Ordering::Relaxed) {
            return Readiness::NotReady("weir is ending".to_owned());
        }
        let sources = self.shared.databases.values();
        let refusals = sources.filter_map(|source| source.fence.load().refusal());
        match refusals.reduce(|all, more| format!("{all}; {more}")) {
            None => Readiness::Ready,
            Some(refusal) => Readiness::NotReady(refusal),
        }
    }

    fn gate(&self) -> Arc<Gate> {
        self.shared.gate.load_full()
    }

    fn count(&self, status: u16) {
        let outcome = match status {
            ..400 => "ok",
            400..500 => "refused",
            500.. => "failed",
        };
        self.shared.metrics.admin_requests.with_label_values(&[outcome]).inc();
    }
}

impl RuleBook for Console {
    fn files(&self) -> Vec<RulesFile> {
        let config = self.shared.config.load_full();
        config.rules.iter().map(|path| file(path, &self.shared)).collect()
    }

    fn check(&self, text: &str) -> Checked {
        match parse(text) {
            Ok(rules) => compared(&rules, &self.shared),
            Err(problems) => broken(problems),
        }
    }
}

fn file(path: &Path, shared: &Shared) -> RulesFile {
    let path_text = path.display().to_string();
    match read(path) {
        Err(message) => {
            RulesFile { path: path_text, text: None, checked: broken(vec![whole(message)]) }
        }
        Ok(text) => match parse(&text) {
            Ok(rules) => {
                let (text, checked) = (masked(&text, &rules), compared(&rules, shared));
                RulesFile { path: path_text, text, checked }
            }
            // Where a broken file's passwords are is not known, so nothing of it is shown.
            Err(problems) => {
                let hint = format!("weir check {path_text} says what it is");
                let problems = problems.into_iter().map(|Problem { line, .. }| Problem {
                    line,
                    message: "there is a problem here".to_owned(),
                    hint: hint.clone(),
                });
                let checked = broken(problems.collect());
                RulesFile { path: path_text, text: None, checked }
            }
        },
    }
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("it has more than {MAX_FILE_BYTES} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// As a reload reads it, but for certificates: whoever may only look must not learn which files there are.
fn parse(text: &str) -> Result<Rules, Vec<Problem>> {
    let rules = rules::parse(text, "rules.toml").map_err(|problems| {
        let told = |problem: rules::Problem| Problem {
            line: Some(problem.line),
            message: problem.message,
            hint: problem.hint,
        };
        problems.list.into_iter().map(told).collect::<Vec<_>>()
    })?;
    let shards = rules.shards.iter();
    let dsns = shards.flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas));
    let dsns = dsns.chain(rules.gather.iter().map(|gather| &gather.dsn));
    let problems: Vec<Problem> =
        dsns.filter_map(|dsn| Some(whole(Address::parse(dsn).err()?.to_string()))).collect();
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

fn whole(message: String) -> Problem {
    Problem { line: None, message, hint: "weir check FILE says more".to_owned() }
}

fn broken(problems: Vec<Problem>) -> Checked {
    Checked { problems, reload: Reload::Refused, ..Checked::default() }
}

/// Beside the rules in force for the same database.
fn compared(rules: &Rules, shared: &Shared) -> Checked {
    let database = Some(rules.database.clone());
    let Some(source) = shared.databases.get(&rules.database) else {
        return Checked { database, reload: Reload::NeedsRestart, ..Checked::default() };
    };
    let current = source.serving.load_full();
    let changes: Vec<_> = changes(&current.rules, rules).into_iter().map(Into::into).collect();
    let reload = match (changes.is_empty(), moves_rows(&current.rules, rules)) {
        (true, _) => Reload::Nothing,
        (false, false) => Reload::Applies,
        (false, true) => Reload::NeedsAdoption,
    };
    Checked { database, problems: Vec::new(), changes, reload }
}
