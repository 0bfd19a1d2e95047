//! /api/v1: every view and action by its name, where a statement goes, and the rules files.
use super::Port;
use super::answer::{Answer, Refusal, json};
use super::json::View;
use super::route::Asked;
use crate::admin::action::Action;
use crate::admin::console::May;
use crate::admin::system::{Place, Question};
use crate::admin::{ACTIONS, SHOWS};
use crate::error::SqlState;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// For an action to have done what it waits for. What it has begun stays.
const ACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Of a statement that is explained.
const MAX_STATEMENT_BYTES: usize = 64 * 1024;
/// Of its parameters.
const MAX_PARAMETERS: usize = 1000;

/// `SHOW HOT_ROWS` is `hot_rows`.
fn path_of(name: &str) -> String {
    name.to_ascii_lowercase().replace(' ', "_")
}

/// GET /api/v1: what there is, and what the asker may do.
pub fn list(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    struct List {
        version: &'static str,
        may: &'static str,
        views: Vec<Entry>,
        actions: Vec<Entry>,
    }
    #[derive(Serialize)]
    struct Entry {
        name: &'static str,
        path: String,
        help: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        syntax: Option<&'static str>,
    }
    asked.gets()?;
    let path = |name: &str| format!("/api/v1/{}", path_of(name));
    let views = SHOWS.iter().map(|show| {
        let (name, help) = (show.name(), show.help());
        Entry { name, path: path(name), help, syntax: None }
    });
    let actions = ACTIONS.iter().map(|action| {
        let (name, help) = (action.name(), action.help());
        Entry { name, path: path(name), help, syntax: Some(action.syntax()) }
    });
    let may = match asked.may {
        May::Look => "look",
        May::Act => "act",
    };
    let (views, actions) = (views.collect(), actions.collect());
    let list = List { version: env!("CARGO_PKG_VERSION"), may, views, actions };
    Ok(json(StatusCode::OK, &list))
}

pub async fn answer(name: &str, asked: &Asked<'_>, port: &Port) -> Result<Answer, Refusal> {
    match name {
        "explain" => return explain(asked, port),
        "rules/files" => return files(asked, port),
        "rules/check" => return check(asked, port),
        "rules" if asked.method == Method::PUT || asked.method == Method::POST => {
            return Err(no_rules_are_written());
        }
        _ => {}
    }
    let show = SHOWS.iter().find(|show| path_of(show.name()) == name);
    let action = ACTIONS.iter().find(|action| path_of(action.name()) == name);
    match (show, action, asked.method == Method::POST) {
        (_, Some(action), true) => act(*action, asked, port).await,
        (Some(show), _, _) => {
            asked.gets()?;
            let table = show.table(port.system.as_ref());
            Ok(json(StatusCode::OK, &View { name, table: &table }))
        }
        (None, Some(_), false) => Err(Refusal::method("POST")),
        (None, None, _) => Err(Refusal::not_found(format!("there is no /api/v1/{name}"))
            .hint("GET /api/v1 lists the views and actions")),
    }
}

async fn act(action: &dyn Action, asked: &Asked<'_>, port: &Port) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    struct Done {
        action: &'static str,
        /// `false`: it has begun, and what it waits for takes longer.
        done: bool,
    }
    asked.acts()?;
    let place = place(read::<WrittenPlace>(asked)?, action)?;
    let Ok(_place) = port.acting.try_acquire() else {
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, SqlState::TOO_MANY_CONNECTIONS)
            .message("too many actions wait already")
            .hint("RESUME ends a PAUSE or DRAIN that waits"));
    };
    asked.deadline.send_replace(Instant::now() + 2 * ACTION_TIMEOUT);
    tracing::info!(action = action.name(), %place, "asked for over HTTP");
    let (status, done) =
        match timeout(ACTION_TIMEOUT, action.run(port.system.as_ref(), &place)).await {
            Ok(outcome) => outcome.map(|()| (StatusCode::OK, true))?,
            Err(_) => (StatusCode::ACCEPTED, false),
        };
    Ok(json(status, &Done { action: action.name(), done }))
}

/// `{"database": …, "shard": …, "server": …}`: as much of it as the action takes; or its `argument`, where
/// that is no place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPlace {
    #[serde(default, alias = "argument", deserialize_with = "number_or_text")]
    database: Option<String>,
    shard: Option<String>,
    #[serde(default, deserialize_with = "number_or_text")]
    server: Option<String>,
}

fn number_or_text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    match serde_json::Value::deserialize(input)? {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => Ok(Some(text)),
        serde_json::Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err(de::Error::custom("a name or number is expected")),
    }
}

fn place(written: WrittenPlace, action: &dyn Action) -> Result<Place, Refusal> {
    let WrittenPlace { database, shard, server } = written;
    let names = [&database, &shard, &server];
    let count = names.iter().filter(|name| name.is_some()).count();
    let in_order = names.iter().take(count).all(|name| name.is_some());
    match in_order && action.names().contains(&count) {
        true => Ok(Place { database, shard, server }),
        false => Err(Refusal::bad_request(format!(
            "{} is written {}: name that much of database, shard and server",
            action.name(),
            action.syntax()
        ))),
    }
}

/// POST /api/v1/explain: where a statement would go. Nothing is sent to a server.
fn explain(asked: &Asked<'_>, port: &Port) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        statement: String,
        database: Option<String>,
        #[serde(default)]
        parameters: Vec<Option<String>>,
        user: Option<String>,
        search_path: Option<String>,
    }
    #[derive(Serialize)]
    struct Explained {
        route: String,
    }
    asked.posts()?;
    let Written { statement, database, parameters, user, search_path } = read(asked)?;
    if statement.len() > MAX_STATEMENT_BYTES || parameters.len() > MAX_PARAMETERS {
        return Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            SqlState::PROGRAM_LIMIT_EXCEEDED,
        )
        .message(format!(
            "a statement has at most {MAX_STATEMENT_BYTES} bytes here and {MAX_PARAMETERS} parameters"
        )));
    }
    let question = Question { statement, database, parameters, user, search_path };
    let route = port.system.explain(&question)?;
    Ok(json(StatusCode::OK, &Explained { route }))
}

/// GET /api/v1/rules/files: each rules file as it is now, and what a reload would change.
fn files(asked: &Asked<'_>, port: &Port) -> Result<Answer, Refusal> {
    asked.gets()?;
    Ok(json(StatusCode::OK, &port.pages.files()))
}

/// POST /api/v1/rules/check: the problems of a text, or what it would change.
fn check(asked: &Asked<'_>, port: &Port) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        text: String,
    }
    asked.posts()?;
    let Written { text } = read(asked)?;
    Ok(json(StatusCode::OK, &port.pages.check(&text)))
}

fn no_rules_are_written() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, SqlState::FEATURE_NOT_SUPPORTED)
        .message("weir writes no rules file: the file is yours, and every weir must have the same")
        .hint("POST /api/v1/rules/check says what a text would change; then change the file, and POST /api/v1/reload")
}

fn read<'a, T: Deserialize<'a>>(asked: &'a Asked<'_>) -> Result<T, Refusal> {
    serde_json::from_slice(&asked.body)
        .map_err(|error| Refusal::bad_request(format!("the body is not what is expected: {error}")))
}
