//! The end of a flight.

use super::Parts;
use crate::domain::names::ConnectionName;
use std::sync::Arc;

/// Takes the flight off the board however it ends, panics included.
pub(super) struct Landing {
    pub(super) parts: Arc<Parts>,
    pub(super) name: ConnectionName,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.parts.board.lock().remove(&self.name);
    }
}
