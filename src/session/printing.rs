//! How servers write values, and whether several of them do so alike: what weir unites has to mean
//! the same on each.
use super::schema::captured_rows;
use super::{Session, Stop};
use crate::error::Error;
use crate::exec::relay::Show;
use crate::merge::{Bounds, Column, Merger, Printing};
use crate::plan::several::Merge;
use crate::txn::settings::quote_literal;
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// What decides what a query means and how its values look, in the order in which PostgreSQL sorts the names.
/// Where the client has SET one of them it is the same everywhere; where not, servers, databases and
/// roles have defaults. What servers report of some is of no use here: they report at a Sync.
const SETTINGS: [&str; 7] = [
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "bytea_output",
    "client_encoding",
    "extra_float_digits",
    "lc_monetary",
];

/// The same names as settings are kept by.
const KEYS: [&str; 7] = [
    "datestyle",
    "intervalstyle",
    "timezone",
    "bytea_output",
    "client_encoding",
    "extra_float_digits",
    "lc_monetary",
];

const QUESTION: &str = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) ANY \
     (ARRAY['DateStyle', 'IntervalStyle', 'TimeZone', 'bytea_output', 'client_encoding', \
     'extra_float_digits', 'lc_monetary']) ORDER BY name COLLATE pg_catalog.\"C\"";

/// A default that was read in a server's file again is known after so long.
const KNOWN_FOR: Duration = Duration::from_secs(30);

impl Session {
    /// Servers that answer one query together must agree on what its values mean.
    pub(super) fn check_alike(&self, sites: &[usize]) -> Result<(), Error> {
        self.check_encodings(sites)?;
        let Some((&first, others)) = sites.split_first() else { return Ok(()) };
        if others.iter().all(|&at| self.defaults(at) == self.defaults(first)) {
            return Ok(());
        }
        for name in SETTINGS {
            let here = self.printed_by(first, name);
            if let Some(there) =
                others.iter().map(|&at| self.printed_by(at, name)).find(|there| *there != here)
            {
                return Err(differ(
                    name,
                    [here, there],
                    format!("SET {name}, or give all databases and roles the same one"),
                ));
            }
        }
        Ok(())
    }

    /// Among them may be the gather database, which is told to print as the shards do.
    pub(super) fn check_encodings(&self, sites: &[usize]) -> Result<(), Error> {
        let Some((&first, others)) = sites.split_first() else { return Ok(()) };
        let here = self.stored_as(first);
        match others.iter().map(|&at| self.stored_as(at)).find(|there| *there != here) {
            None => Ok(()),
            Some(there) => Err(differ(
                "server_encoding",
                [here, there],
                "make the databases with the same encoding".to_owned(),
            )),
        }
    }

    /// Asks these servers what they do not report by themselves, unless they have said it lately.
    pub(super) async fn learn_defaults(&mut self, sites: &[usize]) -> Result<(), Stop> {
        for &at in sites {
            let known =
                self.txn.participants.get(at).and_then(|p| p.lease.session.defaults.as_ref());
            if known.is_some_and(|(when, _)| when.elapsed() < KNOWN_FOR) {
                continue;
            }
            self.relay.captured.clear();
            self.say(at, QUESTION, Show::Capture).await?;
            let captured = self.relay.captured.split();
            let rows = captured_rows(&captured)?;
            let values = rows.iter().filter_map(|row| row.first().copied().flatten());
            let values: Vec<String> = values.map(str::to_owned).collect();
            if values.len() != SETTINGS.len() {
                return Err(Error::internal("a server does not know its settings").into());
            }
            if let Some(participant) = self.txn.participants.get_mut(at) {
                participant.lease.session.defaults = Some((Instant::now(), values));
            }
        }
        Ok(())
    }

    /// The database's encoding: it never changes.
    fn stored_as(&self, at: usize) -> Option<&str> {
        let participant = self.txn.participants.get(at)?;
        participant.lease.parameters.get("server_encoding").map(String::as_str)
    }

