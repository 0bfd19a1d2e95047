//! Expressions: what limits rows (`=`, IN, `= ANY`, IS NULL under AND) keeps its form, calls and
//! subqueries stay findable, everything else becomes [`Expr::Other`] with its operands.
use super::parse::{Reader, Unread};
use super::statement::{Call, CallClause, Expr, Literal, Name, Over, TypeName};
use sqlparser::ast::{
    self, AccessExpr, BinaryOperator, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Subscript, UnaryOperator, Value, WindowFrameBound, WindowSpec, WindowType,
};

impl Reader {
    pub(super) fn expr(&mut self, expr: &ast::Expr) -> Result<Expr, Unread> {
        use ast::Expr as E;
        Ok(match expr {
            E::Identifier(ident) => Expr::Column(vec![super::parse::folded(ident)]),
            E::CompoundIdentifier(parts) => {
                Expr::Column(parts.iter().map(super::parse::folded).collect())
            }
            E::Value(value) => self.literal(&value.value)?,
            E::TypedString(typed) => {
                let literal = self.literal(&typed.value.value)?;
                Expr::Cast(Box::new(literal), type_name(&typed.data_type))
            }
            E::Nested(inner) => self.expr(inner)?,
            E::Cast { expr, data_type, .. } => {
                Expr::Cast(Box::new(self.expr(expr)?), type_name(data_type))
            }
            E::UnaryOp { op: UnaryOperator::Minus, expr } => {
                Expr::Negative(Box::new(self.expr(expr)?))
            }
            E::UnaryOp { op: UnaryOperator::Plus, expr } => self.positive(expr)?,
            E::UnaryOp { expr, .. } => self.other([&**expr])?,
            E::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                Expr::Equal(Box::new(self.expr(left)?), Box::new(self.expr(right)?))
            }
            E::BinaryOp { op: BinaryOperator::And, .. } => {
                let mut conjuncts = Vec::new();
                self.conjuncts(expr, &mut conjuncts)?;
                Expr::And(conjuncts)
            }
            E::BinaryOp { left, right, .. } => self.other([&**left, &**right])?,
            E::InList { expr, list, negated: false } => {
                Expr::InList(Box::new(self.expr(expr)?), self.exprs(list)?)
            }
            E::InList { expr, list, negated: true } => {
                self.other(std::iter::once(&**expr).chain(list))?
            }
            E::InSubquery { expr, subquery, negated } => {
                let (expr, query) = (self.expr(expr)?, Box::new(self.query(subquery)?));
                match negated {
                    false => Expr::InQuery(Box::new(expr), query),
                    true => Expr::Other(vec![expr, Expr::Subquery(query)]),
                }
            }
            E::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                let left = Box::new(self.expr(left)?);
                match self.expr(right)? {
                    Expr::Subquery(query) => Expr::InQuery(left, query),
                    array => Expr::EqualAny(left, Box::new(array)),
                }
            }
            E::AnyOp { left, right, .. } | E::AllOp { left, right, .. } => {
                self.other([&**left, &**right])?
            }
            E::IsNull(inner) => Expr::IsNull(Box::new(self.expr(inner)?)),
            E::Tuple(items) => Expr::Row(self.exprs(items)?),
            E::Array(array) => Expr::Array(self.exprs(&array.elem)?),
            E::Function(function) => self.function(function)?,
            E::Subquery(query) | E::Exists { subquery: query, .. } => {
                Expr::Subquery(Box::new(self.query(query)?))
            }
            E::Wildcard(_) | E::QualifiedWildcard(..) => Expr::Star,
            _ => self.form(expr)?,
        })
    }

    /// Forms that prove nothing: only their operands matter.
    fn form(&mut self, expr: &ast::Expr) -> Result<Expr, Unread> {
        use ast::Expr as E;
        match expr {
            E::IsFalse(e) | E::IsNotFalse(e) | E::IsTrue(e) | E::IsNotTrue(e) | E::IsNotNull(e) => {
                self.other([&**e])
            }
            E::IsUnknown(e) | E::IsNotUnknown(e) => self.other([&**e]),
            E::IsJson { expr, .. } | E::IsNormalized { expr, .. } => self.other([&**expr]),
            E::IsDistinctFrom(a, b) | E::IsNotDistinctFrom(a, b) => self.other([&**a, &**b]),
            E::Between { expr, low, high, .. } => self.other([&**expr, &**low, &**high]),
            E::Like { expr, pattern, escape_char, .. }
            | E::ILike { expr, pattern, escape_char, .. }
            | E::SimilarTo { expr, pattern, escape_char, .. } => {
                self.other([&**expr, &**pattern].into_iter().chain(escape_char.as_deref()))
            }
            E::AtTimeZone { timestamp, time_zone } => self.other([&**timestamp, &**time_zone]),
            E::Extract { expr, .. } | E::Ceil { expr, .. } | E::Floor { expr, .. } => {
                self.other([&**expr])
            }
            E::Collate { expr, .. } => self.other([&**expr]),
            E::Position { expr, r#in } => self.other([&**expr, &**r#in]),
            E::Substring { expr, substring_from, substring_for, .. } => self.other(
                std::iter::once(&**expr)
                    .chain(substring_from.as_deref())
                    .chain(substring_for.as_deref()),
            ),
            E::Trim { expr, trim_what, trim_characters, .. } => self.other(
                std::iter::once(&**expr)
                    .chain(trim_what.as_deref())
                    .chain(trim_characters.iter().flatten()),
            ),
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => self.other(
                [&**expr, &**overlay_what, &**overlay_from]
                    .into_iter()
                    .chain(overlay_for.as_deref()),
            ),
            E::Case { operand, conditions, else_result, .. } => self.other(
                operand
                    .as_deref()
                    .into_iter()
                    .chain(conditions.iter().flat_map(|when| [&when.condition, &when.result]))
                    .chain(else_result.as_deref()),
            ),
            E::GroupingSets(sets) | E::Cube(sets) | E::Rollup(sets) => {
                self.other(sets.iter().flatten())
            }
            E::Interval(interval) => self.other([&*interval.value]),
            E::CompoundFieldAccess { root, access_chain } => {
                let mut operands = vec![self.expr(root)?];
                for access in access_chain {
                    self.access(access, &mut operands)?;
                }
                Ok(Expr::Other(operands))
            }
            E::Named { expr, .. } => self.other([&**expr]),
            // Other dialects' forms: PostgreSQL's grammar has none of them.
            _ => Err(Unread::unsupported("an expression that is not PostgreSQL's")),
        }
    }

    fn access(&mut self, access: &AccessExpr, operands: &mut Vec<Expr>) -> Result<(), Unread> {
        match access {
            AccessExpr::Dot(_) => {}
            AccessExpr::Subscript(Subscript::Index { index }) => operands.push(self.expr(index)?),
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                for bound in [lower_bound, upper_bound, stride].into_iter().flatten() {
                    operands.push(self.expr(bound)?);
                }
            }
        }
        Ok(())
    }

    fn conjuncts(&mut self, expr: &ast::Expr, into: &mut Vec<Expr>) -> Result<(), Unread> {
        match expr {
            ast::Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conjuncts(left, into)?;
                self.conjuncts(right, into)
            }
            ast::Expr::Nested(inner) => self.conjuncts(inner, into),
            _ => {
                let conjunct = self.expr(expr)?;
                into.push(conjunct);
                Ok(())
            }
        }
    }

    pub(super) fn exprs<'a>(
        &mut self,
        exprs: impl IntoIterator<Item = &'a ast::Expr>,
    ) -> Result<Vec<Expr>, Unread> {
        exprs.into_iter().map(|expr| self.expr(expr)).collect()
    }

    fn other<'a>(
        &mut self,
        operands: impl IntoIterator<Item = &'a ast::Expr>,
    ) -> Result<Expr, Unread> {
        Ok(Expr::Other(self.exprs(operands)?))
    }

    /// `+ 5` is 5; a plus before anything else proves nothing.
    fn positive(&mut self, operand: &ast::Expr) -> Result<Expr, Unread> {
        Ok(match self.expr(operand)? {
            literal @ Expr::Literal(Literal::Number(_)) => literal,
            other => Expr::Other(vec![other]),
        })
    }

    pub(super) fn literal(&self, value: &Value) -> Result<Expr, Unread> {
        Ok(Expr::Literal(match value {
            Value::Null => Literal::Null,
            Value::Boolean(value) => Literal::Boolean(*value),
            Value::Number(digits, _) => Literal::Number(digits.clone()),
            // A shape reads as with standard_conforming_strings on.
            Value::SingleQuotedString(raw) => Literal::Text(raw.replace("''", "'")),
            Value::EscapedStringLiteral(raw) if !raw.contains('\\') => {
                Literal::Text(raw.replace("''", "'"))
            }
            Value::DollarQuotedString(quoted) => Literal::Text(quoted.value.clone()),
            Value::Placeholder(name) => return placeholder(name),
            Value::EscapedStringLiteral(_)
            | Value::UnicodeStringLiteral(_)
            | Value::NationalStringLiteral(_)
            | Value::HexStringLiteral(_)
            | Value::SingleQuotedByteStringLiteral(_) => Literal::Unread,
            _ => return Err(Unread::unsupported("a literal that is not PostgreSQL's")),
        }))
    }

    fn function(&mut self, function: &ast::Function) -> Result<Expr, Unread> {
        let (mut operands, mut clauses) = (Vec::new(), Vec::new());
        match &function.parameters {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(_) | FunctionArguments::List(_) => {
                return Err(Unread::unsupported("function parameters"));
            }
        }
        match &function.args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => {
                operands.push(Expr::Subquery(Box::new(self.query(query)?)));
            }
            FunctionArguments::List(list) => {
                operands.extend(self.arguments(&list.args)?);
                if list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct) {
                    clauses.push(CallClause::Distinct);
                }
                for clause in &list.clauses {
                    clauses.push(CallClause::Ordered);
                    self.clause(clause, &mut operands)?;
                }
            }
        }
        for order in &function.within_group {
            clauses.push(CallClause::WithinGroup);
            operands.push(self.expr(&order.expr)?);
        }
        if let Some(filter) = &function.filter {
            clauses.push(CallClause::Filter);
            operands.push(self.expr(filter)?);
        }
        match &function.over {
            None => {}
            Some(WindowType::NamedWindow(base)) => {
                self.windowed = true;
                let base = Some(super::parse::folded(base));
                clauses.push(CallClause::Over(Over { base, partition: 0..0 }));
            }
            Some(WindowType::WindowSpec(spec)) => {
                self.windowed = true;
                let over = self.window(spec, &mut operands)?;
                clauses.push(CallClause::Over(over));
            }
        }
        let name = super::parse::name(&function.name)?;
        if matches!(function.args, FunctionArguments::Subquery(_)) && name.name == "array" {
            // ARRAY(SELECT …) is a constructor, not a call.
            return Ok(Expr::Other(operands));
        }
        match name.schema.is_none() && name.name == "row" {
            true => Ok(Expr::Row(operands)),
            false => Ok(Expr::Call(Call { name, operands, clauses })),
        }
    }

    pub(super) fn arguments(&mut self, args: &[FunctionArg]) -> Result<Vec<Expr>, Unread> {
        args.iter()
            .map(|arg| {
                let (FunctionArg::Named { arg, .. }
                | FunctionArg::ExprNamed { arg, .. }
                | FunctionArg::Unnamed(arg)) = arg;
                match arg {
                    FunctionArgExpr::Expr(expr) => self.expr(expr),
                    FunctionArgExpr::QualifiedWildcard(_)
                    | FunctionArgExpr::Wildcard
                    | FunctionArgExpr::WildcardWithOptions(_) => Ok(Expr::Star),
                }
            })
            .collect()
    }

    fn clause(
        &mut self,
        clause: &FunctionArgumentClause,
        operands: &mut Vec<Expr>,
    ) -> Result<(), Unread> {
        match clause {
            FunctionArgumentClause::OrderBy(orders) => {
                for order in orders {
                    operands.push(self.expr(&order.expr)?);
                }
            }
            FunctionArgumentClause::Where(expr) | FunctionArgumentClause::Limit(expr) => {
                operands.push(self.expr(expr)?);
            }
            FunctionArgumentClause::Having(bound) => operands.push(self.expr(&bound.1)?),
            FunctionArgumentClause::IgnoreOrRespectNulls(_)
            | FunctionArgumentClause::OnOverflow(_)
            | FunctionArgumentClause::Separator(_)
            | FunctionArgumentClause::JsonNullClause(_)
            | FunctionArgumentClause::JsonReturningClause(_) => {}
        }
        Ok(())
    }

    pub(super) fn window(
        &mut self,
        spec: &WindowSpec,
        operands: &mut Vec<Expr>,
    ) -> Result<Over, Unread> {
        let start = operands.len();
        operands.extend(self.exprs(&spec.partition_by)?);
        let base = spec.window_name.as_ref().map(super::parse::folded);
        let over = Over { base, partition: start..operands.len() };
        for order in &spec.order_by {
            operands.push(self.expr(&order.expr)?);
        }
        if let Some(frame) = &spec.window_frame {
            for bound in std::iter::once(&frame.start_bound).chain(&frame.end_bound) {
                match bound {
                    WindowFrameBound::Preceding(Some(by))
                    | WindowFrameBound::Following(Some(by)) => {
                        operands.push(self.expr(by)?);
                    }
                    WindowFrameBound::CurrentRow
                    | WindowFrameBound::Preceding(None)
                    | WindowFrameBound::Following(None) => {}
                }
            }
        }
        Ok(over)
    }
}

