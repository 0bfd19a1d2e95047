//! Where the rows of a table live, given as lines of COPY's text form with the keys in front.
use super::{Distribution, Placement, Rules, Table, Unlisted};
use crate::ids::{DistributionId, ShardId};
use crate::sharding::Key;
use crate::wire::copy_text::first_field;

/// Where a table's rows live.
#[derive(Debug, Clone)]
pub enum Destination<'r> {
    One(ShardId),
    /// A copy on every shard.
    Every,
    Keyed(Keys<'r>),
}

/// The columns that say where a row lives, and how.
#[derive(Debug, Clone)]
pub struct Keys<'r> {
    key: (&'r str, &'r Distribution),
    fallback: Option<(&'r str, &'r Distribution)>,
}

impl Rules {
    /// The rule for a table of the catalog.
    pub fn table(&self, schema: &str, name: &str) -> Option<&Table> {
        self.tables.iter().find(|rule| rule.means(schema, name))
    }

    /// `None`: no rule says where this table lives.
    pub fn destination(&self, schema: &str, name: &str) -> Option<Destination<'_>> {
        match self.table(schema, name).map(|rule| &rule.placement) {
            Some(Placement::Sharded { key, distribution, fallback }) => {
                let by = |id: DistributionId| self.distribution(id);
                let key = (key.as_str(), by(*distribution)?);
                let fallback = match fallback {
                    Some(fallback) => Some((fallback.key.as_str(), by(fallback.distribution)?)),
                    None => None,
                };
                Some(Destination::Keyed(Keys { key, fallback }))
            }
            Some(Placement::Reference) => Some(Destination::Every),
            Some(Placement::Single(shard)) => Some(Destination::One(*shard)),
            None => match self.unlisted {
                Unlisted::Shard(shard) => Some(Destination::One(shard)),
                Unlisted::Refuse => None,
            },
        }
    }
}

impl Table {
    /// Is it that table of the catalog?
    pub fn means(&self, schema: &str, name: &str) -> bool {
        self.name == name && self.schema.as_ref().is_none_or(|own| own == schema)
    }
}

impl<'r> Keys<'r> {
    /// What a line has to begin with, in this order.
    pub fn columns(&self) -> impl Iterator<Item = &'r str> {
        std::iter::once(self.key.0).chain(self.fallback.map(|(column, _)| column))
    }

    pub fn has_fallback(&self) -> bool {
        self.fallback.is_some()
    }

    /// The shard of a row; else why it has none.
    pub fn shard(&self, line: &[u8]) -> Result<ShardId, String> {
        let (key, rest) = first_field(line);
        if let Some(key) = key {
            return located(self.key, &key);
        }
        let column = self.key.0;
        let Some(fallback) = self.fallback else {
            return Err(format!("{column} is NULL, and the rules name no fallback key"));
        };
        match first_field(rest) {
            (Some(key), _) => located(fallback, &key),
            (None, _) => Err(format!("{column} and {} are NULL", fallback.0)),
        }
    }
}

fn located((column, by): (&str, &Distribution), text: &[u8]) -> Result<ShardId, String> {
    let named = || format!("{column} {}", String::from_utf8_lossy(text));
    let text = std::str::from_utf8(text).map_err(|_| format!("{} is not UTF-8", named()))?;
    let key = Key::from_text(by.key_type, text)
        .map_err(|_| format!("{} is no {}", named(), by.key_type.name()))?;
    match by.locate(&key) {
        Ok((_, shard)) => Ok(shard),
        Err(error) => Err(format!("{column}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        database = "shop"
        unlisted = "shard:s1"
        [[shard]]
        name = "s0"
        primary = "host=a"
        [[shard]]
        name = "s1"
        primary = "host=b"
        [[distribution]]
        name = "by_user"
        function = "modulo"
        key_type = "bigint"
        buckets = 2
        [[distribution]]
        name = "by_country"
        function = "list"
        key_type = "text"
        lists = [["a\tb", "at"], ["de"]]
        [[table]]
        name = "orders"
        distribution = "by_user"
        key = "user_id"
        fallback = { key = "country", distribution = "by_country" }
        [[table]]
        name = "sales.products"
        reference = true
    "#;

    #[test]
    fn a_line_says_where_its_row_lives() {
        let rules = super::super::parse(RULES, "rules.toml").unwrap_or_else(|p| panic!("{p}"));
        let Some(Destination::Keyed(keys)) = rules.destination("public", "orders") else {
            panic!("orders is sharded")
        };
        assert_eq!(keys.columns().collect::<Vec<_>>(), ["user_id", "country"]);
        for (line, shard) in [
            ("4\tde\tx\n", Ok(ShardId(0))),
            ("-1\t\\N\n", Ok(ShardId(1))),
            ("\\N\tde\n", Ok(ShardId(1))),
            ("\\N\ta\\tb\n", Ok(ShardId(0))),
            ("\\N\t\\N\n", Err("user_id and country are NULL")),
            ("\\N\tfr\n", Err("country: no bucket takes the key fr")),
            ("x\tde\n", Err("user_id x is no bigint")),
        ] {
            assert_eq!(keys.shard(line.as_bytes()), shard.map_err(str::to_owned), "{line}");
        }
    }

    #[test]
    fn every_table_has_the_home_that_its_rule_gives_it() {
        let rules = super::super::parse(RULES, "rules.toml").unwrap_or_else(|p| panic!("{p}"));
        let home = |schema, name| match rules.destination(schema, name) {
            Some(Destination::One(shard)) => rules.shard_name(shard).to_owned(),
            Some(Destination::Every) => String::from("every"),
            Some(Destination::Keyed(_)) => String::from("keyed"),
            None => String::from("none"),
        };
        assert_eq!(home("sales", "orders"), "keyed");
        assert_eq!(home("sales", "products"), "every");
        assert_eq!(home("public", "products"), "s1");
    }
}
