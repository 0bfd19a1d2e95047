//! A merge whose last step is PostgreSQL's: the shards' answers become one table of the gather
//! database, which is ordered, made distinct and cut there.
//!
//! It takes the place of a merge whose columns weir cannot compare: texts under a collation, jsonb.
use super::{Count, Direction, Fragment, Gather, Merge, Nulls, Of, Rows, SortKey, Template, Ties};
use crate::sql::rewrite::Piece;

/// `width`: the columns of the client's answer. `None`: it is not known how many there are, or groups
/// would have to be combined.
pub fn plan(merge: &Merge, width: Option<usize>) -> Option<Gather> {
    let width = width.filter(|width| *width > 0)?;
    let distinct = match merge.rows {
        Rows::All => "",
        Rows::Distinct => "DISTINCT ",
        Rows::Groups(_) => return None,
    };
    let mut query = Template::default();
    query.text("SELECT * FROM (");
    query.0.extend(merge.query.0.iter().cloned());
    query.text(format!(") AS weir ({})", names(width + merge.hidden)));
    let mut residual = format!("SELECT {distinct}{} FROM pg_temp.weir_1", names(width));
    if !merge.order.is_empty() {
        let keys: Vec<String> = merge.order.iter().map(sort_key).collect();
        residual.push_str(&format!(" ORDER BY {}", keys.join(", ")));
    }
    if let Some(offset) = merge.offset {
        residual.push_str(&format!(" OFFSET {}", count(offset)));
    }
    if let Some(limit) = merge.limit {
        residual.push_str(&match merge.ties {
            Ties::Cut => format!(" LIMIT {}", count(limit)),
            Ties::Kept => format!(" FETCH FIRST ({}) ROWS WITH TIES", count(limit)),
        });
    }
    let fragment = Fragment::plain(String::from("weir_1"), query, Of::EveryShard);
    Some(Gather { fragments: vec![fragment], residual: Template(vec![Piece::Text(residual)]) })
}

fn names(count: usize) -> String {
    let names: Vec<String> = (1..=count).map(|number| format!("c{number}")).collect();
    names.join(", ")
}

fn sort_key(key: &SortKey) -> String {
    let direction = match key.direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    };
    let nulls = match key.nulls {
        Nulls::First => "FIRST",
        Nulls::Last => "LAST",
    };
    format!("c{} {direction} NULLS {nulls}", key.column + 1)
}

fn count(count: Count) -> String {
    match count {
        Count::Number(number) => number.to_string(),
        Count::Param(number) => format!("${number}"),
    }
}
