//! Streams that are sorted become one that is.
use super::key::Part;
use super::{MergeError, Step, key_of};
use bytes::Bytes;

/// Holds the next row of every stream. Equal rows come in the order of their streams.
pub struct Order {
    parts: Vec<Part>,
    /// The streams whose next row is here, the last first.
    heads: Vec<Head>,
    /// The streams whose next row is not here.
    wanted: Vec<usize>,
}

struct Head {
    key: Vec<u8>,
    stream: usize,
    row: Bytes,
}

impl Order {
    pub fn new(parts: Vec<Part>, streams: usize) -> Self {
        Self { parts, heads: Vec::new(), wanted: (0..streams).rev().collect() }
    }

    pub fn step(&mut self) -> Step {
        if let Some(stream) = self.wanted.last() {
            return Step::Of(*stream);
        }
        match self.heads.pop() {
            None => Step::Done,
            Some(head) => {
                self.wanted.push(head.stream);
                Step::Row(head.row)
            }
        }
    }

    pub fn push(&mut self, stream: usize, row: Bytes) -> Result<(), MergeError> {
        self.end(stream);
        let key = key_of(&row, &self.parts)?;
        let later = |head: &Head| (&head.key, head.stream) > (&key, stream);
        let place = self.heads.partition_point(later);
        self.heads.insert(place, Head { key, stream, row });
        Ok(())
    }

    pub fn end(&mut self, stream: usize) {
        self.wanted.retain(|wanted| *wanted != stream);
    }
}
