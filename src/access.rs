//! Who may do what. Until callers are authenticated, the only caller is whoever reaches the loopback listener,
//! and it may do everything: this room is where that changes.

use crate::domain::names::ConnectionName;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process on this machine.
    Local,
}

/// Proof that this caller may use this connection's tokens. Made by [`Access::permit`] only.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    caller: Caller,
    connection: ConnectionName,
}

/// The caller has no such right, or there is no such thing: it is not told which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not found")]
pub struct Denied;

#[derive(Debug, Default)]
pub struct Access;

impl Permit {
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn connection(&self) -> &ConnectionName {
        &self.connection
    }
}

impl Access {
    pub fn permit(&self, caller: Caller, connection: ConnectionName) -> Result<Permit, Denied> {
        match caller {
            Caller::Local => Ok(Permit { caller, connection }),
        }
    }
}
