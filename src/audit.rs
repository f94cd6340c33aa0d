//! Nothing leaves before it is on record, and nothing is changed before it is. Typed facts only: no text from outside,
//! no token. docs/audit.md is the specification of what is written.

pub mod chain;
mod counted;
pub mod event;
#[cfg(test)]
mod faulty;
mod gate;
pub mod hex;
pub mod line;
pub mod query;
pub mod reading;
mod recorder;
pub mod shelf;
pub mod sink;
pub mod verify;
pub mod writer;

pub use event::{Event, Name, Outcome, Reloaded};
pub use hex::Tag;
pub use line::Head;
pub use recorder::{Around, OpenError, Recorder, SUMMARY_EVERY, Settings};
pub use writer::AuditDown;

use crate::{
    access::Permit,
    clock::Timestamp,
    domain::{
        names::ConnectionName,
        token::{AccessToken, Secret},
    },
    seal::AuditKey,
};
use async_trait::async_trait;
use uuid::Uuid;

/// Proof that the release of this token is on record.
#[derive(Debug)]
#[must_use]
pub struct Released {
    token: AccessToken,
}

/// What is about to leave.
#[derive(Debug, Clone, Copy)]
pub struct Leaving<'a> {
    pub connection: &'a ConnectionName,
    /// The consent that the token descends from.
    pub family: Uuid,
    pub generation: u64,
    pub expires_at: Timestamp,
}

/// A trail. When a call returns without an error, what it was told is on record.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Called on the path of every token: does not wait for what is on record already.
    async fn release(
        &self,
        permit: &Permit,
        leaving: &Leaving<'_>,
        token: &AccessToken,
    ) -> Result<(), AuditDown>;

    /// Everything else.
    async fn record(&self, event: Event) -> Result<(), AuditDown>;
}

/// Writes to the log, at debug level: for tests of what has nothing to do with the trail.
#[derive(Debug, Default)]
pub struct LogAudit;

#[async_trait]
impl Audit for LogAudit {
    async fn release(
        &self,
        permit: &Permit,
        leaving: &Leaving<'_>,
        _: &AccessToken,
    ) -> Result<(), AuditDown> {
        let (caller, generation) = (permit.caller().id(), leaving.generation);
        tracing::debug!(connection = %leaving.connection, generation, caller, "token released");
        Ok(())
    }

    async fn record(&self, event: Event) -> Result<(), AuditDown> {
        tracing::debug!(event = query::About::of(&event).word, "audit event");
        Ok(())
    }
}

#[async_trait]
impl Audit for Recorder {
    async fn release(
        &self,
        permit: &Permit,
        leaving: &Leaving<'_>,
        token: &AccessToken,
    ) -> Result<(), AuditDown> {
        Recorder::release(self, permit.caller().id(), leaving, token).await
    }

    async fn record(&self, event: Event) -> Result<(), AuditDown> {
        Recorder::record(self, event).await
    }
}

/// The text is no audit key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyError;

/// The audit key, for whoever checks and searches trails.
pub fn key_of(text: &Secret) -> Result<AuditKey, KeyError> {
    AuditKey::parse(text).map_err(|_| KeyError)
}

/// How a token appears in trails that are written with this key.
pub fn tag_of(key: &AuditKey, token: &Secret) -> Tag {
    key.tag(&AccessToken(token.clone())).into()
}

/// Puts on record that something was read anew. What is in use is in use, whether or not that could be written.
pub async fn reloaded(audit: &dyn Audit, what: Reloaded, outcome: Outcome) {
    if let Err(AuditDown) = audit.record(Event::Reload { what, outcome }).await {
        tracing::warn!(
            ?what,
            ?outcome,
            "what was read anew is not on record: the audit trail cannot be written"
        );
    }
}

/// The only way out for a token.
pub async fn release(
    audit: &dyn Audit,
    permit: &Permit,
    leaving: &Leaving<'_>,
    token: AccessToken,
) -> Result<Released, AuditDown> {
    audit.release(permit, leaving, &token).await?;
    Ok(Released { token })
}

impl Released {
    pub fn into_token(self) -> AccessToken {
        self.token
    }
}
