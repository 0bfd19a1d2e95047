//! What an item of GROUP BY, ORDER BY or DISTINCT ON stands for. A number is an output's position. A name
//! alone may be that of a column of FROM or of an output; which comes first is another thing in each
//! clause. In anything else names mean columns of FROM, as they do in windows and aggregates.
use crate::sql::statement::{Expr, Literal, Output, Select};

/// How PostgreSQL may call an output that has no name of its own and whose words don't say it.
pub const UNSPOKEN: &[&str] = &[
    "array",
    "bool",
    "bpchar",
    "btrim",
    "case",
    "date_part",
    "exists",
    "extract",
    "float4",
    "float8",
    "int2",
    "int4",
    "int8",
    "ltrim",
    "numeric",
    "row",
    "rtrim",
    "timetz",
    "timestamptz",
    "timezone",
    "varbit",
    "varchar",
];

/// What a name alone means first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// A column of FROM: in GROUP BY.
    Columns,
    /// An output: in ORDER BY and DISTINCT ON.
    Outputs,
}

/// The expression that an item stands for. `None`: that is not clear.
pub fn meant<'s>(item: &'s Expr, select: &'s Select, names: Names) -> Option<&'s Expr> {
    match (item, names) {
        (Expr::Literal(Literal::Number(digits)), _) => at(digits.parse().ok()?, select),
        (Expr::Column(parts), Names::Outputs) => match parts.as_slice() {
            [name] => called(name, item, select),
            _ => Some(item),
        },
        (item, Names::Columns | Names::Outputs) => Some(item),
    }
}

/// The output at a position, from 1.
fn at(position: usize, select: &Select) -> Option<&Expr> {
    let index = position.checked_sub(1)?;
    let mut before = select.outputs.get(..=index)?.iter().map(|output| match output {
        Output::Expr { expr, alias } if alias.as_deref() != Some("*") => Some(expr),
        Output::Expr { .. } | Output::Star | Output::StarOf(_) => None,
    });
    before.by_ref().try_fold(None, |_, expr| expr.map(Some)).flatten()
}

/// The output of that name; the item itself if there is none.
fn called<'s>(name: &str, item: &'s Expr, select: &'s Select) -> Option<&'s Expr> {
    let (mut found, mut perhaps): (Option<&Expr>, _) = (None, false);
    for output in &select.outputs {
        // What a star brings is called as it is called in FROM.
        let Output::Expr { expr, alias } = output else { continue };
        match is_called(name, expr, alias.as_deref()) {
            Some(false) => {}
            None => perhaps = true,
            Some(true) => match (found, expr) {
                (None, _) => found = Some(expr),
                (Some(Expr::Column(one)), Expr::Column(other)) if one == other => {}
                (Some(_), _) => perhaps = true,
            },
        }
    }
    match perhaps {
        true => None,
        false => Some(found.unwrap_or(item)),
    }
}

/// `None`: perhaps.
fn is_called(name: &str, expr: &Expr, alias: Option<&str>) -> Option<bool> {
    match (alias, expr) {
        (Some("*"), _) => None,
        (Some(alias), _) => Some(alias == name),
        (None, Expr::Column(parts)) => Some(parts.last().is_some_and(|last| last == name)),
        _ if UNSPOKEN.contains(&name) => None,
        (None, Expr::Call(call)) if call.name.name != name => Some(false),
        (None, Expr::Literal(_) | Expr::Param(_)) => Some(false),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Expr {
        Expr::Column(vec![name.to_owned()])
    }

    fn select(outputs: Vec<Output>) -> Select {
        Select {
            at: Default::default(),
            distinct: crate::sql::statement::Distinct::No,
            outputs,
            from: Vec::new(),
            filter: None,
            grouping: crate::sql::statement::Grouping::None,
            having: None,
            windows: Vec::new(),
            windowed: false,
        }
    }

    fn output(expr: Expr, alias: Option<&str>) -> Output {
        Output::Expr { expr, alias: alias.map(str::to_owned) }
    }

    #[track_caller]
    fn check(outputs: Vec<Output>, item: &str, names: Names, expected: Option<&str>) {
        let item = match item.parse::<u32>() {
            Ok(_) => Expr::Literal(Literal::Number(item.to_owned())),
            Err(_) => column(item),
        };
        let select = select(outputs);
        let found = meant(&item, &select, names).map(|expr| match expr {
            Expr::Column(parts) => parts.join("."),
            other => format!("{other:?}"),
        });
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn an_output_of_that_name_comes_first_in_distinct_on_and_a_column_in_group_by() {
        let renamed = || vec![output(column("a"), Some("k")), output(column("id"), None)];
        check(renamed(), "k", Names::Outputs, Some("a"));
        check(renamed(), "k", Names::Columns, Some("k"));
        check(renamed(), "id", Names::Outputs, Some("id"));
        check(renamed(), "other", Names::Outputs, Some("other"));
    }

    #[test]
    fn a_number_is_a_position_as_far_as_no_star_comes_before() {
        let outputs =
            || vec![output(column("a"), Some("k")), Output::Star, output(column("b"), None)];
        check(outputs(), "1", Names::Columns, Some("a"));
        check(outputs(), "2", Names::Outputs, None);
        check(outputs(), "3", Names::Outputs, None);
        check(outputs(), "0", Names::Outputs, None);
    }

    #[test]
    fn what_an_output_without_a_name_is_called_is_not_guessed() {
        let outputs = || vec![output(Expr::Other(vec![column("a")]), None)];
        check(outputs(), "k", Names::Outputs, None);
        check(outputs(), "k", Names::Columns, Some("k"));
        let twice = vec![output(column("a"), Some("k")), output(column("b"), Some("k"))];
        check(twice, "k", Names::Outputs, None);
    }
}
