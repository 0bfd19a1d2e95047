//! Ask a server what it makes of a statement, beside any client's transaction.
use super::line;
use crate::backend::{Connection, Health};
use crate::error::{Blame, Error, SqlState};
use crate::ids::Oid;
use crate::wire::frontend::Object;
use crate::wire::server::{ErrorFields, ParameterDescription};
use crate::wire::{encode, frame};
use bytes::Bytes;

/// The types of a statement's parameters, those included that the client left open.
pub async fn parameter_types(
    lease: &mut Connection,
    text: &str,
    types: &[Oid],
) -> Result<Vec<Oid>, Error> {
    lease.session.unnamed = None;
    lease.health = Health::Busy;
    encode::parse(b"", text.as_bytes(), types.iter().copied(), &mut lease.output);
    encode::describe(Object::Statement, b"", &mut lease.output);
    encode::sync(&mut lease.output);
    let mut answer = Err(Error::internal("a server described no parameters"));
    loop {
        let (kind, message) = next(lease).await?;
        let body = message.get(5..).unwrap_or_default();
        match kind {
            b't' => {
                let description = ParameterDescription::read(body).map_err(Error::from)?;
                answer = Ok(description.type_oids().collect());
            }
            b'E' => {
                let fields = ErrorFields::read(body).map_err(Error::from)?;
                answer = Err(fields.to_error(Blame::Client));
            }
            b'Z' => {
                lease.health = Health::Clean;
                return answer;
            }
            _ => {}
        }
    }
}

/// The next whole message of a server: its kind and its bytes.
pub async fn next(connection: &mut Connection) -> Result<(u8, Bytes), Error> {
    /// What control messages may take.
    const MAX_BYTES: usize = 16 * 1024 * 1024;
    loop {
        if let Some(header) = frame::scan(&connection.input, MAX_BYTES).map_err(Error::from)?
            && connection.input.len() >= header.len
        {
            return Ok((header.kind, connection.input.split_to(header.len).freeze()));
        }
        let outcome = std::future::poll_fn(|cx| {
            match line::poll_flush(&mut connection.stream, &mut connection.output, cx) {
                std::task::Poll::Ready(Err(error)) => return std::task::Poll::Ready(Err(error)),
                std::task::Poll::Ready(Ok(())) | std::task::Poll::Pending => {}
            }
            line::poll_fill(&mut connection.stream, &mut connection.input, cx)
        })
        .await;
        match outcome {
            Ok(count) if count > 0 => {}
            Ok(_) => return Err(broken("it was closed")),
            Err(error) => return Err(broken(&error.to_string())),
        }
    }
}

fn broken(cause: &str) -> Error {
    Error::shard(SqlState::CONNECTION_FAILURE, format!("lost a server connection: {cause}"))
}
