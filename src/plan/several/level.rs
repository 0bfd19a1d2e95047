//! What a SELECT does on its own level: where it names the key of its core, whether it aggregates, over
//! what its windows look. Subqueries are levels of their own.
use crate::plan::analyst::Analyst;
use crate::plan::keys::Var;
use crate::plan::meaning::{self, Names};
use crate::plan::names;
use crate::plan::predicate::column;
use crate::plan::scope::Scope;
use crate::sql::statement::{
    Body, Call, Distinct, Expr, From, Grouping, On, Output, Over, Query, Select, Window,
};
use std::collections::HashSet;

/// pg_catalog's aggregates.
const AGGREGATES: &[&str] = &[
    "any_value",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "cume_dist",
    "dense_rank",
    "every",
    "grouping",
    "json_agg",
    "json_agg_strict",
    "json_arrayagg",
    "json_object_agg",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "json_objectagg",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_object_agg",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "max",
    "min",
    "mode",
    "percent_rank",
    "percentile_cont",
    "percentile_disc",
    "range_agg",
    "range_intersect_agg",
    "rank",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
    "xmlagg",
];

/// Whether a SELECT's level has aggregates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Aggregates {
    None,
    Some,
    /// An aggregate in a subquery may be this level's.
    Unclear,
}

/// Everything that is worked out after FROM, WHERE and GROUP BY.
pub fn exprs<'s>(select: &'s Select, tail: &'s [Expr]) -> Vec<&'s Expr> {
    let outputs = select.outputs.iter().filter_map(|output| match output {
        Output::Expr { expr, .. } => Some(expr),
        Output::Star | Output::StarOf(_) => None,
    });
    let mut all: Vec<&Expr> = outputs.chain(&select.having).collect();
    all.extend(select.windows.iter().flat_map(|window| &window.exprs));
    if let Distinct::On(exprs) = &select.distinct {
        all.extend(exprs);
    }
    all.extend(tail);
    all
}

/// What stands directly in an expression.
pub fn operands(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Column(_) | Expr::Literal(_) | Expr::Param(_) | Expr::Star => Vec::new(),
        Expr::Subquery(_) => Vec::new(),
        Expr::Cast(inner, _)
        | Expr::Negative(inner)
        | Expr::IsNull(inner)
        | Expr::InQuery(inner, _) => vec![inner],
        Expr::Equal(left, right) | Expr::EqualAny(left, right) => vec![left, right],
        Expr::InList(left, list) => std::iter::once(&**left).chain(list).collect(),
        Expr::And(parts) | Expr::Row(parts) | Expr::Array(parts) | Expr::Other(parts) => {
            parts.iter().collect()
        }
        Expr::Call(call) => call.operands.iter().collect(),
    }
}

/// An expression and all below it, subqueries left out.
pub fn walk<'e>(expr: &'e Expr, each: &mut dyn FnMut(&'e Expr)) {
    each(expr);
    for operand in operands(expr) {
        walk(operand, each);
    }
}

/// The subquery that an expression is, or has at its right.
pub fn subquery(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Subquery(query) | Expr::InQuery(_, query) => Some(query),
        Expr::Column(_)
        | Expr::Literal(_)
        | Expr::Param(_)
        | Expr::Cast(..)
        | Expr::Negative(_)
        | Expr::Equal(..)
        | Expr::And(_)
        | Expr::InList(..)
        | Expr::EqualAny(..)
        | Expr::IsNull(_)
        | Expr::Row(_)
        | Expr::Array(_)
        | Expr::Call(_)
        | Expr::Star
        | Expr::Other(_) => None,
    }
}

pub fn has_subquery(expr: &Expr) -> bool {
    let mut found = false;
    walk(expr, &mut |expr| found |= subquery(expr).is_some());
    found
}

/// The columns of this level, as they are spelled, whose value is the key of the row's shard.
pub fn by_key(
    select: &Select,
    tail: &[Expr],
    scope: &Scope<'_>,
    class: &HashSet<Var>,
) -> HashSet<Vec<String>> {
    let mut all = exprs(select, tail);
    all.extend(grouped(select));
    let mut spelled = HashSet::new();
    for expr in all {
        walk(expr, &mut |expr| {
            if let (Expr::Column(parts), Some(found)) = (expr, column(expr, scope))
                && found.item.is_some()
                && !found.cell.nullable
                && class.contains(&found.cell.var)
            {
                spelled.insert(parts.clone());
            }
        });
    }
    spelled
}

