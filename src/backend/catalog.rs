//! What a server's catalogs say, as far as weir has to know it: relations, functions and object ids,
//! and a fingerprint that tells whether any of it has changed.
//!
//! All values travel as text, so that a session can ask the same questions over its own connection
//! and see what its open transaction has made.
use super::control::{Client, failed};
use super::translate::{Object, ObjectKind};
use crate::error::{Error, SqlState};
use crate::ids::{Oid, ShardId};
use crate::plan::Catalog;
use crate::plan::catalog::{
    Collation, Column, Definition, Equality, Function, Mark, Nulls, OnChange, Reference,
    ReferenceColumn, Relation, RelationKind, Volatility,
};
use crate::rules::{Placement, Rules, Unlisted};
use crate::sql::statement::Fill;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio_postgres::SimpleQueryMessage;

/// One statement: rows of eight text columns, the first of which says what the row is. Relations
/// come before their columns.
///
/// Views of extensions with names like the system's are left to the system. pg_get_viewdef would wait for
/// who changes what the view reads: the definition of such a view is left out.
pub const CATALOG: &str = "\
WITH spaces AS MATERIALIZED (
    SELECT oid, nspname FROM pg_catalog.pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'weir')
      AND nspname !~ '^pg_(toast_)?temp_'
), relations AS MATERIALIZED (
    SELECT c.oid, s.nspname, c.relname, c.relkind, c.relhasrules, c.relrowsecurity,
           c.relhastriggers
    FROM pg_catalog.pg_class c
    JOIN spaces s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT (c.relname ~ '^pg_' AND EXISTS (
          SELECT FROM pg_catalog.pg_depend d
          WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
            AND d.deptype = 'e'))
), owners AS (
    SELECT d.objid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d
    JOIN relations r ON r.oid = d.objid AND r.relkind = 'S'
    WHERE d.classid = 'pg_catalog.pg_class'::regclass
      AND d.refclassid = 'pg_catalog.pg_class'::regclass
      AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
), drawn AS (
    SELECT f.adrelid AS refobjid, f.adnum AS refobjsubid, d.refobjid AS objid
    FROM pg_catalog.pg_attrdef f
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass
     AND d.objid = f.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
    JOIN relations r ON r.oid = d.refobjid AND r.relkind = 'S'
    WHERE pg_catalog.pg_get_expr(f.adbin, f.adrelid) ~ '^nextval\\(''[^()]*''::regclass\\)$'
), timed AS (
    SELECT f.adrelid, f.adnum FROM pg_catalog.pg_attrdef f
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass
     AND d.objid = f.oid AND d.refclassid = 'pg_catalog.pg_proc'::regclass
    JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid AND p.proname = 'next_id'
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'weir'
    WHERE pg_catalog.pg_get_expr(f.adbin, f.adrelid) ~ '^(weir\\.)?next_id\\(\\)$'
), steady AS (
    SELECT w.ev_class AS oid FROM pg_catalog.pg_rewrite w
    JOIN relations r ON r.oid = w.ev_class AND r.relkind = 'v'
    WHERE w.ev_type = '1'
      AND w.ev_action::text !~ ':limit(Count|Offset) \\{|:hasDistinctOn true|:subLinkType 6|:tablesample \\{|\\{(WINDOWFUNC|SQLVALUEFUNCTION) '
      AND NOT EXISTS (
          SELECT FROM pg_catalog.regexp_matches(
              w.ev_action::text, ':(?:funcid|opfuncid|aggfnoid) ([0-9]+)', 'g') called (ids)
          JOIN pg_catalog.pg_proc p ON p.oid = called.ids[1]::oid
          WHERE p.provolatile <> 'i' OR p.prokind = 'a' AND NOT (
              p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN (
                  'bit_and', 'bit_or', 'bit_xor', 'bool_and', 'bool_or', 'count', 'every', 'max', 'min')))
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend d
          JOIN pg_catalog.pg_class other ON other.oid = d.refobjid
          WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
            AND d.refclassid = 'pg_catalog.pg_class'::regclass
            AND d.refobjid <> w.ev_class AND other.relkind NOT IN ('r', 'p'))
), bytewise AS (
    SELECT l.oid FROM pg_catalog.pg_collation l, pg_catalog.pg_database d
    WHERE d.datname = pg_catalog.current_database()
      AND pg_catalog.pg_encoding_to_char(d.encoding) IN ('UTF8', 'SQL_ASCII')
      AND CASE l.collprovider
          WHEN 'c' THEN l.collcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8')
          WHEN 'b' THEN true
          WHEN 'd' THEN CASE pg_catalog.to_jsonb(d) ->> 'datlocprovider'
              WHEN 'i' THEN false
              WHEN 'b' THEN true
              ELSE d.datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8') END
          ELSE false END
), locked AS MATERIALIZED (
    SELECT l.relation FROM pg_catalog.pg_locks l
    JOIN pg_catalog.pg_database d ON d.oid = l.database
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
      AND d.datname = pg_catalog.current_database()
      AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
)
(SELECT 'relation', r.oid::text, r.nspname::text, r.relname::text, r.relkind::text,
        parent.oid::text, owner.refobjid::text,
        pg_catalog.concat_ws(' ',
            CASE WHEN r.relhasrules AND r.relkind IN ('r', 'p') AND EXISTS (
                SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = r.oid) THEN 'rules' END,
            CASE WHEN r.relrowsecurity THEN 'policies' END,
            CASE WHEN r.relkind = 'p' THEN 'partitioned' END,
            CASE WHEN r.oid IN (SELECT oid FROM steady) THEN 'steady' END,
            CASE WHEN r.relhastriggers AND EXISTS (
                SELECT FROM pg_catalog.pg_trigger t
                WHERE t.tgrelid = r.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D')
                THEN 'triggers' END)
 FROM relations r
 LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = r.oid AND i.inhseqno = 1
 LEFT JOIN relations parent ON parent.oid = i.inhparent
 LEFT JOIN owners owner ON owner.objid = r.oid)
UNION ALL
(SELECT 'column', a.attrelid::text, a.attname::text,
        pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid::text,
        CASE WHEN a.attgenerated <> '' THEN 'generated'
             WHEN a.attidentity <> '' THEN 'identity'
             WHEN drawn.objid IS NOT NULL OR timed.adrelid IS NOT NULL THEN 'serial'
             WHEN a.atthasdef OR own.typdefault IS NOT NULL THEN 'default'
             ELSE 'null' END,
        CASE WHEN sequence.oid IS NOT NULL THEN
             pg_catalog.quote_ident(sequence.nspname) || '.' ||
             pg_catalog.quote_ident(sequence.relname)
             WHEN timed.adrelid IS NOT NULL THEN 'weir.next_id()'
             WHEN a.attgenerated = '' THEN (
                 SELECT text FROM (SELECT coalesce(
                     (SELECT pg_catalog.pg_get_expr(f.adbin, f.adrelid)
                      FROM pg_catalog.pg_attrdef f
                      WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum),
                     pg_catalog.pg_get_expr(own.typdefaultbin, 0))) filled (text)
                 WHERE text ~*
                       '\\m(now|current_(timestamp|date|time)|local(timestamp|time)|(transaction|statement)_timestamp)\\M'
             ) END,
        pg_catalog.concat_ws(' ', CASE WHEN bytewise.oid IS NOT NULL THEN 'bytes' END,
            CASE WHEN a.attnum = ANY (identity.conkey) THEN 'key' END,
            CASE WHEN a.attnotnull THEN 'required' END)
 FROM pg_catalog.pg_attribute a JOIN relations r ON r.oid = a.attrelid AND r.relkind <> 'S'
 LEFT JOIN drawn ON drawn.refobjid = a.attrelid AND drawn.refobjsubid = a.attnum
 LEFT JOIN timed ON timed.adrelid = a.attrelid AND timed.adnum = a.attnum
 LEFT JOIN owners ON a.attidentity <> ''
       AND owners.refobjid = a.attrelid AND owners.refobjsubid = a.attnum
 LEFT JOIN relations sequence ON sequence.oid = coalesce(drawn.objid, owners.objid)
 LEFT JOIN bytewise ON bytewise.oid = a.attcollation
 LEFT JOIN pg_catalog.pg_type own ON own.oid = a.atttypid
 LEFT JOIN pg_catalog.pg_constraint identity
        ON identity.conrelid = a.attrelid AND identity.contype = 'p'
 WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum)
UNION ALL
(SELECT 'reference', k.confrelid::text, k.conname::text, k.conrelid::text,
        k.confdeltype::text || k.confupdtype::text, here.attname::text, there.attname::text,
        CASE WHEN pg_catalog.jsonb_typeof(pg_catalog.to_jsonb(k) -> 'confdelsetcols') = 'array'
             THEN (pg_catalog.to_jsonb(k) -> 'confdelsetcols'
                   @> pg_catalog.to_jsonb(here.attnum))::text
             ELSE 'true' END
 FROM pg_catalog.pg_constraint k
 JOIN relations r ON r.oid = k.confrelid JOIN relations o ON o.oid = k.conrelid
 CROSS JOIN LATERAL pg_catalog.generate_subscripts(k.conkey, 1) place
 JOIN pg_catalog.pg_attribute here
        ON here.attrelid = k.conrelid AND here.attnum = k.conkey[place]
 JOIN pg_catalog.pg_attribute there
        ON there.attrelid = k.confrelid AND there.attnum = k.confkey[place]
 WHERE k.contype = 'f' ORDER BY k.confrelid, k.oid, place)
UNION ALL
(SELECT 'view', r.oid::text, pg_catalog.pg_get_viewdef(r.oid),
        (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(schema), ', ')
         FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS path (schema)),
        NULL, NULL, NULL, NULL
 FROM relations r
 WHERE r.relkind = 'v' AND NOT EXISTS (
     SELECT FROM pg_catalog.pg_rewrite w
     JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass
      AND d.objid = w.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
     JOIN locked ON locked.relation = d.refobjid
     WHERE w.ev_class = r.oid))
