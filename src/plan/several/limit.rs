//! LIMIT and OFFSET: what weir counts, and how many rows a shard has to send for it.
//!
//! A shard's rows after its first LIMIT + OFFSET are not among the answer's, under whatever order the
//! rows come. With WITH TIES its ties are sent, too: if it has more rows before the cut than that, all of them are
//! equal to the last.
use super::{Count, Template};
use crate::sql::block::{Amount, Tail, Value};

#[derive(Debug, Default)]
pub struct Limits {
    pub limit: Option<Count>,
    pub offset: Option<Count>,
    /// What a shard is told.
    pub pushed: Template,
}

/// `None`: a number that is worked out from an expression.
pub fn of(tail: &Tail) -> Option<Limits> {
    let count = |amount: &Option<Amount>| match amount.as_ref().map(|amount| &amount.value) {
        None | Some(Value::All) => Some(None),
        Some(Value::Number(number)) => Some(Some(Count::Number(*number))),
        Some(Value::Param(number)) => Some(Some(Count::Param(*number))),
        Some(Value::Other(_)) => None,
    };
    let (limit, offset) = (count(&tail.limit)?, count(&tail.offset)?);
    let mut pushed = Template::default();
    if let Some(number) = limit.and_then(|limit| share(limit, offset)) {
        pushed.text(match tail.ties {
            false => format!(" LIMIT {number}"),
            true => format!(" FETCH FIRST ({number}) ROWS WITH TIES"),
        });
    }
    Some(Limits { limit, offset, pushed })
}

/// LIMIT + OFFSET, in SQL. `None`: more than there can be rows.
fn share(limit: Count, offset: Option<Count>) -> Option<String> {
    match (limit, offset) {
        (Count::Number(limit), None) => Some(limit.to_string()),
        (Count::Number(limit), Some(Count::Number(offset))) => {
            let sum = limit.checked_add(offset)?;
            i64::try_from(sum).ok().map(|sum| sum.to_string())
        }
        (Count::Param(limit), None) => Some(format!("${limit}")),
        // No sum is too large for numeric, and NULL means no limit, or no offset.
        (limit, Some(offset)) => Some(format!(
            "least({} + coalesce({}, 0), 9223372036854775807)::pg_catalog.int8",
            numeric(limit),
            numeric(offset)
        )),
    }
}

fn numeric(count: Count) -> String {
    match count {
        Count::Number(number) => format!("{number}::pg_catalog.numeric"),
        Count::Param(number) => format!("(${number})::pg_catalog.int8::pg_catalog.numeric"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::block::Blocks;

    #[track_caller]
    fn check(tail: &str, expected: &str) {
        let blocks = Blocks::of(&format!("SELECT a FROM t {tail}")).unwrap();
        let pushed =
            of(&blocks.whole().unwrap().tail).map(|limits| match limits.pushed.0.first() {
                Some(super::super::Piece::Text(text)) => text.clone(),
                Some(super::super::Piece::Range(_) | super::super::Piece::Time(_)) | None => {
                    String::new()
                }
            });
        assert_eq!(pushed.as_deref().unwrap_or("not pushed"), expected, "{tail}");
    }

    #[test]
    fn a_shard_sends_as_many_rows_as_limit_and_offset_need() {
        check("LIMIT 5", " LIMIT 5");
        check("LIMIT 5 OFFSET 10", " LIMIT 15");
        check("OFFSET 10", "");
        check("LIMIT $1", " LIMIT $1");
        check("FETCH FIRST 5 ROWS WITH TIES", " FETCH FIRST (5) ROWS WITH TIES");
    }

    #[test]
    fn a_sum_of_parameters_cannot_overflow() {
        check(
            "LIMIT $1 OFFSET 2",
            " LIMIT least(($1)::pg_catalog.int8::pg_catalog.numeric + \
             coalesce(2::pg_catalog.numeric, 0), 9223372036854775807)::pg_catalog.int8",
        );
        check("LIMIT 9223372036854775807 OFFSET 1", "");
    }

    #[test]
    fn an_expression_is_no_number() {
        check("LIMIT 1 + 1", "not pushed");
        check("LIMIT -1", "not pushed");
        check("OFFSET (SELECT 1)", "not pushed");
    }
}
