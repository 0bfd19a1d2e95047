//! Which queries each shard answers for its own rows, and how the answers are united.
use super::{Collation, Merge, Rows, Subject, Ties};
use crate::sql::rewrite::Template;
use crate::sql::statement::{Body, Distinct, Expr, Grouping, Output, Select};

/// `None`: that is not proved to be possible.
pub fn plan(subject: &Subject<'_, '_>) -> Option<Merge> {
    let query = subject.query;
    let Body::Select(select) = &query.body else { return None };
    let frame = subject.analyst.frames.iter().rev().find(|frame| frame.at == select.at)?;
    frame.anchor.as_ref()?;
    if !query.tail.is_empty() || query.limited || !is_plain(select) {
        return None;
    }
    Some(Merge {
        query: Template::spliced(subject.shape, &[]),
        hidden: 0,
        rows: Rows::All,
        texts: Collation::Unknown,
        order: Vec::new(),
        offset: None,
        limit: None,
        ties: Ties::Cut,
    })
}

/// Every row of the core is a row of the answer.
fn is_plain(select: &Select) -> bool {
    let calls = |output: &Output| match output {
        Output::Star | Output::StarOf(_) => false,
        Output::Expr { expr, .. } => !matches!(expr, Expr::Column(_)),
    };
    matches!(select.distinct, Distinct::No)
        && matches!(select.grouping, Grouping::None)
        && select.having.is_none()
        && !select.windowed
        && !select.outputs.iter().any(calls)
}
