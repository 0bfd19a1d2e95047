//! Generated ids do not collide: the sequences of sharded tables give other values on each shard.
//!
//! A sequence that counts in steps of `unit` on one server counts in steps of `unit * stride` on
//! each shard, and shard number n starts n units in: for the usual sequence, a value's shard is the
//! value modulo the stride. What a shard's residue is depends on nothing but its number and the
//! sequence's own definition, so bringing a sequence into line is idempotent, needs no memory, and
//! a shard that is added later fits in.
use super::{Placement, Rules, Table};
use crate::ids::ShardId;

/// More shards than this need another setting before the first id is drawn.
pub const DEFAULT_STRIDE: u16 = 64;

/// One sequence that fills a column, as one shard has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sequence {
    pub schema: String,
    pub name: String,
    pub table_schema: String,
    pub table: String,
    pub column: String,
    pub increment: i64,
    pub start: i64,
    pub min: i64,
    pub max: i64,
    pub cycles: bool,
    /// The value given last, or if `called` is false the one to be given first.
    pub last: i64,
    pub called: bool,
}

/// The values that a shard's sequence may give: `residue` modulo `step`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lattice {
    step: i128,
    residue: i128,
}

impl Lattice {
    fn of(sequence: &Sequence, shard: ShardId, stride: u16) -> Self {
        let (by, stride) = (i128::from(sequence.increment).abs(), i128::from(stride));
        let unit = if by % stride == 0 { by / stride } else { by };
        let step = unit * stride;
        let offset = i128::from(sequence.start).rem_euclid(unit) + i128::from(shard.0) * unit;
        Lattice { step, residue: offset.rem_euclid(step) }
    }

    fn holds(self, value: i128) -> bool {
        (value - self.residue).rem_euclid(self.step) == 0
    }

    /// The next value from `value` on, upwards or downwards.
    fn from(self, value: i128, increment: i64) -> i128 {
        match increment < 0 {
            false => value + (self.residue - value).rem_euclid(self.step),
            true => value - (value - self.residue).rem_euclid(self.step),
        }
    }
}

/// Does the sequence give only values of that shard?
pub fn in_line(sequence: &Sequence, shard: ShardId, stride: u16) -> bool {
    let lattice = Lattice::of(sequence, shard, stride);
    let begins_again = match (sequence.cycles, sequence.increment < 0) {
        (false, _) => sequence.start,
        (true, false) => sequence.min,
        (true, true) => sequence.max,
    };
    i128::from(sequence.increment).abs() == lattice.step
        && [sequence.start, sequence.last, begins_again]
            .into_iter()
            .all(|value| lattice.holds(i128::from(value)))
}

/// The statement that brings a sequence into line and past `beyond`, the last value in use on any
/// shard.
pub fn bring_into_line(sequence: &Sequence, shard: ShardId, stride: u16, beyond: i64) -> String {
    let lattice = Lattice::of(sequence, shard, stride);
    let down = sequence.increment < 0;
    let own = match sequence.called {
        true => i128::from(sequence.last) + i128::from(sequence.increment.signum()),
        false => i128::from(sequence.last),
    };
    let next = match down {
        false => own.max(i128::from(beyond) + 1),
        true => own.min(i128::from(beyond) - 1),
    };
    let at = |value: i128| lattice.from(value, sequence.increment);
    let bound = match (sequence.cycles, down) {
        (false, _) => String::new(),
        (true, false) => format!(" MINVALUE {}", at(i128::from(sequence.min))),
        (true, true) => format!(" MAXVALUE {}", at(i128::from(sequence.max))),
    };
    format!(
        "ALTER SEQUENCE {}.{} INCREMENT BY {}{bound} START WITH {} RESTART WITH {}",
        identifier(&sequence.schema),
        identifier(&sequence.name),
        if down { -lattice.step } else { lattice.step },
        at(i128::from(sequence.start)),
        at(next),
    )
}

