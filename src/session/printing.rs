//! How servers write values, and whether several of them do so alike: what weir unites has to mean
//! the same on each.
use super::schema::captured_rows;
use super::{Session, Stop};
use crate::error::Error;
use crate::exec::relay::Show;
use crate::merge::{Bounds, Column, Merger, Printing};
use crate::plan::several::Merge;
use crate::txn::settings::quote_literal;
use std::time::{Duration, Instant};

/// What servers report by themselves and what decides what a query means or how its values look.
const REPORTED: [&str; 5] =
    ["TimeZone", "DateStyle", "IntervalStyle", "server_encoding", "client_encoding"];

/// What they report only if they are asked: defaults of servers, databases and roles. In this order.
const ASKED: [&str; 3] = ["bytea_output", "extra_float_digits", "lc_monetary"];

/// What the client has SET is known.
const QUESTION: &str = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) ANY \
     (ARRAY['bytea_output', 'extra_float_digits', 'lc_monetary']) ORDER BY name COLLATE pg_catalog.\"C\"";

/// A default that was read in a server's file again is known after so long.
const KNOWN_FOR: Duration = Duration::from_secs(30);

impl Session {
    /// Servers that answer one query together must agree on what its values mean.
    pub(super) fn check_alike(&self, sites: &[usize]) -> Result<(), Error> {
        self.check_equal(&REPORTED, sites)?;
        self.check_equal(&ASKED, sites)
    }

    /// The same of what the gather database reports.
    pub(super) fn check_reported(&self, sites: &[usize]) -> Result<(), Error> {
        self.check_equal(&REPORTED, sites)
    }

    fn check_equal(&self, names: &[&str], sites: &[usize]) -> Result<(), Error> {
        let Some((&first, others)) = sites.split_first() else { return Ok(()) };
        for &name in names {
            let here = self.printed_by(first, name);
            for &other in others {
                let there = self.printed_by(other, name);
                if here != there {
                    let said = |value: Option<&str>| value.unwrap_or("nothing").to_owned();
                    let message = format!(
                        "a query over several shards whose servers differ in {name}: {} and {}",
                        said(here),
                        said(there)
                    );
                    let hint = match name {
                        "server_encoding" => "make the databases with the same encoding".to_owned(),
                        _ => format!("SET {name}, or give all databases and roles the same one"),
                    };
                    return Err(Error::refused(message, hint));
                }
            }
        }
        Ok(())
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
            if values.len() != ASKED.len() {
                return Err(Error::internal("a server does not know its settings").into());
            }
            if let Some(participant) = self.txn.participants.get_mut(at) {
                participant.lease.session.defaults = Some((Instant::now(), values));
            }
        }
        Ok(())
    }

    fn reported(&self, at: usize, name: &str) -> Option<&str> {
        let participant = self.txn.participants.get(at)?;
        participant.lease.parameters.get(name).map(String::as_str)
    }

    /// A setting's value on that server.
    fn printed_by(&self, at: usize, name: &str) -> Option<&str> {
        let Some(asked) = ASKED.iter().position(|asked| *asked == name) else {
            return self.reported(at, name);
        };
        if let Some(set) = self.txn.settings.get(name) {
            return Some(set);
        }
        let (_, defaults) = self.txn.participants.get(at)?.lease.session.defaults.as_ref()?;
        defaults.get(asked).map(String::as_str)
    }

    /// In a transaction of weir's own a server that has other defaults than these shards writes values
    /// as they do. What the client has SET holds there already.
    pub(super) async fn print_alike(&mut self, at: usize, shards: &[usize]) -> Result<(), Stop> {
        let Some(&model) = shards.first() else { return Ok(()) };
        self.learn_defaults(&[at]).await?;
        let names = ["TimeZone", "DateStyle", "IntervalStyle"].into_iter().chain(ASKED);
        let changes: Vec<String> = names
            .filter(|name| self.txn.settings.get(&name.to_ascii_lowercase()).is_none())
            .filter_map(|name| {
                let value = self.printed_by(model, name)?;
                let value =
                    (self.printed_by(at, name) != Some(value)).then(|| quote_literal(value))?;
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
        let of = |name| sites.first().and_then(|&at| self.reported(at, name));
        let encoding = of("client_encoding");
        iso_dates
            && floats_exact
            && of("IntervalStyle").is_some_and(|style| style != "sql_standard")
            && (texts_as_stored || encoding == Some("UTF8"))
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

    /// All of them have said the same.
    pub(super) fn printing(&self, sites: &[usize]) -> Printing {
        let of = |name| sites.first().and_then(|&at| self.printed_by(at, name));
        let as_stored = match (of("client_encoding"), of("server_encoding")) {
            (Some(sent), Some(stored)) => {
                sent == stored || sent == "SQL_ASCII" || stored == "SQL_ASCII"
            }
            _ => false,
        };
        let digits = of("extra_float_digits").and_then(|digits| digits.trim().parse::<i32>().ok());
        Printing {
            iso_dates: of("DateStyle").is_some_and(|style| style.starts_with("ISO")),
            floats_exact: digits.is_some_and(|digits| digits > 0),
            bytes_alike: of("bytea_output").is_some(),
            texts_as_stored: as_stored,
        }
    }
}
