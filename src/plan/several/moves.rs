//! UPDATE of what decides where rows live: the rows leave their shard and are inserted where they belong now.
//!
//! The shards delete the rows and return them as PostgreSQL works them out anew; weir finds out where each
//! belongs, and that shard is given it. A row that stays on its shard goes the same way. So nothing else
//! may notice that a row is gone for a moment: no trigger, no foreign key that acts.
use super::inserting::{Inserting, cast};
use super::tokens::{items, outer};
use super::write::Written;
use super::{Template, level};
use crate::plan::Unroutable;
use crate::plan::analyst::{Moved, WriteSite, quoted};
use crate::plan::catalog::{Mark, OnChange};
use crate::plan::write::assigned;
use crate::sql::lexer::{Lexer, Token, TokenKind, name};
use crate::sql::moment::Time;
use crate::sql::statement::{Expr, Fill, Output, Update};
use std::ops::Range;

#[derive(Debug)]
pub struct Moves {
    /// Takes the rows away and returns them with their new values.
    pub taken: Template,
    pub into: Inserting,
}

/// How the rows of an UPDATE move.
pub fn plan(
    written: &Written<'_, '_>,
    update: &Update,
    site: &WriteSite<'_>,
    moved: &Moved<'_>,
    times: &[Time],
) -> Result<Moves, Unroutable> {
    let plan = Plan { written, update, site, column: &moved.column };
    plan.admit_table()?;
    plan.admit_returning()?;
    let layout = Layout::of(&written.shape.text)
        .filter(|layout| layout.fits(update))
        .ok_or_else(|| plan.refuse("this form of UPDATE"))?;
    plan.moves(&layout, times)
}

struct Plan<'p, 's, 'a> {
    written: &'p Written<'s, 'a>,
    update: &'p Update,
    site: &'p WriteSite<'a>,
    column: &'p str,
}

impl Plan<'_, '_, '_> {
    fn refuse(&self, what: &str) -> Unroutable {
        Unroutable::NotMoved {
            table: self.site.table.to_string(),
            column: self.column.to_owned(),
            what: what.to_owned(),
        }
    }

    fn called(&self) -> &str {
        self.update.table.alias.name.as_ref().unwrap_or(&self.site.table.name)
    }

    /// Nobody else notices that a row is gone for a moment.
    fn admit_table(&self) -> Result<(), Unroutable> {
        let relation = self.site.found.relation.filter(|relation| !relation.columns.is_empty());
        let relation = relation
            .ok_or_else(|| Unroutable::ColumnsUnknown { table: self.site.table.to_string() })?;
        let family = self.written.analyst.context.catalog.family(relation);
        if family.len() > 1 && !relation.has(Mark::Partitioned) {
            return Err(self.refuse("a table that others inherit from"));
        }
        for member in family {
            for (mark, what) in [
                (Mark::Triggers, "a table with triggers"),
                (Mark::Policies, "a table with row security"),
                (Mark::Rules, "a table with rules"),
            ] {
                if member.has(mark) {
                    return Err(self.refuse(what));
                }
            }
            for reference in &member.referenced {
                let acts =
                    (reference.on_delete, reference.on_update) != (OnChange::Keep, OnChange::Keep);
                // Where the key is among them, PostgreSQL, too, lets no referenced row change.
                let of_key =
                    reference.columns.iter().any(|column| column.referenced == self.column);
                if acts || !of_key {
                    let (_, table) = &reference.table;
                    let what = format!("foreign key {} of {table}", reference.name);
                    return Err(self.refuse(&what));
                }
            }
        }
        Ok(())
    }

    /// The client's RETURNING is evaluated where the new row is.
    fn admit_returning(&self) -> Result<(), Unroutable> {
        if self.update.returning.is_empty() {
            return Ok(());
        }
        if !self.update.from.is_empty() {
            return Err(self.refuse("RETURNING beside FROM"));
        }
        let (mut subquery, mut param, mut before) = (false, false, false);
        for output in &self.update.returning {
            let expr = match output {
                Output::Expr { expr, .. } => expr,
                Output::Star => continue,
                Output::StarOf(parts) => {
                    before |= self.is_version(parts.first());
                    continue;
                }
            };
            level::walk(expr, &mut |expr| {
                subquery |= level::subquery(expr).is_some();
                param |= matches!(expr, Expr::Param(_));
                if let Expr::Column(parts) = expr
                    && parts.len() > 1
                {
                    before |= self.is_version(parts.first());
                }
            });
        }
        match (subquery, param, before) {
            (true, _, _) => Err(self.refuse("a subquery in RETURNING")),
            (_, true, _) => Err(self.refuse("a parameter in RETURNING")),
            (_, _, true) => Err(self.refuse("RETURNING old")),
            (false, false, false) => Ok(()),
        }
    }

    /// `old.note`, `new.note`: from PostgreSQL 18 on.
    fn is_version(&self, name: Option<&String>) -> bool {
        name.is_some_and(|name| ["old", "new"].contains(&name.as_str()) && name != self.called())
    }

    fn moves(&self, layout: &Layout, times: &[Time]) -> Result<Moves, Unroutable> {
        let columns = self.site.found.columns().unwrap_or_default();
        let alias = quoted(self.called());
        let mut taken = Template::default();
        taken.range(0..layout.update.start);
        taken.text("DELETE FROM ");
        taken.range(layout.target.clone());
        for (word, clause) in [(" USING ", &layout.from), (" WHERE ", &layout.filter)] {
            if let Some(clause) = clause {
                taken.text(word);
                taken.range(clause.clone());
            }
        }
        taken.text(" RETURNING ");
        let mut inserted: Vec<&str> = Vec::new();
        for column in columns.iter().filter(|column| column.fill != Fill::Generated) {
            let set = layout.set.iter().find(|set| set.column == column.name);
            if set.is_some() && self.is_default(&column.name) {
                continue;
            }
            if !inserted.is_empty() {
                taken.text(", ");
            }
            match set {
                Some(set) => {
                    taken.text("(");
                    taken.range(set.value.clone());
                    taken.text(format!("){}", cast(column)));
                }
                None => taken.text(format!("{alias}.{}", quoted(&column.name))),
            }
            inserted.push(&column.name);
        }
        let tail = layout.returning.clone();
        let into = Inserting::new(self.site, alias, &inserted, tail, times)
            .map_err(|_| self.refuse("DEFAULT"))?;
        Ok(Moves { taken: taken.telling(times), into })
    }

    fn is_default(&self, column: &str) -> bool {
        matches!(assigned(&self.update.set, column).flatten(),
            Some(Expr::Column(parts)) if matches!(parts.as_slice(), [one] if one == "default"))
    }
}

