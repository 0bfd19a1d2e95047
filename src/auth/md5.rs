//! PostgreSQL's md5 authentication: `md5(md5(password ‖ user) ‖ salt)`, in hex, behind the word `md5`.
//!
//! Manual, "Password Authentication". Kept for old roles only: the hash is as good as the password.
use md5::{Digest, Md5};

/// What PostgreSQL stores for a role: `md5` and 32 hex digits.
pub fn stored(user: &str, password: &str) -> String {
    hex(&[password.as_bytes(), user.as_bytes()])
}

/// The answer to a challenge, from what is stored.
pub fn answer(stored: &str, salt: [u8; 4]) -> String {
    let digits = stored.strip_prefix("md5").unwrap_or(stored);
    hex(&[digits.as_bytes(), &salt])
}

/// Whether a text has the form of a stored md5 password.
pub fn is_stored(text: &str) -> bool {
    let digits = text.strip_prefix("md5");
    digits.is_some_and(|d| d.len() == 32 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn hex(parts: &[&[u8]]) -> String {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    let mut text = String::with_capacity(35);
    text.push_str("md5");
    for byte in digest.finalize() {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_password_is_what_postgresql_stores() {
        // SELECT 'md5' || md5('secret' || 'alice');
        assert_eq!(stored("alice", "secret"), "md54a0a68b43b6cd5cf266fa02f196e2371");
        assert!(is_stored(&stored("alice", "secret")));
        assert!(!is_stored("md5"));
    }

    #[test]
    fn an_answer_depends_on_the_salt() {
        let stored = stored("alice", "secret");
        assert_ne!(answer(&stored, [1, 2, 3, 4]), answer(&stored, [1, 2, 3, 5]));
    }
}
