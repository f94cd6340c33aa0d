//! What those are told who prove nothing and ask for a name: browsers, and providers that fetch keys. What is deleted, or
//! cannot be used, is not there for them; and however often they ask, the log stays readable.

use super::AdminError;
use crate::store::StoreError;
use parking_lot::Mutex;
use std::{fmt::Display, time::Duration};
use tokio::time::Instant;

/// What went wrong is told at most this often; what comes between is counted.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// What a stranger is told of what could not be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToStrangers {
    /// There is no such thing.
    Missing,
    /// It could not be looked up, whatever it is: ask again.
    Away,
}

#[derive(Debug, Default)]
pub struct Strangers(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    untold: u64,
}

impl Strangers {
    pub fn judge(&self, name: &dyn Display, err: &AdminError) -> ToStrangers {
        let (outcome, log) = judged(err);
        if let (Log::Complaint, Some(untold)) = (log, self.may_complain(Instant::now())) {
            tracing::warn!(%name, cause = %err, untold, "what a stranger asked for cannot be looked up");
        }
        outcome
    }

    /// How much was not told since the last time; `None`: not now.
    fn may_complain(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock();
        if told.last.is_some_and(|last| now < last + COMPLAINT_PAUSE) {
            told.untold += 1;
            return None;
        }
        told.last = Some(now);
        Some(std::mem::take(&mut told.untold))
    }
}

/// Whether something is wrong of which an operator should hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    Nothing,
    Complaint,
}

fn judged(err: &AdminError) -> (ToStrangers, Log) {
    if matches!(err, AdminError::NotFound { .. }) {
        return (ToStrangers::Missing, Log::Nothing);
    }
    let AdminError::Store(err) = err else { return (ToStrangers::Away, Log::Complaint) };
    match err {
        StoreError::Deleted { .. } | StoreError::NoKeys { .. } => (ToStrangers::Missing, Log::Nothing),
        // Only where something is can it be broken.
        StoreError::Broken { .. }
        | StoreError::Forged { .. }
        | StoreError::RolledBack { .. }
        | StoreError::TooNew { .. } => (ToStrangers::Missing, Log::Complaint),
        StoreError::Unavailable { .. }
        | StoreError::WritesRefused { .. }
        | StoreError::Full
        | StoreError::KeyAway { .. }
        | StoreError::Contended { .. }
        | StoreError::Refused { .. }
        | StoreError::Unusable { .. } => (ToStrangers::Away, Log::Complaint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::admin::Kind;

    #[test]
    fn only_that_the_store_is_away_is_told_to_strangers() {
        let (key, owner) = (|| "k".to_owned(), || "tenants/t".to_owned());
        let missing = AdminError::NotFound { kind: Kind::Client, name: key() };
        for (err, want) in [
            (missing, (ToStrangers::Missing, Log::Nothing)),
            (StoreError::Deleted { owner: owner() }.into(), (ToStrangers::Missing, Log::Nothing)),
            (StoreError::NoKeys { owner: owner() }.into(), (ToStrangers::Missing, Log::Nothing)),
            (
                StoreError::Broken { key: key(), cause: String::new() }.into(),
                (ToStrangers::Missing, Log::Complaint),
            ),
            (StoreError::Forged { key: key() }.into(), (ToStrangers::Missing, Log::Complaint)),
            (StoreError::RolledBack { key: key() }.into(), (ToStrangers::Missing, Log::Complaint)),
            (StoreError::TooNew { key: key(), format: 9 }.into(), (ToStrangers::Missing, Log::Complaint)),
            (StoreError::Unavailable { cause: String::new() }.into(), (ToStrangers::Away, Log::Complaint)),
            (StoreError::KeyAway { cause: String::new() }.into(), (ToStrangers::Away, Log::Complaint)),
        ] {
            assert_eq!(judged(&err), want, "{err}");
        }
    }

    #[test]
    fn complaints_are_counted_and_seldom_told() {
        let (strangers, begun) = (Strangers::default(), Instant::now());
        assert_eq!(strangers.may_complain(begun), Some(0));
        for _ in 0..1000 {
            assert_eq!(strangers.may_complain(begun + COMPLAINT_PAUSE / 2), None);
        }
        assert_eq!(strangers.may_complain(begun + COMPLAINT_PAUSE), Some(1000));
        assert_eq!(strangers.may_complain(begun + COMPLAINT_PAUSE), None);
        assert_eq!(strangers.may_complain(begun + COMPLAINT_PAUSE * 3), Some(1));
    }
}
