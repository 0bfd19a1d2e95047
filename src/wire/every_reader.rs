//! Hands bytes to every reader there is: what property tests and the fuzzer run.
use super::frontend::{
    Bind, Close, CopyFail, Describe, Execute, FunctionCall, Parse, Password, Query,
    SaslInitialResponse,
};
use super::server::{
    Authentication, BackendKeyData, CopyResponse, DataRow, ErrorFields, NegotiateProtocolVersion,
    Notification, ParameterDescription, RowDescription, command_tag, parameter_status,
    ready_status,
};
use super::startup;
use crate::error::Blame;
use bytes::BytesMut;

/// Walks everything the readers hand out for `body`; how many of them found it well-formed.
pub fn walk(body: &[u8]) -> usize {
    usize::from(startup::read(body).is_ok()) + walk_frontend(body) + walk_server(body)
}

fn walk_frontend(body: &[u8]) -> usize {
    let mut accepted = [
        Query::read(body).is_ok(),
        Password::read(body).is_ok(),
        SaslInitialResponse::read(body).is_ok(),
        Describe::read(body).is_ok(),
        Close::read(body).is_ok(),
        Execute::read(body).is_ok(),
        CopyFail::read(body).is_ok(),
        FunctionCall::read(body).is_ok(),
    ]
    .map(usize::from)
    .iter()
    .sum();
    if let Ok(parse) = Parse::read(body) {
        accepted += 1;
        assert_eq!(parse.types().count(), parse.types().len());
    }
    if let Ok(bind) = Bind::read(body) {
        accepted += 1;
        let mut values = Vec::new();
        bind.values(&mut values);
        assert_eq!(values.len(), bind.count());
        assert!(body.ends_with(bind.tail_after_statement()));
    }
    accepted
}

fn walk_server(body: &[u8]) -> usize {
    let mut accepted = [
        ready_status(body).is_ok(),
        command_tag(body).is_ok(),
        parameter_status(body).is_ok(),
        BackendKeyData::read(body).is_ok(),
        NegotiateProtocolVersion::read(body).is_ok(),
        CopyResponse::read(body).is_ok(),
        Notification::read(body).is_ok(),
        DataRow::read(body).is_ok_and(|row| row.values().count() <= body.len()),
    ]
    .map(usize::from)
    .iter()
    .sum();
    if let Ok(error) = ErrorFields::read(body) {
        accepted += 1;
        error.to_error(Blame::Shard);
        assert!(error.iter().count() <= body.len());
    }
    if let Ok(Authentication::Sasl(mechanisms)) = Authentication::read(body) {
        accepted += 1;
        assert!(mechanisms.iter().count() <= body.len());
    }
    let mut rewritten = BytesMut::new();
    if let Ok(parameters) = ParameterDescription::read(body) {
        accepted += 1;
        parameters.write_mapped(|oid| oid, &mut rewritten);
        assert!(rewritten.ends_with(body));
    }
    if let Ok(row) = RowDescription::read(body) {
        accepted += 1;
        row.write_mapped(|oid| oid, |oid| oid, &mut rewritten);
        assert!(rewritten.ends_with(body));
    }
    accepted
}
