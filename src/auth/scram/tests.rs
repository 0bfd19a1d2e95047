//! Vectors of RFC 7677 and PostgreSQL, and properties of whole exchanges.
use super::client::{Begun, Line};
use super::server::Asked;
use super::*;
use proptest::prelude::*;

/// RFC 7677, section 3: user "user", password "pencil". The name is not sent by PostgreSQL's
/// clients, so the server side is what can be checked byte for byte.
#[test]
fn the_server_side_agrees_with_rfc_7677() {
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = Verifier::derive("pencil", &salt, 4096);
    let (challenged, server_first) = Asked::new(&verifier, None)
        .hear(SCRAM_SHA_256, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
        .unwrap();
    assert_eq!(
        server_first,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let proved = challenged
        .hear(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
              p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        .unwrap();
    assert_eq!(proved.server_final, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert!(proved.keys == ClientKeys::derive("pencil", &salt, 4096));
}

#[test]
fn a_verifier_survives_being_written_and_read() {
    let verifier = Verifier::derive("pencil", b"0123456789abcdef", 4096);
    let text = verifier.to_string();
    assert!(text.starts_with("SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$"));
    assert!(text.parse::<Verifier>().unwrap() == verifier);
    assert!(verifier.accepts("pencil") && !verifier.accepts("Pencil"));
}

#[test]
fn texts_that_are_no_verifiers_are_told_apart() {
    for text in [
        "",
        "secret",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$0:AA==$AA==:AA==",
        "SCRAM-SHA-256$4096:AA==$AA==:AA==",
    ] {
        assert!(text.parse::<Verifier>().is_err(), "{text}");
    }
}

/// One exchange between our two sides.
fn exchange(
    verifier: &Verifier,
    keys: impl FnOnce(&[u8], u32) -> ClientKeys,
    ends: (Line<'_>, Option<&[u8]>),
) -> Result<ClientKeys, ScramError> {
    let asked = Asked::new(verifier, ends.1);
    let begun = Begun::new(asked.mechanisms(), ends.0, nonce()).unwrap();
    let (challenged, first) =
        asked.hear(begun.mechanism, begun.client_first.as_bytes(), &nonce())?;
    let proving = begun.hear(first.as_bytes(), keys)?;
    let proved = challenged.hear(proving.client_final.as_bytes())?;
    proving.hear(proved.server_final.as_bytes())?;
    Ok(proved.keys)
}

#[test]
fn keys_left_by_one_login_are_enough_for_the_next() {
    let verifier = Verifier::derive("pencil", b"salt", 8);
    let by_password = |salt: &[u8], i| ClientKeys::derive("pencil", salt, i);
    let keys = exchange(&verifier, by_password, (Line::Plain, None)).unwrap();
    let again = exchange(&verifier, |_, _| keys.clone(), (Line::Plain, None)).unwrap();
    assert!(again == keys);
}

#[test]
fn a_bound_exchange_needs_the_same_certificate_on_both_ends() {
    let verifier = Verifier::derive("pencil", b"salt", 8);
    let run = |client: Option<&[u8]>, server: Option<&[u8]>| {
        let by_password = |salt: &[u8], i| ClientKeys::derive("pencil", salt, i);
        exchange(&verifier, by_password, (Line::Tls(client), server)).map(|_| ())
    };
    assert_eq!(run(Some(b"hash"), Some(b"hash")), Ok(()));
    assert_eq!(run(None, Some(b"hash")), Ok(()));
    assert_eq!(run(Some(b"hash"), None), Ok(()));
    assert!(run(Some(b"hash"), Some(b"other")).is_err());
}

#[test]
fn a_removed_offer_of_channel_binding_is_noticed() {
    let verifier = Verifier::derive("pencil", b"salt", 8);
    let begun = Begun::new(&[SCRAM_SHA_256], Line::Tls(Some(b"hash")), nonce()).unwrap();
    let heard = Asked::new(&verifier, Some(b"hash")).hear(
        begun.mechanism,
        begun.client_first.as_bytes(),
        "x",
    );
    assert_eq!(heard.err(), Some(ScramError::Malformed("channel binding downgraded")));
}

#[test]
fn a_server_without_the_verifier_is_not_believed() {
    let begun = Begun::new(&[SCRAM_SHA_256], Line::Plain, "abc".into()).unwrap();
    let proving =
        begun.hear(b"r=abcdef,s=c2FsdA==,i=8", |s, i| ClientKeys::derive("p", s, i)).unwrap();
    let made_up = format!("v={}", BASE64.encode([7; 32]));
    assert_eq!(proving.hear(made_up.as_bytes()), Err(ScramError::ServerUnproved));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn exactly_the_right_password_is_accepted(right in "\\PC{0,12}", tried in "\\PC{0,12}") {
        let verifier = Verifier::derive(&right, b"salt", 2);
        let by_password = |salt: &[u8], i| ClientKeys::derive(&tried, salt, i);
        let outcome = exchange(&verifier, by_password, (Line::Plain, None));
        let same = ClientKeys::derive(&tried, b"salt", 2) == ClientKeys::derive(&right, b"salt", 2);
        prop_assert_eq!(outcome.is_ok(), same);
    }

    #[test]
    fn no_bytes_make_either_side_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let verifier = Verifier::derive("x", b"salt", 1);
        drop(Asked::new(&verifier, Some(b"h")).hear(SCRAM_SHA_256, &bytes, "x"));
        let (challenged, _) =
            Asked::new(&verifier, None).hear(SCRAM_SHA_256, b"n,,n=,r=a", "b").unwrap();
        prop_assert!(challenged.hear(&bytes).is_err());
        let begun = Begun::new(&[SCRAM_SHA_256], Line::Plain, "a".into()).unwrap();
        prop_assert!(begun.hear(&bytes, |s, i| ClientKeys::derive("x", s, i.min(4))).is_err());
        drop(String::from_utf8_lossy(&bytes).parse::<Verifier>());
    }
}
