//! The right to spend one connection's grant, once.

use super::Version;
use crate::domain::connection::{Attempt, Connection};

/// Proof that an attempt was written to the store, and that nobody else's is open. Made by
/// [`Ledger::claim`](super::ledger::Ledger::claim) only, so that no exchange can happen without it.
#[derive(Debug)]
#[must_use = "a claim that is neither committed nor failed blocks its connection until its lease ends"]
pub struct Claim {
    pub(super) connection: Connection,
    pub(super) attempt: Attempt,
    pub(super) version: Version,
}

impl Claim {
    /// The record as it was claimed, the attempt in it.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// The version that the claim wrote.
    pub fn version(&self) -> Version {
        self.version
    }
}
