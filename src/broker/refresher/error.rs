//! How a flight ends that brings nothing.

use crate::{
    clock::Timestamp,
    domain::{
        connection::{LastFailure, State},
        failure::Failure,
        lifecycle::Moment,
        names::{ClientName, ProviderName},
    },
    seal::SealError,
    store::StoreError,
};

/// Why there is no newer token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RefreshError {
    /// The provider answered, or did not; what that means is in the failure.
    #[error("exchange with the provider failed: {}", .0.detail)]
    Failed(Failure),
    /// The provider is being left alone until then (store's clock), after this failure.
    #[error("provider is being left alone after a failure")]
    Held { at: Moment, until: Timestamp, failure: Option<LastFailure> },
    #[error("connection is {0}")]
    Ended(State),
    /// Another replica held the attempt longer than a lease.
    #[error("another replica was still refreshing this connection")]
    Busy,
    #[error("connection does not exist")]
    Gone,
    /// The answer came after the connection had been revoked, deleted or authorized again.
    #[error("connection was ended while its answer was on the way")]
    Orphaned,
    /// The authorization was replaced by another one, or is over.
    #[error("authorization was replaced or is over")]
    Replaced,
    /// No profile of that name is configured: check the providers folder of this replica.
    #[error("{0} is not configured")]
    NoProfile(ProviderName),
    #[error("{0} does not exist")]
    NoClient(ClientName),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
    /// This replica is shutting down and starts no exchange any more: ask another one.
    #[error("replica is shutting down")]
    Stopping,
    /// The task ended without an outcome: it panicked or the runtime shut down. The lease ends by itself.
    #[error("refresh ended without an outcome")]
    Lost,
}

impl RefreshError {
    /// Whether trying again soon on this replica must fail the same way.
    pub(super) fn is_hopeless_here(&self) -> bool {
        match self {
            Self::NoProfile(_) | Self::Seal(_) => true,
            Self::Store(err) => err.lasts(),
            Self::Failed(_)
            | Self::Held { .. }
            | Self::Ended(_)
            | Self::Busy
            | Self::Gone
            | Self::Orphaned
            | Self::Replaced
            | Self::NoClient(_)
            | Self::Stopping
            | Self::Lost => false,
        }
    }

    /// Whether the store takes no writes where this connection lies, so that no other one can be claimed there either.
    pub(super) fn is_refused_write(&self) -> bool {
        matches!(self, Self::Store(StoreError::WritesRefused { .. } | StoreError::Full))
    }
}
