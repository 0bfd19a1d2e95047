//! What a statement says, without knowing any rules. Home of sqlparser.
pub mod control;