/// `$3` is the client's third parameter.
fn placeholder(name: &str) -> Result<Expr, Unread> {
    if let Some(index) = super::shape::placeholder(name) {
        return Ok(Expr::Literal(Literal::Lifted(index)));
    }
    match name.strip_prefix('$').and_then(|digits| digits.parse().ok()) {
        Some(number) if number > 0 => Ok(Expr::Param(number)),
        _ => Err(Unread::unsupported("a placeholder that is not $n")),
    }
}

/// The type as written, lower case; what stands in parentheses only sets `modified`.
pub(super) fn type_name(data_type: &ast::DataType) -> TypeName {
    let written = data_type.to_string().to_lowercase();
    let array = written.contains('[') || matches!(data_type, ast::DataType::Array(_));
    let (name, modified) = match written.split_once('(') {
        Some((before, rest)) => {
            let after = rest.split_once(')').map_or("", |(_, after)| after);
            (format!("{}{}", before.trim(), after), true)
        }
        None => (written, false),
    };
    let name = name.trim().trim_start_matches("pg_catalog.").replace('"', "");
    TypeName { name, modified, array }
}

/// A name of at most two parts.
pub(super) fn named(parts: Vec<String>) -> Result<Name, Unread> {
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, None) => Ok(Name::bare(name)),
        (Some(schema), Some(name), None) => Ok(Name { schema: Some(schema), name }),
        _ => Err(Unread::unsupported("a name that includes the database")),
    }
}