    /// A setting's value on that server.
    fn printed_by(&self, at: usize, name: &str) -> Option<&str> {
        let position = SETTINGS.iter().position(|setting| *setting == name)?;
        let set = self.txn.settings.get(KEYS.get(position)?);
        set.or_else(|| self.defaults(at)?.get(position).map(String::as_str))
    }

    /// What a setting is on that server where the client has not SET it.
    fn defaults(&self, at: usize) -> Option<&[String]> {
        let session = &self.txn.participants.get(at)?.lease.session;
        session.defaults.as_ref().map(|(_, values)| values.as_slice())
    }

    /// In a transaction of weir's own a server that has other defaults than these shards writes values
    /// as they do. What the client has SET holds there already.
    pub(super) async fn print_alike(&mut self, at: usize, shards: &[usize]) -> Result<(), Stop> {
        let Some(&model) = shards.first() else { return Ok(()) };
        self.learn_defaults(&[at]).await?;
        let differs = |name: &&str| self.printed_by(at, name) != self.printed_by(model, name);
        let changes: Vec<String> = SETTINGS
            .into_iter()
            .filter(differs)
            .filter_map(|name| {
                let value = quote_literal(self.printed_by(model, name)?);
                Some(format!("SELECT pg_catalog.set_config('{name}', {value}, true)"))
            })
            .collect();
        match changes.is_empty() {
            true => Ok(()),
            false => self.say(at, &changes.join(";"), Show::Swallow).await,
        }
    }

    /// What these servers write as text they read back as the same value. They have been found alike.
    pub(super) fn text_is_exact(&self, sites: &[usize]) -> bool {
        let Printing { iso_dates, floats_exact, texts_as_stored, .. } = self.printing(sites);
        let of = |name| sites.first().and_then(|&at| self.printed_by(at, name));
        iso_dates
            && floats_exact
            && of("IntervalStyle").is_some_and(|style| !style.eq_ignore_ascii_case("sql_standard"))
            && (texts_as_stored
                || of("client_encoding").is_some_and(|name| encoding(name) == "UTF8"))
    }

    /// `None`: it would not be exact.
    pub(super) fn merger(
        &self,
        merge: &Merge,
        columns: &[Column],
        sites: &[usize],
        bounds: Bounds,
    ) -> Option<Merger> {
        Merger::new(merge, columns, sites.len(), bounds, self.printing(sites))
    }

    /// They have been found alike.
    pub(super) fn printing(&self, sites: &[usize]) -> Printing {
        let of = |name| sites.first().and_then(|&at| self.printed_by(at, name));
        let stored = sites.first().and_then(|&at| self.stored_as(at));
        let as_stored = match (of("client_encoding").map(encoding), stored.map(encoding)) {
            (Some(sent), Some(stored)) => {
                sent == stored || sent == "SQLASCII" || stored == "SQLASCII"
            }
            _ => false,
        };
        let is_iso = |part: &str| part.trim().eq_ignore_ascii_case("ISO");
        let digits = of("extra_float_digits").and_then(|digits| digits.trim().parse::<i32>().ok());
        Printing {
            // Of a client that has only SET the order of day and month it is not known.
            iso_dates: of("DateStyle").is_some_and(|style| style.split(',').any(is_iso)),
            floats_exact: digits.is_some_and(|digits| digits > 0),
            bytes_alike: of("bytea_output").is_some(),
            texts_as_stored: as_stored,
        }
    }
}

/// An encoding's name, however it is spelled.
fn encoding(name: &str) -> Cow<'_, str> {
    if name == "UTF8" {
        return Cow::Borrowed(name);
    }
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let name: String = letters.map(|letter| letter.to_ascii_uppercase()).collect();
    if name == "UNICODE" { Cow::Borrowed("UTF8") } else { Cow::Owned(name) }
}

fn differ(name: &str, values: [Option<&str>; 2], hint: String) -> Error {
    let [here, there] = values.map(|value| value.unwrap_or("nothing"));
    let message =
        format!("a query over several shards whose servers differ in {name}: {here} and {there}");
    Error::refused(message, hint)
}
