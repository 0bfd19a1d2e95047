//! The names and the words of a commit on several shards, and its states as types.
//!
//! All writers but one, the *anchor*, prepare. Then the anchor commits together with a *record* of the
//! transaction: that is the decision. Then the others commit what they have prepared. Whoever finds
//! something prepared and asks the anchor for its record knows what to do with it:
//! `backend::commit_record`.
use super::barrier;
use super::settings::quote_literal;
use std::fmt;

/// The longest name that PostgreSQL gives a prepared transaction, in bytes.
const MAX_GID_BYTES: usize = 199;

/// What the record is called: `weir_CLUSTER_RANDOM_ANCHOR`, the cluster's uuid and 128 random bits in
/// hexadecimal digits, and the anchor's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(String);

/// What a prepared transaction is called: `KEY.PARTICIPANT`. Names are unique on one server, and several
/// shards may be databases of one server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Gid {
    pub key: Key,
    pub participant: String,
}

impl Key {
    pub fn new(cluster: &str, random: u128, anchor: &str) -> Self {
        Self(format!("{}{random:032x}_{anchor}", Self::prefix(cluster)))
    }

    /// How the names of a cluster's transactions begin.
    pub fn prefix(cluster: &str) -> String {
        let digits: String = cluster.chars().filter(|c| *c != '-').collect();
        format!("weir_{digits}_")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shard that has the record.
    pub fn anchor(&self) -> &str {
        self.0.splitn(4, '_').last().unwrap_or_default()
    }

    /// Undoes what a participant has prepared: right as long as nothing is decided.
    pub fn roll_back(&self, participant: &str) -> String {
        format!("ROLLBACK PREPARED {}", quote_literal(&self.on(participant).to_string()))
    }

    /// The transaction's name on one of its shards.
    pub fn on(&self, participant: &str) -> Gid {
        Gid { key: self.clone(), participant: participant.to_owned() }
    }

    fn parse(text: &str) -> Option<Self> {
        let hex = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let mut parts = text.splitn(4, '_');
        let weir = parts.next()? == "weir" && hex(parts.next()?) && hex(parts.next()?);
        let named = weir && is_shard_name(parts.next()?);
        named.then(|| Self(text.to_owned()))
    }
}

impl Gid {
    /// `None`: it is not one of weir's.
    pub fn parse(text: &str) -> Option<Self> {
        let (key, participant) = text.split_once('.')?;
        let key = Key::parse(key)?;
        (is_shard_name(participant) && text.len() <= MAX_GID_BYTES).then(|| key.on(participant))
    }
}

/// As the rules allow it.
fn is_shard_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !name.is_empty() && name.chars().all(plain)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.key, self.participant)
    }
}

/// A client's `off` or `local` would let a standby that takes over lose what was promised.
const DURABLY: &str = "pg_catalog.set_config('synchronous_commit', CASE \
    pg_catalog.current_setting('synchronous_commit') WHEN 'off' THEN 'on' WHEN 'local' THEN 'on' \
    ELSE pg_catalog.current_setting('synchronous_commit') END, true)";

/// The writers prepare. Until the decision everything may be undone.
#[derive(Debug)]
#[must_use]
pub struct Preparing {
    key: Key,
}

/// All writers but the anchor have prepared; the anchor may decide.
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    key: Key,
}

/// The anchor has committed, and the record with it: the others will.
#[derive(Debug)]
#[must_use]
pub struct Decided {
    key: Key,
}

impl Preparing {
    pub fn new(key: Key) -> Self {
        Self { key }
    }

    /// For a writer that is not the anchor.
    pub fn prepare(&self, participant: &str) -> String {
        let gid = quote_literal(&self.key.on(participant).to_string());
        format!("{}, {DURABLY};PREPARE TRANSACTION {gid}", barrier::enter())
    }

    /// For the anchor. What its COMMIT could refuse, or be slow at, comes out now: the decision is short.
    pub fn enter(&self) -> String {
        format!("SET CONSTRAINTS ALL IMMEDIATE;{}, {DURABLY}", barrier::enter())
    }

    /// Every writer has answered PREPARE with its own tag.
    pub fn prepared(self) -> Prepared {
        Prepared { key: self.key }
    }
}

impl Prepared {
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// For the anchor: the record exists if and only if its transaction is committed.
    pub fn decide(&self) -> String {
        let key = quote_literal(self.key.as_str());
        format!(
            "INSERT INTO weir.commit_record (transaction, committed) VALUES ({key}, true);COMMIT"
        )
    }

    /// The anchor has answered COMMIT, or has the record.
    pub fn decided(self) -> Decided {
        Decided { key: self.key }
    }
}

impl Decided {
    /// For a writer that has prepared.
    pub fn commit(&self, participant: &str) -> String {
        let gid = quote_literal(&self.key.on(participant).to_string());
        format!("COMMIT PREPARED {gid}")
    }

    pub fn gid(&self, participant: &str) -> Gid {
        self.key.on(participant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLUSTER: &str = "7f2c1f0e-9a54-4be8-8d3c-0123456789ab";

    #[test]
    fn a_name_says_cluster_transaction_anchor_and_participant() {
        let gid = Key::new(CLUSTER, 10, "eu_1").on("eu_2");
        let text =
            "weir_7f2c1f0e9a544be88d3c0123456789ab_0000000000000000000000000000000a_eu_1.eu_2";
        assert_eq!(gid.to_string(), text);
        assert_eq!(Gid::parse(text), Some(gid.clone()));
        assert_eq!(gid.key.anchor(), "eu_1");
        assert!(text.starts_with(&Key::prefix(CLUSTER)));
    }

    #[test]
    fn what_others_have_prepared_is_not_weirs() {
        let ours = Key::new(CLUSTER, 1, "s0").on("s1").to_string();
        for other in ["", "weir", "weir_1_2_s0.s1", "bank 1 2 3", &ours[1..], &ours[..70]] {
            assert_eq!(Gid::parse(other), None, "{other}");
        }
        assert_eq!(Gid::parse(&format!("{ours}.s2")), None);
    }

    #[test]
    fn the_longest_names_of_shards_fit() {
        let longest = "s".repeat(crate::rules::MOST_SHARD_NAME_BYTES);
        let gid = Key::new(CLUSTER, u128::MAX, &longest).on(&longest).to_string();
        assert!(gid.len() <= MAX_GID_BYTES, "{}", gid.len());
        assert!(Gid::parse(&gid).is_some());
    }

    #[test]
    fn only_the_decision_leads_to_the_others_commit() {
        let preparing = Preparing::new(Key::new(CLUSTER, 1, "s0"));
        assert!(preparing.prepare("s1").ends_with("_s0.s1'"));
        let prepared = preparing.prepared();
        assert!(prepared.decide().ends_with("_s0', true);COMMIT"));
        assert!(prepared.decided().commit("s1").starts_with("COMMIT PREPARED 'weir_"));
    }

    proptest! {
        #[test]
        fn names_are_read_as_they_are_written(
            random: u128, anchor in "[a-zA-Z0-9_-]{1,60}", participant in "[a-zA-Z0-9_-]{1,60}",
        ) {
            let gid = Key::new(CLUSTER, random, &anchor).on(&participant);
            let read = Gid::parse(&gid.to_string());
            prop_assert_eq!(read.as_ref(), Some(&gid));
            prop_assert_eq!(read.map(|gid| gid.key.anchor().to_owned()), Some(anchor));
        }

        #[test]
        fn no_text_panics(text in ".{0,250}") {
            drop(Gid::parse(&text));
        }
    }
}
