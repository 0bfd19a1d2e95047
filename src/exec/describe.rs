//! Ask a server what it makes of a statement, beside any client's transaction.
use super::line;
use crate::backend::{Connection, Health};
use crate::error::{Blame, Error, SqlState};
use crate::ids::Oid;
use crate::wire::frontend::Object;
use crate::wire::server::{ErrorFields, Kind, ParameterDescription, RowDescription};
use crate::wire::{encode, frame};
use bytes::Bytes;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a server makes of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// The types of its parameters, those included that the client left open.
    pub parameters: Vec<Oid>,
    pub result: ResultShape,
    /// RowDescription's body, if there are rows.
    pub rows: Option<Bytes>,
}

impl Described {
    const NOTHING: Self = Self { parameters: Vec::new(), result: ResultShape::NOTHING, rows: None };

    /// From the messages that answered a Describe of a statement.
    pub fn read(mut messages: &[u8]) -> Result<Self, Error> {
        let mut described = Self::NOTHING;
        while let Some(header) = frame::scan(messages, usize::MAX)? {
            let Some((message, rest)) = messages.split_at_checked(header.len) else { break };
            described.hear(Kind::of(header.kind)?, message.get(5..).unwrap_or_default())?;
            messages = rest;
        }
        Ok(described)
    }

    fn hear(&mut self, kind: Kind, body: &[u8]) -> Result<(), Error> {
        match kind {
            Kind::ParameterDescription => {
                self.parameters = ParameterDescription::read(body)?.type_oids().collect();
            }
            Kind::RowDescription => {
                self.result = ResultShape::of(&RowDescription::read(body)?);
                self.rows = Some(Bytes::copy_from_slice(body));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Stands for names and types of a result's columns: equal for equal columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResultShape(u64);

impl ResultShape {
    pub const NOTHING: Self = Self(0);

    pub fn of(description: &RowDescription<'_>) -> Self {
        let mut hasher = DefaultHasher::new();
        for field in description.fields() {
            (field.name, field.type_oid, field.type_modifier).hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

/// Asks an idle connection, which is idle again afterwards.
pub async fn statement(
    connection: &mut Connection,
    text: &str,
    types: &[Oid],
) -> Result<Described, Error> {
    connection.session.unnamed = None;
    connection.health = Health::Busy;
    encode::parse(b"", text.as_bytes(), types.iter().copied(), &mut connection.output);
    encode::describe(Object::Statement, b"", &mut connection.output);
    encode::sync(&mut connection.output);
    let mut described = Described::NOTHING;
    let mut refused = None;
    loop {
        let (kind, message) = next(connection).await?;
        let body = message.get(5..).unwrap_or_default();
        match Kind::of(kind)? {
            Kind::Error => refused = Some(ErrorFields::read(body)?.to_error(Blame::Client)),
            Kind::Ready => {
                connection.health = Health::Clean;
                return refused.map_or(Ok(described), Err);
            }
            kind => described.hear(kind, body)?,
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
