//! Nothing leaves before it is on record. Typed facts only: no text from outside, no token.

use crate::{
    access::{Caller, Permit},
    domain::token::AccessToken,
};

/// Proof that the release of this token is on record.
#[derive(Debug)]
#[must_use]
pub struct Released {
    token: AccessToken,
}

/// The record could not be written, so nothing was released. Try again; check the audit trail's disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit trail was not writable")]
pub struct AuditDown;

pub trait Audit: Send + Sync {
    /// Called on the path of every token: must be cheap and must not wait.
    fn record(&self, permit: &Permit, generation: u64) -> Result<(), AuditDown>;
}

/// Writes each release to the log, at debug level, until there is a durable trail.
#[derive(Debug, Default)]
pub struct LogAudit;

impl Audit for LogAudit {
    fn record(&self, permit: &Permit, generation: u64) -> Result<(), AuditDown> {
        match permit.caller() {
            Caller::Local => {
                tracing::debug!(connection = %permit.connection(), generation, caller = "local", "token released");
            }
        }
        Ok(())
    }
}

pub fn release(
    audit: &dyn Audit,
    permit: &Permit,
    generation: u64,
    token: AccessToken,
) -> Result<Released, AuditDown> {
    audit.record(permit, generation)?;
    Ok(Released { token })
}

impl Released {
    pub fn into_token(self) -> AccessToken {
        self.token
    }
}
