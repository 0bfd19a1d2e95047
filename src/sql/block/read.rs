//! Reads the clauses of a query.
use super::level::Tokens;
use super::{
    Amount, Arm, Block, Blocks, Bytes, Clause, Cte, Direction, Distinct, Group, Key, Output, Query,
    SetKind, SetOperator, Tail, Value, With,
};
use crate::sql::lexer::TokenKind;
use std::ops::Range;

impl Blocks {
    /// The queries of a shape's text. `None`: it is not clear where their parts are.
    pub fn of(shape_text: &str) -> Option<Self> {
        let tokens = Tokens::of(shape_text)?;
        let (mut queries, mut whole) = (Vec::new(), false);
        let parentheses = (0..tokens.len())
            .filter(|at| tokens.kind(*at) == Some(TokenKind::OpenParen))
            .filter_map(|at| Some(at + 1..tokens.closing(at)?));
        for range in std::iter::once(0..tokens.len()).chain(parentheses) {
            if !begins_query(&tokens, range.start) {
                continue;
            }
            match Reader::new(&tokens, range.clone()).query() {
                Some(query) => {
                    whole |= range.end == tokens.len();
                    queries.push(query);
                }
                // `((SELECT 1) + 1)` is no query, nor is `WITH … INSERT …`; `(SELECT …)` must be one.
                None if tokens.is(range.start, "select") => return None,
                None => {}
            }
        }
        Some(Self { queries, whole })
    }
}

/// Might a query begin at this token?
fn begins_query(tokens: &Tokens<'_>, at: usize) -> bool {
    tokens.kind(at) == Some(TokenKind::OpenParen)
        || tokens.is_any(at, &["select", "with", "values", "table"])
}

/// Reads one query's tokens from the first to the last.
struct Reader<'t> {
    tokens: &'t Tokens<'t>,
    at: usize,
    end: usize,
    /// FROM's items are being read.
    items: bool,
}

impl<'t> Reader<'t> {
    fn new(tokens: &'t Tokens<'t>, range: Range<usize>) -> Self {
        Self { tokens, at: range.start, end: range.end, items: false }
    }

    fn is(&self, keyword: &str) -> bool {
        self.at < self.end && self.tokens.is(self.at, keyword)
    }

    /// Step over the keyword; was it there?
    fn eat(&mut self, keyword: &str) -> bool {
        let there = self.is(keyword);
        self.at += usize::from(there);
        there
    }

