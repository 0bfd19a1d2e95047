//! COPY data from a client: cut into the same rows however it comes, without a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;
use weir::wire::copy::{Format, Next, Quotes, Rows, Signs, Wanted};

/// The first bytes choose the format and the size of the pieces.
fn format(choice: u8) -> Format {
    let signs = |delimiter, null: &str, header| Signs { delimiter, null: null.into(), header };
    let quotes = |quote, escape| Quotes { quote, escape };
    match choice % 6 {
        0 => Format::Text(signs(b'\t', "\\N", false)),
        1 => Format::Text(signs(b'|', "", true)),
        2 => Format::Csv(signs(b',', "", false), quotes(b'"', b'"')),
        3 => Format::Csv(signs(b';', "NULL", true), quotes(b'"', b'\\')),
        4 => Format::Csv(signs(b',', "", false), quotes(b'\'', b'e')),
        _ => Format::Binary,
    }
}

/// Every row with its first fields, and how it ended.
fn told(format: &Format, data: &[u8], piece: usize) -> Vec<String> {
    let mut rows = Rows::new(format.clone(), 1 << 20);
    let mut pieces = data.chunks(piece.max(1));
    let (mut told, mut room) = (Vec::new(), Vec::new());
    loop {
        match rows.cut() {
            Ok(Next::More) => match pieces.next() {
                Some(piece) => rows.push(piece),
                None => rows.end(),
            },
            Ok(Next::End) => return told,
            Ok(Next::Header(header)) => told.push(format!("{:?}", rows.bytes(&header))),
            Ok(Next::Row { row, data }) => {
                told.push(format!("{:?}", rows.bytes(&row)));
                for at in 0..3 {
                    let wanted = Wanted { at, force_null: at == 1, force_not_null: at == 2 };
                    told.push(format!("{:?}", rows.field(&data, wanted, &mut room)));
                }
            }
            Ok(Next::Broken(_)) => {
                told.push("broken".into());
                return told;
            }
            Err(malformed) => {
                told.push(format!("{malformed:?}"));
                return told;
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, piece, data @ ..] = input else { return };
    let format = format(*choice);
    let whole = told(&format, data, data.len());
    assert_eq!(told(&format, data, usize::from(*piece)), whole);
});
