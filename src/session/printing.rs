//! How servers write values, and whether several of them do so alike: what weir unites has to mean
//! the same on each.
use super::schema::captured_rows;
use super::{Session, Stop};
use crate::error::Error;
use crate::exec::relay::Show;
use crate::merge::{Bounds, Column, Merger, Printing};
use crate::plan::several::Merge;
use std::collections::BTreeSet;

/// What servers report by themselves and what decides what a query means or how its values look.
const ALIKE: [&str; 5] =
    ["TimeZone", "DateStyle", "IntervalStyle", "server_encoding", "client_encoding"];

/// What they report only if they are asked.
const QUESTION: &str =
    "SELECT current_setting('extra_float_digits'), current_setting('bytea_output')";

impl Session {
    /// Servers that answer one query together must agree on what its values mean.
    pub(super) fn check_alike(&self, sites: &[usize]) -> Result<(), Error> {
        let Some((&first, others)) = sites.split_first() else { return Ok(()) };
        for name in ALIKE {
            let here = self.reported(first, name);
            for &other in others {
                let there = self.reported(other, name);
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

    fn reported(&self, at: usize, name: &str) -> Option<&str> {
        let participant = self.txn.participants.get(at)?;
        participant.lease.parameters.get(name).map(String::as_str)
    }

    /// `None`: it would not be exact.
    pub(super) async fn merger(
        &mut self,
        merge: &Merge,
        columns: &[Column],
        sites: &[usize],
        bounds: Bounds,
    ) -> Result<Option<Merger>, Stop> {
        let reported = self.reported_printing(sites);
        let of = |printing| Merger::new(merge, columns, sites.len(), bounds, printing);
        if let Some(merger) = of(reported) {
            return Ok(Some(merger));
        }
        let best = Printing { floats_exact: true, bytes_alike: true, ..reported };
        if of(best).is_none() {
            return Ok(None);
        }
        Ok(of(self.ask_printing(sites, reported).await?))
    }

    /// As far as the servers have said it themselves. All of them have said the same.
    pub(super) fn reported_printing(&self, sites: &[usize]) -> Printing {
        let of = |name| sites.first().and_then(|&at| self.reported(at, name));
        let as_stored = match (of("client_encoding"), of("server_encoding")) {
            (Some(sent), Some(stored)) => {
                sent == stored || sent == "SQL_ASCII" || stored == "SQL_ASCII"
            }
            _ => false,
        };
        Printing {
            iso_dates: of("DateStyle").is_some_and(|style| style.starts_with("ISO")),
            floats_exact: false,
            bytes_alike: false,
            texts_as_stored: as_stored,
        }
    }

    /// Asked each time: roles, databases and servers have defaults, which may change.
    pub(super) async fn ask_printing(
        &mut self,
        sites: &[usize],
        reported: Printing,
    ) -> Result<Printing, Stop> {
        let mut forms = BTreeSet::new();
        let mut floats_exact = true;
        for &at in sites {
            self.relay.captured.clear();
            self.say(at, QUESTION, Show::Capture).await?;
            let captured = self.relay.captured.split();
            let rows = captured_rows(&captured)?;
            let Some(&[Some(digits), Some(form)]) = rows.first().map(Vec::as_slice) else {
                return Err(Error::internal("a server does not know its settings").into());
            };
            floats_exact &= digits.parse::<i32>().is_ok_and(|digits| digits > 0);
            forms.insert(form.to_owned());
        }
        Ok(Printing { floats_exact, bytes_alike: forms.len() == 1, ..reported })
    }
}
