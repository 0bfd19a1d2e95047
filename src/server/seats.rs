//! How many clients a user or a database may have, besides the limit for all of them.
use super::config::Config;
use crate::error::{Error, SqlState};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The clients that are there, in all workers. Names that nobody goes by are not kept: with a `*`
/// there is no end to them.
#[derive(Clone, Default)]
pub struct Seats(Arc<Mutex<HashMap<Of, usize>>>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Of {
    User(String),
    Database(String),
}

/// A client's seats, until it leaves.
#[must_use]
pub struct Taken {
    seats: Seats,
    of: Vec<Of>,
}

impl Seats {
    /// Lets a client in that has shown who it is.
    pub fn take(&self, config: &Config, user: &str, database: &str) -> Result<Taken, Error> {
        let of_user = config.clients_of_user(user);
        let of_database = config.clients_of_database(database);
        let limits = [
            (Of::User(user.to_owned()), of_user),
            (Of::Database(database.to_owned()), of_database),
        ];
        let mut taken = Taken { seats: self.clone(), of: Vec::new() };
        for (of, limit) in limits {
            let mut counts = self.locked();
            let count = counts.get(&of).copied().unwrap_or_default();
            if limit.is_some_and(|limit| count >= limit) {
                return Err(of.is_full());
            }
            counts.insert(of.clone(), count + 1);
            taken.of.push(of);
        }
        Ok(taken)
    }

    pub fn of_database(&self, name: &str) -> usize {
        self.locked().get(&Of::Database(name.to_owned())).copied().unwrap_or_default()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Of, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut counts = self.seats.locked();
        for of in &self.of {
            match counts.get_mut(of) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => drop(counts.remove(of)),
            }
        }
    }
}

impl Of {
    /// In PostgreSQL's words.
    fn is_full(&self) -> Error {
        let (what, name) = match self {
            Of::User(name) => ("role", name),
            Of::Database(name) => ("database", name),
        };
        let message = format!("too many connections for {what} \"{name}\"");
        Error::client(SqlState::TOO_MANY_CONNECTIONS, message)
            .hint("raise its max_clients in weir.toml")
            .fatal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::Overrides;

    #[test]
    fn a_seat_is_free_again_when_its_client_leaves() {
        let mut config = Config::default();
        let own = Overrides { max_clients: Some(2), ..Overrides::default() };
        config.databases.insert("shop".into(), own);
        let seats = Seats::default();
        let first = seats.take(&config, "ann", "shop").unwrap();
        let _second = seats.take(&config, "bob", "shop").unwrap();
        let refused = seats.take(&config, "eve", "shop").map(|_| ()).unwrap_err();
        assert_eq!(refused.message, "too many connections for database \"shop\"");
        assert_eq!(seats.of_database("shop"), 2);
        drop(first);
        drop(seats.take(&config, "eve", "shop").unwrap());
        assert_eq!(seats.of_database("shop"), 1);
    }

    #[test]
    fn who_is_refused_for_one_limit_takes_no_seat_of_another() {
        let ann = "rules = []\n[[user]]\nname = \"ann\"\nmax_clients = 1";
        let mut config: Config = toml::from_str(ann).unwrap();
        let own = Overrides { max_clients: Some(1), ..Overrides::default() };
        config.databases.insert("shop".into(), own);
        let seats = Seats::default();
        let held = seats.take(&config, "bob", "shop").unwrap();
        assert!(seats.take(&config, "ann", "shop").is_err());
        drop(held);
        assert!(seats.take(&config, "ann", "shop").is_ok());
    }
}
