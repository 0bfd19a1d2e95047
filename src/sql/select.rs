//! Queries: CTEs, FROM items, joins and what decides which rows come out.
use super::parse::{Reader, Unread, folded};
use super::statement::{
    Alias, Body, Call, Cte, Distinct, Expr, From, Grouping, Join, JoinKind, Locks, On, Output,
    Over, Place, Query, Select, Statement, TableItem, Window,
};
use sqlparser::ast::{
    self, GroupByExpr, JoinConstraint, JoinOperator, LimitClause, NamedWindowDefinition,
    NamedWindowExpr, OrderByKind, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor, TableWithJoins,
};
use sqlparser::tokenizer::Location;
use std::ops::Range;

impl Reader {
    pub(super) fn query(&mut self, query: &ast::Query) -> Result<Query, Unread> {
        let outer_windowed = std::mem::replace(&mut self.windowed, false);
        let read = self.whole_query(query);
        self.windowed = outer_windowed;
        read
    }

    fn whole_query(&mut self, query: &ast::Query) -> Result<Query, Unread> {
        if query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return Err(Unread::unsupported("a query clause that is not PostgreSQL's"));
        }
        let (recursive, ctes) = self.with(query.with.as_ref())?;
        let body = self.body(&query.body)?;
        let mut tail = Vec::new();
        if let Some(order) = &query.order_by {
            match &order.kind {
                OrderByKind::All(_) => return Err(Unread::unsupported("ORDER BY ALL")),
                OrderByKind::Expressions(exprs) => {
                    for order in exprs {
                        tail.push(self.expr(&order.expr)?);
                    }
                }
            }
        }
        let ordered = tail.len();
        let limited = query.limit_clause.is_some() || query.fetch.is_some();
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                tail.extend(self.exprs(limit)?);
                tail.extend(self.exprs(offset.as_ref().map(|offset| &offset.value))?);
                tail.extend(self.exprs(limit_by)?);
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                tail.extend(self.exprs([offset, limit])?);
            }
        }
        if let Some(fetch) = &query.fetch {
            tail.extend(self.exprs(&fetch.quantity)?);
        }
        let locks = match query.locks.as_slice() {
            [] => Locks::None,
            locks if locks.iter().all(|lock| lock.nonblock.is_none()) => Locks::Waiting,
            _ => Locks::Impatient,
        };
        Ok(Query { recursive, ctes, body, tail, ordered, limited, locks })
    }

    pub(super) fn with(&mut self, with: Option<&ast::With>) -> Result<(bool, Vec<Cte>), Unread> {
        let Some(with) = with else { return Ok((false, Vec::new())) };
        let ctes = with
            .cte_tables
            .iter()
            .map(|cte| {
                let Alias { name, columns } = alias(Some(&cte.alias));
                let name = name.unwrap_or_default();
                Ok(Cte { name, columns, query: self.query(&cte.query)? })
            })
            .collect::<Result<_, Unread>>()?;
        Ok((with.recursive, ctes))
    }

    fn body(&mut self, body: &SetExpr) -> Result<Body, Unread> {
        Ok(match body {
            SetExpr::Select(select) => Body::Select(Box::new(self.select(select)?)),
            SetExpr::Query(query) => Body::Nested(Box::new(self.query(query)?)),
            SetExpr::SetOperation { left, right, .. } => {
                Body::Set(Box::new(self.body(left)?), Box::new(self.body(right)?))
            }
            SetExpr::Values(values) => Body::Values(
                values.rows.iter().map(|row| self.exprs(&row.content)).collect::<Result<_, _>>()?,
            ),
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => {
                let statement: Statement = self.statement(statement)?;
                Body::Write(Box::new(statement))
            }
            SetExpr::Table(_) => return Err(Unread::unsupported("TABLE as a query")),
        })
    }

    fn select(&mut self, select: &ast::Select) -> Result<Select, Unread> {
        if select.into.is_some() {
            return Err(Unread::unsupported("SELECT INTO"));
        }
        if select.top.is_some()
            || select.exclude.is_some()
            || select.prewhere.is_some()
            || select.qualify.is_some()
            || select.value_table_mode.is_some()
            || !select.lateral_views.is_empty()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.flavor != ast::SelectFlavor::Standard
        {
            return Err(Unread::unsupported("a SELECT clause that is not PostgreSQL's"));
        }
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => Distinct::No,
            Some(ast::Distinct::Distinct) => Distinct::Rows,
            Some(ast::Distinct::On(exprs)) => Distinct::On(self.exprs(exprs)?),
        };
        let outputs = self.outputs(&select.projection)?;
        let from = self.items(&select.from)?;
        let filter = self.exprs(&select.selection)?.pop();
        let grouping = self.grouping(&select.group_by)?;
        let having = self.exprs(&select.having)?.pop();
        let windows = select
            .named_window
            .iter()
            .map(|NamedWindowDefinition(name, definition)| {
                let mut exprs = Vec::new();
                let over = match definition {
                    NamedWindowExpr::NamedWindow(base) => {
                        Over { base: Some(folded(base)), partition: 0..0 }
                    }
                    NamedWindowExpr::WindowSpec(spec) => self.window(spec, &mut exprs)?,
                };
                Ok(Window { name: folded(name), exprs, over })
            })
            .collect::<Result<_, Unread>>()?;
        let windowed = self.windowed;
        let at = select.select_token.0.span.start;
        let at = Place { line: at.line, column: at.column };
        Ok(Select { at, distinct, outputs, from, filter, grouping, having, windows, windowed })
    }

    fn grouping(&mut self, group_by: &GroupByExpr) -> Result<Grouping, Unread> {
        match group_by {
            GroupByExpr::All(_) => Err(Unread::unsupported("GROUP BY ALL")),
            GroupByExpr::Expressions(exprs, modifiers) => {
                let sets = !modifiers.is_empty()
                    || exprs.iter().any(|expr| {
                        use ast::Expr as E;
                        matches!(expr, E::GroupingSets(_) | E::Cube(_) | E::Rollup(_))
                    });
                let exprs = self.exprs(exprs)?;
                Ok(match (sets, exprs.is_empty()) {
                    (true, _) => Grouping::Sets(exprs),
                    (false, true) => Grouping::None,
                    (false, false) => Grouping::By(exprs),
                })
            }
        }
    }

    pub(super) fn outputs(&mut self, items: &[SelectItem]) -> Result<Vec<Output>, Unread> {
        items
            .iter()
            .map(|item| {
                Ok(match item {
                    SelectItem::UnnamedExpr(expr) => {
                        Output::Expr { expr: self.expr(expr)?, alias: None }
                    }
                    SelectItem::ExprWithAlias { expr, alias } => {
                        Output::Expr { expr: self.expr(expr)?, alias: Some(folded(alias)) }
                    }
                    SelectItem::Wildcard(_) => Output::Star,
                    SelectItem::QualifiedWildcard(kind, _) => match kind {
                        SelectItemQualifiedWildcardKind::ObjectName(name) => {
                            Output::StarOf(super::parse::parts(name)?)
                        }
                        SelectItemQualifiedWildcardKind::Expr(expr) => Output::Expr {
                            expr: Expr::Other(vec![self.expr(expr)?]),
                            // A composite's columns: as many as it has, under any names.
                            alias: Some(String::from("*")),
                        },
                    },
                    SelectItem::ExprWithAliases { .. } => {
                        return Err(Unread::unsupported("several aliases of one output"));
                    }
                })
            })
            .collect()
    }

    pub(super) fn items(&mut self, list: &[TableWithJoins]) -> Result<Vec<From>, Unread> {
        list.iter().map(|item| self.joined(item)).collect()
    }

    fn joined(&mut self, item: &TableWithJoins) -> Result<From, Unread> {
        let mut left = self.factor(&item.relation)?;
        for join in &item.joins {
            let (kind, constraint) = join_kind(&join.join_operator)?;
            let right = self.factor(&join.relation)?;
            let on = match constraint {
                JoinConstraint::None
                    if matches!(join.join_operator, JoinOperator::CrossJoin(_)) =>
                {
                    On::Nothing
                }
                JoinConstraint::None => return Err(Unread::unsupported("a join without ON")),
                JoinConstraint::Natural => On::Natural,
                JoinConstraint::On(expr) => On::Expr(self.expr(expr)?),
                JoinConstraint::Using(columns) => On::Using(
                    columns
                        .iter()
                        .map(|name| Ok(super::parse::name(name)?.name))
                        .collect::<Result<_, Unread>>()?,
                ),
            };
            left = From::Join(Box::new(Join { kind, left, right, on }));
        }
        Ok(left)
    }

    pub(super) fn factor(&mut self, factor: &TableFactor) -> Result<From, Unread> {
        Ok(match factor {
            TableFactor::Table { name, alias: called, args: Some(args), .. } => {
                let operands = self.arguments(&args.args)?;
                let call = Call::plain(super::parse::name(name)?, operands);
                function(vec![Expr::Call(call)], called.as_ref(), name)?
            }
            TableFactor::Table { version: Some(_), .. } => {
                return Err(Unread::unsupported("a table's version"));
            }
            TableFactor::Table { .. } => From::Table(self.table(factor)?),
            TableFactor::Derived { subquery, alias: called, lateral, .. } => From::Derived {
                query: self.query(subquery)?,
                alias: alias(called.as_ref()),
                lateral: *lateral,
            },
            TableFactor::Function { name, args, alias: called, .. } => {
                let operands = self.arguments(args)?;
                let call = Call::plain(super::parse::name(name)?, operands);
                function(vec![Expr::Call(call)], called.as_ref(), name)?
            }
            TableFactor::UNNEST { alias: called, array_exprs, .. } => {
                let mut alias = alias(called.as_ref());
                alias.name.get_or_insert_with(|| String::from("unnest"));
                From::Function { operands: self.exprs(array_exprs)?, alias }
            }
            TableFactor::TableFunction { expr, alias: called } => {
                From::Function { operands: vec![self.expr(expr)?], alias: alias(called.as_ref()) }
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.joined(table_with_joins)?
            }
            TableFactor::NestedJoin { alias: Some(_), .. } => {
                return Err(Unread::unsupported("an alias of a whole join"));
            }
            TableFactor::JsonTable { json_expr, alias: called, .. } => From::Function {
                operands: vec![self.expr(json_expr)?],
                alias: alias(called.as_ref()),
            },
            TableFactor::XmlTable { row_expression, passing, alias: called, .. } => {
                let mut operands = vec![self.expr(row_expression)?];
                for argument in &passing.arguments {
                    operands.push(self.expr(&argument.expr)?);
                }
                From::Function { operands, alias: alias(called.as_ref()) }
            }
            TableFactor::OpenJsonTable { .. }
            | TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::UnpivotExpr { .. }
            | TableFactor::MatchRecognize { .. }
            | TableFactor::SemanticView { .. } => {
                return Err(Unread::unsupported("a FROM item that is not PostgreSQL's"));
            }
        })
    }

    /// A plain table, as UPDATE, DELETE and MERGE name their target, too.
    pub(super) fn table(&mut self, factor: &TableFactor) -> Result<TableItem, Unread> {
        let TableFactor::Table { name, alias: called, args: None, .. } = factor else {
            return Err(Unread::unsupported("a target that is no plain table"));
        };
        // `ONLY t` is read as a table named "only" with the alias t: never believe that name.
        if let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice()
            && ident.quote_style.is_none()
            && ident.value.eq_ignore_ascii_case("only")
        {
            return Err(Unread::unsupported("ONLY"));
        }
        let at = places(name);
        Ok(TableItem { name: super::parse::name(name)?, at, alias: alias(called.as_ref()) })
    }
}

