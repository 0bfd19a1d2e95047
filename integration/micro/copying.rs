//! COPY data is cut into rows, and each row is put where its key says.
use super::Shop;
use bytes::BytesMut;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use weir::exec::copy::Bundles;
use weir::plan::copy::{CopyIn, Copying, To};
use weir::plan::placing::Written;
use weir::wire::copy::{Next, Rows};

/// As much as a client's socket is read at a time.
const PIECE: usize = 64 * 1024;
const SHARDS: usize = 4;

/// Whole lines, and how many.
fn lines() -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    while text.len() < PIECE {
        let number = count * 7919;
        text += &format!("{number}\to-{count}\tpaid\t{}.50\t\\N\n", count % 1000);
        count += 1;
    }
    (text, count)
}

/// Text of 64 KiB, over four shards.
#[divan::bench]
fn rows_to_shards(bencher: Bencher<'_, '_>) {
    let shop = Shop::new();
    let planned = shop.plan("COPY orders (user_id, order_no, status, total, note) FROM STDIN");
    let Some(Copying::In(CopyIn { to: To::ByKey(Ok(placing)), data: Ok(data), .. })) =
        planned.plan.copying.as_deref()
    else {
        panic!("its rows go by their keys: {planned:?}");
    };
    let (text, count) = lines();
    let mut rows = Rows::new(data.format.clone(), PIECE);
    let mut bundles = Bundles::new(SHARDS);
    let mut outputs = vec![BytesMut::new(); SHARDS];
    let mut room = Vec::new();
    bencher.counter(ItemsCount::new(count)).counter(BytesCount::new(text.len())).bench_local(
        || {
            rows.push(text.as_bytes());
            while let Next::Row { row, data } = rows.cut().unwrap() {
                let shard = placing.shard(&rows, &data, Written::Utf8, &shop.rules, &mut room);
                let shard = usize::from(shard.unwrap().0);
                bundles.put(shard, rows.bytes(&row), &mut outputs[shard]);
            }
            // As if the servers had taken it.
            outputs.iter_mut().for_each(BytesMut::clear);
        },
    );
}
