//! weir's own settings: weir.shard, weir.tier, weir.reads, weir.consistency, weir.gather_notice. A
//! statement's hint comes before what was SET, and that before what the client's user and database are
//! given.
use super::setting::Scope;
use super::traced::TRACEPARENT;
use super::{Session, Stop};
use crate::error::{Error, SqlState};
use crate::ids::{ShardId, TierId};
use crate::plan::Planned;
use crate::rules::{Consistency, Reads, Rules};
use crate::txn::Status;
use crate::txn::settings::{Own, Values};
use crate::wire::encode;

/// Which of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Setting {
    Shard,
    Tier,
    Reads,
    Consistency,
    GatherNotice,
}

const SETTINGS: [(&str, Setting); 5] = [
    ("weir.shard", Setting::Shard),
    ("weir.tier", Setting::Tier),
    ("weir.reads", Setting::Reads),
    ("weir.consistency", Setting::Consistency),
    ("weir.gather_notice", Setting::GatherNotice),
];

/// What SET does to them.
type Change = Box<dyn Fn(&mut Own)>;

/// What values they may have.
pub(super) struct Choices<'a> {
    pub rules: &'a Rules,
    pub tiers: &'a [String],
}

pub(super) fn is_own_setting(name: &str) -> bool {
    name.starts_with("weir.")
}

/// Is it one that SHOW answers?
pub(super) fn is_known(name: &str) -> bool {
    name == TRACEPARENT || Setting::named(name).is_ok()
}

/// Takes weir's own settings out of those that a start-up packet asks for: servers never hear of them.
pub(super) fn take(values: &mut Values, choices: &Choices<'_>) -> Result<Own, Error> {
    let mut own = Own::default();
    for (name, value) in values.iter().filter(|(name, _)| is_own_setting(name)) {
        choices.read(Setting::named(name)?, value)?(&mut own);
    }
    values.retain(|name, _| !is_own_setting(name));
    Ok(own)
}

impl Setting {
    fn named(name: &str) -> Result<Self, Error> {
        let found = SETTINGS.iter().find(|(known, _)| *known == name);
        found.map(|(_, setting)| *setting).ok_or_else(|| {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            let names = SETTINGS.map(|(name, _)| name).join(", ");
            Error::client(SqlState::UNDEFINED_OBJECT, message)
                .hint(format!("weir's own settings: {names}"))
        })
    }
}

impl Choices<'_> {
    /// What a value changes; an empty one stands for nothing set.
    fn read(&self, setting: Setting, value: &str) -> Result<Change, Error> {
        let value = Some(value).filter(|value| !value.is_empty());
        Ok(match setting {
            Setting::Shard => {
                let shard = value.map(|name| self.shard(name)).transpose()?;
                Box::new(move |own| own.shard = shard)
            }
            Setting::Tier => {
                let tier = value.map(|name| self.tier(name)).transpose()?;
                Box::new(move |own| own.tier = tier)
            }
            Setting::Reads => {
                let place = "parameter \"weir.reads\"";
                let reads = value.map(|name| Reads::named(name, place)).transpose()?;
                self.check_reads(reads)?;
                Box::new(move |own| own.reads = reads)
            }
            Setting::Consistency => {
                let place = "parameter \"weir.consistency\"";
                let named = |name| Consistency::named(name, place);
                let consistency = value.map(named).transpose()?;
                Box::new(move |own| own.consistency = consistency)
            }
            Setting::GatherNotice => {
                let notice = value.map(boolean).transpose()?;
                Box::new(move |own| own.gather_notice = notice)
            }
        })
    }

    fn shard(&self, name: &str) -> Result<ShardId, Error> {
        let rules = self.rules;
        rules.shard_ids().find(|&id| rules.shard_name(id) == name).ok_or_else(|| {
            let names: Vec<_> = rules.shards.iter().map(|shard| shard.name.as_str()).collect();
            let message = format!("shard \"{name}\" does not exist");
            Error::client(SqlState::INVALID_PARAMETER_VALUE, message)
                .hint(format!("the shards are {}", names.join(", ")))
        })
    }

    /// In plain databases nothing is known of tables and functions.
    fn check_reads(&self, reads: Option<Reads>) -> Result<(), Error> {
        match reads {
            Some(Reads::Replica) if self.rules.is_plain() => Err(Error::refused(
                "reads from replicas where no [[distribution]] is in the rules",
                "connect to the replica as a database of its own",
            )),
            Some(Reads::Replica | Reads::Primary) | None => Ok(()),
        }
    }

    pub fn tier(&self, name: &str) -> Result<TierId, Error> {
        tier_named(self.tiers, name).ok_or_else(|| {
            let message = format!("tier \"{name}\" does not exist");
            Error::client(SqlState::INVALID_PARAMETER_VALUE, message)
                .hint(format!("the tiers are {}", self.tiers.join(", ")))
        })
    }
}

