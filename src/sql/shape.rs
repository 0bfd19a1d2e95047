//! A statement without its constants: what a plan is cached by.
//!
//! [`shape`] lifts the literals out of a query (SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, WITH,
//! EXPLAIN of these) and writes `$L1`, `$L2` … in their place, drops comments (except hints) and
//! reduces blanks to single spaces. PostgreSQL has no token `$L1`, and the lexer refuses it, so no
//! client can write one. sqlparser reads it as a placeholder.
//!
//! Invariant: equal shape text and equal literals (kind and text) mean the same, under the same
//! standard_conforming_strings; a shape's own text reads as with it on. Lifting less is always safe: what is not surely a plain constant
//! expression stays in the text. These stay: ordinals of ORDER BY, GROUP BY and DISTINCT ON; LIMIT,
//! OFFSET, FETCH; typed literals (`date '…'`, `interval '…'`), type modifiers, subscripts, window
//! frames; `U&''`, `B''`, `X''`, `N''` and continued strings; `0x1F` and `1_000`.
//!
//! The cost is one pass and, with a reused [`Shape`], no allocation.
use super::lexer::{Lexer, SyntaxError, Token, TokenKind};
use super::{escape, hint};
use std::borrow::Cow;
use std::ops::Range;

/// A statement's text without its literals.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Shape {
    pub text: String,
    /// In the order of their placeholders: `$L1` is the first.
    pub literals: Vec<Literal>,
    steps: Vec<Step>,
    contexts: Vec<Context>,
}

/// A constant that was lifted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Literal {
    /// In the original text.
    pub range: Range<usize>,
    /// Where its placeholder begins in the shape's text.
    pub at: usize,
    pub kind: LiteralKind,
}

/// How a lifted constant is written, which decides the type that PostgreSQL gives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LiteralKind {
    /// Decimal digits: integer, bigint or, from 2^63 on, numeric. A minus is an operator before it.
    Integer,
    /// With point or exponent: numeric.
    Decimal,
    /// `'…'`: of unknown type, no escapes.
    String,
    /// `E'…'`, or `'…'` while standard_conforming_strings is off.
    EscapeString,
    /// `$tag$…$tag$`.
    DollarString,
}

/// From byte `shape` on, the shape's text is the original's from byte `original` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Step {
    shape: usize,
    original: usize,
}

/// Lift the literals of one statement. Semicolons at its end are dropped.
pub fn shape(text: &str, standard_conforming_strings: bool) -> Result<Shape, SyntaxError> {
    let mut shape = Shape::default();
    shape_into(text, standard_conforming_strings, &mut shape)?;
    Ok(shape)
}

/// [`shape`] into a buffer that is used again and again.
pub fn shape_into(
    text: &str,
    standard_conforming_strings: bool,
    shape: &mut Shape,
) -> Result<(), SyntaxError> {
    shape.clear();
    let mut writer = Writer { text, shape, lifting: Lifting::Undecided, seen: Seen::default() };
    for token in Lexer::new(text, standard_conforming_strings) {
        writer.add(token?);
    }
    while writer.shape.text.ends_with([';', ' ']) {
        writer.shape.text.pop();
    }
    Ok(())
}

/// The number of a literal's placeholder, from 0: `$L1` is 0. `None`: not one of ours.
pub fn placeholder(text: &str) -> Option<usize> {
    text.strip_prefix("$L")?.parse::<usize>().ok()?.checked_sub(1)
}

impl Shape {
    /// Empty it, keeping its buffers.
    pub fn clear(&mut self) {
        self.text.clear();
        self.literals.clear();
        self.steps.clear();
        self.contexts.clear();
    }

    /// The byte of the original text that stands for byte `at` of the shape's text. Inside a
    /// placeholder: the literal's beginning.
    pub fn original_offset(&self, at: usize) -> usize {
        let next = self.steps.partition_point(|step| step.shape <= at);
        let Some(step) = next.checked_sub(1).and_then(|last| self.steps.get(last)) else {
            return 0;
        };
        let literal = self.literals.binary_search_by_key(&step.shape, |literal| literal.at);
        match literal {
            Ok(_) => step.original,
            Err(_) => step.original + (at - step.shape),
        }
    }

