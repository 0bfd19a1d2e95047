//! ORDER BY and LIMIT, and what they leave open.
use super::sql::{Sql, sql};
use super::{Certainty, Expression, Maker};
use crate::oracle::statement::Order;

/// What a query may be sorted by.
pub(super) struct Sortable {
    /// Its outputs, by name, with what stands behind the name where ORDER BY may repeat it.
    pub outputs: Vec<(String, Expression)>,
    /// What is not put out.
    pub hidden: Vec<Sql>,
    /// These together make the order total.
    pub total: Option<Vec<Sql>>,
    /// Whether its outputs may be said again as expressions, or in other collations.
    pub expressions: bool,
}

impl Maker<'_> {
    /// ORDER BY … LIMIT … for a whole statement (`top`), or for a query in one: there a LIMIT must
    /// know its rows.
    pub(super) fn tail(&mut self, sortable: &Sortable, top: bool) -> Sql {
        if self.chance(if top { 35 } else { 75 }) {
            return match top && self.chance(8) {
                true => sql![self.limit(), Sql::order(Order::CountOnly)].optional(),
                false => Sql::default(),
            };
        }
        let (items, mask) = self.items(sortable);
        let total = match self.chance(55) {
            true => sortable.total.clone().filter(|total| !total.is_empty()),
            false => None,
        };
        let mut keys = items;
        keys.extend(total.clone().unwrap_or_default());
        if keys.is_empty() {
            return Sql::default();
        }
        let head = sql![" ORDER BY ", Sql::list(keys, ", ")];
        if total.is_some() {
            let limit = match self.chance(50) {
                true => self.limit().optional(),
                false => Sql::default(),
            };
            // What is in order inside is in no order outside.
            let order = if top { Sql::order(Order::Total) } else { Sql::default() };
            return sql![head, order, limit].optional();
        }
        let Some(mask) = mask.filter(|_| top) else {
            return head.optional();
        };
        if self.chance(15) {
            let ties = sql![" FETCH FIRST ", self.how_many(), " ROWS WITH TIES"];
            return sql![head, ties, Sql::order(Order::By(mask))].optional();
        }
        let limit = match self.chance(40) {
            true => sql![self.limit(), Sql::order(Order::Keys(mask))].optional(),
            false => Sql::default(),
        };
        sql![head, Sql::order(Order::By(mask)), limit].optional()
    }

    /// Sort keys, and which outputs they are if each of them is a plain output.
    fn items(&mut self, sortable: &Sortable) -> (Vec<Sql>, Option<u64>) {
        let mut mask = Some(0u64);
        let mut items = Vec::new();
        for _ in 0..=self.below(3) {
            let only_hidden = sortable.outputs.is_empty();
            if !sortable.hidden.is_empty() && (only_hidden || self.chance(30)) {
                let hidden = self.among(&sortable.hidden);
                items.push(sql![hidden, self.direction()]);
                mask = None;
                continue;
            }
            let at = self.below(sortable.outputs.len());
            let (name, output) = &sortable.outputs[at];
            if output.certainty == Certainty::Near {
                continue;
            }
            mask = match (mask, output.is_plain() && at < 64) {
                (Some(mask), true) => Some(mask | 1 << at),
                _ => None,
            };
            let said = match self.below(3) {
                0 => Sql::from((at + 1).to_string()),
                1 if sortable.expressions => output.sql.clone(),
                _ => Sql::from(name),
            };
            let collated = sortable.expressions && output.kind.is_text() && self.chance(20);
            let said = match collated {
                true => {
                    let collation = self.among(&["\"C\"", "\"und-x-icu\"", "\"default\""]);
                    sql!["(", &output.sql, ") COLLATE ", collation]
                }
                false => said,
            };
            items.push(sql![said, self.direction()]);
        }
        if items.is_empty() {
            mask = None;
        }
        (items, mask)
    }

    fn direction(&mut self) -> &'static str {
        self.among(&[
            "",
            "",
            "",
            " ASC",
            " DESC",
            " DESC",
            " NULLS FIRST",
            " DESC NULLS LAST",
            " USING >",
        ])
    }

    fn how_many(&mut self) -> Sql {
        self.number(0, 12)
    }

    fn limit(&mut self) -> Sql {
        let count = self.how_many();
        match self.below(9) {
            0 => sql![" LIMIT ", count, " OFFSET ", self.number(0, 6)],
            1 => sql![" OFFSET ", self.number(0, 6), " LIMIT ", count],
            2 => sql![" OFFSET ", count, " ROWS"],
            3 => sql![" FETCH FIRST ", count, " ROWS ONLY"],
            4 => sql![" OFFSET ", self.number(0, 3), " ROWS FETCH NEXT ROW ONLY"],
            5 => sql![" LIMIT ALL OFFSET ", count],
            6 => sql![" LIMIT ", count, " + 1"],
            _ => sql![" LIMIT ", count],
        }
    }
}
