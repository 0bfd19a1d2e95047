//! A statement's parameters as the client bound them: borrowed, undecoded.
use crate::ids::Oid;

/// One bound value in its wire format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    Null,
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

/// `$1` is `values[0]`. A type of `Oid(0)`, or one missing from `types`, was left to the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a> {
    pub types: &'a [Oid],
    pub values: &'a [Value<'a>],
}
