//! Which names a part of a statement sees, and which variable a column's name means there.
use super::keys::Var;
use super::lock::HotItem;
use super::value::Operand;
use crate::sql::statement::{Alias, Cte};
use std::cell::RefCell;
use std::ops::Range;

/// What a column of an item stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    pub var: Var,
    /// A condition on this column, outside, holds back the rows inside: no LIMIT, grouping or the
    /// like stands between.
    pub open: bool,
    /// It may be NULL because an outer join found no row.
    pub nullable: bool,
}

#[derive(Clone, Debug)]
pub struct Slot {
    /// `None`: the name is not worked out.
    pub name: Option<String>,
    pub cell: Option<Cell>,
    pub constant: Option<Operand>,
}

/// The columns of a FROM item or the outputs of a query.
#[derive(Clone, Debug)]
pub struct Columns {
    pub slots: Vec<Slot>,
    /// There are no other columns, and all names are known.
    pub named: bool,
    /// The slots stand where PostgreSQL has them.
    pub placed: bool,
}

#[derive(Debug)]
pub struct Item {
    pub name: String,
    /// `None` under an alias.
    pub schema: Option<String>,
    pub columns: Columns,
    /// The key of the sharded table that stands here itself.
    pub key: Option<Var>,
    /// Its row may be missing: an outer join.
    pub extended: bool,
    /// A reference table is read here: locking its rows concerns the home shard.
    pub reference: bool,
    /// A table with a `hot_key` stands here.
    pub hot: Option<HotItem>,
}

/// A column that USING or NATURAL made of two.
#[derive(Debug)]
struct Merged {
    name: String,
    column: Option<(usize, Cell)>,
    items: Range<usize>,
}

/// One FROM list and what surrounds it.
#[derive(Debug)]
pub struct Scope<'p> {
    pub items: Vec<Item>,
    merged: Vec<Merged>,
    /// While a join's ON is read: the join's own items.
    pub visible: Option<Range<usize>>,
    pub parent: Option<&'p Scope<'p>>,
}

/// A column's name, resolved.
#[derive(Clone, Copy, Debug)]
pub struct Resolved {
    pub cell: Cell,
    /// The item's position, if it belongs to the innermost scope.
    pub item: Option<usize>,
}

impl Columns {
    pub fn unknown() -> Self {
        Self { slots: Vec::new(), named: false, placed: false }
    }

    pub fn none() -> Self {
        Self { slots: Vec::new(), named: true, placed: true }
    }

    fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name.as_deref() == Some(name))
    }

    /// A condition outside no longer limits the rows inside.
    pub fn close(&mut self) {
        for cell in self.slots.iter_mut().filter_map(|slot| slot.cell.as_mut()) {
            cell.open = false;
        }
    }

    /// Names given by an alias: `AS t (a, b)`.
    pub fn renamed(mut self, alias: &Alias) -> Self {
        if alias.columns.is_empty() {
            return self;
        }
        if !self.placed {
            self = Self { slots: Vec::new(), named: false, placed: false };
        }
        for (index, name) in alias.columns.iter().enumerate() {
            match self.slots.get_mut(index) {
                Some(slot) => slot.name = Some(name.clone()),
                None => {
                    self.slots.push(Slot { name: Some(name.clone()), cell: None, constant: None });
                }
            }
        }
        self.named |= self.placed && self.slots.iter().all(|slot| slot.name.is_some());
        self
    }
}

impl<'p> Scope<'p> {
    pub fn new(parent: Option<&'p Scope<'p>>) -> Self {
        Self { items: Vec::new(), merged: Vec::new(), visible: None, parent }
    }

    /// The variable behind a column's name. `None`: no variable, or not sure which.
    pub fn resolve(&self, parts: &[String]) -> Option<Resolved> {
        let mut scope = Some(self);
        let mut innermost = true;
        while let Some(current) = scope {
            match current.look_up(parts) {
                LookUp::Found(item, cell) => {
                    return Some(Resolved { cell, item: innermost.then_some(item) });
                }
                LookUp::Unsure => return None,
                LookUp::Absent => scope = current.parent,
            }
            innermost = false;
        }
        None
    }

    fn look_up(&self, parts: &[String]) -> LookUp {
        let visible = self.visible.clone().unwrap_or(0..self.items.len());
        let items = || self.items.iter().enumerate().filter(|(index, _)| visible.contains(index));
        match parts {
            [column] => self.bare(column, &visible),
            [table, column] => {
                let mut found = items().filter(|(_, item)| item.name == *table);
                match (found.next(), found.next()) {
                    (None, _) => LookUp::Absent,
                    (Some((index, item)), None) => LookUp::of(index, item.columns.slot(column)),
                    (Some(_), Some(_)) => LookUp::Unsure,
                }
            }
            [schema, table, column] => {
                let mut found = items().filter(|(_, item)| {
                    item.name == *table && item.schema.as_ref() == Some(schema)
                });
                match (found.next(), found.next()) {
                    // Without its schema in the text, the item may be meant all the same.
                    (None, _) if items().any(|(_, item)| item.name == *table) => LookUp::Unsure,
                    (None, _) => LookUp::Absent,
                    (Some((index, item)), None) => LookUp::of(index, item.columns.slot(column)),
                    (Some(_), Some(_)) => LookUp::Unsure,
                }
            }
            _ => LookUp::Unsure,
        }
    }