UNION ALL
(SELECT 'function', s.nspname::text, p.proname::text, p.provolatile::text,
        (l.lanname IN ('c', 'internal'))::text, (p.prokind = 'a')::text, NULL, NULL
 FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
 JOIN pg_catalog.pg_language l ON l.oid = p.prolang)
UNION ALL
(SELECT 'equality', NULL, NULL, NULL, NULL, NULL, NULL, NULL
 FROM pg_catalog.pg_collation WHERE NOT collisdeterministic LIMIT 1)
UNION ALL
(SELECT 'object', nspname::text, relname::text, oid::text, 'table', NULL, NULL, NULL
 FROM relations WHERE relkind <> 'S')
UNION ALL
(SELECT 'object', s.nspname::text, t.typname::text, t.oid::text,
        CASE WHEN t.typtype = 'c' OR t.typcategory IN ('A', 'R') THEN 'embedding'
             ELSE 'type' END, NULL, NULL, NULL
 FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace)";

/// Of what [`CATALOG`] says, and a little more: one row, one column, equal as long as nothing has
/// changed.
pub const FINGERPRINT: &str = "\
WITH spaces AS MATERIALIZED (
    SELECT oid, nspname FROM pg_catalog.pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'weir')
      AND nspname !~ '^pg_(toast_)?temp_'
)
SELECT 'fingerprint', pg_catalog.concat_ws('.',
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('|',
            c.oid, s.nspname, c.relname, c.relkind, c.reltype, c.relnatts,
            c.relhasrules, c.relrowsecurity), 0))
     FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
     WHERE c.relkind <> 'i'),
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('|',
            a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attisdropped,
            a.attidentity, a.attgenerated, a.atthasdef, a.attcollation, a.attnotnull,
            f.oid), 0))
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
     JOIN spaces s ON s.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
     WHERE a.attnum > 0 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')),
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('|',
            t.oid, s.nspname, t.typname, t.typtype, t.typdefault), 0))
     FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace),
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('|',
            p.oid, s.nspname, p.proname, p.provolatile, p.prolang,
            p.prokind), 0))
     FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace),
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('|',
            inhrelid, inhparent, inhseqno), 0)) FROM pg_catalog.pg_inherits),
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_collation WHERE NOT collisdeterministic),
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('|',
            k.oid, k.conrelid, k.conkey, k.confrelid, k.confkey, k.confdeltype,
            k.confupdtype), 0))
     FROM pg_catalog.pg_constraint k WHERE k.contype IN ('p', 'f')),
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('|',
            t.oid, t.tgrelid, t.tgenabled), 0))
     FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal),
    (SELECT pg_catalog.sum(w.ev_class::bigint) FROM pg_catalog.pg_rewrite w
     WHERE w.ev_type <> '1'),
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('|',
            w.oid, w.xmin), 0))
     FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class c ON c.oid = w.ev_class
     JOIN spaces s ON s.oid = c.relnamespace
     WHERE w.ev_type = '1' AND c.relkind = 'v'),
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('|',
            d.objid, d.refobjid, d.refobjsubid, d.deptype), 0))
     FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
     JOIN spaces s ON s.oid = c.relnamespace
     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND c.relkind = 'S'))";

