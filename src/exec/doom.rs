//! Why a client's statement is being cancelled, where the client has not asked for it: a server says only
//! that it was.
use crate::error::Error;
use std::sync::{Mutex, PoisonError};

/// What the client is told instead of a server's "canceling statement".
#[derive(Default, Debug)]
pub struct Doom(Mutex<Option<Error>>);

impl Doom {
    pub fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub fn get(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