    /// A column's name alone. If a known item has it, PostgreSQL means that one or complains that
    /// the name is ambiguous; if none has it and some item's columns are unknown, nobody can say.
    fn bare(&self, column: &str, visible: &Range<usize>) -> LookUp {
        let inside =
            |range: &Range<usize>| range.start >= visible.start && range.end <= visible.end;
        let merged =
            self.merged.iter().rev().find(|merged| merged.name == column && inside(&merged.items));
        let covered = merged.map(|merged| merged.items.clone()).unwrap_or(0..0);
        let mut others = self.items.iter().enumerate().filter_map(|(index, item)| {
            let counts = visible.contains(&index) && !covered.contains(&index);
            counts.then(|| item.columns.slot(column).map(|slot| (index, slot)))?
        });
        match (merged, others.next(), others.next()) {
            (Some(merged), None, _) => match merged.column {
                Some((index, cell)) => LookUp::Found(index, cell),
                None => LookUp::Unsure,
            },
            (None, Some((index, slot)), None) => LookUp::of(index, Some(slot)),
            (Some(_), Some(_), _) | (None, Some(_), Some(_)) => LookUp::Unsure,
            (None, None, _) => {
                let complete = self
                    .items
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| visible.contains(index))
                    .all(|(_, item)| item.columns.named);
                if complete { LookUp::Absent } else { LookUp::Unsure }
            }
        }
    }

    /// The column that one side of a USING means.
    pub fn side(&self, column: &str, items: &Range<usize>) -> Option<(usize, Cell)> {
        match self.bare(column, items) {
            LookUp::Found(index, cell) => Some((index, cell)),
            LookUp::Unsure | LookUp::Absent => None,
        }
    }

    /// From now on the name alone means this column (or no column that we know).
    pub fn merge(&mut self, name: &str, column: Option<(usize, Cell)>, items: Range<usize>) {
        self.merged.push(Merged { name: name.to_owned(), column, items });
    }

    pub fn has_merged(&self) -> bool {
        !self.merged.is_empty()
    }

    /// Rows of these items may be missing: an outer join.
    pub fn nullable(&mut self, items: &Range<usize>) {
        for item in self.items.get_mut(items.clone()).unwrap_or_default() {
            item.extended = true;
            for cell in item.columns.slots.iter_mut().filter_map(|slot| slot.cell.as_mut()) {
                cell.nullable = true;
            }
        }
        for merged in &mut self.merged {
            if let Some((index, cell)) = &mut merged.column
                && items.contains(index)
            {
                cell.nullable = true;
            }
        }
    }

    pub fn item(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.name == name)
    }
}

enum LookUp {
    Found(usize, Cell),
    /// It is here, or may be here, but no variable of ours.
    Unsure,
    Absent,
}

impl LookUp {
    fn of(index: usize, slot: Option<&Slot>) -> Self {
        match slot.and_then(|slot| slot.cell) {
            Some(cell) => Self::Found(index, cell),
            None => Self::Unsure,
        }
    }
}

/// The CTEs that a part of a statement sees, innermost first.
pub struct Env<'e> {
    pub ctes: &'e [Cte],
    /// How many of them are visible.
    pub visible: usize,
    pub recursive: bool,
    pub state: &'e RefCell<Vec<CteState>>,
    pub parent: Option<&'e Env<'e>>,
    /// What the CTEs' queries may refer to outside.
    pub scope: Option<&'e Scope<'e>>,
}

/// How far a CTE was looked into.
#[derive(Clone, Debug)]
pub enum CteState {
    /// A query that nobody referred to yet.
    Unused,
    /// A query: each reference reads its own copy.
    Copied,
    /// It is being read: a reference now is recursive.
    Open,
    /// It writes, so it runs once: what it returns.
    Written(Columns),
}

impl<'e> Env<'e> {
    /// The CTE that a table's name means here.
    pub fn find(&'e self, name: &str) -> Option<(&'e Env<'e>, usize)> {
        let mut env = Some(self);
        while let Some(current) = env {
            let visible = current.ctes.get(..current.visible).unwrap_or_default();
            if let Some(index) = visible.iter().rposition(|cte| cte.name == name) {
                return Some((current, index));
            }
            env = current.parent;
        }
        None
    }
}