/// What one server's catalogs say.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    pub relations: Vec<Relation>,
    pub functions: Vec<Function>,
    pub objects: Vec<Object>,
    pub equality: Equality,
    /// Empty if it was not asked for.
    pub fingerprint: String,
    /// Position of a relation in `relations`, by its object id, while columns are being read.
    positions: HashMap<String, usize>,
    /// Parents and owners by object id: they may come later than who names them.
    references: Vec<(Option<String>, Option<String>)>,
}

impl Contents {
    /// From the rows of [`CATALOG`].
    pub fn read<'r>(rows: impl Iterator<Item = Vec<Option<&'r str>>>) -> Result<Contents, Error> {
        let mut contents = Contents::default();
        for row in rows {
            contents.add(&row).ok_or_else(|| {
                Error::shard(
                    SqlState::INTERNAL_ERROR,
                    "a server's catalogs say what weir cannot read",
                )
                .detail(format!("{row:?}"))
            })?;
        }
        contents.connect();
        Ok(contents)
    }

    fn add(&mut self, row: &[Option<&str>]) -> Option<()> {
        let text = |index: usize| row.get(index).copied().flatten();
        let owned = |index: usize| text(index).map(str::to_owned);
        match text(0)? {
            "relation" => {
                let notes = || text(7).unwrap_or_default().split(' ');
                self.positions.insert(owned(1)?, self.relations.len());
                self.references.push((owned(5), owned(6)));
                self.relations.push(Relation {
                    schema: owned(2)?,
                    name: owned(3)?,
                    kind: relation_kind(text(4)?)?,
                    columns: Vec::new(),
                    parent: None,
                    owner: None,
                    marks: notes().filter_map(mark).collect(),
                    referenced: Vec::new(),
                    definition: None,
                });
            }
            "column" => {
                let notes = || text(7).unwrap_or_default().split(' ');
                let fill = fill(text(5)?)?;
                let (time, sequence) = match fill {
                    Fill::Default => (owned(6), None),
                    Fill::Null | Fill::Serial | Fill::Identity | Fill::Generated => {
                        (None, owned(6))
                    }
                };
                let column = Column {
                    name: owned(2)?,
                    type_name: owned(3)?,
                    type_oid: Oid(text(4)?.parse().ok()?),
                    fill,
                    sequence,
                    time,
                    collation: match notes().any(|note| note == "bytes") {
                        true => Collation::Bytes,
                        false => Collation::Other,
                    },
                    in_primary_key: notes().any(|note| note == "key"),
                    nulls: match notes().any(|note| note == "required") {
                        true => Nulls::Refused,
                        false => Nulls::Taken,
                    },
                };
                let position = *self.positions.get(text(1)?)?;
                self.relations.get_mut(position)?.columns.push(column);
            }
            "reference" => self.add_reference(row)?,
            "view" => {
                let position = *self.positions.get(text(1)?)?;
                let search_path = owned(3).unwrap_or_default();
                self.relations.get_mut(position)?.definition =
                    owned(2).map(|query| Definition { query, search_path });
            }
            "function" => self.functions.push(Function {
                schema: owned(1)?,
                name: owned(2)?,
                volatility: volatility(text(3)?)?,
                compiled: text(4)? == "true",
                aggregate: text(5)? == "true",
            }),
            "object" => self.objects.push(Object {
                schema: owned(1)?,
                name: owned(2)?,
                oid: Oid(text(3)?.parse().ok()?),
                kind: match text(4)? {
                    "table" => ObjectKind::Table,
                    "embedding" => ObjectKind::EmbeddingType,
                    _ => ObjectKind::Type,
                },
            }),
            "equality" => self.equality = Equality::ByCollation,
            "fingerprint" => self.fingerprint = owned(1)?,
            _ => return None,
        }
        Some(())
    }

    /// One column of a foreign key; its columns come one after the other.
    fn add_reference(&mut self, row: &[Option<&str>]) -> Option<()> {
        let text = |index: usize| row.get(index).copied().flatten();
        let there = self.relations.get(*self.positions.get(text(3)?)?)?;
        let table = (there.schema.clone(), there.name.clone());
        let referenced = self.relations.get_mut(*self.positions.get(text(1)?)?)?;
        let column = ReferenceColumn {
            name: text(5)?.to_owned(),
            referenced: text(6)?.to_owned(),
            set: text(7)? == "true",
        };
        let name = text(2)?;
        match referenced.referenced.last_mut() {
            Some(last) if last.name == name && last.table == table => last.columns.push(column),
            Some(_) | None => {
                let mut actions = text(4)?.chars().map(on_change);
                referenced.referenced.push(Reference {
                    name: name.to_owned(),
                    table,
                    columns: vec![column],
                    on_delete: actions.next()??,
                    on_update: actions.next()??,
                });
            }
        }
        Some(())
    }

    fn connect(&mut self) {
        let name = |oid: &Option<String>| {
            let relation = self.relations.get(*self.positions.get(oid.as_ref()?)?)?;
            Some((relation.schema.clone(), relation.name.clone()))
        };
        let names: Vec<_> =
            self.references.iter().map(|(parent, owner)| (name(parent), name(owner))).collect();
        for (relation, (parent, owner)) in self.relations.iter_mut().zip(names) {
            (relation.parent, relation.owner) = (parent, owner);
        }
        self.positions.clear();
        self.references.clear();
    }

    /// What is known already.
    pub fn of(catalog: &Catalog) -> Self {
        Contents {
            relations: catalog.relations().cloned().collect(),
            functions: catalog.all_functions().cloned().collect(),
            equality: catalog.equality,
            ..Contents::default()
        }
    }

    /// A shard's word counts for the tables that live there alone; the home shard's for everything
    /// that does not live on another shard alone.
    pub fn take_from(&mut self, there: Contents, shard: ShardId, rules: &Rules) {
        let home = shard == rules.home;
        let counts = |relation: &Relation| match alone_on(relation, rules) {
            Some(alone) => alone == shard,
            None => home,
        };
        self.relations.retain(|relation| !counts(relation));
        self.relations.extend(there.relations.into_iter().filter(counts));
        if home {
            self.functions = there.functions;
            self.objects = there.objects;
            self.equality = there.equality;
            self.fingerprint = there.fingerprint;
        }
    }

    /// Its version is a hash of what was read: the same contents have the same version.
    pub fn catalog(mut self) -> Catalog {
        let name = |relation: &Relation| (relation.schema.clone(), relation.name.clone());
        self.relations.sort_by_cached_key(name);
        let key = |function: &Function| (function.schema.clone(), function.name.clone());
        self.functions.sort_by_cached_key(key);
        let mut hasher = DefaultHasher::new();
        (&self.relations, &self.functions, self.equality).hash(&mut hasher);
        let mut catalog = Catalog::new(hasher.finish(), self.relations, self.functions);
        catalog.equality = self.equality;
        catalog
    }
}