impl Analyst<'_> {
    pub fn aggregates(&self, select: &Select, tail: &[Expr]) -> Aggregates {
        let mut found = match select.having.is_some() {
            true => Aggregates::Some,
            false => Aggregates::None,
        };
        for expr in exprs(select, tail) {
            walk(expr, &mut |expr| {
                found = found.max(match expr {
                    Expr::Call(call) if self.is_aggregate(call) => Aggregates::Some,
                    _ => match subquery(expr) {
                        Some(query) if self.lends(query) => Aggregates::Unclear,
                        Some(_) | None => Aggregates::None,
                    },
                });
            });
        }
        found
    }

    /// Called without OVER.
    pub fn is_aggregate(&self, call: &Call) -> bool {
        if call.over().is_some() {
            return false;
        }
        let mut own = self.context.catalog.functions(&call.name.name);
        let plain = matches!(call.name.schema.as_deref(), None | Some("pg_catalog"));
        (plain && AGGREGATES.contains(&call.name.name.as_str())) || own.any(|own| own.aggregate)
    }

    /// A call of pg_catalog's, and of no function of a user's.
    pub fn is_builtin(&self, call: &Call) -> bool {
        match call.name.schema.as_deref() {
            Some(schema) => schema == "pg_catalog",
            None => self.context.catalog.functions(&call.name.name).next().is_none(),
        }
    }

    /// Might an aggregate in this subquery be one of the query around it? It is if all its columns are.
    fn lends(&self, query: &Query) -> bool {
        let mut lends = query.ctes.iter().any(|cte| self.lends(&cte.query));
        lends |= self.body_lends(&query.body, &query.tail);
        lends
    }

    fn body_lends(&self, body: &Body, tail: &[Expr]) -> bool {
        match body {
            Body::Select(select) => self.select_lends(select, tail),
            Body::Nested(query) => self.lends(query),
            Body::Set(left, right) => self.body_lends(left, &[]) || self.body_lends(right, &[]),
            Body::Values(rows) => {
                rows.iter().flatten().any(|expr| self.expr_lends(expr, &HashSet::new()))
            }
            Body::Write(_) => true,
        }
    }

    fn select_lends(&self, select: &Select, tail: &[Expr]) -> bool {
        let mut labels = HashSet::new();
        let mut inside = false;
        for from in &select.from {
            inside |= self.item_lends(from, &mut labels);
        }
        let mut all = exprs(select, tail);
        all.extend(&select.filter);
        all.extend(grouped(select));
        inside || all.into_iter().any(|expr| self.expr_lends(expr, &labels))
    }

    fn expr_lends(&self, expr: &Expr, own: &HashSet<String>) -> bool {
        let mut lends = false;
        walk(expr, &mut |expr| {
            lends |= subquery(expr).is_some_and(|query| self.lends(query));
            let Expr::Call(call) = expr else { return };
            if !self.is_aggregate(call) {
                return;
            }
            let (mut columns, mut inner) = (false, false);
            for operand in &call.operands {
                walk(operand, &mut |operand| {
                    if let Expr::Column(parts) = operand {
                        columns = true;
                        inner |= match parts.as_slice() {
                            [.., label, _] => own.contains(label),
                            [column] => own.contains(&format!(".{column}")),
                            [] => false,
                        };
                    }
                });
            }
            lends |= columns && !inner;
        });
        lends
    }

    /// Gathers what FROM calls its items, and `.column` for the columns that they surely have.
    fn item_lends(&self, from: &From, labels: &mut HashSet<String>) -> bool {
        match from {
            From::Table(table) => {
                let label = table.alias.name.as_ref().unwrap_or(&table.name.name);
                labels.insert(label.clone());
                let found = names::find(&table.name, self.context).ok();
                let cte = self.uses.iter().all(|known| known.at != table.at);
                if let Some(columns) = found.as_ref().and_then(|found| found.columns())
                    && table.alias.columns.is_empty()
                    && !cte
                {
                    labels.extend(columns.iter().map(|column| format!(".{}", column.name)));
                }
                false
            }
            From::Derived { query, alias, .. } => {
                labels.extend(alias.name.clone());
                self.lends(query)
            }
            From::Function { operands, alias } => {
                labels.extend(alias.name.clone());
                operands.iter().any(|operand| self.expr_lends(operand, &HashSet::new()))
            }
            From::Join(join) => {
                let inside = self.item_lends(&join.left, labels);
                let inside = self.item_lends(&join.right, labels) || inside;
                inside
                    || match &join.on {
                        On::Expr(expr) => self.expr_lends(expr, labels),
                        On::Nothing | On::Using(_) | On::Natural => false,
                    }
            }
        }
    }
}

