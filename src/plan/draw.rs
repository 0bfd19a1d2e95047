//! INSERT of rows whose sharding keys come from a sequence: weir draws the values on the home shard,
//! writes them into the statement, and the statement then goes by its keys like any other.
use super::ddl::Words;
use super::names::{self, Home};
use super::several::rows::{Layout, tokens_from};
use super::{Context, Splice, Unroutable};
use crate::sql::compat::Analysis;
use crate::sql::lexer::Token;
use crate::sql::shape::Shape;
use crate::sql::statement::{Fill, Insert, Source};

/// What has to be drawn, and where it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draw {
    pub table: String,
    pub column: String,
    /// As `pg_get_serial_sequence` writes it; or `weir.next_id()`.
    pub sequence: String,
    /// With [`VALUE`] in the place of each value.
    pub splices: Vec<Splice>,
}

/// Stands for the value; no statement holds this character.
const VALUE: &str = "\0";

impl Draw {
    /// How many values have to be drawn.
    pub fn count(&self) -> usize {
        self.splices.iter().filter(|splice| splice.insert.contains(VALUE)).count()
    }

    /// The changes to the statement for drawn values.
    pub fn with(&self, values: &[i64]) -> Vec<Splice> {
        let mut values = values.iter();
        let fill = |splice: &Splice| match splice.insert.contains(VALUE) {
            false => splice.clone(),
            true => {
                let value = values.next().map_or_else(String::new, i64::to_string);
                Splice { insert: splice.insert.replace(VALUE, &value), ..splice.clone() }
            }
        };
        self.splices.iter().map(fill).collect()
    }
}

/// `None`: the key is not drawn, or the rows are none that values can be written into.
pub(super) fn draw(
    insert: &Insert,
    analysis: &Analysis<'_>,
    shape: &Shape,
    context: &Context<'_>,
) -> Result<Option<Draw>, Unroutable> {
    let found = names::find(&insert.table, context)?;
    let Home::Sharded { key, .. } = &found.home else { return Ok(None) };
    let Some(column) = found.relation.and_then(|relation| relation.column(key)) else {
        return Ok(None);
    };
    let overriding = match column.fill {
        Fill::Identity => true,
        Fill::Serial => false,
        Fill::Null | Fill::Default | Fill::Generated => return Ok(None),
    };
    let words = Words::new(&shape.text);
    if words.has("overriding") {
        let (table, column) = (insert.table.to_string(), (*key).to_owned());
        let by = "OVERRIDING USER VALUE";
        return match overriding && words.has("user") {
            true => Err(Unroutable::KeyUnknown { table, column, by }),
            false => Ok(None),
        };
    }
    let at = insert.columns_at.byte(&analysis.text).map(|at| analysis.shape_offset(at));
    let (Some(sequence), Some(at)) = (&column.sequence, at) else { return Ok(None) };
    let tokens = tokens_from(&shape.text, at);
    let place = Place { text: &shape.text, tokens: &tokens, key, overriding };
    let listed = insert.columns.iter().position(|listed| listed == key);
    let splices = match (&insert.source, insert.columns.is_empty(), listed) {
        (Source::Defaults, _, _) => place.instead_of_defaults(),
        (Source::Rows(rows), false, listed) => match listed {
            None => place.in_front(rows.len()),
            Some(index) => {
                let drawn = rows.iter().map(|row| matches!(row.get(index), Some(None)));
                place.instead_of_default(index, &drawn.collect::<Vec<_>>())
            }
        },
        (Source::Rows(_) | Source::Query(_), _, _) => None,
    };
    Ok(splices.map(|splices| Draw {
        table: insert.table.to_string(),
        column: (*key).to_owned(),
        sequence: sequence.clone(),
        splices,
    }))
}

/// The statement from where a column list would be.
struct Place<'t> {
    text: &'t str,
    tokens: &'t [Token],
    key: &'t str,
    /// The key is an identity column, which may be one that is always generated.
    overriding: bool,
}

impl Place<'_> {
    fn key(&self) -> String {
        format!("\"{}\"", self.key.replace('"', "\"\""))
    }

    fn overriding(&self) -> &'static str {
        if self.overriding { "OVERRIDING SYSTEM VALUE " } else { "" }
    }

    /// `DEFAULT VALUES`
    fn instead_of_defaults(&self) -> Option<Vec<Splice>> {
        let [default, values, ..] = self.tokens else { return None };
        if !default.is(self.text, "default") || !values.is(self.text, "values") {
            return None;
        }
        let insert = format!(" ({}) {}VALUES ({VALUE})", self.key(), self.overriding());
        Some(vec![Splice { at: default.start, remove: values.end - default.start, insert }])
    }

    /// `(a, b) VALUES (…), (…)`, with so many rows.
    fn list_and_rows(&self, count: usize) -> Option<(Token, Layout)> {
        let layout = Layout::of(self.text, self.tokens)?;
        let (open, _) = layout.list?;
        (layout.rows.len() == count).then_some((open, layout))
    }

    /// The key as one column more, before the others.
    fn in_front(&self, count: usize) -> Option<Vec<Splice>> {
        let (list, layout) = self.list_and_rows(count)?;
        let splice = |at, insert| Splice { at, remove: 0, insert };
        let mut splices = vec![splice(list.end, format!("{}, ", self.key()))];
        if self.overriding {
            splices.push(splice(layout.values.start, self.overriding().to_owned()));
        }
        for (open, _) in layout.rows {
            splices.push(splice(self.tokens.get(open + 1)?.start, format!("{VALUE}, ")));
        }
        Some(splices)
    }

    /// Values in the place of the word DEFAULT, in the rows that have it there.
    fn instead_of_default(&self, index: usize, drawn: &[bool]) -> Option<Vec<Splice>> {
        let (_, layout) = self.list_and_rows(drawn.len())?;
        let mut splices = Vec::new();
        if self.overriding {
            let insert = self.overriding().to_owned();
            splices.push(Splice { at: layout.values.start, remove: 0, insert });
        }
        let before = splices.len();
        for (row, _) in layout.rows.iter().zip(drawn).filter(|(_, drawn)| **drawn) {
            let cell = Layout::cells(self.tokens, *row).get(index)?.clone();
            let token = self.tokens.get(cell.start)?;
            if cell.len() != 1 || !token.is(self.text, "default") {
                return None;
            }
            let (at, remove) = (token.start, token.end - token.start);
            splices.push(Splice { at, remove, insert: VALUE.to_owned() });
        }
        (splices.len() > before).then_some(splices)
    }
}