/// The one shard that a relation lives on; of a sequence, its table's.
fn alone_on(relation: &Relation, rules: &Rules) -> Option<ShardId> {
    match &relation.owner {
        Some((schema, table)) => lives_alone_on(schema, table, relation.kind, rules),
        None => lives_alone_on(&relation.schema, &relation.name, relation.kind, rules),
    }
}

/// The one shard that a table lives on, if it is not on all of them.
pub fn lives_alone_on(
    schema: &str,
    name: &str,
    kind: RelationKind,
    rules: &Rules,
) -> Option<ShardId> {
    let rule = rules.tables.iter().find(|table| {
        table.name == *name && table.schema.as_ref().is_none_or(|listed| listed == schema)
    });
    match (rule.map(|rule| &rule.placement), kind) {
        (Some(Placement::Single(shard)), _) => Some(*shard),
        (Some(Placement::Sharded { .. } | Placement::Reference), _) => None,
        (None, RelationKind::Table | RelationKind::ForeignTable) => match rules.unlisted {
            Unlisted::Shard(shard) => Some(shard),
            Unlisted::Refuse => None,
        },
        (None, RelationKind::View | RelationKind::MaterializedView | RelationKind::Sequence) => {
            None
        }
    }
}

fn relation_kind(letter: &str) -> Option<RelationKind> {
    Some(match letter {
        "r" | "p" => RelationKind::Table,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::ForeignTable,
        "S" => RelationKind::Sequence,
        _ => return None,
    })
}

