//! Conditions → facts; and every expression is walked for calls, parameters and subqueries.
use super::Unroutable;
use super::analyst::Analyst;
use super::keys::Side;
use super::scope::{Columns, Env, Resolved, Scope};
use super::value::{Keys, Operand};
use crate::sql::statement::{Expr, Query, TypeName};
use std::ops::Range;

impl Analyst<'_> {
    /// A condition whose AND-ed parts must all be true; `limits`: the items of this scope whose rows
    /// it may hold back.
    pub fn condition(
        &mut self,
        expr: &Expr,
        limits: &Range<usize>,
        env: &Env<'_>,
        scope: &Scope<'_>,
    ) -> Result<(), Unroutable> {
        match expr {
            Expr::And(parts) => {
                for part in parts {
                    self.condition(part, limits, env, scope)?;
                }
                Ok(())
            }
            Expr::InQuery(left, query) => {
                self.visit(left, env, scope)?;
                self.membership(left, query, limits, env, scope)
            }
            Expr::Equal(left, right) => {
                self.equality(left, right, limits, scope);
                self.visit(expr, env, scope)
            }
            Expr::InList(left, list) => {
                self.in_list(left, list, limits, scope);
                self.visit(expr, env, scope)
            }
            Expr::EqualAny(left, array) => {
                if let Some(keys) = array_keys(array) {
                    self.limit(left, keys, limits, scope);
                }
                self.visit(expr, env, scope)
            }
            Expr::IsNull(inner) => {
                // Where an outer join may have found no row, NULL does not say that a row has it.
                if let Some(found) = column(inner, scope)
                    && self.limited(&found, limits)
                    && !found.cell.nullable
                {
                    self.facts.null(found.cell.var);
                }
                self.visit(expr, env, scope)
            }
            Expr::Column(_)
            | Expr::Literal(_)
            | Expr::Param(_)
            | Expr::Cast(..)
            | Expr::Negative(_)
            | Expr::Row(_)
            | Expr::Array(_)
            | Expr::Call(_)
            | Expr::Subquery(_)
            | Expr::Star
            | Expr::Other(_) => self.visit(expr, env, scope),
        }
    }

    fn limited(&self, found: &Resolved, limits: &Range<usize>) -> bool {
        found.cell.open && found.item.is_some_and(|item| limits.contains(&item))
    }

    fn equality(&mut self, left: &Expr, right: &Expr, limits: &Range<usize>, scope: &Scope<'_>) {
        if let (Expr::Row(left), Expr::Row(right)) = (left, right) {
            // (a, b) = (1, 2) is true exactly where a = 1 AND b = 2.
            if left.len() == right.len() {
                for (left, right) in left.iter().zip(right) {
                    self.equality(left, right, limits, scope);
                }
            }
            return;
        }
        match (column(left, scope), column(right, scope)) {
            (Some(one), Some(other)) => self.equal(&one, &other, limits),
            (Some(_), None) => {
                if let Some(operand) = Operand::of(right) {
                    self.limit(left, Keys::one(operand), limits, scope);
                }
            }
            (None, Some(_)) => {
                if let Some(operand) = Operand::of(left) {
                    self.limit(right, Keys::one(operand), limits, scope);
                }
            }
            (None, None) => {}
        }
    }

    fn equal(&mut self, one: &Resolved, other: &Resolved, limits: &Range<usize>) {
        let side =
            |found: &Resolved| Side { var: found.cell.var, limited: self.limited(found, limits) };
        let (left, right) = (side(one), side(other));
        self.facts.equal(left, right);
    }

    fn in_list(&mut self, left: &Expr, list: &[Expr], limits: &Range<usize>, scope: &Scope<'_>) {
        let Expr::Row(columns) = left else {
            if let Some(keys) = list.iter().map(Operand::of).collect::<Option<Vec<_>>>() {
                self.limit(left, Keys::AnyOf(keys), limits, scope);
            }
            return;
        };
        for (index, column) in columns.iter().enumerate() {
            let keys = list.iter().map(|row| match row {
                Expr::Row(values) if values.len() == columns.len() => {
                    values.get(index).and_then(Operand::of)
                }
                _ => None,
            });
            if let Some(keys) = keys.collect::<Option<Vec<_>>>() {
                self.limit(column, Keys::AnyOf(keys), limits, scope);
            }
        }
    }

    fn limit(&mut self, column_of: &Expr, keys: Keys, limits: &Range<usize>, scope: &Scope<'_>) {
        let Some(found) = column(column_of, scope) else { return };
        let Some(key_type) = self.facts.type_of(found.cell.var) else { return };
        let type_name = match &keys {
            Keys::AnyOf(_) => key_type.typname().to_owned(),
            Keys::Elements(_) => format!("{}[]", key_type.typname()),
        };
        // In a list, values of other types decide the type of all: `key IN ($1, 4.5)`.
        if keys.operands().len() == 1 || keys.operands().iter().all(|one| one.param().is_some()) {
            for operand in keys.operands() {
                self.typed_param(operand, &type_name);
            }
        }
        if self.limited(&found, limits) {
            self.facts.limit(found.cell.var, keys);
        }
    }

    /// `x IN (SELECT y …)` as a condition: a join of which only the left side's rows come out.
    fn membership(
        &mut self,
        left: &Expr,
        query: &Query,
        limits: &Range<usize>,
        env: &Env<'_>,
        scope: &Scope<'_>,
    ) -> Result<(), Unroutable> {
        let outputs: Columns = self.query(query, env, Some(scope))?;
        let parts = match left {
            Expr::Row(parts) => parts.as_slice(),
            single => std::slice::from_ref(single),
        };
        if !outputs.placed || outputs.slots.len() != parts.len() {
            return Ok(());
        }
        for (part, slot) in parts.iter().zip(&outputs.slots) {
            if let (Some(found), Some(cell)) = (column(part, scope), slot.cell) {
                let left = Side { var: found.cell.var, limited: self.limited(&found, limits) };
                self.facts.equal(left, Side { var: cell.var, limited: cell.open });
            }
        }
        Ok(())
    }

    /// Everything below an expression: calls, parameters, subqueries. Called once per expression.
    pub fn visit(
        &mut self,
        expr: &Expr,
        env: &Env<'_>,
        scope: &Scope<'_>,
    ) -> Result<(), Unroutable> {
        match expr {
            Expr::Column(_) | Expr::Literal(_) | Expr::Star => {}
            Expr::Param(number) => self.params.entry(*number).or_default().alone += 1,
            Expr::Cast(inner, type_name) => self.visit_cast(inner, type_name, env, scope)?,
            Expr::Negative(inner) | Expr::IsNull(inner) => self.visit(inner, env, scope)?,
            Expr::Equal(left, right) | Expr::EqualAny(left, right) => {
                self.visit(left, env, scope)?;
                self.visit(right, env, scope)?;
            }
            Expr::InList(left, list) => {
                self.visit(left, env, scope)?;
                self.visit_all(list, env, scope)?;
            }
            Expr::And(parts) | Expr::Row(parts) | Expr::Array(parts) | Expr::Other(parts) => {
                self.visit_all(parts, env, scope)?;
            }
            Expr::Call(call) => {
                self.call(call)?;
                self.visit_all(&call.operands, env, scope)?;
            }
            Expr::InQuery(left, query) => {
                self.visit(left, env, scope)?;
                self.query(query, env, Some(scope))?;
            }
            Expr::Subquery(query) => {
                self.query(query, env, Some(scope))?;
            }
        }
        Ok(())
    }

    pub fn visit_all<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        env: &Env<'_>,
        scope: &Scope<'_>,
    ) -> Result<(), Unroutable> {
        exprs.into_iter().try_for_each(|expr| self.visit(expr, env, scope))
    }

    fn visit_cast(
        &mut self,
        inner: &Expr,
        type_name: &TypeName,
        env: &Env<'_>,
        scope: &Scope<'_>,
    ) -> Result<(), Unroutable> {
        if type_name.name.starts_with("reg") {
            // An OID is looked up: those of the home shard are what clients know.
            self.rather_home = true;
        }
        match inner {
            Expr::Param(number) => {
                let named = match super::value::type_oid(type_name) {
                    Some(oid) => super::typname(oid),
                    None => type_name.name.clone(),
                };
                self.params.entry(*number).or_default().casts.push(named);
                Ok(())
            }
            inner => self.visit(inner, env, scope),
        }
    }
}

pub fn column(expr: &Expr, scope: &Scope<'_>) -> Option<Resolved> {
    match expr {
        Expr::Column(parts) => scope.resolve(parts),
        Expr::Literal(_)
        | Expr::Param(_)
        | Expr::Cast(..)
        | Expr::Negative(_)
        | Expr::Equal(..)
        | Expr::And(_)
        | Expr::InList(..)
        | Expr::InQuery(..)
        | Expr::EqualAny(..)
        | Expr::IsNull(_)
        | Expr::Row(_)
        | Expr::Array(_)
        | Expr::Call(_)
        | Expr::Subquery(_)
        | Expr::Star
        | Expr::Other(_) => None,
    }
}

/// `= ANY (ARRAY[1, $2])`, `= ANY ('{1,2}')`, `= ANY ($1)`.
fn array_keys(array: &Expr) -> Option<Keys> {
    match array {
        Expr::Array(elements) => {
            elements.iter().map(Operand::of).collect::<Option<Vec<_>>>().map(Keys::AnyOf)
        }
        array => Operand::of(array).map(Keys::Elements),
    }
}
