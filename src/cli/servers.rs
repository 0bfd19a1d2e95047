//! How the commands that look at shards themselves log in to them.
use super::Failure;
use crate::auth::tls::{Connector, Identity, TlsMode};
use crate::auth::{Login, Secret};
use crate::backend::control::{self, Client};
use crate::backend::{Address, ConnectOptions};
use crate::rules::Rules;
use std::{fs, path::PathBuf, process::Command};

#[derive(clap::Args, Clone, Debug)]
pub struct Servers {
    /// The user on the servers, unless an address in the rules names one.
    #[arg(long, env = "PGUSER", default_value = "postgres", value_name = "NAME")]
    user: String,
    /// That user's password; better given as PGPASSWORD.
    #[arg(long, env = "PGPASSWORD", hide_env_values = true, value_name = "TEXT")]
    password: Option<String>,
}

impl Servers {
    pub fn new(user: &str) -> Servers {
        Servers { user: user.to_owned(), password: None }
    }

    /// A program of PostgreSQL's that logs in likewise to whatever address it is given.
    pub fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.env("PGUSER", &self.user);
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
        command
    }

    /// A connection to each shard's primary, in the rules' order.
    pub async fn connect(&self, rules: &Rules) -> Result<Vec<Client>, Failure> {
        let mut clients = Vec::new();
        for shard in &rules.shards {
            clients.push(self.connect_to(&shard.primary, &format!("shard {}", shard.name)).await?);
        }
        Ok(clients)
    }

    /// A connection to one server; `place` is what errors call it.
    pub async fn connect_to(&self, dsn: &str, place: &str) -> Result<Client, Failure> {
        let address = Address::parse(dsn)
            .map_err(|problem| Failure::new(format!("{place}: {}", problem.0)))?;
        let place = &format!("{place} ({address})");
        let user = address.user.clone().unwrap_or_else(|| self.user.clone());
        let password = address.password.clone().or_else(|| self.password.clone());
        let login = Login::new(user, password.map_or(Secret::None, Secret::Password));
        let options = ConnectOptions { tls: connector(&address)?, ..ConnectOptions::default() };
        let client = control::connect(&address, &login, &options).await;
        client.map_err(|error| error.to_error(place).into())
    }
}

/// Reads the address's certificates.
fn connector(address: &Address) -> Result<Option<Connector>, Failure> {
    if address.tls == TlsMode::Disable {
        return Ok(None);
    }
    let read = |path: &Option<String>| -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let bytes = fs::read(path).map_err(|error| Failure::new(format!("{path}: {error}")))?;
        Ok(Some(bytes))
    };
    let roots = read(&address.root_certificate)?;
    let (certificates, key) = (read(&address.client_certificate)?, read(&address.client_key)?);
    let identity = match (&certificates, &key) {
        (Some(certificates), Some(key)) => Some(Identity { certificates, key }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(Failure::new("sslcert and sslkey go together"));
        }
    };
    let connector = Connector::new(address.tls, roots.as_deref(), identity);
    connector.map(Some).map_err(|error| Failure::new(error.to_string()))
}