    /// The byte of the original text behind what ends at byte `end` of the shape's text.
    pub fn original_end(&self, end: usize) -> usize {
        let Some(last) = end.checked_sub(1) else { return 0 };
        let before = self.literals.partition_point(|literal| literal.at <= last);
        let literal = before.checked_sub(1).and_then(|index| self.literals.get(index));
        match literal {
            Some(literal) if literal.at + placeholder_length(before) >= end => literal.range.end,
            _ => self.original_offset(last) + 1,
        }
    }
}

/// Of the placeholder of that number, from 1.
fn placeholder_length(number: usize) -> usize {
    "$L".len() + number.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

impl Literal {
    /// The literal as written.
    pub fn source<'a>(&self, original: &'a str) -> &'a str {
        original.get(self.range.clone()).unwrap_or("")
    }

    /// What it stands for: a number as written, a string without quotes and escapes. `None`: an
    /// escape that PostgreSQL would refuse, or that makes bytes which are not UTF-8.
    pub fn value<'a>(&self, original: &'a str) -> Option<Cow<'a, str>> {
        let source = self.source(original);
        match self.kind {
            LiteralKind::Integer | LiteralKind::Decimal => Some(Cow::Borrowed(source)),
            LiteralKind::String => escape::value(TokenKind::String, source),
            LiteralKind::EscapeString => escape::value(TokenKind::EscapeString, source),
            LiteralKind::DollarString => escape::value(TokenKind::DollarString, source),
        }
    }
}

impl LiteralKind {
    /// `None`: a literal that is never lifted.
    fn of(token: Token, source: &str) -> Option<Self> {
        match token.kind {
            TokenKind::Integer => Some(Self::Integer),
            TokenKind::Decimal => Some(Self::Decimal),
            TokenKind::DollarString => Some(Self::DollarString),
            // A line end may mean that the string goes on after a gap: rare, so not looked into.
            TokenKind::String if !source.contains(['\n', '\r']) => Some(Self::String),
            TokenKind::EscapeString if !source.contains(['\n', '\r']) => Some(Self::EscapeString),
            _ => None,
        }
    }
}

/// Is this statement one whose literals are lifted?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifting {
    /// Only parentheses so far.
    Undecided,
    /// `EXPLAIN`, its options: what follows decides.
    Explain,
    Yes,
    No,
}

/// May literals of this parenthesis be lifted where they stand now?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Context {
    Lift,
    Keep,
}

/// What came before, as far as it decides about the next token.
#[derive(Default)]
struct Seen {
    last: Option<TokenKind>,
    word: Word,
    word_before: Word,
    /// Blanks or comments since the last token.
    gap: bool,
    /// Inside the name of a type (or an alias, which looks alike): a parenthesis holds modifiers.
    in_type: bool,
}

/// Keywords that matter here.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Word {
    /// No keyword, or none that matters.
    #[default]
    Other,
    /// Begins a query.
    Query,
    Explain,
    /// An option or the statement of EXPLAIN without parentheses.
    ExplainOption,
    /// An expression follows.
    Expression,
    On,
    Distinct,
    /// A clause with expressions follows.
    Clause,
    /// Begins a query or a clause, or is a column's name.
    Values,
    /// Begins a clause, or is a column's name.
    Set,
    /// Numbers after it are no plain values: ordinals, counts, frames.
    Ordinals,
    By,
    /// A type follows.
    As,
    /// A type that takes modifiers, or something else whose parenthesis is not an argument list.
    Modified,
    Array,
}

struct Writer<'a> {
    text: &'a str,
    shape: &'a mut Shape,
    lifting: Lifting,
    seen: Seen,
}

