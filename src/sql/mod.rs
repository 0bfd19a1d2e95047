//! What a statement says, without knowing any rules. Home of sqlparser.
pub mod lexer;
pub mod escape;
pub mod split;
pub mod hint;
pub mod shape;
pub mod rewrite;
pub mod compat;
pub mod verb;
pub mod control;
