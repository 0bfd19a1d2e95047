//! What is measured. Each group is a table of the report; its cases take turns.

/// What stands behind a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    Direct,
    HaProxy,
    PgBouncer,
    /// weir as a pooler: one database, no distribution.
    Weir,
    /// weir in front of four shards.
    Sharded,
    /// The same with two worker threads.
    TwoWorkers,
    /// The same accounts with passwords.
    PgBouncerScram,
    WeirScram,
    /// Named on the command line.
    Other(usize),
}

/// How pgbench says a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Simple,
    Extended,
    Prepared,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// A pgbench script, said by so many clients.
    Script {
        text: &'static str,
        mode: Mode,
        clients: usize,
    },
    /// A new connection for each statement.
    Login {
        clients: usize,
    },
    CopyOut,
    CopyIn,
}

/// In which a case's costs are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Transaction,
    Login,
    Megabyte,
}

impl Unit {
    pub fn word(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Login => "login",
            Self::Megabyte => "MB",
        }
    }
}

pub struct Case {
    pub target: Target,
    /// What tells it from the group's other cases beside the target.
    pub label: &'static str,
    pub work: Work,
    /// So many clients are connected besides, and say nothing.
    pub idle: usize,
    /// The case of the group that it is compared with.
    pub against: usize,
    /// MB that one run of the script moves, where costs are told in MB.
    pub megabytes: Option<f64>,
}

impl Case {
    fn new(target: Target, work: Work) -> Self {
        Self { target, label: "", work, idle: 0, against: 0, megabytes: None }
    }

