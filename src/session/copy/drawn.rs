//! COPY into a table whose sharding key comes from a sequence: weir draws the values on the home shard, since where
//! a row lives depends on its key.
//!
//! The transaction's own connections are in the midst of the COPY, so another one asks: what is drawn from a
//! sequence belongs to no transaction. Values are drawn in blocks that grow with the data; what is left of the last
//! one is lost, as it is where a transaction is rolled back.
use super::super::Session;
use super::super::site::apply;
use crate::backend::next_id;
use crate::error::{Error, SqlState};
use crate::exec::budget;
use crate::plan::copy::{Data, Drawn};
use crate::txn::settings::quote_literal;
use crate::wire::copy::Output;
use std::collections::VecDeque;
use std::time::Duration;

/// Values drawn at a time.
const FIRST: usize = 16;
const MOST: usize = 4096;

/// Values for rows that come.
pub struct Drawing {
    /// What gives one value.
    next: String,
    values: VecDeque<i64>,
    block: usize,
}

/// What the shards were given of the data that has come.
pub enum Fed {
    All,
    /// Up to a row for which there is no key.
    NoKeys,
}

impl Drawing {
    pub fn new(drawn: &Drawn) -> Self {
        let next = match drawn.sequence == next_id::CALL {
            true => next_id::CALL.to_owned(),
            false => format!("pg_catalog.nextval({})", quote_literal(&drawn.sequence)),
        };
        Self { next, values: VecDeque::new(), block: FIRST }
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn next(&mut self) -> Option<i64> {
        self.values.pop_front()
    }
}

/// A value as it stands in front of its row.
pub fn in_front(data: &Data, value: i64) -> Vec<u8> {
    Output::front(data.format.clone(), &[Some(value.to_string().as_bytes())])
}

impl Session {
    /// The next block of values.
    pub(super) async fn draw_keys(&mut self, drawing: &mut Drawing) -> Result<(), Error> {
        /// Somebody has locked the sequence, and may be waiting for this transaction.
        const PATIENCE: Duration = Duration::from_secs(10);
        let count = drawing.block;
        drawing.block = (count * 2).min(MOST);
        let text = format!("SELECT {} FROM pg_catalog.generate_series(1, {count})", drawing.next);
        let mut lease = self.lease(self.serving.rules.home).await?;
        let asking = async {
            apply(&mut lease, self.txn.settings.session()).await?;
            lease.ask(&text).await
        };
        let rows = tokio::select! {
            biased;
            rows = tokio::time::timeout(PATIENCE, asking) => rows,
            () = self.relay.budget.spent() => return Err(budget::canceled()),
            () = self.slot.waiting.notified() => return Err(self.slot.reason()),
        };
        let rows = rows.map_err(|_| {
            let message = "the home shard has not drawn the values of a key in time";
            Error::shard(SqlState(*b"55P03"), message)
                .hint("another transaction holds a lock on the sequence")
        })??;
        let values = rows.iter().map(|row| row.first()?.as_deref()?.parse().ok());
        drawing.values = values
            .collect::<Option<VecDeque<i64>>>()
            .filter(|values| values.len() == count)
            .ok_or_else(|| Error::internal("nextval gave no numbers"))?;
        Ok(())
    }
}