/// The largest value in use (the smallest of a sequence that counts down), given what the shards'
/// sequences and rows have.
pub fn in_use(sequences: &[&Sequence], rows: &[i64]) -> i64 {
    let drawn = sequences.iter().filter(|sequence| sequence.called).map(|sequence| sequence.last);
    let down = sequences.first().is_some_and(|sequence| sequence.increment < 0);
    let all = drawn.chain(rows.iter().copied());
    let none = sequences
        .first()
        .map_or(0, |sequence| sequence.start.saturating_sub(sequence.increment.signum()));
    if down { all.min().unwrap_or(none) } else { all.max().unwrap_or(none) }
}

/// What a sequence is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fills {
    /// The sharding key: drawn on the home shard, before it is known where the row goes.
    Key,
    /// Another column of a sharded table: drawn on the row's shard.
    Column,
    /// No sharded table's column.
    Elsewhere,
}

pub fn fills(sequence: &Sequence, rules: &Rules) -> Fills {
    let table = sharded(rules).find(|(table, _)| {
        table.name == sequence.table
            && table.schema.as_ref().is_none_or(|schema| *schema == sequence.table_schema)
    });
    match table {
        Some((_, key)) if *key == sequence.column => Fills::Key,
        Some(_) => Fills::Column,
        None => Fills::Elsewhere,
    }
}

/// With their key columns.
fn sharded(rules: &Rules) -> impl Iterator<Item = (&Table, &String)> {
    rules.tables.iter().filter_map(|table| match &table.placement {
        Placement::Sharded { key, .. } => Some((table, key)),
        Placement::Reference | Placement::Single(_) => None,
    })
}

/// What a shard is sent behind a schema statement, in the same transaction: brings into line the
/// sequences of sharded tables that the transaction has made, linked to a column, or altered.
/// `None`: there are no sharded tables.
///
/// Rows that were there when the statement added a generated column have been numbered alike on all
/// shards, so they are numbered anew.
pub fn claim(rules: &Rules, shard: ShardId) -> Option<String> {
    let tables: Vec<String> = sharded(rules)
        .map(|(table, key)| {
            let schema = table.schema.as_ref().map_or("NULL".to_owned(), |name| literal(name));
            format!("({schema}, {}, {})", literal(&table.name), literal(key))
        })
        .collect();
    if tables.is_empty() {
        return None;
    }
    let text = CLAIM
        .replace("{stride}", &rules.stride.to_string())
        .replace("{shard}", &shard.0.to_string())
        .replace("{tables}", &tables.join(", "));
    Some(text)
}

/// `age(xmin) <= 0`: of this transaction or a subtransaction of it.
const CLAIM: &str = r#"DO $weir$
DECLARE
    stride CONSTANT numeric := {stride};
    shard CONSTANT numeric := {shard};
    -- Made by this transaction, but before this statement.
    seen CONSTANT text[] := string_to_array(current_setting('weir.seen', true), ' ');
    it record; link record; place text;
    unit numeric; step numeric; residue numeric; sign numeric;
    last numeric; called boolean; next numeric; filled boolean;
