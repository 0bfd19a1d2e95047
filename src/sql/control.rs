//! Statements that steer the session or its transaction: weir acts on them itself.

/// A control statement, parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// `BEGIN` / `START TRANSACTION`; `modes` is the original text after the keyword, e.g.
    /// `ISOLATION LEVEL SERIALIZABLE READ ONLY`, empty if none.
    Begin {
        modes: String,
    },
    /// `COMMIT` / `END`, with `AND CHAIN` or not.
    Commit {
        chain: bool,
    },
    /// `ROLLBACK` / `ABORT`.
    Rollback {
        chain: bool,
    },
    Savepoint {
        name: String,
    },
    RollbackTo {
        name: String,
    },
    Release {
        name: String,
    },
    /// `SET TRANSACTION …`: the original text after `TRANSACTION`.
    SetTransaction {
        modes: String,
    },
    /// `SET [SESSION | LOCAL] name = value`; `SET TIME ZONE`, `SET NAMES`, `SET ROLE`,
    /// `SET SESSION AUTHORIZATION`, `SET SESSION CHARACTERISTICS` come under the setting's own name
    /// (`timezone`, `client_encoding`, `role`, `session_authorization`, `default_transaction_…`).
    /// `value` is `None` for DEFAULT; otherwise as `set_config` takes it (lists joined by `, `).
    Set {
        local: bool,
        name: String,
        value: Option<String>,
    },
    Reset {
        name: String,
    },
    ResetAll,
    /// `SHOW name`; `SHOW ALL` is `all`.
    Show {
        name: String,
    },
    DiscardAll,
    DiscardPlans,
    DiscardSequences,
    DiscardTemp,
    /// `PREPARE name (types) AS statement`.
    Prepare {
        name: String,
        types: Vec<String>,
        statement: String,
    },
    /// `EXECUTE name (arguments)`: each argument's original text.
    Execute {
        name: String,
        arguments: Vec<String>,
    },
    /// `None`: ALL.
    Deallocate {
        name: Option<String>,
    },
    Listen {
        channel: String,
    },
    /// `None`: `*`.
    Unlisten {
        channel: Option<String>,
    },
    /// `DECLARE name CURSOR … FOR query`: where the query goes, the cursor goes.
    DeclareCursor {
        name: String,
        hold: bool,
        query: String,
    },
    /// `FETCH`/`MOVE` … name.
    Fetch {
        cursor: String,
    },
    /// `CLOSE name`; `None`: ALL.
    CloseCursor {
        name: Option<String>,
    },
    /// `EXPLAIN (WEIR) statement`.
    ExplainWeir {
        statement: String,
    },
    /// `PREPARE TRANSACTION`, `COMMIT PREPARED`, `ROLLBACK PREPARED`: not through weir.
    TwoPhase,
}