impl Writer<'_> {
    fn add(&mut self, token: Token) {
        if token.kind.is_blank() {
            self.seen.gap = true;
            if token.kind == TokenKind::BlockComment && hint::is_hint(token.text(self.text)) {
                self.write(token, token.text(self.text));
                self.seen.gap = true;
            }
            return;
        }
        let source = token.text(self.text);
        let word = match token.kind {
            TokenKind::Word => Word::of(source),
            _ => Word::Other,
        };
        if matches!(self.lifting, Lifting::Undecided | Lifting::Explain) {
            self.decide(token.kind, word);
        }
        match LiteralKind::of(token, source) {
            Some(kind) if self.liftable() => self.lift(token, kind),
            _ => self.write(token, source),
        }
        self.follow(token.kind, word);
    }

    /// The statement's first words say whether its literals are lifted.
    fn decide(&mut self, kind: TokenKind, word: Word) {
        let depth = self.shape.contexts.len().saturating_sub(1);
        self.lifting = match (self.lifting, kind, word) {
            (Lifting::Undecided, TokenKind::OpenParen, _) => Lifting::Undecided,
            (Lifting::Undecided, _, Word::Query | Word::Values) => Lifting::Yes,
            (Lifting::Undecided, _, Word::Explain) => Lifting::Explain,
            (Lifting::Undecided, ..) => Lifting::No,
            (Lifting::Explain, _, Word::Query | Word::Values)
                if depth == 0 || self.seen.last == Some(TokenKind::OpenParen) =>
            {
                Lifting::Yes
            }
            (Lifting::Explain, TokenKind::Word, Word::Other) if depth == 0 => Lifting::No,
            (lifting, ..) => lifting,
        };
    }

    fn context(&self) -> Context {
        self.shape.contexts.last().copied().unwrap_or(Context::Lift)
    }

    fn set_context(&mut self, context: Context) {
        match self.shape.contexts.last_mut() {
            Some(current) => *current = context,
            None if context == Context::Keep => self.shape.contexts.push(context),
            None => (),
        }
    }

    /// Does a literal stand here as an expression of its own?
    fn liftable(&self) -> bool {
        if self.lifting != Lifting::Yes || self.context() == Context::Keep {
            return false;
        }
        match self.seen.last {
            Some(TokenKind::Word) => matches!(
                self.seen.word,
                Word::Expression | Word::Clause | Word::On | Word::Distinct | Word::Query
            ),
            Some(
                TokenKind::Operator
                | TokenKind::Comma
                | TokenKind::OpenParen
                | TokenKind::OpenBracket
                | TokenKind::Assign,
            ) => true,
            _ => false,
        }
    }

    fn follow(&mut self, kind: TokenKind, word: Word) {
        match kind {
            TokenKind::OpenParen => {
                self.open(self.seen.in_type && self.seen.last != Some(TokenKind::OpenParen))
            }
            TokenKind::OpenBracket => {
                let constructor = self.seen.word == Word::Array
                    || matches!(self.seen.last, Some(TokenKind::OpenBracket | TokenKind::Comma));
                self.open(!constructor);
            }
            TokenKind::CloseParen | TokenKind::CloseBracket => self.close(),
            TokenKind::Word => match word {
                Word::Ordinals | Word::By => self.set_context(Context::Keep),
                Word::Clause | Word::On => self.set_context(Context::Lift),
                Word::Query if self.lifting == Lifting::Yes => self.set_context(Context::Lift),
                Word::Values | Word::Set
                    if self.seen.last != Some(TokenKind::Comma) && self.seen.word != Word::By =>
                {
                    self.set_context(Context::Lift);
                }
                _ => (),
            },
            _ => (),
        }
        let name = kind.is_name() && matches!(word, Word::Other | Word::Modified);
        self.seen.in_type = match kind {
            TokenKind::Cast => true,
            TokenKind::Word if matches!(word, Word::As | Word::Modified) => true,
            TokenKind::Dot => self.seen.in_type,
            _ => self.seen.in_type && name,
        };
        self.seen.word_before = self.seen.word;
        self.seen.word = word;
        self.seen.last = Some(kind);
        self.seen.gap = false;
    }

    /// A parenthesis opens; `strange`: what is in it are modifiers or subscripts.
    fn open(&mut self, strange: bool) {
        // `AS (` opens a query or a column list, never modifiers.
        let modifiers = strange && self.seen.word != Word::As;
        let ordinals = self.seen.word == Word::On && self.seen.word_before == Word::Distinct;
        let context = match modifiers || ordinals {
            true => Context::Keep,
            false => self.context(),
        };
        if self.shape.contexts.is_empty() {
            self.shape.contexts.push(Context::Lift);
        }
        self.shape.contexts.push(context);
    }

    fn close(&mut self) {
        if self.shape.contexts.len() > 1 {
            self.shape.contexts.pop();
        }
    }

    fn write(&mut self, token: Token, source: &str) {
        self.separate(token.kind);
        self.step(token.start);
        // Whoever reads a shape need not know standard_conforming_strings.
        if token.kind == TokenKind::EscapeString && source.starts_with('\'') {
            self.shape.text.push('E');
        }
        self.shape.text.push_str(source);
    }

    fn lift(&mut self, token: Token, kind: LiteralKind) {
        self.separate(token.kind);
        let at = self.shape.text.len();
        self.shape.steps.push(Step { shape: at, original: token.start });
        self.shape.literals.push(Literal { range: token.start..token.end, at, kind });
        self.shape.text.push_str("$L");
        push_number(&mut self.shape.text, self.shape.literals.len());
        self.shape.steps.push(Step { shape: self.shape.text.len(), original: token.end });
    }

    /// One space where there were blanks, or where two tokens would grow together.
    fn separate(&mut self, kind: TokenKind) {
        let Some(last) = self.seen.last else {
            // Only hints come before the first token.
            if self.seen.gap && !self.shape.text.is_empty() {
                self.shape.text.push(' ');
            }
            return;
        };
        let wordy =
            |kind: TokenKind| kind.is_name() || kind.is_literal() || kind == TokenKind::Parameter;
        let operators = last == TokenKind::Operator && kind == TokenKind::Operator;
        if self.seen.gap || operators || (wordy(last) && wordy(kind)) {
            self.shape.text.push(' ');
        }
    }

    /// Remember where the next byte comes from, unless the distance is as before.
    fn step(&mut self, original: usize) {
        let shape = self.shape.text.len();
        let known = self.shape.steps.last().is_some_and(|step| {
            let literal = self.shape.literals.last().is_some_and(|last| last.at == step.shape);
            !literal && shape - step.shape == original.wrapping_sub(step.original)
        });
        if !known {
            self.shape.steps.push(Step { shape, original });
        }
    }
}