/// As PostgreSQL reads one, without its abbreviations.
fn boolean(value: &str) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => {
            let message = "parameter \"weir.gather_notice\" requires a Boolean value";
            Err(Error::client(SqlState::INVALID_PARAMETER_VALUE, message)
                .hint("available values: on, off"))
        }
    }
}

fn tier_named(tiers: &[String], name: &str) -> Option<TierId> {
    let position = tiers.iter().position(|tier| tier == name)?;
    u8::try_from(position).ok().map(TierId)
}

impl Session {
    pub(super) fn choices(&self) -> Choices<'_> {
        Choices { rules: &self.serving.rules, tiers: &self.database.limits.tiers }
    }

    /// SET and RESET; without a value it is what the start-up packet asked for.
    pub(super) fn set_own(
        &mut self,
        name: &str,
        value: Option<&str>,
        scope: Scope,
        tag: &str,
    ) -> Result<(), Stop> {
        if name == TRACEPARENT {
            return self.set_traceparent(value, scope, tag);
        }
        let setting = Setting::named(name)?;
        let change = match value {
            Some(value) => self.choices().read(setting, value)?,
            None => self.at_startup(setting),
        };
        match scope {
            Scope::Session => self.txn.settings.set_own(change),
            Scope::Transaction if self.txn.status() == Status::Idle => self.warn(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET LOCAL can only be used in transaction blocks",
            ),
            Scope::Transaction => self.txn.settings.set_own_local(change),
        }
        self.complete(tag)
    }

    fn at_startup(&self, setting: Setting) -> Change {
        let Own { shard, tier, reads, consistency, gather_notice } =
            self.txn.settings.own_at_startup();
        match setting {
            Setting::Shard => Box::new(move |own| own.shard = shard),
            Setting::Tier => Box::new(move |own| own.tier = tier),
            Setting::Reads => Box::new(move |own| own.reads = reads),
            Setting::Consistency => Box::new(move |own| own.consistency = consistency),
            Setting::GatherNotice => Box::new(move |own| own.gather_notice = gather_notice),
        }
    }

    /// SHOW: what holds for statements without a hint; empty where it depends on the statement.
    pub(super) fn show_own(&mut self, name: &str) -> Result<(), Stop> {
        if name == TRACEPARENT {
            return self.show_traceparent();
        }
        let (own, rules) = (self.txn.settings.own(), &self.serving.rules);
        let value = match Setting::named(name)? {
            Setting::Shard => own.shard.map_or("", |shard| rules.shard_name(shard)),
            Setting::Tier => {
                let tier = own.tier.or(self.default_tier);
                let name =
                    tier.and_then(|TierId(id)| self.database.limits.tiers.get(usize::from(id)));
                name.map_or("", String::as_str)
            }
            Setting::Reads => own.reads.unwrap_or(rules.reads).name(),
            Setting::Consistency => self.consistency().name(),
            Setting::GatherNotice if self.gather_notice() => "on",
            Setting::GatherNotice => "off",
        };
        encode::data_row(&[Some(value.as_bytes())], &mut self.client.output);
        self.complete("SHOW")
    }

    /// Is there what the statement's hints ask for?
    pub(super) fn check_asked(&self, planned: &Planned) -> Result<(), Error> {
        self.choices().check_reads(planned.plan.asks.reads)?;
        match &planned.plan.asks.tier {
            Some(name) => self.choices().tier(name).map(drop),
            None => Ok(()),
        }
    }

    /// Whose connections a statement uses.
    pub(super) fn tier(&self, planned: &Planned) -> TierId {
        let asked = planned.plan.asks.tier.as_deref();
        asked
            .and_then(|name| tier_named(&self.database.limits.tiers, name))
            .or(self.session_tier())
            .unwrap_or_else(|| planned.plan.tier())
    }

    /// The same, of statements that say nothing themselves.
    pub(super) fn session_tier(&self) -> Option<TierId> {
        self.txn.settings.own().tier.or(self.default_tier)
    }

    /// Whether the client is told that a statement was finished in the gather database.
    pub(super) fn gather_notice(&self) -> bool {
        let usually = || self.serving.rules.gather.as_ref().is_some_and(|gather| gather.notice);
        self.txn.settings.own().gather_notice.unwrap_or_else(usually)
    }

    /// What a read over several shards sees.
    pub(super) fn consistency(&self) -> Consistency {
        self.txn.settings.own().consistency.unwrap_or(self.serving.rules.consistency)
    }

    /// From which kind of server a statement reads, if it only reads.
    pub(super) fn reads(&self, planned: &Planned) -> Reads {
        let asked = planned.plan.asks.reads;
        asked.or(self.txn.settings.own().reads).unwrap_or(self.serving.rules.reads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    fn taken(pairs: &[(&str, &str)]) -> Result<(Own, Values), Error> {
        let text = include_str!("../../rules/shop/rules.toml");
        let rules =
            rules::parse(text, "rules.toml").unwrap_or_else(|problems| panic!("{problems}"));
        let tiers = ["interactive", "batch"].map(String::from);
        let mut values: Values =
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let own = take(&mut values, &Choices { rules: &rules, tiers: &tiers })?;
        Ok((own, values))
    }

    #[test]
    fn a_startup_packet_may_set_weirs_own_and_servers_do_not_hear_of_it() {
        let asked = [
            ("weir.tier", "batch"),
            ("timezone", "UTC"),
            ("weir.reads", "replica"),
            ("weir.shard", "s2"),
            ("weir.consistency", "snapshot"),
            ("weir.gather_notice", "On"),
        ];
        let (own, rest) = taken(&asked).unwrap_or_else(|error| panic!("{error}"));
        let expected = Own {
            shard: Some(ShardId(2)),
            tier: Some(TierId::BATCH),
            reads: Some(Reads::Replica),
            consistency: Some(Consistency::Snapshot),
            gather_notice: Some(true),
        };
        assert_eq!(own, expected);
        assert_eq!(rest.keys().collect::<Vec<_>>(), ["timezone"]);
    }

    #[test]
    fn wrong_values_are_refused_with_the_right_ones() {
        for (name, value, code, hint) in [
            ("weir.tier", "bach", "22023", "the tiers are interactive, batch"),
            ("weir.reads", "both", "22023", "available values: primary, replica"),
            ("weir.shard", "s9", "22023", "the shards are s0, s1, s2, s3"),
            ("weir.shard", "gather", "22023", "the shards are s0, s1, s2, s3"),
            ("weir.consistency", "some", "22023", "available values: shard, snapshot"),
            ("weir.gather_notice", "maybe", "22023", "available values: on, off"),
            (
                "weir.mood",
                "good",
                "42704",
                "weir's own settings: weir.shard, weir.tier, weir.reads, weir.consistency, \
                 weir.gather_notice",
            ),
        ] {
            let error = taken(&[(name, value)]).map(|_| ()).unwrap_err();
            assert_eq!((error.code.as_str(), error.hint.as_deref()), (code, Some(hint)));
        }
    }
}
