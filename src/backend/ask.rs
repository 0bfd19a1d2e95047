//! A question of weir's own over a raw connection: what the placement fence says, what a setting is.
//!
//! Simple protocol, text values, few rows. Clients' statements never come this way.
use super::connection::{Connection, Health};
use crate::auth::line::{self, LineError};
use crate::error::{Blame, Error, SqlState};
use crate::wire::encode;
use crate::wire::server::{DataRow, ErrorFields, Kind, TransactionStatus, ready_status};

/// The most bytes that the rows of one answer may have.
const MAX_ANSWER: usize = 1 << 20;

/// A row's values; `None` is NULL.
pub type Row = Vec<Option<String>>;

impl Connection {
    /// Runs SQL text on an idle connection; the rows, or the server's first error. Outside of a
    /// transaction before and after; cancelled in between, the connection is not used again.
    pub async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        self.health = Health::Busy;
        let outcome = self.question(sql).await;
        match outcome {
            Ok(answer) => {
                self.health = Health::Clean;
                answer
            }
            Err(broken) => {
                self.taint("it broke while weir asked it something");
                let message = format!("lost the connection to {}: {broken}", self.cancel.address);
                Err(Error::shard(SqlState::CONNECTION_FAILURE, message))
            }
        }
    }

    /// The outer error is the line's, the inner one the statement's.
    async fn question(&mut self, sql: &str) -> Result<Result<Vec<Row>, Error>, LineError> {
        encode::query(sql.as_bytes(), &mut self.output);
        line::send(&mut self.stream, &mut self.output).await?;
        let (mut rows, mut refused, mut bytes) = (Vec::new(), None, 0);
        loop {
            let message = line::receive(&mut self.stream, &mut self.input, MAX_ANSWER).await?;
            let body = message.body();
            match Kind::of(message.kind)? {
                Kind::DataRow => {
                    bytes += body.len();
                    if bytes > MAX_ANSWER {
                        return Err(LineError::Closed);
                    }
                    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                    rows.push(DataRow::read(body)?.values().map(|v| v.map(text)).collect());
                }
                Kind::Error => {
                    let error = ErrorFields::read(body)?.to_error(Blame::Shard);
                    refused.get_or_insert(error);
                }
                Kind::ParameterStatus => {
                    self.hear_parameter(body).map_err(|_| LineError::Closed)?;
                }
                Kind::Ready => {
                    return match (ready_status(body)?, refused) {
                        (TransactionStatus::Idle, Some(error)) => Ok(Err(error)),
                        (TransactionStatus::Idle, None) => Ok(Ok(rows)),
                        // Nobody would end the transaction.
                        (TransactionStatus::InTransaction | TransactionStatus::Failed, _) => {
                            Err(LineError::Closed)
                        }
                    };
                }
                Kind::RowDescription | Kind::CommandComplete | Kind::EmptyQuery | Kind::Notice => {}
                Kind::Authentication
                | Kind::BackendKeyData
                | Kind::BindComplete
                | Kind::CloseComplete
                | Kind::CopyBothResponse
                | Kind::CopyData
                | Kind::CopyDone
                | Kind::CopyInResponse
                | Kind::CopyOutResponse
                | Kind::FunctionCallResponse
                | Kind::NegotiateProtocolVersion
                | Kind::NoData
                | Kind::Notification
                | Kind::ParameterDescription
                | Kind::ParseComplete
                | Kind::PortalSuspended => return Err(LineError::Closed),
            }
        }
    }
}
