//! MERGE INTO … USING … ON … WHEN ….
use super::parse::{Reader, Unread};
use super::statement::{Action, Merge, MergeAction};
use sqlparser::ast::{
    self, MergeAction as Parsed, MergeClause, MergeClauseKind, MergeInsertKind, MergeUpdateKind,
    OutputClause,
};

impl Reader {
    pub(super) fn merge(&mut self, merge: &ast::Merge) -> Result<Merge, Unread> {
        let returning = match &merge.output {
            None => Vec::new(),
            Some(OutputClause::Returning { select_items, .. }) => self.outputs(select_items)?,
            Some(OutputClause::Output { .. }) => return Err(Unread::unsupported("OUTPUT")),
        };
        Ok(Merge {
            recursive: false,
            ctes: Vec::new(),
            table: self.table(&merge.table)?,
            source: self.factor(&merge.source)?,
            on: self.expr(&merge.on)?,
            actions: merge
                .clauses
                .iter()
                .map(|clause| self.when(clause))
                .collect::<Result<_, _>>()?,
            returning,
        })
    }

    fn when(&mut self, clause: &MergeClause) -> Result<MergeAction, Unread> {
        let action = match &clause.action {
            Parsed::DoNothing { .. } => Action::Nothing,
            Parsed::Delete { .. } => Action::Delete,
            Parsed::Update(update) => {
                if update.update_predicate.is_some() || update.delete_predicate.is_some() {
                    return Err(Unread::unsupported("a predicate of MERGE … UPDATE"));
                }
                match &update.kind {
                    MergeUpdateKind::Set(set) => Action::Update(self.assignments(set)?),
                    MergeUpdateKind::Wildcard => return Err(Unread::unsupported("UPDATE SET *")),
                }
            }
            Parsed::Insert(insert) => {
                let values = match &insert.kind {
                    MergeInsertKind::Values(values) => match values.rows.as_slice() {
                        [row] => row
                            .content
                            .iter()
                            .map(|expr| self.or_default(expr))
                            .collect::<Result<_, _>>()?,
                        _ => return Err(Unread::unsupported("MERGE inserting several rows")),
                    },
                    MergeInsertKind::Row | MergeInsertKind::Wildcard => {
                        return Err(Unread::unsupported("INSERT ROW"));
                    }
                };
                Action::Insert { columns: super::insert::columns(&insert.columns)?, values }
            }
        };
        let by_source = match clause.clause_kind {
            MergeClauseKind::NotMatchedBySource => true,
            MergeClauseKind::Matched
            | MergeClauseKind::NotMatched
            | MergeClauseKind::NotMatchedByTarget => false,
        };
        Ok(MergeAction { by_source, filter: self.exprs(&clause.predicate)?.pop(), action })
    }
}
