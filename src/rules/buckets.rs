//! The bucket map's text: `0-255, 700` lists the buckets of a shard.
use super::file::MapEntry;
use super::problem::Problem;
use crate::ids::ShardId;

/// Reads a whole map. Every bucket below `buckets` must be on exactly one shard.
pub fn read(
    entries: &[MapEntry],
    line: usize,
    buckets: u32,
    shard_of: impl Fn(&str) -> Option<ShardId>,
) -> Result<Vec<ShardId>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut map: Vec<Option<(ShardId, &str)>> = vec![None; buckets as usize];
    for MapEntry { shard, buckets: text } in entries {
        // An unknown shard is reported by the caller, who knows all names.
        let Some(id) = shard_of(&shard.value) else { continue };
        let mut report = |message: String, hint: String| {
            problems.push(Problem { line: text.line, message, hint });
        };
        for part in text.value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((first, last)) = span(part) else {
                let hint = "write buckets as \"0-255, 700\"".to_owned();
                report(format!("{part:?} is no bucket and no range of buckets"), hint);
                continue;
            };
            if last >= buckets {
                let hint = format!("the distribution has buckets 0 to {}", buckets.max(1) - 1);
                report(format!("there is no bucket {last}"), hint);
                continue;
            }
            let places = map.get_mut(first as usize..=last as usize).unwrap_or_default();
            let taken = (first..)
                .zip(places.iter())
                .find_map(|(bucket, place)| place.map(|(_, other)| (bucket, other)));
            if let Some((bucket, other)) = taken {
                let hint = "a bucket lives on one shard".to_owned();
                report(format!("bucket {bucket} is on {other} and on {}", shard.value), hint);
            }
            places.fill(Some((id, &shard.value)));
        }
    }
    let gaps: Vec<u32> = (0..).zip(&map).filter(|(_, p)| p.is_none()).map(|(b, _)| b).collect();
    let known = entries.iter().all(|entry| shard_of(&entry.shard.value).is_some());
    if !gaps.is_empty() && problems.is_empty() && known {
        let message = format!("on no shard: {}", write(gaps));
        problems.push(Problem { line, message, hint: "give each bucket a shard".to_owned() });
    }
    if problems.is_empty() {
        Ok(map.into_iter().flatten().map(|(id, _)| id).collect())
    } else {
        Err(problems)
    }
}

/// The shortest text for ascending buckets: `0-255,700`.
pub fn write(buckets: impl IntoIterator<Item = u32>) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for bucket in buckets {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == bucket => *last = bucket,
            Some(_) | None => spans.push((bucket, bucket)),
        }
    }
    let texts: Vec<String> = spans
        .into_iter()
        .map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        )
        .collect();
    texts.join(",")
}

fn span(part: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    match part.split_once('-') {
        None => number(part).map(|bucket| (bucket, bucket)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::At;
    use super::*;

    fn check(map: &[(&str, &str)], expected: Result<&[u16], &[&str]>) {
        let at = |text: &str| At { value: text.to_owned(), line: 1 };
        let entries: Vec<MapEntry> = map
            .iter()
            .map(|(shard, buckets)| MapEntry { shard: at(shard), buckets: at(buckets) })
            .collect();
        let shard = |name: &str| name.strip_prefix('s')?.parse().ok().map(ShardId);
        let found = read(&entries, 1, 6, shard);
        let found = found.map(|map| map.into_iter().map(|id| id.0).collect::<Vec<_>>());
        let found = found.map_err(|list| list.into_iter().map(|p| p.message).collect::<Vec<_>>());
        let expected = expected.map(<[u16]>::to_vec);
        assert_eq!(found, expected.map_err(|list| list.iter().map(|m| m.to_string()).collect()));
    }

    #[test]
    fn a_map_gives_every_bucket_to_one_shard() {
        check(&[("s0", "0-1, 5"), ("s1", "2-4")], Ok(&[0, 0, 1, 1, 1, 0]));
        check(&[("s0", "0-5"), ("s1", "")], Ok(&[0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn gaps_overlaps_and_strangers_are_named() {
        check(&[("s0", "0-1"), ("s1", "4")], Err(&["on no shard: 2-3,5"]));
        check(&[("s0", "0-3"), ("s1", "3-5")], Err(&["bucket 3 is on s0 and on s1"]));
        check(&[("s0", "0-6")], Err(&["there is no bucket 6"]));
        check(&[("s0", "5-0")], Err(&["\"5-0\" is no bucket and no range of buckets"]));
    }

    #[test]
    fn buckets_are_written_as_they_are_read() {
        assert_eq!(write([0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(write([]), "");
    }
}
