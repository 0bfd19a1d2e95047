//! The example order system, `rules/shop`, inside the program: an installed weir can show it, too.

pub const SCHEMA: &str = include_str!("../../rules/shop/schema.sql");
/// Rows that every shard holds.
pub const REFERENCE: &str = include_str!("../../rules/shop/reference.sql");
/// Rows that belong to one shard each: loaded through weir.
pub const SAMPLE: &str = include_str!("../../rules/shop/sample.sql");
const RULES: &str = include_str!("../../rules/shop/rules.toml");

/// The example's rules for servers elsewhere: one shard (s0, s1, …) for each dsn.
pub fn rules(shards: &[String], gather: &str) -> String {
    let mut text = String::with_capacity(RULES.len());
    let mut within = Block::Other;
    for line in RULES.lines() {
        within = match line {
            "[[shard]]" => Block::Shard { first: !text.contains("[[shard]]") },
            "[gather]" => Block::Gather,
            _ if line.starts_with('[') => Block::Other,
            _ => within,
        };
        // `[gather]   # why` is a header, too.
        if line.starts_with("[gather]") {
            within = Block::Gather;
        }
        match within {
            Block::Shard { first } if line == "[[shard]]" => {
                if first {
                    text.push_str(&shard_blocks(shards));
                }
            }
            Block::Shard { .. } if line.starts_with(char::is_alphabetic) || line.is_empty() => (),
            Block::Gather if line.starts_with("dsn") => {
                text.push_str(&format!("dsn = \"{gather}\"\n"));
            }
            Block::Shard { .. } | Block::Gather | Block::Other => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[derive(Clone, Copy)]
enum Block {
    Shard { first: bool },
    Gather,
    Other,
}

fn shard_blocks(dsns: &[String]) -> String {
    let block = |(index, dsn): (usize, &String)| {
        format!("[[shard]]\nname = \"s{index}\"\nprimary = \"{dsn}\"\n\n")
    };
    dsns.iter().enumerate().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_name_the_given_servers_and_keep_everything_else() {
        let dsns: Vec<String> = (0..3).map(|n| format!("host=h{n} dbname=d")).collect();
        let text = rules(&dsns, "host=g dbname=x");
        let value: toml::Table = text.parse().unwrap();
        let original: toml::Table = RULES.parse().unwrap();
        let shards = value["shard"].as_array().unwrap();
        assert_eq!(shards.len(), 3);
        assert_eq!(shards[2]["name"].as_str(), Some("s2"));
        assert_eq!(shards[2]["primary"].as_str(), Some("host=h2 dbname=d"));
        assert_eq!(value["gather"]["dsn"].as_str(), Some("host=g dbname=x"));
        for key in ["database", "unlisted", "home", "distribution", "table"] {
            assert_eq!(value[key], original[key], "{key}");
        }
        assert_eq!(RULES.matches("# ").count(), text.matches("# ").count());
    }
}