/// Where the clauses of an UPDATE stand in its shape's text.
#[derive(Default, Debug)]
struct Layout {
    /// The word UPDATE.
    update: Range<usize>,
    /// The table, with its alias.
    target: Range<usize>,
    set: Vec<Set>,
    from: Option<Range<usize>>,
    filter: Option<Range<usize>>,
    /// With its word.
    returning: Option<Range<usize>>,
}

#[derive(Debug)]
struct Set {
    column: String,
    value: Range<usize>,
}

impl Layout {
    /// `None`: not every column is set to a value of its own.
    fn of(text: &str) -> Option<Self> {
        let tokens: Vec<Token> = Lexer::of_shape(text)
            .map_while(Result::ok)
            .filter(|token| !token.kind.is_blank())
            .collect();
        let outer = outer(&tokens);
        let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(text, word));
        let find = |from: usize, word: &str| {
            outer.iter().copied().find(|&at| {
                // `a IS DISTINCT FROM b`
                at >= from
                    && is(at, word)
                    && !(word == "from" && is(at.wrapping_sub(1), "distinct"))
            })
        };
        let start = |at: usize| tokens.get(at).map_or(text.len(), |token| token.start);
        let update = find(0, "update")?;
        let set = find(update + 1, "set")?;
        let (end, clauses) = (tokens.len(), set + 1);
        let returning = find(clauses, "returning").unwrap_or(end);
        let filter = find(clauses, "where").filter(|&at| at < returning).unwrap_or(returning);
        let from = find(clauses, "from").filter(|&at| at < filter).unwrap_or(filter);
        let clause = |from: usize, to: usize| {
            (from < to).then(|| tokens.get(from).map_or(0, |token| token.end)..start(to))
        };
        let word = tokens.get(update)?;
        Some(Self {
            update: word.start..word.end,
            target: word.end..start(set),
            set: sets(text, &tokens, clauses..from)?,
            from: clause(from, filter),
            filter: clause(filter, returning),
            returning: (returning < end).then(|| start(returning)..text.len()),
        })
    }

    /// The parser has read the same.
    fn fits(&self, update: &Update) -> bool {
        let read: Vec<&String> = update.set.iter().flat_map(|set| &set.columns).collect();
        let here: Vec<&String> = self.set.iter().map(|set| &set.column).collect();
        read == here
            && self.from.is_some() != update.from.is_empty()
            && self.filter.is_some() == update.filter.is_some()
            && self.returning.is_some() != update.returning.is_empty()
    }
}