BEGIN
    FOR it IN
        WITH spaces AS (
            SELECT oid, nspname FROM pg_namespace
            WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'weir')
              AND nspname !~ '^pg_(toast_)?temp_'
        ), listed (schema, name, key) AS (
            SELECT schema::text, name::text, key::text
            FROM (VALUES {tables}) rules (schema, name, key)
        ), tables AS (
            SELECT c.oid, listed.key FROM listed
            JOIN pg_class c ON c.relname = listed.name AND c.relkind IN ('r', 'p')
            JOIN spaces s ON s.oid = c.relnamespace
            WHERE listed.schema = s.nspname OR listed.schema IS NULL AND (
                s.nspname = 'public' OR 1 = (
                    SELECT count(*) FROM pg_class o JOIN spaces ON spaces.oid = o.relnamespace
                    WHERE o.relname = listed.name AND o.relkind IN ('r', 'p', 'v', 'm', 'f')))
        ), links AS (
            SELECT d.refobjid AS rel, d.refobjsubid::int AS att, d.objid AS seq,
                   age(d.xmin) <= 0 AS new
            FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
              AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
            UNION ALL
            SELECT f.adrelid, f.adnum::int, d.refobjid, age(f.xmin) <= 0
            FROM pg_attrdef f JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass
             AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
        )
        SELECT q.*, n.nspname, c.relname,
               EXISTS (SELECT FROM pg_depend d
                       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                         AND d.refclassid = 'pg_namespace'::regclass AND age(d.xmin) <= 0) AS made,
               array_agg(DISTINCT links.rel || '.' || links.att || '.' || links.new) AS columns
        FROM links JOIN tables ON tables.oid = links.rel
        -- A key's sequence is drawn from on the home shard only.
        JOIN pg_attribute a ON a.attrelid = links.rel AND a.attnum = links.att
         AND a.attname <> tables.key
        JOIN pg_class c ON c.oid = links.seq AND c.relkind = 'S'
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_sequence q ON q.seqrelid = c.oid
        GROUP BY q.seqrelid, q.seqtypid, q.seqstart, q.seqincrement, q.seqmax, q.seqmin,
                 q.seqcache, q.seqcycle, q.xmin, n.nspname, c.oid, c.relname
        HAVING age(q.xmin) <= 0 OR bool_or(links.new)
    LOOP
        unit := abs(it.seqincrement);
        IF mod(unit, stride) = 0 THEN unit := div(unit, stride); END IF;
        step := unit * stride;
        residue := mod(mod(mod(it.seqstart, unit) + unit, unit) + shard * unit, step);
        sign := sign(it.seqincrement::numeric);
        EXECUTE format('SELECT last_value, is_called FROM %I.%I', it.nspname, it.relname)
            INTO last, called;
        CONTINUE WHEN abs(it.seqincrement) = step AND mod(it.seqstart - residue, step) = 0
            AND mod(last - residue, step) = 0
            AND NOT (it.seqcycle AND mod(
                CASE WHEN sign > 0 THEN it.seqmin ELSE it.seqmax END - residue, step) <> 0);
        -- Upwards to the residue, or downwards.
        next := last + CASE WHEN called THEN sign ELSE 0 END;
        EXECUTE format(
            'ALTER SEQUENCE %I.%I INCREMENT BY %s %s START WITH %s RESTART WITH %s',
            it.nspname, it.relname, sign * step,
            CASE WHEN NOT it.seqcycle THEN ''
                 WHEN sign > 0 THEN 'MINVALUE ' || it.seqmin
                      + mod(mod(residue - it.seqmin, step) + step, step)
                 ELSE 'MAXVALUE ' || it.seqmax
                      - mod(mod(it.seqmax - residue, step) + step, step) END,
            it.seqstart + sign * mod(mod(sign * (residue - it.seqstart), step) + step, step),
            next + sign * mod(mod(sign * (residue - next), step) + step, step));
        CONTINUE WHEN NOT called;
        FOR link IN
            SELECT split_part(text, '.', 1)::oid::regclass AS rel,
                   split_part(text, '.', 1)::oid AS oid,
                   split_part(text, '.', 2)::int AS att, bool_or(split_part(text, '.', 3)::boolean) AS new
            FROM unnest(it.columns) text GROUP BY 1, 2, 3
        LOOP
            CONTINUE WHEN NOT link.new;
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', link.rel) INTO filled;
            CONTINUE WHEN NOT filled;
            SELECT quote_ident(attname) INTO place FROM pg_attribute
            WHERE attrelid = link.oid AND attnum = link.att;
            IF NOT it.made OR it.seqrelid::text = ANY (seen) THEN
                RAISE EXCEPTION 'sequence % has given values that column % of % may hold on other shards',
                    it.relname, place, link.rel
                    USING ERRCODE = 'feature_not_supported',
                          HINT = 'add the column as serial or as an identity column';
            END IF;
            IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = link.oid AND NOT tgisinternal
                       AND tgenabled <> 'D' AND tgtype & 16 <> 0) THEN
                RAISE EXCEPTION 'the rows of % cannot be numbered: it has triggers on UPDATE',
                    link.rel
                    USING ERRCODE = 'feature_not_supported',
                          HINT = 'disable the triggers in the same transaction';
            END IF;
            EXECUTE format('UPDATE %s SET %s = DEFAULT', link.rel, place);
        END LOOP;
    END LOOP;
    PERFORM set_config('weir.seen', coalesce((
        SELECT string_agg(d.objid::text, ' ') FROM pg_depend d
        JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_namespace'::regclass
          AND age(d.xmin) <= 0), ''), true);
