//! Groups whose rows are on several shards: each shard groups its own, weir combines groups with equal
//! keys. Every output is a key or one aggregate whose parts add up to the whole.
use super::core::Core;
use super::order::{self, Target};
use super::{Combine, Merge, Role, Rows, SortKey, Template, Ties, limit};
use crate::sql::block::Bytes;
use crate::sql::statement::{Call, CallClause, Distinct, Expr, Grouping, Output};

/// `None`: something is to be worked out from the combined aggregates.
pub fn plan(core: &Core<'_>) -> Option<Merge> {
    let select = core.select;
    if select.having.is_some() || !matches!(select.distinct, Distinct::No) || select.windowed {
        return None;
    }
    let groups = groups(core)?;
    let mut roles = Vec::new();
    for (item, output) in select.outputs.iter().enumerate() {
        let Output::Expr { expr, .. } = output else { return None };
        let (_, at) = core.output(item)?;
        roles.push(match expr {
            _ if groups.iter().any(|group| group.is(core, item, &at, expr)) => Role::Key,
            Expr::Call(call) => Role::Combine(combine(core, call)?),
            _ => return None,
        });
    }
    let keys: Vec<SortKey> = core
        .parts
        .tail
        .keys
        .iter()
        .zip(core.order)
        .map(|(key, expr)| match order::target(core, &key.expr, expr)? {
            Target::Output(item) => {
                let (expr, at) = core.output(item)?;
                order::sort_key(key, item, core.collation(expr, &at))
            }
            Target::Expr => None,
        })
        .collect::<Option<_>>()?;
    let (query, hidden) = query(core, &groups, &roles)?;
    let visible = Some(roles.len());
    roles.extend(std::iter::repeat_n(Role::Key, hidden));
    let limits = limit::of(&core.parts.tail)?;
    Some(Merge {
        query,
        hidden,
        visible,
        rows: Rows::Groups(roles),
        texts: core.texts(),
        order: keys,
        offset: limits.offset,
        limit: limits.limit,
        ties: if core.parts.tail.ties { Ties::Kept } else { Ties::Cut },
    })
}

/// An expression of GROUP BY.
pub struct GroupBy<'q> {
    pub expr: &'q Expr,
    pub at: Bytes,
    /// The output that it means by number or name.
    pub item: Option<usize>,
}

/// `None`: it is not clear what they mean.
pub fn groups<'q>(core: &Core<'q>) -> Option<Vec<GroupBy<'q>>> {
    let (Grouping::By(exprs), Some(group)) = (&core.select.grouping, &core.block.group) else {
        return matches!(core.select.grouping, Grouping::None).then(Vec::new);
    };
    // `GROUP BY (a, b)` are two keys.
    if group.distinct || exprs.iter().any(|expr| matches!(expr, Expr::Row(_))) {
        return None;
    }
    let written = exprs.iter().zip(&group.items);
    written.map(|(expr, at)| group_by(core, expr, at.clone())).collect()
}

fn group_by<'q>(core: &Core<'q>, expr: &'q Expr, at: Bytes) -> Option<GroupBy<'q>> {
    let item = match expr {
        Expr::Literal(_) => Some(core.ordinal(expr)?),
        // A column of FROM comes before an output of that name.
        Expr::Column(parts) => match parts.as_slice() {
            [name] if !core.has_column(name)? => Some(order::named(core, name)??),
            _ => None,
        },
        _ => None,
    };
    Some(match item {
        None => GroupBy { expr, at, item },
        Some(output) => {
            let (expr, at) = core.output(output)?;
            GroupBy { expr, at, item }
        }
    })
}

impl GroupBy<'_> {
    /// Is the output this group's key?
    fn is(&self, core: &Core<'_>, item: usize, at: &Bytes, expr: &Expr) -> bool {
        self.item == Some(item) || core.same(&self.at, at) || self.is_column(core, expr)
    }

    /// The same column, though it may be spelled in another way.
    pub fn is_column(&self, core: &Core<'_>, expr: &Expr) -> bool {
        let column = |expr: &Expr| match expr {
            Expr::Column(parts) => {
                core.column(parts).map(|(table, column)| (table.at.start, &column.name))
            }
            _ => None,
        };
        column(self.expr).is_some_and(|one| column(expr) == Some(one))
    }
}

/// How the parts of an aggregate are combined. `None`: they don't add up, or not in weir.
fn combine(core: &Core<'_>, call: &Call) -> Option<Combine> {
    let simple = call.clauses.iter().all(|clause| match clause {
        CallClause::Filter => true,
        CallClause::Distinct
        | CallClause::Ordered
        | CallClause::WithinGroup
        | CallClause::Over(_) => false,
    });
    if !simple || !core.subject.analyst.is_builtin(call) {
        return None;
    }
    Some(match call.name.name.as_str() {
        "count" | "sum" => Combine::Sum,
        "min" => Combine::Min,
        "max" => Combine::Max,
        "bool_and" | "every" => Combine::And,
        "bool_or" => Combine::Or,
        "bit_and" => Combine::BitAnd,
        "bit_or" => Combine::BitOr,
        "bit_xor" => Combine::BitXor,
        _ => return None,
    })
}

/// The client's text without ORDER BY and LIMIT; keys that are no outputs are hidden columns.
fn query(core: &Core<'_>, groups: &[GroupBy<'_>], roles: &[Role]) -> Option<(Template, usize)> {
    let mut query = Template::default();
    let outputs_end = core.block.outputs.last()?.range.end;
    query.range(0..outputs_end);
    let mut hidden = 0;
    for group in groups {
        let shown = roles.iter().enumerate().any(|(item, role)| {
            *role == Role::Key
                && core.output(item).is_some_and(|(expr, at)| group.is(core, item, &at, expr))
        });
        if !shown {
            hidden += 1;
            query.text(", (");
            query.range(group.at.clone());
            query.text(format!(") AS weir_{hidden}"));
        }
    }
    query.range(outputs_end..core.block.range.end);
    Some((query, hidden))
}