    fn labelled(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    fn against(self, against: usize) -> Self {
        Self { against, ..self }
    }

    pub fn name(&self) -> String {
        let target = match self.target {
            Target::Direct => "direct".to_owned(),
            Target::HaProxy => "HAProxy".to_owned(),
            Target::PgBouncer | Target::PgBouncerScram => "PgBouncer".to_owned(),
            Target::Weir | Target::WeirScram => "weir".to_owned(),
            Target::Sharded => "weir, 4 shards".to_owned(),
            Target::TwoWorkers => "weir, two workers".to_owned(),
            Target::Other(number) => format!("other {}", number + 1),
        };
        match self.label {
            "" => target,
            label => format!("{target}: {label}"),
        }
    }
}

pub struct Group {
    pub name: String,
    pub unit: Unit,
    pub cases: Vec<Case>,
}

const SELECT: &str = "\\set aid random(1, 100000 * :scale)\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n";

const TPC_B: &str = "\\set aid random(1, 100000 * :scale)\n\\set bid random(1, 1 * :scale)\n\
    \\set tid random(1, 10 * :scale)\n\\set delta random(-5000, 5000)\nBEGIN;\n\
    UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n\
    UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;\n\
    UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;\n\
    INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) \
    VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);\nEND;\n";

/// By account, which is the user here.
const UPDATE: &str = "\\set aid random(1, 100000 * :scale)\n\\set delta random(-5000, 5000)\nBEGIN;\n\
    UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\nCOMMIT;\n";

const TWO_SELECTS: &str = "\\set aid random(1, 100000 * :scale)\nBEGIN;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n\
    SELECT filler FROM pgbench_accounts WHERE aid = :aid;\nCOMMIT;\n";

const COUNT: &str = "\\set aid random(1, 100000 * :scale - 100)\n\
    SELECT count(*) FROM pgbench_accounts WHERE aid BETWEEN :aid AND :aid + 100;\n";

const FIRST_TEN: &str = "\\set aid random(1, 100000 * :scale - 100)\n\
    SELECT aid, abalance FROM pgbench_accounts WHERE aid > :aid ORDER BY aid LIMIT 10;\n";

const MANY_ROWS: &str = "\\set aid random(1, 100000 * :scale - 10000)\n\
    SELECT * FROM pgbench_accounts WHERE aid BETWEEN :aid AND :aid + 9999;\n";
/// A row of `MANY_ROWS` with its header is 5 + 2 + 4 × 4 + 6 + 1 + 1 + 84 bytes long, or nearly so.
const MANY_ROWS_MB: f64 = 10_000.0 * 115.0 / 1e6;

const WIDE_ROW: &str = "SELECT body FROM wide;\n";
pub const WIDE_ROW_BYTES: usize = 1 << 20;

const HELLO: &str = "SELECT 1;\n";

/// So that nobody says a statement that PgBouncer 1.18 does not know.
fn prepared_by(target: Target) -> Mode {
    match target {
        Target::PgBouncer => Mode::Extended,
        _ => Mode::Prepared,
    }
}

pub fn all(others: &[String]) -> Vec<Group> {
    let others = || (0..others.len()).map(Target::Other);
    // PgBouncer comes first: the others are compared with it.
    let plain = || {
        let known = [Target::PgBouncer, Target::Direct, Target::HaProxy, Target::Weir];
        known.into_iter().chain(others()).collect::<Vec<_>>()
    };
    let mut groups = Vec::new();
    for mode in [Mode::Simple, Mode::Extended, Mode::Prepared] {
        for clients in [1, 16, 64] {
            groups.push(scripted(&plain(), "select", SELECT, mode, clients));
        }
    }
    groups.push(scripted(&plain(), "TPC-B", TPC_B, Mode::Simple, 16));
    groups.push(scripted(&plain(), "TPC-B", TPC_B, Mode::Prepared, 16));
    groups.extend([Mode::Simple, Mode::Prepared].map(sharded));
    for (name, text, megabytes) in [
        ("10,000 rows", MANY_ROWS, MANY_ROWS_MB),
        ("a row of 1 MiB", WIDE_ROW, WIDE_ROW_BYTES as f64 / 1e6),
    ] {
        let mut group = scripted(&plain(), name, text, Mode::Simple, 4);
        group.unit = Unit::Megabyte;
        group.cases.iter_mut().for_each(|case| case.megabytes = Some(megabytes));
        groups.push(group);
    }
    for (name, work) in [("COPY out", Work::CopyOut), ("COPY in", Work::CopyIn)] {
        let cases = plain().into_iter().map(|target| Case::new(target, work)).collect();
        groups.push(Group { name: name.to_owned(), unit: Unit::Megabyte, cases });
    }
    let scram = [Target::PgBouncerScram, Target::WeirScram];
    let login = Work::Login { clients: 8 };
    groups.push(Group {
        name: "new connections with SCRAM".to_owned(),
        unit: Unit::Login,
        cases: scram.into_iter().map(|target| Case::new(target, login)).collect(),
    });
    groups.push(two_workers());
    groups.push(idle());
    groups
}

fn scripted(
    targets: &[Target],
    name: &str,
    text: &'static str,
    mode: Mode,
    clients: usize,
) -> Group {
    let case = |&target: &Target| match (mode, target) {
        (Mode::Prepared, Target::PgBouncer) => {
            let mode = prepared_by(target);
            Case::new(target, Work::Script { text, mode, clients }).labelled("extended")
        }
        (_, _) => Case::new(target, Work::Script { text, mode, clients }),
    };
    let clients_word = if clients == 1 { "client" } else { "clients" };
    Group {
        name: format!("{name}, {}, {clients} {clients_word}", mode.word()),
        unit: Unit::Transaction,
        cases: targets.iter().map(case).collect(),
    }
}

/// By key and over all shards; the select by key is compared with PgBouncer's, the others with that.
fn sharded(mode: Mode) -> Group {
    let script = |text, mode| Work::Script { text, mode, clients: 16 };
    let select = |target| {
        let mode = if mode == Mode::Prepared { prepared_by(target) } else { mode };
        Case::new(target, script(SELECT, mode))
    };
    let by_key = 1;
    let sharded = |label, text| {
        Case::new(Target::Sharded, script(text, mode)).labelled(label).against(by_key)
    };
    Group {
        name: format!("four shards, {}, 16 clients", mode.word()),
        unit: Unit::Transaction,
        cases: vec![
            select(Target::PgBouncer).labelled("select, not sharded"),
            select(Target::Sharded).labelled("select by key"),
            sharded("BEGIN, 2 selects, COMMIT by key", TWO_SELECTS),
            sharded("BEGIN, update, select, COMMIT by key", UPDATE),
            sharded("count over all", COUNT),
            sharded("ORDER BY … LIMIT 10 over all", FIRST_TEN),
        ],
    }
}

fn two_workers() -> Group {
    let select = Work::Script { text: SELECT, mode: Mode::Simple, clients: 64 };
    Group {
        name: "one worker and two, select, simple, 64 clients".to_owned(),
        unit: Unit::Transaction,
        cases: vec![Case::new(Target::Weir, select), Case::new(Target::TwoWorkers, select)],
    }
}

fn idle() -> Group {
    const CROWD: usize = 10_000;
    let hello = Work::Script { text: HELLO, mode: Mode::Simple, clients: 16 };
    let cases = [Target::PgBouncer, Target::Weir].into_iter().flat_map(|target| {
        let beside =
            Case { idle: CROWD, ..Case::new(target, hello).labelled("10,000 idle beside") };
        [Case::new(target, hello).labelled("alone"), beside]
    });
    let mut cases: Vec<Case> = cases.collect();
    // Each with itself alone.
    cases.iter_mut().enumerate().for_each(|(at, case)| case.against = at & !1);
    Group { name: "idle clients".to_owned(), unit: Unit::Transaction, cases }
}