/// Whether every window of the level looks at rows of one key only.
pub fn windows_by_key(select: &Select, tail: &[Expr], keys: &HashSet<Vec<String>>) -> bool {
    let mut kept = true;
    for expr in exprs(select, tail) {
        walk(expr, &mut |expr| {
            if let Expr::Call(call) = expr
                && let Some(over) = call.over()
            {
                kept &= by_some(over, &call.operands, &select.windows, keys);
            }
        });
    }
    kept
}

fn by_some(
    over: &Over,
    operands: &[Expr],
    windows: &[Window],
    keys: &HashSet<Vec<String>>,
) -> bool {
    let own = operands.get(over.partition.clone()).unwrap_or_default();
    let base = over.base.as_ref().and_then(|base| {
        let at = windows.iter().position(|window| window.name == *base)?;
        let (window, earlier) = (windows.get(at)?, windows.get(..at)?);
        Some(by_some(&window.over, &window.exprs, earlier, keys))
    });
    is_key_among(own, keys) || base.unwrap_or(false)
}

pub fn is_key_among(exprs: &[Expr], keys: &HashSet<Vec<String>>) -> bool {
    exprs.iter().any(|expr| is_key(expr, keys))
}

/// Whether one of these items of GROUP BY or DISTINCT ON stands for the key.
pub fn means_key(
    items: &[Expr],
    select: &Select,
    names: Names,
    keys: &HashSet<Vec<String>>,
) -> bool {
    items
        .iter()
        .any(|item| meaning::meant(item, select, names).is_some_and(|expr| is_key(expr, keys)))
}

/// Whether DISTINCT, if there is one, compares rows of one key only.
pub fn distinct_by_key(select: &Select, keys: &HashSet<Vec<String>>) -> bool {
    match &select.distinct {
        Distinct::No => true,
        Distinct::On(exprs) => means_key(exprs, select, Names::Outputs, keys),
        Distinct::Rows => select
            .outputs
            .iter()
            .any(|output| matches!(output, Output::Expr { expr, .. } if is_key(expr, keys))),
    }
}

pub fn is_key(expr: &Expr, keys: &HashSet<Vec<String>>) -> bool {
    matches!(expr, Expr::Column(parts) if keys.contains(parts))
}

/// Does the level call a window function?
pub fn windowed(select: &Select, tail: &[Expr]) -> bool {
    let mut found = select.windowed;
    for expr in exprs(select, tail) {
        walk(expr, &mut |expr| found |= matches!(expr, Expr::Call(call) if call.over().is_some()));
    }
    found
}

/// Whether a shard's own rows are all that the level looks at: groups, windows and duplicates are of one
/// key, and no row is left out for another's sake. `keys`: columns that are the key.
pub fn is_local(
    analyst: &Analyst<'_>,
    select: &Select,
    tail: &[Expr],
    keys: &HashSet<Vec<String>>,
) -> bool {
    let groups = match (&select.grouping, analyst.aggregates(select, tail)) {
        (_, Aggregates::Unclear) | (Grouping::Sets(_), _) => false,
        (Grouping::None, Aggregates::None) => true,
        (Grouping::None, Aggregates::Some) => false,
        (Grouping::By(exprs), _) => means_key(exprs, select, Names::Columns, keys),
    };
    let distinct = distinct_by_key(select, keys);
    groups && distinct && (windows_by_key(select, tail, keys) || !windowed(select, tail))
}

/// GROUP BY's expressions.
pub fn grouped(select: &Select) -> &[Expr] {
    match &select.grouping {
        Grouping::None => &[],
        Grouping::By(exprs) | Grouping::Sets(exprs) => exprs,
    }
}
