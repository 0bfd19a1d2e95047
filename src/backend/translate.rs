//! Object ids differ between servers; what clients see are the home shard's, since drivers keep them.
//!
//! Built-in types have the same ids everywhere; a [`Translation`] holds only those that differ on
//! one shard, so a shard that was made like the home shard has none.
use crate::error::Error;
use crate::ids::Oid;
use crate::wire::frontend::Format;
use crate::wire::server::{Field, RowDescription};
use std::collections::{HashMap, HashSet};

/// One shard's object ids as the home shard numbers them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Translation {
    types_home: HashMap<Oid, Oid>,
    types_there: HashMap<Oid, Oid>,
    tables_home: HashMap<Oid, Oid>,
    /// Types of that shard whose binary values carry other types' ids.
    embedding: HashSet<Oid>,
}

/// An object as one server knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    pub schema: String,
    pub name: String,
    pub oid: Oid,
    pub kind: ObjectKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectKind {
    Type,
    /// An array or a composite: its binary values name their elements' types.
    EmbeddingType,
    Table,
}

impl Translation {
    /// What differs between a shard and the home shard; `None` if nothing does.
    pub fn new(home: &[Object], there: &[Object]) -> Option<Self> {
        let key = |object: &Object| {
            let table = object.kind == ObjectKind::Table;
            (object.schema.clone(), object.name.clone(), table)
        };
        let known: HashMap<_, Oid> = home.iter().map(|object| (key(object), object.oid)).collect();
        let mut translation = Self::default();
        for object in there {
            let Some(&oid) = known.get(&key(object)).filter(|&&oid| oid != object.oid) else {
                continue;
            };
            match object.kind {
                ObjectKind::Table => {
                    translation.tables_home.insert(object.oid, oid);
                }
                ObjectKind::Type | ObjectKind::EmbeddingType => {
                    translation.types_home.insert(object.oid, oid);
                    translation.types_there.insert(oid, object.oid);
                }
            }
        }
        if translation == Self::default() {
            return None;
        }
        if !translation.types_home.is_empty() {
            let embedding = there.iter().filter(|o| o.kind == ObjectKind::EmbeddingType);
            translation.embedding = embedding.map(|object| object.oid).collect();
        }
        Some(translation)
    }

    pub fn type_at_home(&self, there: Oid) -> Oid {
        self.types_home.get(&there).copied().unwrap_or(there)
    }

    /// A type that a client names, as this shard numbers it.
    pub fn type_there(&self, home: Oid) -> Oid {
        self.types_there.get(&home).copied().unwrap_or(home)
    }

    /// Whether binary values of that type carry ids which may be others elsewhere.
    pub fn embeds(&self, there: Oid) -> bool {
        self.embedding.contains(&there)
    }

    pub fn table_at_home(&self, there: Oid) -> Oid {
        self.tables_home.get(&there).copied().unwrap_or(there)
    }

    /// Binary arrays and composites of user-defined types carry ids inside their values; `regclass` and the
    /// like are ids.
    pub fn check(&self, description: &RowDescription<'_>) -> Result<(), Error> {
        self.check_fields(description.fields())
    }

    /// The same of columns whose formats are still to be asked for.
    pub fn check_fields<'f>(
        &self,
        mut fields: impl Iterator<Item = Field<'f>>,
    ) -> Result<(), Error> {
        let stranger = fields.find(|field| {
            let ids = self.embedding.contains(&field.type_oid) || names_objects(field.type_oid);
            field.format == Format::Binary && ids
        });
        match stranger {
            None => Ok(()),
            Some(field) if names_objects(field.type_oid) => Err(Error::refused(
                format!(
                    "column \"{}\" in binary format is object ids, which differ between shards",
                    String::from_utf8_lossy(field.name)
                ),
                "ask for text format, or cast the column to text",
            )),
            Some(field) => Err(Error::refused(
                format!(
                    "column \"{}\" in binary format carries type ids that differ between shards",
                    String::from_utf8_lossy(field.name)
                ),
                "ask for text format, or create the types in the same order on all shards",
            )),
        }
    }
}

/// Types whose values name objects of one server by their ids, as binary.
pub fn names_objects(oid: Oid) -> bool {
    const REG: [u32; 22] = [
        24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, // regproc …
        1008, 2207, 2208, 2209, 2210, 2211, 3735, 3770, 4090, 4097, 4192, // their arrays
    ];
    REG.contains(&oid.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, oid: u32, kind: ObjectKind) -> Object {
        Object { schema: "public".into(), name: name.into(), oid: Oid(oid), kind }
    }

    #[test]
    fn equal_servers_need_no_translation() {
        let objects = [object("status", 16400, ObjectKind::Type)];
        assert_eq!(Translation::new(&objects, &objects), None);
    }

    #[test]
    fn a_type_goes_by_the_home_shards_id_and_back() {
        let home = [object("status", 16400, ObjectKind::Type), object("t", 1, ObjectKind::Table)];
        let there = [object("status", 17000, ObjectKind::Type), object("t", 2, ObjectKind::Table)];
        let translation = Translation::new(&home, &there).unwrap();
        assert_eq!(translation.type_at_home(Oid(17000)), Oid(16400));
        assert_eq!(translation.type_there(Oid(16400)), Oid(17000));
        assert_eq!(translation.type_at_home(Oid(23)), Oid(23));
        assert_eq!(translation.table_at_home(Oid(2)), Oid(1));
    }

    #[test]
    fn a_table_and_its_row_type_are_two_objects() {
        let home = [object("t", 10, ObjectKind::Table), object("t", 11, ObjectKind::EmbeddingType)];
        let there =
            [object("t", 20, ObjectKind::Table), object("t", 21, ObjectKind::EmbeddingType)];
        let translation = Translation::new(&home, &there).unwrap();
        assert_eq!(translation.type_at_home(Oid(21)), Oid(11));
        assert_eq!(translation.table_at_home(Oid(20)), Oid(10));
    }
}
