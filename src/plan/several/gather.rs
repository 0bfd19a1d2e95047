//! How a query is cut into fragments that the shards answer and a rest that the gather database runs.
use super::{Gather, Subject};
use crate::plan::Unroutable;

pub fn plan(_subject: &Subject<'_, '_>) -> Result<Gather, Unroutable> {
    Err(Unroutable::Unsupported { what: String::from("a query over several shards like this") })
}