    fn eat_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.eat(keyword))
    }

    /// Step over a parenthesis; the tokens in it.
    fn parenthesis(&mut self) -> Option<Range<usize>> {
        if self.at >= self.end || self.tokens.kind(self.at) != Some(TokenKind::OpenParen) {
            return None;
        }
        let inside = self.at + 1..self.tokens.closing(self.at)?;
        self.at = inside.end + 1;
        Some(inside)
    }

    fn bytes(&self, tokens: Range<usize>) -> Bytes {
        self.tokens.bytes(tokens)
    }

    /// To where the next clause begins.
    fn skip(&mut self) -> Range<usize> {
        let start = self.at;
        while self.at < self.end && !self.begins_clause() {
            self.at = self.tokens.next(self.at);
        }
        start..self.at
    }

    /// Reserved words at this depth, except where they are parts of other constructs.
    fn begins_clause(&self) -> bool {
        let tokens = self.tokens;
        if self.is("from") {
            // IS DISTINCT FROM; among FROM's items also ROWS FROM (…).
            let distinct = self.at.checked_sub(1).is_some_and(|at| tokens.is(at, "distinct"));
            return !distinct && !self.items;
        }
        if self.is("group") || self.is("order") {
            // Not WITHIN GROUP (…).
            return tokens.is(self.at + 1, "by");
        }
        if self.is("for") {
            // Not COLLATION FOR (…).
            return tokens.is_any(self.at + 1, &["update", "no", "share", "key", "read"]);
        }
        const CLAUSES: [&str; 10] = [
            "where",
            "having",
            "window",
            "union",
            "intersect",
            "except",
            "limit",
            "offset",
            "fetch",
            "into",
        ];
        tokens.is_any(self.at, &CLAUSES)
    }

    fn query(mut self) -> Option<Query> {
        let range = self.bytes(self.at..self.end);
        let with = match self.is("with") {
            true => Some(self.with()?),
            false => None,
        };
        let mut arms = vec![self.arm()?];
        let mut operators = Vec::new();
        while let Some(operator) = self.operator() {
            operators.push(operator);
            arms.push(self.arm()?);
        }
        let tail = self.tail()?;
        (self.at == self.end).then_some(Query { range, with, arms, operators, tail })
    }

    fn with(&mut self) -> Option<With> {
        let start = self.at;
        self.at += 1;
        let recursive = self.eat("recursive");
        let mut ctes = vec![self.cte()?];
        while self.at < self.end && self.tokens.kind(self.at) == Some(TokenKind::Comma) {
            self.at += 1;
            ctes.push(self.cte()?);
        }
        Some(With { range: self.bytes(start..self.at), recursive, ctes })
    }

    fn cte(&mut self) -> Option<Cte> {
        let start = self.at;
        if !self.tokens.kind(self.at)?.is_name() {
            return None;
        }
        let name = self.bytes(start..start + 1);
        self.at += 1;
        let columns = self.parenthesis().map(|inside| self.bytes(inside));
        if !self.eat("as") {
            return None;
        }
        // What follows AS counts as a name by its place.
        let word = |at: usize, keyword: &str| self.tokens.source(at).eq_ignore_ascii_case(keyword);
        let materialized = match (word(self.at, "not"), word(self.at, "materialized")) {
            (true, _) if word(self.at + 1, "materialized") => Some(false),
            (false, true) => Some(true),
            _ => None,
        };
        self.at += match materialized {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        };
        let body = self.parenthesis().map(|inside| self.bytes(inside))?;
        // `SEARCH … SET a` and `CYCLE … SET a … USING b` belong to it.
        for (clause, last) in [("search", "set"), ("cycle", "using")] {
            if self.eat(clause) {
                while self.at < self.end && !self.eat(last) {
                    self.at = self.tokens.next(self.at);
                }
                self.at += 1;
            }
        }
        Some(Cte { range: self.bytes(start..self.at), name, columns, materialized, body })
    }

    fn operator(&mut self) -> Option<SetOperator> {
        let start = self.at;
        let kind = match () {
            () if self.eat("union") => SetKind::Union,
            () if self.eat("intersect") => SetKind::Intersect,
            () if self.eat("except") => SetKind::Except,
            () => return None,
        };
        let all = self.eat("all");
        self.eat("distinct");
        Some(SetOperator { range: self.bytes(start..self.at), kind, all })
    }

    fn arm(&mut self) -> Option<Arm> {
        if self.is("select") {
            return Some(Arm::Select(Box::new(self.block()?)));
        }
        let start = self.at;
        if self.parenthesis().is_some() {
            return Some(Arm::Nested(self.bytes(start..self.at)));
        }
        let values = self.is("values");
        if !values && !self.is("table") {
            return None;
        }
        let range = self.skip();
        let range = (range.len() > 1).then(|| self.bytes(range))?;
        Some(if values { Arm::Values(range) } else { Arm::Table(range) })
    }

    fn block(&mut self) -> Option<Block> {
        let start = self.at;
        self.at += 1;
        let distinct = self.distinct()?;
        let head = self.bytes(start..self.at);
        let items = self.skip();
        let outputs = match items.is_empty() {
            true => Vec::new(),
            false => {
                let items = self.tokens.list(items)?;
                items.into_iter().map(|item| self.output(item)).collect()
            }
        };
        self.items = true;
        let from = self.clause(&["from"])?;
        self.items = false;
        let filter = self.clause(&["where"])?;
        let conjuncts = match &filter {
            None => Vec::new(),
            Some((tokens, _)) => {
                let parts = self.tokens.conjuncts(tokens.clone())?;
                parts.into_iter().map(|part| self.bytes(part)).collect()
            }
        };
        let group = match self.clause(&["group", "by"])? {
            None => None,
            Some((tokens, clause)) => Some(self.group(tokens, clause)?),
        };
        let having = self.clause(&["having"])?;
        let window = self.clause(&["window"])?;
        let clause = |found: Option<(Range<usize>, Clause)>| found.map(|(_, clause)| clause);
        Some(Block {
            range: self.bytes(start..self.at),
            head,
            distinct,
            outputs,
            from: clause(from),
            filter: clause(filter),
            conjuncts,
            group,
            having: clause(having),
            window: clause(window),
        })
    }

    fn distinct(&mut self) -> Option<Distinct> {
        if self.eat("all") || !self.eat("distinct") {
            return Some(Distinct::No);
        }
        if !self.eat("on") {
            return Some(Distinct::Rows);
        }
        let inside = self.parenthesis()?;
        let exprs = self.tokens.list(inside)?;
        Some(Distinct::On(exprs.into_iter().map(|expr| self.bytes(expr)).collect()))
    }

    fn output(&self, item: Range<usize>) -> Output {
        let labelled = self.tokens.level(item.clone()).find(|at| self.tokens.is(*at, "as"));
        let last = item.end - 1;
        let bare = (item.len() > 1 && self.tokens.kind(last).is_some_and(TokenKind::is_name))
            .then_some(last);
        Output {
            range: self.bytes(item.clone()),
            before_alias: labelled.or(bare).map(|at| self.bytes(item.start..at)),
            labelled: labelled.is_some(),
        }
    }

    /// The clause that these keywords begin, if it comes next: the tokens behind the keywords. The
    /// outer `None`: it is empty.
    fn clause(&mut self, keywords: &[&str]) -> Option<Option<(Range<usize>, Clause)>> {
        let start = self.at;
        for keyword in keywords {
            if !self.eat(keyword) {
                self.at = start;
                return Some(None);
            }
        }
        let tokens = self.skip();
        if tokens.is_empty() {
            return None;
        }
        let range = self.bytes(start..self.at);
        Some(Some((tokens.clone(), Clause { range, body: self.bytes(tokens) })))
    }

    fn group(&self, tokens: Range<usize>, clause: Clause) -> Option<Group> {
        let distinct = self.tokens.is(tokens.start, "distinct");
        let quantified = distinct || self.tokens.is(tokens.start, "all");
        let items = self.tokens.list(tokens.start + usize::from(quantified)..tokens.end)?;
        let items = items.into_iter().map(|item| self.bytes(item)).collect();
        Some(Group { clause, distinct, items })
    }

    fn tail(&mut self) -> Option<Tail> {
        let start = self.at;
        let mut tail = Tail::default();
        if let Some((tokens, clause)) = self.clause(&["order", "by"])? {
            let keys = self.tokens.list(tokens)?;
            tail.keys = keys.into_iter().map(|key| self.key(key)).collect::<Option<_>>()?;
            tail.order = Some(clause);
        }
        while self.at < self.end {
            let from = self.at;
            if self.is("limit") && tail.limit.is_none() {
                tail.limit = Some(self.limit()?);
            } else if self.is("offset") && tail.offset.is_none() {
                tail.offset = Some(self.offset()?);
            } else if self.is("fetch") && tail.limit.is_none() {
                (tail.limit, tail.ties) = self.fetch()?;
            } else if self.is("for") {
                self.at += 1;
                self.skip();
                let first = tail.locks.as_ref().map(|locks| locks.start);
                let range = self.bytes(from..self.at);
                tail.locks = Some(first.unwrap_or(range.start)..range.end);
            } else {
                return None;
            }
        }
        tail.range = self.bytes(start..self.at);
        Some(tail)
    }

    fn key(&self, range: Range<usize>) -> Option<Key> {
        let mut end = range.end;
        let is = |at: usize, keyword: &str| at > range.start && self.tokens.is(at, keyword);
        let nulls = end.checked_sub(2).is_some_and(|at| is(at, "nulls"));
        let nulls_first = match nulls {
            true if is(end - 1, "first") => Some(true),
            true if is(end - 1, "last") => Some(false),
            _ => None,
        };
        end -= if nulls_first.is_some() { 2 } else { 0 };
        let last = end.checked_sub(1)?;
        let using = self.tokens.level(range.start..end).find(|at| is(*at, "using"));
        let (end, direction) = match using {
            Some(using) => (using, Direction::Using),
            None if is(last, "asc") => (last, Direction::Ascending),
            None if is(last, "desc") => (last, Direction::Descending),
            None => (end, Direction::Ascending),
        };
        let expr = (end > range.start).then(|| self.bytes(range.start..end))?;
        Some(Key { range: self.bytes(range), expr, direction, nulls_first })
    }

    fn limit(&mut self) -> Option<Amount> {
        let start = self.at;
        self.at += 1;
        let tokens = self.skip();
        self.amount(start, tokens)
    }

    fn offset(&mut self) -> Option<Amount> {
        let start = self.at;
        self.at += 1;
        let mut tokens = self.skip();
        if tokens.len() > 1 && self.tokens.is_any(tokens.end - 1, &["row", "rows"]) {
            tokens.end -= 1;
        }
        self.amount(start, tokens)
    }

    /// `FETCH FIRST 5 ROWS ONLY`, and whether it says `WITH TIES`.
    fn fetch(&mut self) -> Option<(Option<Amount>, bool)> {
        let start = self.at;
        self.at += 1;
        if !self.eat_any(&["first", "next"]) {
            return None;
        }
        let mut tokens = self.skip();
        let word = |back: usize, keywords: &[&str]| {
            let at = tokens.end.checked_sub(back);
            at.is_some_and(|at| at >= tokens.start && self.tokens.is_any(at, keywords))
        };
        let ties = word(2, &["with"]) && word(1, &["ties"]);
        let ending = if ties { 3 } else { 2 };
        if !word(ending, &["row", "rows"]) || !(ties || word(1, &["only"])) {
            return None;
        }
        tokens.end -= ending;
        let mut amount = match tokens.is_empty() {
            true => Amount { range: self.bytes(start..self.at), value: Value::Number(1) },
            false => self.amount(start, tokens.clone())?,
        };
        if ties && matches!(amount.value, Value::All) {
            // PostgreSQL does not take NULL here.
            amount.value = Value::Other(self.bytes(tokens));
        }
        Some((Some(amount), ties))
    }

    fn amount(&self, start: usize, tokens: Range<usize>) -> Option<Amount> {
        let range = self.bytes(start..self.at);
        let source = self.tokens.source(tokens.start);
        let value = match (tokens.len(), self.tokens.kind(tokens.start)?) {
            (0, _) => return None,
            (1, TokenKind::Word) if source.eq_ignore_ascii_case("all") => Value::All,
            (1, TokenKind::Word) if source.eq_ignore_ascii_case("null") => Value::All,
            (1, TokenKind::Integer) => match source.parse() {
                Ok(number) if i64::try_from(number).is_ok() => Value::Number(number),
                Ok(_) | Err(_) => Value::Other(self.bytes(tokens)),
            },
            (1, TokenKind::Parameter) => match source.trim_start_matches('$').parse() {
                Ok(number) => Value::Param(number),
                Err(_) => Value::Other(self.bytes(tokens)),
            },
            _ => Value::Other(self.bytes(tokens)),
        };
        Some(Amount { range, value })
    }
}
