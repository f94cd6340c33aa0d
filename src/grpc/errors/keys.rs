//! What could not be done with keys.

use super::stored::{KEY_RETRY, store};
use crate::{api::ErrorReason as R, broker::custodian::KeysError, grpc::problem::Problem, seal::SealError};
use std::{fmt::Display, time::Duration};
use tonic::Status;

/// When to look again at a rotation.
const ROTATION_RETRY: Duration = Duration::from_secs(30);

pub fn keys(name: &dyn Display, err: KeysError) -> Status {
    problem(err).about(name).into()
}

pub(super) fn problem(err: KeysError) -> Problem {
    match err {
        KeysError::NoChain { chain } => {
            let tenant = chain.trim_end_matches("/keyChain").to_owned();
            Problem::new(R::TenantNotFound, format!("{tenant} does not exist: see ListTenants"))
        }
        KeysError::NoVersion { chain, version } => {
            Problem::new(R::KeyVersionNotFound, format!("{chain} has no version {version}: see GetKeyChain"))
        }
        KeysError::EtagMismatch { .. } => Problem::new(
            R::EtagMismatch,
            "changed since this etag was read: get the key chain again and look whether it is still to be done",
        ),
        KeysError::InProgress { chain, stage } => Problem::new(
            R::KeyRotationInProgress,
            format!("{chain} is being rotated ({stage}): wait for its end with WatchKeyChain"),
        )
        .retry_in(ROTATION_RETRY),
        KeysError::Active { chain, version } => Problem::new(
            R::KeyVersionActive,
            format!("version {version} of {chain} seals what is written: rotate first"),
        ),
        KeysError::InUse { version, records, broken, .. } => {
            let unread = match broken {
                0 => String::new(),
                broken => {
                    format!(", {broken} of which cannot be read: restore or delete those, the log names them")
                }
            };
            Problem::new(
                R::KeyVersionInUse,
                format!("cannot retire version {version}: {records} records left{unread}"),
            )
            .with("records", Some(records))
        }
        KeysError::Audit(_) => {
            Problem::new(R::AuditUnavailable, "the step could not be put on record, so it was not taken")
        }
        KeysError::Store(err) => store(&err),
        KeysError::Seal(SealError::Kek(err)) => {
            tracing::warn!(cause = %err, "KEK could not be used for a caller");
            Problem::new(
                R::KeyUnavailable,
                format!("the KEK cannot be used now, and nothing was changed: {err}"),
            )
            .retry_in(KEY_RETRY)
        }
        KeysError::Seal(err @ (SealError::Broken(_) | SealError::TooLarge { .. })) => {
            tracing::error!(cause = %err, "stored key chain was refused");
            super::broken("the stored key chain is not authentic")
        }
        KeysError::Seal(SealError::Step(err)) => Problem::new(R::KeyRotationInProgress, err.to_string()),
        KeysError::Lost => Problem::new(R::Internal, "the scan ended without an outcome; see the log"),
    }
}
