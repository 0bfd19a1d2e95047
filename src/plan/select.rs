//! Queries: which instances they read, and which of their outputs are keys that can be limited from
//! outside or hand their limits out.
use super::analyst::{Analyst, TableUse};
use super::keys::Side;
use super::meaning::{self, Names};
use super::names;
use super::predicate::column;
use super::scope::{Cell, Columns, CteState, Env, Item, Scope, Slot};
use super::several::view::Reading;
use super::value::Operand;
use super::{Access, Unroutable};
use crate::sql::compat::RowLock;
use crate::sql::statement::{
    Alias, Body, Distinct, Expr, From, Grouping, Join, JoinKind, Locks, On, Output, Query, Select,
    TableItem,
};
use std::cell::RefCell;
use std::ops::Range;

impl Analyst<'_> {
    pub fn query(
        &mut self,
        query: &Query,
        env: &Env<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Columns, Unroutable> {
        self.count_query()?;
        let state = RefCell::new(vec![CteState::Unused; query.ctes.len()]);
        let env = Env {
            ctes: &query.ctes,
            visible: query.ctes.len(),
            recursive: query.recursive,
            state: &state,
            parent: Some(env),
            scope: outer,
        };
        self.written_ctes(&env)?;
        let mut columns = self.body(&query.body, query, &env, outer)?;
        self.unused_ctes(&env)?;
        // Which rows come out, or are locked, depends on rows that an outer condition would hide.
        if query.limited || query.locks != Locks::None {
            columns.close();
        }
        Ok(columns)
    }

    /// CTEs that write run once, whether or not anybody refers to them.
    pub fn written_ctes(&mut self, env: &Env<'_>) -> Result<(), Unroutable> {
        for (index, cte) in env.ctes.iter().enumerate() {
            if let Body::Write(_) = &cte.query.body {
                self.cte(env, index)?;
            }
        }
        Ok(())
    }

    /// CTEs that nobody refers to are not run by PostgreSQL, but must be right all the same.
    pub fn unused_ctes(&mut self, env: &Env<'_>) -> Result<(), Unroutable> {
        for index in 0..env.ctes.len() {
            let unused = matches!(env.state.borrow().get(index), Some(CteState::Unused));
            if unused {
                self.cte(env, index)?;
            }
        }
        Ok(())
    }

    /// A reference to a CTE: a copy of its query, unless it writes or refers to itself.
    fn cte(&mut self, env: &Env<'_>, index: usize) -> Result<Columns, Unroutable> {
        let Some(cte) = env.ctes.get(index) else { return Ok(Columns::unknown()) };
        let alias = Alias { name: None, columns: cte.columns.clone() };
        let before = env.state.borrow().get(index).cloned();
        match before {
            Some(CteState::Written(columns)) => return Ok(columns),
            // Recursive: what it returns is not followed.
            Some(CteState::Open) => return Ok(Columns::unknown().renamed(&alias)),
            Some(CteState::Unused | CteState::Copied) | None => {}
        }
        let set = |new: CteState| {
            if let Some(state) = env.state.borrow_mut().get_mut(index) {
                *state = new;
            }
        };
        set(CteState::Open);
        let inner = Env {
            ctes: env.ctes,
            visible: if env.recursive { env.ctes.len() } else { index },
            recursive: env.recursive,
            state: env.state,
            parent: env.parent,
            scope: env.scope,
        };
        let mut columns = self.query(&cte.query, &inner, env.scope)?.renamed(&alias);
        set(match &cte.query.body {
            Body::Write(_) => {
                columns.close();
                CteState::Written(columns.clone())
            }
            Body::Select(_) | Body::Nested(_) | Body::Set(..) | Body::Values(_) => CteState::Copied,
        });
        Ok(columns)
    }

    fn body(
        &mut self,
        body: &Body,
        query: &Query,
        env: &Env<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Columns, Unroutable> {
        match body {
            Body::Select(select) => self.select(select, &query.tail, query.locks, env, outer),
            Body::Nested(inner) => {
                self.tail(query, env, outer)?;
                self.query(inner, env, outer)
            }
            Body::Set(left, right) => {
                self.tail(query, env, outer)?;
                let bare = Query {
                    recursive: false,
                    ctes: Vec::new(),
                    body: Body::Values(Vec::new()),
                    tail: Vec::new(),
                    ordered: 0,
                    limited: false,
                    locks: Locks::None,
                };
                let mut columns = self.body(left, &bare, env, outer)?;
                self.body(right, &bare, env, outer)?;
                for slot in &mut columns.slots {
                    (slot.cell, slot.constant) = (None, None);
                }
                Ok(columns)
            }
            Body::Values(rows) => {
                self.tail(query, env, outer)?;
                let scope = Scope::new(outer);
                for row in rows {
                    self.visit_all(row, env, &scope)?;
                }
                let width = rows.first().map_or(0, Vec::len);
                let slots = (1..=width).map(|number| Slot {
                    name: Some(format!("column{number}")),
                    cell: None,
                    constant: None,
                });
                Ok(Columns { slots: slots.collect(), named: true, placed: true })
            }
            Body::Write(statement) => self.write(statement, env),
        }
    }

    fn tail(
        &mut self,
        query: &Query,
        env: &Env<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<(), Unroutable> {
        self.visit_all(&query.tail, env, &Scope::new(outer))
    }

    fn select(
        &mut self,
        select: &Select,
        tail: &[Expr],
        locks: Locks,
        env: &Env<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Columns, Unroutable> {
        let around = std::mem::replace(&mut self.within, select.at);
        let beginning = self.beginning(select.at);
        let mut scope = Scope::new(outer);
        for from in &select.from {
            self.from(from, &mut scope, env)?;
        }
        let scope = scope;
        let all = 0..scope.items.len();
        if let Some(filter) = &select.filter {
            self.condition(filter, &all, env, &scope)?;
        }
        self.visit_all(&select.having, env, &scope)?;
        self.visit_all(select.windows.iter().flat_map(|window| &window.exprs), env, &scope)?;
        self.visit_all(tail, env, &scope)?;
        match &select.grouping {
            Grouping::None => {}
            Grouping::By(exprs) | Grouping::Sets(exprs) => self.visit_all(exprs, env, &scope)?,
        }
        if let Distinct::On(exprs) = &select.distinct {
            self.visit_all(exprs, env, &scope)?;
        }
        if locks != Locks::None {
            self.lock(&scope, locks);
        }
        let mut columns = self.outputs(&select.outputs, env, &scope)?;
        self.close_grouped(select, &scope, &mut columns);
        self.frame(beginning, &scope, select, tail);
        self.within = around;
        Ok(columns)
    }

    /// Outputs on which a condition outside does not mean the same as one inside.
    fn close_grouped(&mut self, select: &Select, scope: &Scope<'_>, columns: &mut Columns) {
        if select.windowed || matches!(select.grouping, Grouping::Sets(_)) {
            columns.close();
        }
        if let Distinct::On(exprs) = &select.distinct {
            keep_open(exprs, Names::Outputs, select, scope, columns);
        }
        match &select.grouping {
            Grouping::By(exprs) => keep_open(exprs, Names::Columns, select, scope, columns),
            Grouping::None | Grouping::Sets(_) => {}
        }
        if let Grouping::Sets(_) = select.grouping {
            for cell in columns.slots.iter_mut().filter_map(|slot| slot.cell.as_mut()) {
                cell.nullable = true;
            }
        }
    }

    /// Row locks on a reference table must meet those of others: on the home shard.
    fn lock(&mut self, scope: &Scope<'_>, locks: Locks) {
        self.at_least(Access::Lock);
        let alone = self.row_lock >= Some(RowLock::NoKeyUpdate) && locks == Locks::Waiting;
        for item in &scope.items {
            let meant = self.locked.is_empty() || self.locked.contains(&item.name);
            if meant && item.reference {
                self.home(format!("row locks on reference table {}", item.name));
            }
            if meant {
                self.lock_sites.push(item.hot.clone().filter(|_| alone));
            }
        }
    }

    pub fn outputs(
        &mut self,
        outputs: &[Output],
        env: &Env<'_>,
        scope: &Scope<'_>,
    ) -> Result<Columns, Unroutable> {
        let mut columns = Columns::none();
        for output in outputs {
            match output {
                Output::Star => {
                    for item in &scope.items {
                        append(&mut columns, &item.columns);
                    }
                    // USING's columns come first, and once.
                    columns.placed &= !scope.has_merged();
                }
                Output::StarOf(parts) => match parts.last().and_then(|name| scope.item(name)) {
                    Some(item) => append(&mut columns, &item.columns),
                    None => append(&mut columns, &Columns::unknown()),
                },
                Output::Expr { alias: Some(alias), expr } if alias == "*" => {
                    self.visit(expr, env, scope)?;
                    append(&mut columns, &Columns::unknown());
                }
                Output::Expr { expr, alias } => {
                    self.visit(expr, env, scope)?;
                    let written = match expr {
                        Expr::Column(parts) => parts.last().cloned(),
                        _ => None,
                    };
                    let name = alias.clone().or(written);
                    columns.named &= name.is_some();
                    let cell = column(expr, scope).map(|found| Cell {
                        // The outer scope's columns are not this query's to limit.
                        open: found.cell.open && found.item.is_some(),
                        ..found.cell
                    });
                    columns.slots.push(Slot { name, cell, constant: Operand::of(expr) });
                }
            }
        }
        Ok(columns)
    }

    fn read_table(&mut self, table: &TableItem, item: usize) -> Result<Item, Unroutable> {
        let (found, reading) = match names::find(&table.name, self.context) {
            Err(Unroutable::View { .. }) => self.view(&table.name)?,
            found => (found?, Reading::default()),
        };
        let (found, read) = self.item(found, &table.name, &table.alias)?;
        self.uses.push(TableUse {
            reading,
            at: table.at.clone(),
            within: self.within,
            name: table.name.clone(),
            alias: table.alias.clone(),
            found,
            item,
            extended: false,
        });
        Ok(read)
    }

    /// Adds a FROM item's (or join's) items to the scope; which ones.
    pub fn from(
        &mut self,
        from: &From,
        scope: &mut Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Range<usize>, Unroutable> {
        let start = scope.items.len();
        match from {
            From::Table(table) => {
                let cte = match table.name.schema {
                    Some(_) => None,
                    None => env.find(&table.name.name),
                };
                let item = match cte {
                    Some((env, index)) => {
                        let columns = self.cte(env, index)?.renamed(&table.alias);
                        let name = &table.name.name;
                        let name = table.alias.name.clone().unwrap_or_else(|| name.clone());
                        Item {
                            name,
                            schema: None,
                            columns,
                            key: None,
                            extended: false,
                            reference: false,
                            hot: None,
                        }
                    }
                    None => self.read_table(table, scope.items.len())?,
                };
                scope.items.push(item);
            }
            From::Derived { query, alias, lateral } => {
                let before = self.references;
                let outer = if *lateral { Some(&*scope) } else { scope.parent };
                let columns = self.query(query, env, outer)?.renamed(alias);
                let name = alias.name.clone().unwrap_or_default();
                let reference = self.references > before;
                scope.items.push(Item {
                    name,
                    schema: None,
                    columns,
                    key: None,
                    extended: false,
                    reference,
                    hot: None,
                });
            }
            From::Function { operands, alias } => {
                self.visit_all(operands, env, scope)?;
                let columns = Columns::unknown().renamed(alias);
                let name = alias.name.clone().unwrap_or_default();
                scope.items.push(Item {
                    name,
                    schema: None,
                    columns,
                    key: None,
                    extended: false,
                    reference: false,
                    hot: None,
                });
            }
            From::Join(join) => self.join(join, scope, env)?,
        }
        Ok(start..scope.items.len())
    }

    fn join(
        &mut self,
        join: &Join,
        scope: &mut Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Unroutable> {
        let left = self.from(&join.left, scope, env)?;
        let right = self.from(&join.right, scope, env)?;
        let both = left.start..right.end;
        // Whose rows the condition holds back: an outer join keeps the other side's.
        let limits = match join.kind {
            JoinKind::Inner => both.clone(),
            JoinKind::Left => right.clone(),
            JoinKind::Right => left.clone(),
            JoinKind::Full => 0..0,
        };
        match &join.on {
            On::Nothing => {}
            On::Expr(expr) => {
                let around = scope.visible.replace(both);
                let read = self.condition(expr, &limits, env, scope);
                scope.visible = around;
                read?;
            }
            On::Using(names) => {
                for name in names {
                    self.using(name, join.kind, &left, &right, &limits, scope);
                }
            }
            On::Natural => {
                let known = |range: &Range<usize>| {
                    scope
                        .items
                        .get(range.clone())
                        .unwrap_or_default()
                        .iter()
                        .map(|item| &item.columns)
                        .all(|columns| columns.named)
                };
                if !known(&left) || !known(&right) {
                    let table = String::from("a NATURAL join");
                    return Err(Unroutable::ColumnsUnknown { table });
                }
                for name in common(scope, &left, &right) {
                    self.using(&name, join.kind, &left, &right, &limits, scope);
                }
            }
        }
        match join.kind {
            JoinKind::Inner => {}
            JoinKind::Left => scope.nullable(&right),
            JoinKind::Right => scope.nullable(&left),
            JoinKind::Full => scope.nullable(&(left.start..right.end)),
        }
        Ok(())
    }

    fn using(
        &mut self,
        name: &str,
        kind: JoinKind,
        left: &Range<usize>,
        right: &Range<usize>,
        limits: &Range<usize>,
        scope: &mut Scope<'_>,
    ) {
        let (one, other) = (scope.side(name, left), scope.side(name, right));
        if let (Some((left, one)), Some((right, other))) = (one, other) {
            let side = |index: usize, cell: Cell| Side {
                var: cell.var,
                limited: cell.open && limits.contains(&index),
            };
            self.facts.equal(side(left, one), side(right, other));
        }
        let kept = match kind {
            JoinKind::Inner | JoinKind::Left => one,
            JoinKind::Right => other,
            // It is whichever side is not NULL.
            JoinKind::Full => None,
        };
        scope.merge(name, kept, left.start..right.end);
    }
}

/// Column names that both sides of a NATURAL join have.
fn common(scope: &Scope<'_>, left: &Range<usize>, right: &Range<usize>) -> Vec<String> {
    let names = |range: &Range<usize>| -> Vec<String> {
        let items = scope.items.get(range.clone()).unwrap_or_default();
        items
            .iter()
            .flat_map(|item| &item.columns.slots)
            .filter_map(|slot| slot.name.clone())
            .collect()
    };
    let others = names(right);
    let mut common: Vec<String> =
        names(left).into_iter().filter(|name| others.contains(name)).collect();
    common.sort();
    common.dedup();
    common
}

/// Only the columns among these expressions stay open: rows with other values of them fall into
/// other groups.
fn keep_open(
    exprs: &[Expr],
    names: Names,
    select: &Select,
    scope: &Scope<'_>,
    columns: &mut Columns,
) {
    let meant = exprs.iter().filter_map(|expr| meaning::meant(expr, select, names));
    let grouped: Vec<_> =
        meant.filter_map(|expr| column(expr, scope)).map(|found| found.cell.var).collect();
    for cell in columns.slots.iter_mut().filter_map(|slot| slot.cell.as_mut()) {
        cell.open &= grouped.contains(&cell.var);
    }
}

fn append(columns: &mut Columns, more: &Columns) {
    columns.slots.extend(more.slots.iter().cloned());
    columns.named &= more.named;
    columns.placed &= more.placed;
}