fn push_number(text: &mut String, number: usize) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// The keywords that matter. Those left out are taken for names, after which nothing is lifted.
const KEYWORDS: &[(Word, &[&str])] = &[
    (Word::Query, &["select", "insert", "update", "delete", "merge", "with"]),
    (Word::Values, &["values"]),
    (Word::Set, &["set"]),
    (Word::Explain, &["explain"]),
    (Word::ExplainOption, &["analyze", "analyse", "verbose"]),
    (
        Word::Expression,
        &[
            "and",
            "or",
            "not",
            "like",
            "ilike",
            "to",
            "between",
            "symmetric",
            "asymmetric",
            "then",
            "else",
            "when",
            "in",
            "for",
            "placing",
            "all",
            "case",
        ],
    ),
    (Word::Clause, &["where", "having", "from", "returning"]),
    (Word::On, &["on"]),
    (Word::Distinct, &["distinct"]),
    (Word::Ordinals, &["limit", "offset", "fetch", "rows", "range", "groups"]),
    (Word::By, &["by"]),
    (Word::As, &["as"]),
    (Word::Array, &["array"]),
    (
        Word::Modified,
        &[
            "numeric",
            "decimal",
            "dec",
            "varchar",
            "char",
            "character",
            "nchar",
            "varying",
            "bit",
            "float",
            "time",
            "timestamp",
            "interval",
            "second",
            "bpchar",
            "repeatable",
            "tablesample",
            "extract",
        ],
    ),
];

const SLOTS: usize = 256;

/// The keywords in a hash table without chains, made by the compiler.
static TABLE: [(u128, Word); SLOTS] = {
    let mut table = [(0, Word::Other); SLOTS];
    let mut group = 0;
    while group < KEYWORDS.len() {
        let (word, spellings) = KEYWORDS[group];
        let mut index = 0;
        while index < spellings.len() {
            let key = key(spellings[index].as_bytes());
            let mut slot = slot(key);
            while table[slot].0 != 0 {
                slot = (slot + 1) % SLOTS;
            }
            table[slot] = (key, word);
            index += 1;
        }
        group += 1;
    }
    table
};