fn mark(word: &str) -> Option<Mark> {
    Some(match word {
        "rules" => Mark::Rules,
        "policies" => Mark::Policies,
        "triggers" => Mark::Triggers,
        "partitioned" => Mark::Partitioned,
        "steady" => Mark::Steady,
        _ => return None,
    })
}

fn on_change(letter: char) -> Option<OnChange> {
    Some(match letter {
        'a' | 'r' => OnChange::Keep,
        'c' => OnChange::Cascade,
        'n' | 'd' => OnChange::Set,
        _ => return None,
    })
}

fn fill(word: &str) -> Option<Fill> {
    Some(match word {
        "generated" => Fill::Generated,
        "identity" => Fill::Identity,
        "serial" => Fill::Serial,
        "default" => Fill::Default,
        "null" => Fill::Null,
        _ => return None,
    })
}

fn volatility(letter: &str) -> Option<Volatility> {
    Some(match letter {
        "i" => Volatility::Immutable,
        "s" => Volatility::Stable,
        "v" => Volatility::Volatile,
        _ => return None,
    })
}

/// A server's catalogs and their fingerprint, in one snapshot.
pub async fn load(client: &Client) -> Result<Contents, Error> {
    let text = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {FINGERPRINT}; {CATALOG}; COMMIT"
    );
    let messages = client.simple_query(&text).await.map_err(failed)?;
    let mut contents = Contents::read(messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at)).collect()),
        _ => None,
    }))?;
    // What was left out is asked for again.
    let left_out = |it: &Relation| it.kind == RelationKind::View && it.definition.is_none();
    if contents.relations.iter().any(left_out) {
        contents.fingerprint.clear();
    }
    Ok(contents)
}

