//! What the store, or the keys that lie in it, could not do for a caller.

use super::{
    IN_PROGRESS_RETRY, missing,
    words::{self, broken},
};
use crate::{api::ErrorReason as R, broker::admin::Kind, grpc::problem::Problem, store::StoreError};
use std::time::Duration;

/// When to ask again while a key cannot be unlocked.
pub(super) const KEY_RETRY: Duration = Duration::from_secs(10);

pub(super) fn store(err: &StoreError) -> Problem {
    match err {
        StoreError::Unavailable { .. } => {
            tracing::warn!(cause = %err, "store was not available to a caller");
            Problem::new(R::StoreUnavailable, "the broker's store did not answer: ask again")
        }
        StoreError::WritesRefused { .. } => {
            tracing::warn!(cause = %err, "store took nothing from a caller");
            Problem::new(R::StoreUnavailable, "the broker's store takes no writes at present: ask again")
        }
        StoreError::Full => {
            Problem::new(R::StoreFull, "the broker's store is full: its operator has to give it room")
        }
        StoreError::Broken { .. } | StoreError::Forged { .. } => {
            tracing::error!(cause = %err, "stored record was refused");
            broken("the stored record is not authentic")
        }
        StoreError::RolledBack { .. } => {
            tracing::error!(cause = %err, "stored record was refused");
            Problem::new(R::RecordRolledBack, words::ROLLED_BACK)
        }
        StoreError::TooNew { .. } => Problem::new(
            R::RecordTooNew,
            "a newer version wrote the record: finish the upgrade of this replica",
        ),
        StoreError::NoKeys { owner } => missing(Kind::Tenant, owner),
        StoreError::Deleted { owner } => Problem::new(R::TenantDeleted, words::deleted(owner)),
        StoreError::KeyAway { .. } => {
            tracing::warn!(cause = %err, "key could not be unlocked for a caller");
            Problem::new(R::KeyUnavailable, words::KEY_AWAY).retry_in(KEY_RETRY)
        }
        StoreError::Contended { .. } => {
            Problem::new(R::WriteConflict, "others kept changing it: ask again").retry_in(IN_PROGRESS_RETRY)
        }
        StoreError::Refused { .. } | StoreError::Unusable { .. } => {
            tracing::error!(cause = %err, "store refused a call");
            Problem::new(R::Internal, "the store refused the call; see the broker's log")
        }
    }
}