/// Up to 16 bytes of a word, in lower case, as one number. Only letters of another case share one.
const fn key(word: &[u8]) -> u128 {
    let (mut key, mut index) = (0, 0);
    while index < word.len() {
        key = key << 8 | (word[index] | 0x20) as u128;
        index += 1;
    }
    key
}

const fn slot(key: u128) -> usize {
    let folded = (key >> 64) as u64 ^ key as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % SLOTS
}

impl Word {
    fn of(source: &str) -> Self {
        // No keyword in the table is longer.
        if source.len() > 11 {
            return Self::Other;
        }
        let key = key(source.as_bytes());
        let mut slot = slot(key);
        loop {
            match TABLE[slot] {
                (found, word) if found == key => return word,
                (0, _) => return Self::Other,
                _ => slot = (slot + 1) % SLOTS,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(sql: &str, expected: &str) {
        assert_eq!(shape(sql, true).unwrap().text, expected);
    }

    #[track_caller]
    fn kept(sql: &str) {
        check(sql, sql);
    }

    #[test]
    fn constants_of_queries_are_lifted() {
        check("select * from t where a = 5 and b='x'", "select * from t where a = $L1 and b=$L2");
        check(
            "insert into t values (1,-2.5,$$x$$, e'y')",
            "insert into t values ($L1,-$L2,$L3, $L4)",
        );
        check("update t set a = 1 where b in (1, 2)", "update t set a = $L1 where b in ($L2, $L3)");
        check("values (1), (2)", "values ($L1), ($L2)");
        check("with x as (select 1) select 2", "with x as (select $L1) select $L2");
        check("(select 1) union (select 2)", "(select $L1) union (select $L2)");
        check(
            "select x::int in (1,2), array[1,[2]]",
            "select x::int in ($L1,$L2), array[$L3,[$L4]]",
        );
        check("select case when a then 1 else 2 end", "select case when a then $L1 else $L2 end");
        check("select 1 where a between 1 and 2", "select $L1 where a between $L2 and $L3");
    }

    #[test]
    fn comments_and_blanks_leave_no_trace_but_hints_stay() {
        check(" select -- c\n  a/* b */from\tt ; ", "select a from t");
        check("/* weir: shard=s1 */select 1", "/* weir: shard=s1 */ select $L1");
        check("select 1/* weir: shard=s1 */ ", "select $L1 /* weir: shard=s1 */");
    }

    #[test]
    fn tokens_never_grow_together() {
        check("select'x'from t where a<-1", "select $L1 from t where a< -$L2");
        check("select a/**/b", "select a b");
        check("select'x'\"y\"", "select $L1 \"y\"");
    }

    #[test]
    fn what_is_no_plain_constant_stays() {
        kept("select a, b from t order by 1, (2) limit 5 offset 10");
        kept("select a from t group by rollup(1, 2) fetch first 5 rows only");
        kept("select distinct on (1) a from t");
        kept(
            "select date '2026-01-01', interval '1 day', timestamp with time zone 'x', pg_lsn '0/1'",
        );
        kept("select x::numeric(10,2), cast(x as varchar(10)), varchar(10) 'abc', x::int[3]");
        kept("select extract('year' from a), b[1], sum(a) over (rows 5 preceding)");
        kept("select a like b escape '\\', a at time zone 'UTC'");
        kept("select U&'x', B'1', X'1f', N'x', 0x1F, 1_000, 'a'\n'b'");
        kept("select a from t tablesample bernoulli (10) repeatable (5)");
    }

    #[test]
    fn clauses_after_a_list_of_ordinals_are_lifted_again() {
        check(
            "select a from t group by 1 having a > 5",
            "select a from t group by 1 having a > $L1",
        );
        check(
            "(select a from t order by 1) union select 5",
            "(select a from t order by 1) union select $L1",
        );
        check("select sum(a) over (order by 1), 5", "select sum(a) over (order by 1), $L1");
        check(
            "select extract('year' from date_trunc('day', b)), 5",
            "select extract('year' from date_trunc($L1, b)), $L2",
        );
    }

    #[test]
    fn statements_that_are_no_queries_keep_their_literals() {
        kept("set x = 5");
        kept("create table t (a varchar(10) default 'x', check (a in ('b')))");
        kept("create view v as select 5");
        kept("explain (costs off, analyze) execute p(5)");
        kept("prepare p as select 5");
        kept("notify a, 'b'");
        check(
            "explain (costs off, buffers 1) select 5",
            "explain (costs off, buffers 1) select $L1",
        );
        check("explain analyze verbose select 5", "explain analyze verbose select $L1");
    }

    #[test]
    fn a_literal_has_its_value() {
        for (literal, value) in [
            ("'it''s'", Some("it's")),
            ("''", Some("")),
            ("E'a\\nb'", Some("a\nb")),
            ("$q$it's$q$", Some("it's")),
            ("$$$$", Some("")),
            ("042", Some("042")),
            ("1.50", Some("1.50")),
            ("E'\\xff'", None),
        ] {
            let text = format!("select {literal}");
            let shape = shape(&text, true).unwrap();
            assert_eq!(shape.literals[0].value(&text).as_deref(), value, "{literal}");
            assert_eq!(shape.literals[0].source(&text), literal);
        }
        let text = r"select 'a\nb'";
        assert_eq!(shape(text, false).unwrap().literals[0].value(text).as_deref(), Some("a\nb"));
    }

    #[test]
    fn kept_strings_read_as_under_standard_conforming_strings() {
        let shape = shape(r"select date'a\'', b", false).unwrap();
        assert_eq!(shape.text, r"select date E'a\'', b");
        assert_eq!(shape.original_offset(shape.text.find(", b").unwrap()), 16);
    }

    #[test]
    fn a_reused_shape_forgets_the_statement_before() {
        let mut buffer = Shape::default();
        shape_into("select 1, 2 order by (3", true, &mut buffer).unwrap();
        shape_into("select 4", true, &mut buffer).unwrap();
        assert_eq!(buffer, shape("select 4", true).unwrap());
    }

    #[test]
    fn placeholders_are_counted_from_zero() {
        assert_eq!(placeholder("$L1"), Some(0));
        assert_eq!(placeholder("$1"), None);
        assert_eq!(placeholder("$L0"), None);
    }

    proptest! {
        /// Putting each literal back and cutting blanks gives what the lexer saw.
        #[test]
        fn a_shape_is_the_same_tokens(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "select ", "a", " b ", "'it''s'", "E'\\''", "5", "1.5 ", "(", ")", ",", "+", "-", "<",
                    " ::int", " order by ", "limit ", " from ", "/* c */", "-- c\n", "\n", "[", "]", "$1 ",
                    "\"q\"", "$$d$$", " as ", " numeric", ".", "in", " and ", ";",
                ]),
                0..20,
            )
        ) {
            let text = format!("select {}", words.concat());
            let Ok(shape) = shape(&text, true) else { return Ok(()) };
            let mut back = shape.text.clone();
            for literal in shape.literals.iter().rev() {
                let end = literal.at + 2 + (shape.literals.len().to_string().len()).min(
                    back[literal.at + 2..].find(|c: char| !c.is_ascii_digit()).unwrap_or(back.len() - literal.at - 2));
                back.replace_range(literal.at..end, literal.source(&text));
            }
            let texts = |text: &str| -> Vec<String> {
                let tokens = super::super::lexer::tokens(text, true).unwrap();
                tokens.iter().map(|token| token.text(text).to_owned()).collect()
            };
            let mut expected = texts(&text);
            while expected.last().is_some_and(|last| last == ";") {
                expected.pop();
            }
            prop_assert_eq!(texts(&back), expected);
        }

        #[test]
        fn every_token_is_found_again_in_the_original(text in "select ([a-c5',+ \n(]|/\\*x\\*/){0,30}") {
            let Ok(shape) = shape(&text, true) else { return Ok(()) };
            // `$L1` is no token of the lexer: read it as `#L1`, which is three bytes as well.
            let readable = shape.text.replace("$L", "##");
            let mut at = 0;
            for token in Lexer::new(&readable, true).map_while(Result::ok) {
                prop_assert_eq!(token.start, at);
                at = token.end;
                if token.kind == TokenKind::Word {
                    let original = shape.original_offset(token.start);
                    prop_assert!(text[original..].starts_with(token.text(&readable)));
                }
            }
        }
    }
}
