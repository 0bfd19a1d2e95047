//! Rows with equal keys become one.
use super::combine::{Combiner, Total};
use super::key::Part;
use super::{Bounds, Column, MergeError, Printing, Step, key_of, key_of_values, values};
use crate::plan::several::{Collation, Role};
use crate::wire::encode;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Every row of every stream is taken before the first group is given.
pub struct Groups {
    columns: Vec<Treatment>,
    keys: Vec<Part>,
    /// How the groups are to be sorted.
    order: Vec<Part>,
    groups: HashMap<Vec<u8>, Vec<Cell>>,
    /// What is left of the memory.
    bytes: usize,
    open: usize,
    /// All groups, the last first.
    formed: Option<Vec<Bytes>>,
}

#[derive(Clone, Copy)]
enum Treatment {
    Key,
    Combined(Combiner),
}

/// One column of a group; `None` is NULL.
enum Cell {
    Key(Option<Vec<u8>>),
    Combined(Option<Total>),
}

impl Groups {
    pub fn new(
        roles: &[Role],
        columns: &[Column],
        texts: Collation,
        order: Vec<Part>,
        bounds: Bounds,
        printing: Printing,
    ) -> Option<Self> {
        if roles.len() != columns.len() {
            return None;
        }
        let (mut keys, mut treated) = (Vec::new(), Vec::new());
        for (position, (role, column)) in roles.iter().zip(columns).enumerate() {
            treated.push(match role {
                Role::Key => {
                    keys.push(Part::equal(position, columns, texts, printing)?);
                    Treatment::Key
                }
                Role::Combine(how) => Treatment::Combined(Combiner::of(*how, *column, printing)?),
            });
        }
        let (groups, bytes) = (HashMap::new(), bounds.bytes);
        Some(Self { columns: treated, keys, order, groups, bytes, open: 0, formed: None })
    }

    pub fn streams(mut self, streams: usize) -> Self {
        self.open = streams;
        self
    }

    pub fn end(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    pub fn push(&mut self, row: &[u8]) -> Result<(), MergeError> {
        /// What a group takes besides its bytes, and each of its columns, about.
        const OVERHEAD: usize = 96;
        let values = values(row)?;
        let key = key_of_values(&values, &self.keys)?;
        let cells = match self.groups.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let size = entry.key().len() + row.len() + OVERHEAD * (1 + self.columns.len());
                let left = self.bytes.checked_sub(size);
                self.bytes = left.ok_or(MergeError::TooLarge)?;
                let cell = |(treated, value): (&Treatment, &Option<&[u8]>)| match treated {
                    Treatment::Key => Cell::Key(value.map(<[u8]>::to_vec)),
                    Treatment::Combined(_) => Cell::Combined(None),
                };
                entry.insert(self.columns.iter().zip(&values).map(cell).collect())
            }
        };
        for ((treated, cell), value) in self.columns.iter().zip(cells).zip(values) {
            if let (Treatment::Combined(combiner), Cell::Combined(total), Some(value)) =
                (treated, cell, value)
            {
                *total = Some(combiner.add(total.take(), value)?);
            }
        }
        Ok(())
    }

    pub fn step(&mut self) -> Result<Step, MergeError> {
        if self.open > 0 {
            return Ok(Step::Any);
        }
        let formed = match &mut self.formed {
            Some(formed) => formed,
            None => {
                let formed = self.form()?;
                self.formed.insert(formed)
            }
        };
        Ok(formed.pop().map_or(Step::Done, Step::Row))
    }

    fn form(&mut self) -> Result<Vec<Bytes>, MergeError> {
        let mut rows = Vec::with_capacity(self.groups.len());
        for (_, cells) in self.groups.drain() {
            rows.push(written(&self.columns, &cells)?);
        }
        if !self.order.is_empty() {
            let keyed = rows.into_iter().map(|row| Ok((key_of(&row, &self.order)?, row)));
            let mut keyed = keyed.collect::<Result<Vec<_>, MergeError>>()?;
            keyed.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
            rows = keyed.into_iter().map(|(_, row)| row).collect();
        }
        Ok(rows)
    }
}

/// A group as a DataRow message.
fn written(columns: &[Treatment], cells: &[Cell]) -> Result<Bytes, MergeError> {
    let mut values = Vec::with_capacity(cells.len());
    for (treated, cell) in columns.iter().zip(cells) {
        values.push(match (treated, cell) {
            (Treatment::Combined(combiner), Cell::Combined(Some(total))) => {
                Some(combiner.write(total)?)
            }
            (_, Cell::Key(value)) => value.clone(),
            (_, Cell::Combined(_)) => None,
        });
    }
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    let mut message = BytesMut::new();
    encode::data_row(&values, &mut message);
    Ok(message.freeze())
}
