//! Sorted rows of several shards become one sorted answer.
use super::Shop;
use bytes::{Bytes, BytesMut};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use weir::ids::Oid;
use weir::merge::{Bounds, Column, Merger, Printing, Step};
use weir::wire::encode;
use weir::wire::frontend::Format;

const ROWS: usize = 10_000;
const BOUNDS: Bounds = Bounds { offset: 0, limit: None, bytes: 1 << 20 };
const PRINTING: Printing =
    Printing { iso_dates: true, floats_exact: true, bytes_alike: true, texts_as_stored: true };

/// What each of the shards sends: every so manyth of the rows.
fn streams(shards: usize) -> Vec<Vec<Bytes>> {
    let mut streams = vec![Vec::new(); shards];
    for number in 0..ROWS {
        let (id, total) = (number.to_string(), format!("{}.50", number % 1000));
        let mut row = BytesMut::new();
        encode::data_row(&[Some(id.as_bytes()), Some(total.as_bytes())], &mut row);
        streams[number % shards].push(row.freeze());
    }
    streams
}

/// ORDER BY a bigint, rows as text.
#[divan::bench(args = [2, 4, 16])]
fn order_by(bencher: Bencher<'_, '_>, shards: usize) {
    let planned = Shop::new().plan("SELECT id, total FROM orders ORDER BY id");
    let merge = planned.plan.several.as_ref().unwrap().merge.as_ref().unwrap();
    let columns = [20, 1700].map(|oid| Column { type_oid: Oid(oid), format: Format::Text });
    let streams = streams(shards);
    let bytes: usize = streams.iter().flatten().map(Bytes::len).sum();
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::new(bytes))
        .with_inputs(|| {
            let merger = Merger::new(merge, &columns, shards, BOUNDS, PRINTING).unwrap();
            let left: Vec<_> = streams.iter().map(|rows| rows.clone().into_iter()).collect();
            (merger, left)
        })
        .bench_local_refs(|(merger, left)| {
            let mut rows = 0;
            loop {
                match merger.step().unwrap() {
                    Step::Row(_) => rows += 1,
                    Step::Of(stream) => match left[stream].next() {
                        Some(row) => merger.push(stream, row).unwrap(),
                        None => merger.end(stream),
                    },
                    Step::Any => unreachable!("the rows are sorted"),
                    Step::Done => break,
                }
            }
            assert_eq!(rows, ROWS);
        });
}