/// `a = 1, (b, c) = (2, ROW(3))`
fn sets(text: &str, tokens: &[Token], within: Range<usize>) -> Option<Vec<Set>> {
    let mut sets = Vec::new();
    let kind = |at: usize| tokens.get(at).map(|token| token.kind);
    let bytes = |range: Range<usize>| {
        Some(tokens.get(range.start)?.start..tokens.get(range.end.checked_sub(1)?)?.end)
    };
    let is_equal = |at: usize| {
        tokens.get(at).is_some_and(|token| text.get(token.start..token.end) == Some("="))
    };
    let column = |range: &Range<usize>| match range.len() {
        1 => name(*tokens.get(range.start)?, text),
        _ => None,
    };
    for item in items(tokens, within) {
        if kind(item.start) != Some(TokenKind::OpenParen) {
            if !is_equal(item.start + 1) {
                return None;
            }
            let column = column(&(item.start..item.start + 1))?;
            sets.push(Set { column, value: bytes(item.start + 2..item.end)? });
            continue;
        }
        let close = (item.start..item.end).find(|&at| kind(at) == Some(TokenKind::CloseParen))?;
        let mut values = close + 2;
        if tokens.get(values)?.is(text, "row") {
            values += 1;
        }
        let queried = ["select", "with", "values", "table"];
        let whole = is_equal(close + 1)
            && !queried.iter().any(|word| tokens.get(values + 1).is_some_and(|t| t.is(text, word)))
            && kind(values) == Some(TokenKind::OpenParen)
            && outer(tokens.get(values..item.end)?) == [0, item.end - values - 1];
        let columns = items(tokens, item.start + 1..close);
        let values = items(tokens, values + 1..item.end - 1);
        if !whole || columns.len() != values.len() {
            return None;
        }
        for (one, value) in columns.iter().zip(values) {
            sets.push(Set { column: column(one)?, value: bytes(value)? });
        }
    }
    Some(sets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::shape::shape;

    fn told(text: &str) -> Option<String> {
        let shape = shape(text, true).unwrap();
        let layout = Layout::of(&shape.text)?;
        let original = |range: &Range<usize>| {
            let mut template = Template::default();
            template.range(range.clone());
            template.render(text, &shape).trim().to_owned()
        };
        let set: Vec<String> = layout
            .set
            .iter()
            .map(|set| format!("{}:={}", set.column, original(&set.value)))
            .collect();
        let clause = |clause: &Option<Range<usize>>| clause.as_ref().map_or("-".into(), original);
        Some(format!(
            "{} | {} | {} | {} | {}",
            original(&layout.target),
            set.join("; "),
            clause(&layout.from),
            clause(&layout.filter),
            clause(&layout.returning)
        ))
    }

    #[test]
    fn the_clauses_of_an_update_are_found() {
        for (text, expected) in [
            ("UPDATE t SET a = 1", "t | a:=1 | - | - | -"),
            (
                "WITH w AS (UPDATE x SET y = 1) UPDATE ONLY s.t AS o SET a = f(1, b), \"B\" = 'x, y' \
                 FROM u, v WHERE o.id = (SELECT 1 WHERE true) RETURNING a, b",
                "ONLY s.t AS o | a:=f(1, b); B:='x, y' | u, v | o.id = (SELECT 1 WHERE true) | \
                 RETURNING a, b",
            ),
            (
                "update t set (a, b) = (1, x - 2), (c, d) = row (y, (3)), e = p is distinct from q",
                "t | a:=1; b:=x - 2; c:=y; d:=(3); e:=p is distinct from q | - | - | -",
            ),
            (
                "update t set a = extract(day from now()) where b",
                "t | a:=extract(day from now()) | - | b | -",
            ),
        ] {
            assert_eq!(told(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "UPDATE t SET a[1] = 2",
            "UPDATE t SET a.b = 2",
            "UPDATE t SET (a, b) = (SELECT 1, 2)",
            "UPDATE t SET (a, b) = (1, 2)::pair",
        ] {
            assert_eq!(told(text), None, "{text}");
        }
    }
}