END
$weir$"#;

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn serial() -> Sequence {
        Sequence {
            schema: "public".into(),
            name: "orders_id_seq".into(),
            increment: 1,
            start: 1,
            min: 1,
            max: i64::MAX,
            last: 1,
            ..Sequence::default()
        }
    }

    /// The sequence after the statement that brings it into line.
    fn altered(mut sequence: Sequence, shard: ShardId, stride: u16, beyond: i64) -> Sequence {
        let text = bring_into_line(&sequence, shard, stride, beyond);
        let value = |word: &str| -> Option<i64> {
            let (_, rest) = text.split_once(word)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        sequence.increment = value(" BY ").unwrap();
        sequence.start = value("START WITH ").unwrap();
        (sequence.last, sequence.called) = (value("RESTART WITH ").unwrap(), false);
        sequence.min = value("MINVALUE ").unwrap_or(sequence.min);
        sequence.max = value("MAXVALUE ").unwrap_or(sequence.max);
        sequence
    }

    #[test]
    fn a_value_of_the_usual_sequence_tells_its_shard() {
        let text = bring_into_line(&serial(), ShardId(3), 64, 0);
        assert_eq!(
            text,
            "ALTER SEQUENCE \"public\".\"orders_id_seq\" INCREMENT BY 64 START WITH 3 RESTART WITH 3"
        );
        let used = Sequence { last: 1000, called: true, ..serial() };
        let text = bring_into_line(&used, ShardId(0), 64, 1500);
        assert!(text.ends_with("INCREMENT BY 64 START WITH 64 RESTART WITH 1536"), "{text}");
    }

    #[test]
    fn where_nothing_was_drawn_a_sequence_keeps_its_start() {
        let from_1000 = Sequence { start: 1000, last: 1000, ..serial() };
        let beyond = in_use(&[&from_1000], &[]);
        let text = bring_into_line(&from_1000, ShardId(40), 64, beyond);
        assert!(text.ends_with("START WITH 1000 RESTART WITH 1000"), "{text}");
    }

    proptest! {
        #[test]
        fn shards_never_give_the_same_value(
            by in (1..200i64, any::<bool>()).prop_map(|(by, down)| if down { -by } else { by }),
            start in -1000..1000i64,
            drawn in proptest::option::of(0..50i64),
            cycles: bool,
            stride in 2..70u16,
        ) {
            let last = start + by * drawn.unwrap_or(0);
            let sequence = Sequence {
                increment: by, start, last, called: drawn.is_some(), cycles,
                min: -100_000, max: 100_000, ..serial()
            };
            let beyond = in_use(&[&sequence], &[]);
            let mut seen = BTreeSet::new();
            for shard in (0..stride).map(ShardId) {
                let there = altered(sequence.clone(), shard, stride, beyond);
                prop_assert!(in_line(&there, shard, stride));
                // Once more changes nothing.
                prop_assert_eq!(&altered(there.clone(), shard, stride, in_use(&[&there], &[])), &there);
                for step in 0..20 {
                    let value = there.last + step * there.increment;
                    prop_assert!(seen.insert(value), "{} twice", value);
                    prop_assert!((value - last) * by.signum() >= i64::from(drawn.is_some()));
                }
            }
        }
    }
}
