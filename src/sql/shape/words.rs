//! The keywords that decide whether a literal is lifted, found without comparing texts.

/// Keywords that matter here.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Word {
    /// No keyword, or none that matters.
    #[default]
    Other,
    /// Begins a query.
    Query,
    Explain,
    /// An option or the statement of EXPLAIN without parentheses.
    ExplainOption,
    /// An expression follows.
    Expression,
    On,
    Distinct,
    /// A clause with expressions follows.
    Clause,
    /// Begins a query or a clause, or is a column's name.
    Values,
    /// Begins a clause, or is a column's name.
    Set,
    /// Numbers after it are no plain values: ordinals, counts, frames.
    Ordinals,
    By,
    /// A type follows.
    As,
    /// A type that takes modifiers, or something else whose parenthesis is not an argument list.
    Modified,
    Array,
}

/// The keywords that matter. Those left out are taken for names, after which nothing is lifted.
const KEYWORDS: &[(Word, &[&str])] = &[
    (Word::Query, &["select", "insert", "update", "delete", "merge", "with"]),
    (Word::Values, &["values"]),
    (Word::Set, &["set"]),
    (Word::Explain, &["explain"]),
    (Word::ExplainOption, &["analyze", "analyse", "verbose"]),
    (
        Word::Expression,
        &[
            "and",
            "or",
            "not",
            "like",
            "ilike",
            "to",
            "between",
            "symmetric",
            "asymmetric",
            "then",
            "else",
            "when",
            "in",
            "for",
            "placing",
            "all",
            "case",
        ],
    ),
    (Word::Clause, &["where", "having", "from", "returning"]),
    (Word::On, &["on"]),
    (Word::Distinct, &["distinct"]),
    (Word::Ordinals, &["limit", "offset", "fetch", "rows", "range", "groups"]),
    (Word::By, &["by"]),
    (Word::As, &["as"]),
    (Word::Array, &["array"]),
    (
        Word::Modified,
        &[
            "numeric",
            "decimal",
            "dec",
            "varchar",
            "char",
            "character",
            "nchar",
            "varying",
            "bit",
            "float",
            "time",
            "timestamp",
            "interval",
            "second",
            "bpchar",
            "repeatable",
            "tablesample",
            "extract",
        ],
    ),
];

const SLOTS: usize = 256;

/// The keywords in a hash table without chains, made by the compiler.
static TABLE: [(u128, Word); SLOTS] = {
    let mut table = [(0, Word::Other); SLOTS];
    let mut group = 0;
    while group < KEYWORDS.len() {
        let (word, spellings) = KEYWORDS[group];
        let mut index = 0;
        while index < spellings.len() {
            let key = key(spellings[index].as_bytes());
            let mut slot = slot(key);
            while table[slot].0 != 0 {
                slot = (slot + 1) % SLOTS;
            }
            table[slot] = (key, word);
            index += 1;
        }
        group += 1;
    }
    table
};

/// Up to 16 bytes of a word, in lower case, as one number. Only letters of another case share one.
const fn key(word: &[u8]) -> u128 {
    let (mut key, mut index) = (0, 0);
    while index < word.len() {
        key = key << 8 | (word[index] | 0x20) as u128;
        index += 1;
    }
    key
}

const fn slot(key: u128) -> usize {
    let folded = (key >> 64) as u64 ^ key as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % SLOTS
}

impl Word {
    pub fn of(source: &str) -> Self {
        // No keyword in the table is longer.
        if source.len() > 11 {
            return Self::Other;
        }
        let key = key(source.as_bytes());
        let mut slot = slot(key);
        loop {
            match TABLE[slot] {
                (found, word) if found == key => return word,
                (0, _) => return Self::Other,
                _ => slot = (slot + 1) % SLOTS,
            }
        }
    }
}
