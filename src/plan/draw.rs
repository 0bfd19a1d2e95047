//! INSERT of one row whose sharding key comes from a sequence: weir draws the value on the home
//! shard, writes it into the statement, and the statement then goes by its key like any other.
use super::ddl::Words;
use super::names::{self, Home};
use super::{Context, Splice, Unroutable};
use crate::sql::compat::Analysis;
use crate::sql::lexer::{Lexer, Token, TokenKind};
use crate::sql::shape::Shape;
use crate::sql::statement::{Fill, Insert, Source};

/// What has to be drawn, and where it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draw {
    pub table: String,
    pub column: String,
    /// As `pg_get_serial_sequence` writes it.
    pub sequence: String,
    /// With [`VALUE`] in the place of the value.
    pub splices: Vec<Splice>,
}

/// Stands for the value; no statement holds this character.
const VALUE: &str = "\0";

impl Draw {
    /// The changes to the statement for a drawn value.
    pub fn with(&self, value: i64) -> Vec<Splice> {
        let fill = |splice: &Splice| Splice {
            insert: splice.insert.replace(VALUE, &value.to_string()),
            ..splice.clone()
        };
        self.splices.iter().map(fill).collect()
    }
}

/// `None`: the key is not drawn, or the row is none that a value can be written into.
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
    let tokens: Vec<Token> = Lexer::of_shape(&shape.text)
        .map_while(Result::ok)
        .filter(|token| !token.kind.is_blank() && token.start >= at)
        .collect();
    let place = Place { text: &shape.text, tokens: &tokens, key, overriding };
    let listed = insert.columns.iter().position(|listed| listed == key);
    let splices = match (&insert.source, insert.columns.is_empty(), listed) {
        (Source::Defaults, _, _) => place.instead_of_defaults(),
        (Source::Rows(rows), false, listed) if rows.len() == 1 => match listed {
            None => place.in_front(),
            Some(index) => match rows.first().and_then(|row| row.get(index)) {
                Some(None) => place.instead_of_default(index),
                Some(Some(_)) | None => None,
            },
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

    /// `(a, b) VALUES (…)`: the parenthesis of the list, the word, the parenthesis of the row.
    fn list_and_row(&self) -> Option<(Token, Token, &[Token])> {
        let (list, rest) = self.tokens.split_first()?;
        let behind = rest.iter().position(|token| token.kind == TokenKind::CloseParen)?;
        let [word, row, values @ ..] = rest.get(behind + 1..)? else { return None };
        let is_row = list.kind == TokenKind::OpenParen
            && word.is(self.text, "values")
            && row.kind == TokenKind::OpenParen;
        is_row.then_some((*list, *word, values))
    }

    /// The key as one column more, before the others.
    fn in_front(&self) -> Option<Vec<Splice>> {
        let (list, word, values) = self.list_and_row()?;
        let splice = |at, insert| Splice { at, remove: 0, insert };
        let mut splices = vec![splice(list.end, format!("{}, ", self.key()))];
        if self.overriding {
            splices.push(splice(word.start, self.overriding().to_owned()));
        }
        splices.push(splice(values.first()?.start, format!("{VALUE}, ")));
        Some(splices)
    }

    /// The value in the place of the word DEFAULT.
    fn instead_of_default(&self, index: usize) -> Option<Vec<Splice>> {
        let (_, word, values) = self.list_and_row()?;
        let (mut depth, mut commas) = (0_usize, 0_usize);
        let mut splices = Vec::new();
        if self.overriding {
            let insert = self.overriding().to_owned();
            splices.push(Splice { at: word.start, remove: 0, insert });
        }
        for token in values {
            match token.kind {
                TokenKind::OpenParen | TokenKind::OpenBracket => depth += 1,
                TokenKind::CloseParen | TokenKind::CloseBracket => depth = depth.checked_sub(1)?,
                TokenKind::Comma if depth == 0 => commas += 1,
                _ if depth == 0 && commas == index && token.is(self.text, "default") => {
                    let (at, remove) = (token.start, token.end - token.start);
                    splices.push(Splice { at, remove, insert: VALUE.to_owned() });
                    return Some(splices);
                }
                _ => {}
            }
        }
        None
    }
}
