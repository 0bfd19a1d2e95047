//! Statements: from text to tokens to shape to facts, under both settings of
//! standard_conforming_strings.
#![no_main]
use libfuzzer_sys::{Corpus, fuzz_target};
use weir::sql::lexer::{Lexer, Token, TokenKind, tokens};
use weir::sql::shape::{Shape, shape};
use weir::sql::{compat, control, hint, parse, rewrite, split, verb};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    for standard_conforming_strings in [true, false] {
        drop(hint::hints(text, standard_conforming_strings));
        tokens_cover_the_text(text, standard_conforming_strings);
        statements_are_parts(text, standard_conforming_strings);
        if let Ok(shape) = shape(text, standard_conforming_strings) {
            verb::classify(&shape.text);
            if let Ok(analysis) = compat::for_analysis(&shape.text) {
                drop(parse::parse(&analysis.text));
            }
            places_are_found_again(text, &shape);
            if standard_conforming_strings {
                nothing_is_lost(text, &shape);
            }
        }
    }
    Corpus::Keep
});

fn tokens_cover_the_text(text: &str, standard_conforming_strings: bool) {
    let mut end = 0;
    for token in Lexer::new(text, standard_conforming_strings) {
        let Ok(token) = token else { return };
        assert_eq!(token.start, end);
        assert!(token.end > token.start && text.get(token.start..token.end).is_some());
        end = token.end;
    }
    assert_eq!(end, text.len());
}

fn statements_are_parts(text: &str, standard_conforming_strings: bool) {
    let Ok(statements) = split::split(text, standard_conforming_strings) else { return };
    let mut end = 0;
    for statement in statements {
        assert!(statement.start >= end && !statement.is_empty());
        end = statement.end;
        let statement = text.get(statement).expect("cut between characters");
        drop(control::parse(statement, standard_conforming_strings));
    }
}

fn places_are_found_again(text: &str, shape: &Shape) {
    for literal in &shape.literals {
        assert_eq!(shape.original_offset(literal.at), literal.range.start);
        assert!(!literal.source(text).is_empty());
        literal.value(text);
    }
    assert_eq!(rewrite::apply(text, shape, &[]), text);
}

/// Putting the literals back gives the statement again, token by token.
fn nothing_is_lost(text: &str, shape: &Shape) {
    let mut whole = String::new();
    let mut done = 0;
    for (index, literal) in shape.literals.iter().enumerate() {
        whole += &shape.text[done..literal.at];
        whole += literal.source(text);
        done = literal.at + format!("$L{}", index + 1).len();
    }
    whole += &shape.text[done..];
    assert_eq!(words(text), words(&whole), "{:?}", shape.text);
}

fn words(text: &str) -> Vec<(TokenKind, &str)> {
    let tokens = tokens(text, true).expect("what was read before can be read again");
    let end = tokens.iter().rposition(|token| token.kind != TokenKind::Semicolon);
    let kept = tokens.get(..end.map_or(0, |end| end + 1)).unwrap_or_default();
    kept.iter().map(|token: &Token| (token.kind, token.text(text))).collect()
}
