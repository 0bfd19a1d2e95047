//! How many rows a table has, and what they are.
use super::source::SourceTable;
use super::{failed, quoted};
use crate::backend::control::Client;
use crate::error::Error;

/// What is compared at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    Rows,
    /// Also a sum over the hashes of the rows' text.
    Contents,
}

/// What a table has. Those of parts add up to that of the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Measured {
    pub rows: i64,
    pub hashes: i128,
}

impl std::ops::Add for Measured {
    type Output = Measured;

    fn add(self, other: Measured) -> Measured {
        // Wrapping, so that the order of adding does not matter.
        let hashes = self.hashes.wrapping_add(other.hashes);
        Measured { rows: self.rows.saturating_add(other.rows), hashes }
    }
}

pub async fn measure(
    client: &Client,
    table: &SourceTable,
    measure: Measure,
) -> Result<Measured, Error> {
    let columns: Vec<_> = table.columns.iter().map(|column| quoted(column)).collect();
    let hashes = match measure {
        Measure::Rows => String::from("0"),
        Measure::Contents => {
            format!(
                "coalesce(sum(hashtextextended(ROW({})::text, 0)::numeric), 0)",
                columns.join(", ")
            )
        }
    };
    let query = format!("SELECT count(*), ({hashes})::text FROM ONLY {}", table.quoted());
    let row = client.query_one(&query, &[]).await.map_err(failed)?;
    let hashes: String = row.try_get(1).map_err(failed)?;
    let hashes = hashes.parse().map_err(|_| Error::internal("a sum of hashes is too large"))?;
    Ok(Measured { rows: row.try_get(0).map_err(failed)?, hashes })
}
