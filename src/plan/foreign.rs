//! What a write does to other tables by foreign keys: their ON DELETE and ON UPDATE actions run on the
//! shard of the row that goes or changes, and leave what they write there.
use super::analyst::WriteSite;
use super::catalog::{OnChange, Reference, Relation};
use super::names::{self, Found, Home};
use super::{Context, Unroutable};
use crate::sql::statement::Name;
use std::collections::BTreeSet;

/// What may happen to rows of a table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    Deleted,
    /// These columns are set.
    Updated(BTreeSet<String>),
}

/// No row may be left on a shard that its new key does not belong to, and no reference table be
/// written on one shard only.
pub fn refuse_far_effects(
    writes: &[WriteSite<'_>],
    context: &Context<'_>,
) -> Result<(), Unroutable> {
    if context.rules.shards.len() == 1 {
        return Ok(());
    }
    for site in writes {
        let Some(relation) = site.found.relation else { continue };
        let everywhere = matches!(site.found.home, Home::Reference);
        let mut work: Vec<_> =
            site.changes.iter().map(|change| (relation, change.clone())).collect();
        let mut seen = BTreeSet::new();
        while let Some((relation, change)) = work.pop() {
            if !seen.insert((&relation.schema, &relation.name, change.clone())) {
                continue;
            }
            for member in context.catalog.family(relation) {
                for reference in &member.referenced {
                    let Some(next) = follow(reference, &change) else { continue };
                    let Some(found) = pointing(reference, context) else { continue };
                    if let Some(column) = set_place(&found, &next) {
                        return Err(Unroutable::FarKey {
                            foreign_key: reference.name.clone(),
                            table: reference.table.1.clone(),
                            column: column.to_owned(),
                        });
                    }
                    if !everywhere && matches!(found.home, Home::Reference) {
                        return Err(Unroutable::FarCopy {
                            foreign_key: reference.name.clone(),
                            table: reference.table.1.clone(),
                        });
                    }
                    work.extend(found.relation.map(|relation: &Relation| (relation, next)));
                }
            }
        }
    }
    Ok(())
}

/// What a change does to the rows that point to the one that changes.
fn follow(reference: &Reference, change: &Change) -> Option<Change> {
    let columns = |set: bool| {
        let all = reference.columns.iter().filter(|column| !set || column.set);
        Change::Updated(all.map(|column| column.name.clone()).collect())
    };
    match change {
        Change::Deleted => match reference.on_delete {
            OnChange::Keep => None,
            OnChange::Cascade => Some(Change::Deleted),
            OnChange::Set => Some(columns(true)),
        },
        Change::Updated(set) => {
            let concerned = reference.columns.iter().any(|column| set.contains(&column.referenced));
            match reference.on_update {
                OnChange::Keep => None,
                OnChange::Cascade | OnChange::Set => concerned.then(|| columns(false)),
            }
        }
    }
}

/// The table that a foreign key is a constraint of; `None`: nobody has said where it lives.
fn pointing<'a>(reference: &Reference, context: &Context<'a>) -> Option<Found<'a>> {
    let (schema, name) = reference.table.clone();
    names::find(&Name { schema: Some(schema), name }, context).ok()
}

/// A column that decides where a row lives, and that the change sets.
fn set_place<'f>(found: &Found<'f>, change: &Change) -> Option<&'f str> {
    let Change::Updated(set) = change else { return None };
    match &found.home {
        Home::Sharded { key, fallback, .. } => [Some(*key), fallback.map(|f| f.key.as_str())]
            .into_iter()
            .flatten()
            .find(|column| set.contains(*column)),
        Home::Reference | Home::Single(_) | Home::System | Home::Temporary => None,
    }
}