fn places(name: &ast::ObjectName) -> Range<Place> {
    let spans = || name.0.iter().filter_map(ast::ObjectNamePart::as_ident).map(|part| part.span);
    let place = |at: Location| Place { line: at.line, column: at.column };
    let start = spans().next().map(|span| place(span.start)).unwrap_or_default();
    let end = spans().next_back().map(|span| place(span.end)).unwrap_or_default();
    start..end
}

fn function(
    operands: Vec<Expr>,
    called: Option<&ast::TableAlias>,
    name: &ast::ObjectName,
) -> Result<From, Unread> {
    let mut alias = alias(called);
    alias.name.get_or_insert(super::parse::name(name)?.name);
    Ok(From::Function { operands, alias })
}

fn alias(alias: Option<&ast::TableAlias>) -> Alias {
    match alias {
        None => Alias::default(),
        Some(alias) => Alias {
            name: Some(folded(&alias.name)),
            columns: alias.columns.iter().map(|column| folded(&column.name)).collect(),
        },
    }
}

fn join_kind(operator: &JoinOperator) -> Result<(JoinKind, &JoinConstraint), Unread> {
    Ok(match operator {
        JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => {
            (JoinKind::Inner, on)
        }
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (JoinKind::Left, on),
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (JoinKind::Right, on),
        JoinOperator::FullOuter(on) => (JoinKind::Full, on),
        JoinOperator::Semi(_)
        | JoinOperator::LeftSemi(_)
        | JoinOperator::RightSemi(_)
        | JoinOperator::Anti(_)
        | JoinOperator::LeftAnti(_)
        | JoinOperator::RightAnti(_)
        | JoinOperator::CrossApply
        | JoinOperator::OuterApply
        | JoinOperator::AsOf { .. }
        | JoinOperator::StraightJoin(_)
        | JoinOperator::ArrayJoin
        | JoinOperator::LeftArrayJoin
        | JoinOperator::InnerArrayJoin => {
            return Err(Unread::unsupported("a join that is not PostgreSQL's"));
        }
    })
}
