//! SHUTDOWN: the process ends. Answers before it does.
use super::Action;
use crate::admin::system::{Doing, Ending, Place, System};
use crate::error::{Error, SqlState};
use std::ops::RangeInclusive;

pub struct Shutdown;

impl Action for Shutdown {
    fn name(&self) -> &'static str {
        "SHUTDOWN"
    }

    fn syntax(&self) -> &'static str {
        "SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]"
    }

    fn help(&self) -> &'static str {
        "ends weir: at once, when no transaction is open, or when all clients have left"
    }

    fn names(&self) -> RangeInclusive<usize> {
        0..=1
    }

    fn run<'a>(&self, system: &'a dyn System, place: &'a Place) -> Doing<'a> {
        Box::pin(async move { system.shut_down(ending(place.word())?).await })
    }
}

fn ending(word: &str) -> Result<Ending, Error> {
    match word.to_ascii_uppercase().as_str() {
        "" => Ok(Ending::AtOnce),
        "WAIT_FOR_SERVERS" => Ok(Ending::WhenServersRest),
        "WAIT_FOR_CLIENTS" => Ok(Ending::WhenClientsHaveLeft),
        _ => {
            let message = format!("SHUTDOWN is written {}", Shutdown.syntax());
            Err(Error::client(SqlState::SYNTAX_ERROR, message))
        }
    }
}
