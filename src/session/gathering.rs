//! Whether statements over several shards can be finished in the gather database.

/// What is known of it. Whoever looks after the schema finds it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GatherState {
    /// The rules name none.
    None,
    Ready,
    /// It does not have the shards' schema, or it has rows: how.
    Differs(String),
    /// It could not be looked at: why.
    Unreachable(String),
}

impl GatherState {
    /// Why no statement can be finished there, and what to do about it; `None`: one can.
    pub fn hint(&self) -> Option<String> {
        match self {
            GatherState::Ready => None,
            GatherState::None => {
                Some("name a gather database in the rules file, see docs/gather.md".to_owned())
            }
            GatherState::Differs(how) => Some(format!(
                "the gather database cannot be used: {how}; make it anew with weir setup --gather, \
                 see docs/gather.md"
            )),
            GatherState::Unreachable(why) => Some(format!(
                "the gather database cannot be reached: {why}; weir tries it again by itself"
            )),
        }
    }
}
