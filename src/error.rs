//! The one error a client sees: SQLSTATE, whose fault it is, what happened, what to do.
//!
//! Modules keep small enums where a caller branches; at the client's door they become an [`Error`].
//! Messages follow PostgreSQL's style: lower case, no full stop; the hint says what to do.
use std::fmt;

/// A five-character SQLSTATE (PostgreSQL manual, appendix A).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    pub const CANNOT_CONNECT: Self = Self(*b"08001");
    pub const TRANSACTION_RESOLUTION_UNKNOWN: Self = Self(*b"08007");
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    pub const INVALID_TEXT_REPRESENTATION: Self = Self(*b"22P02");
    pub const NUMERIC_VALUE_OUT_OF_RANGE: Self = Self(*b"22003");
    pub const ACTIVE_SQL_TRANSACTION: Self = Self(*b"25001");
    pub const NO_ACTIVE_SQL_TRANSACTION: Self = Self(*b"25P01");
    pub const IN_FAILED_SQL_TRANSACTION: Self = Self(*b"25P02");
    pub const IDLE_IN_TRANSACTION_TIMEOUT: Self = Self(*b"25P03");
    pub const INVALID_STATEMENT_NAME: Self = Self(*b"26000");
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    pub const INVALID_SAVEPOINT: Self = Self(*b"3B001");
    pub const INVALID_CURSOR_NAME: Self = Self(*b"34000");
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    pub const UNTRANSLATABLE_CHARACTER: Self = Self(*b"22P05");
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self(*b"22021");
    pub const INVALID_BINARY_REPRESENTATION: Self = Self(*b"22P03");
    pub const BAD_COPY_FILE_FORMAT: Self = Self(*b"22P04");
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    pub const DUPLICATE_PREPARED_STATEMENT: Self = Self(*b"42P05");
    pub const DUPLICATE_CURSOR: Self = Self(*b"42P03");
    pub const UNDEFINED_OBJECT: Self = Self(*b"42704");
    pub const UNDEFINED_TABLE: Self = Self(*b"42P01");
    pub const INVALID_SCHEMA_NAME: Self = Self(*b"3F000");
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self(*b"53400");
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self(*b"54000");
    pub const STATEMENT_TOO_COMPLEX: Self = Self(*b"54001");
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: Self = Self(*b"55000");
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");

    /// The five characters; `XX000` if they are not ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who has to act on an error: the label of the error metric, and the tone of the log line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Blame {
    Client,
    Rules,
    Shard,
    Proxy,
}

/// `Error` leaves the session usable; `Fatal` ends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Error,
    Fatal,
}

/// What the client is told. Only `wire` turns it into bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    pub severity: Severity,
    pub code: SqlState,
    pub blame: Blame,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Error {
    pub fn new(code: SqlState, blame: Blame, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: Severity::Error, code, blame, message, detail: None, hint: None }
    }

    /// The client sent something wrong.
    pub fn client(code: SqlState, message: impl Into<String>) -> Self {
        Self::new(code, Blame::Client, message)
    }

    /// weir will not run this: SQLSTATE 0A000 with the way out.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(SqlState::FEATURE_NOT_SUPPORTED, Blame::Client, message).hint(hint)
    }

    /// A server did not do what PostgreSQL does, or could not be reached.
    pub fn shard(code: SqlState, message: impl Into<String>) -> Self {
        Self::new(code, Blame::Shard, message)
    }

    /// weir is at fault: should never be seen.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(SqlState::INTERNAL_ERROR, Blame::Proxy, message)
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn fatal(mut self) -> Self {
        self.severity = Severity::Fatal;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.as_str())?;
        if let Some(detail) = &self.detail {
            write!(f, "\nDETAIL: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nHINT: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
