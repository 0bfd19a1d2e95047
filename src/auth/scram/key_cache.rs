//! Spares the costly step of SCRAM for passwords that were used before.
use super::{ClientKeys, Digest32, hmac};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Keys by password and salt. When it is full it starts anew: a fleet has few salts per password.
pub struct KeyCache {
    /// Hides the passwords that the entries' names are made from.
    pepper: Digest32,
    entries: Mutex<HashMap<Digest32, ClientKeys>>,
}

const MAX_ENTRIES: usize = 4096;

impl KeyCache {
    pub fn derive(&self, password: &str, salt: &[u8], iterations: u32) -> ClientKeys {
        let sizes = [password.len() as u64, salt.len() as u64].map(u64::to_be_bytes);
        let name = [&sizes.concat(), password.as_bytes(), salt, &iterations.to_be_bytes()];
        let name = hmac(&self.pepper, &name);
        if let Some(keys) = self.locked(|entries| entries.get(&name).cloned()) {
            return keys;
        }
        let keys = ClientKeys::derive(password, salt, iterations);
        self.locked(|entries| {
            if entries.len() >= MAX_ENTRIES {
                entries.clear();
            }
            entries.insert(name, keys.clone());
        });
        keys
    }

    fn locked<T>(&self, act: impl FnOnce(&mut HashMap<Digest32, ClientKeys>) -> T) -> T {
        act(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for KeyCache {
    fn default() -> Self {
        Self { pepper: rand::random(), entries: Mutex::default() }
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyCache(…)")
    }
}
