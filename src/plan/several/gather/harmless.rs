//! Expressions that work out whatever the values are. Sums and products can be too large; nothing is
//! made of that.
use crate::plan::several::Subject;
use crate::sql::block::Bytes;
use crate::sql::lexer::TokenKind;

const OPERATORS: &[&str] =
    &["!=", "*", "+", "-", "->", "->>", "<", "<=", "<>", "=", ">", ">=", "||"];
/// Functions, aggregates among them, and words that a parenthesis may follow.
const CALLS: &[&str] = &[
    "abs",
    "all",
    "and",
    "any",
    "any_value",
    "array",
    "array_agg",
    "avg",
    "between",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "btrim",
    "by",
    "ceil",
    "ceiling",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "cume_dist",
    "date_part",
    "date_trunc",
    "dense_rank",
    "distinct",
    "else",
    "every",
    "extract",
    "filter",
    "first_value",
    "floor",
    "gen_random_uuid",
    "greatest",
    "group",
    "in",
    "initcap",
    "is",
    "json_agg",
    "json_build_array",
    "jsonb_agg",
    "jsonb_build_array",
    "lag",
    "last_value",
    "lead",
    "least",
    "left",
    "length",
    "like",
    "lower",
    "ltrim",
    "max",
    "md5",
    "min",
    "not",
    "nullif",
    "or",
    "over",
    "percent_rank",
    "position",
    "random",
    "rank",
    "replace",
    "right",
    "round",
    "row",
    "row_number",
    "rtrim",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "then",
    "trim",
    "upper",
    "when",
];

pub fn is_harmless(bytes: &Bytes, subject: &Subject<'_, '_>) -> bool {
    let tokens = &subject.tokens;
    tokens.within(bytes).all(|at| match tokens.kind(at) {
        // As a text everything can be written.
        Some(TokenKind::Cast) => tokens.name(at + 1).is_some_and(|name| name == "text"),
        Some(TokenKind::Operator) => tokens.source(at).is_some_and(|op| OPERATORS.contains(&op)),
        Some(kind) if kind.is_name() && tokens.kind(at + 1) == Some(TokenKind::OpenParen) => {
            tokens.name(at).is_some_and(|name| CALLS.contains(&name.as_str()))
        }
        // A subquery may find too many rows.
        Some(kind) if kind.is_name() => tokens.name(at).is_none_or(|name| name != "select"),
        Some(_) | None => true,
    })
}