/// Whether anything has changed is whether this has.
pub async fn fingerprint(client: &Client) -> Result<String, Error> {
    let messages = client.simple_query(FINGERPRINT).await.map_err(failed)?;
    let found = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(1).map(str::to_owned),
        _ => None,
    });
    found.ok_or_else(|| Error::internal("a fingerprint has one row"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_relations_with_columns_owners_and_parents() {
        let rows = [
            ["relation", "11", "public", "orders_id_seq", "S", "", "10", ""],
            ["relation", "10", "public", "orders", "p", "", "", "triggers partitioned"],
            ["relation", "12", "public", "orders_2026", "r", "10", "", ""],
            ["column", "10", "id", "bigint", "20", "serial", "public.orders_id_seq", "required"],
            ["reference", "10", "f", "12", "na", "a", "id", "true"],
            ["reference", "10", "f", "12", "na", "b", "nr", "false"],
            ["function", "public", "f", "s", "false", "false", "", ""],
            ["object", "public", "orders", "10", "table", "", "", ""],
            ["fingerprint", "1.2", "", "", "", "", "", ""],
        ];
        let rows = rows.iter().map(|row| {
            row.iter().map(|value| Some(*value).filter(|value| !value.is_empty())).collect()
        });
        let contents = Contents::read(rows).unwrap();
        assert_eq!(contents.fingerprint, "1.2");
        assert_eq!(contents.objects.len(), 1);
        let catalog = contents.catalog();
        let table = Some(("public".to_owned(), "orders".to_owned()));
        assert_eq!(catalog.relation("public", "orders_id_seq").unwrap().owner, table);
        assert_eq!(catalog.relation("public", "orders_2026").unwrap().parent, table);
        let orders = catalog.relation("public", "orders").unwrap();
        assert_eq!(orders.marks, [Mark::Triggers, Mark::Partitioned]);
        let [key] = orders.referenced.as_slice() else { panic!("{:?}", orders.referenced) };
        assert_eq!((key.on_delete, key.on_update), (OnChange::Set, OnChange::Keep));
        let set: Vec<_> = key.columns.iter().map(|column| (&*column.name, column.set)).collect();
        assert_eq!(set, [("a", true), ("b", false)]);
        let id = &orders.columns[0];
        assert_eq!(id.nulls, Nulls::Refused);
        assert_eq!((id.fill, id.type_oid), (Fill::Serial, Oid(20)));
        assert_eq!(catalog.functions("f").count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        assert!(Contents::read([vec![Some("column"), Some("1")]].into_iter()).is_err());
    }
}
