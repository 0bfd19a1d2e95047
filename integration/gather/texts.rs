//! Texts of fragments that the client's encoding cannot write.
use super::{SETTINGS, check_ok, world};
use crate::raw::Raw;

#[track_caller]
fn refused(client: &mut Raw, text: &str, words: &str) {
    client.take_transcript();
    client.query(text);
    let heard = client.take_transcript();
    assert!(heard.contains("C=0A000") && heard.contains(words), "{text}: {heard}");
    assert!(!heard.contains("\nD "), "{text}: {heard}");
}

#[test]
fn a_text_that_the_clients_encoding_cannot_write_is_told_as_what_it_is() {
    let world = world("", SETTINGS);
    let mut weir = world.client();
    check_ok(&mut weir, "UPDATE users SET name = '\u{3a3}' WHERE id = 3");
    check_ok(&mut weir, "SET client_encoding = 'LATIN1'");
    refused(&mut weir, "SELECT count(DISTINCT name) FROM users", "SET client_encoding");
    // What the client would get itself is PostgreSQL's error.
    weir.query("SELECT name FROM users WHERE id = 3");
    assert!(weir.take_transcript().contains("C=22P05"));
    assert_eq!(weir.value("SELECT count(DISTINCT mood) FROM users"), "3");
    check_ok(&mut weir, "SET client_encoding = 'UTF8'");
    assert_ne!(weir.value("SELECT count(DISTINCT name) FROM users"), "");
    assert!(world.is_clean());
}
