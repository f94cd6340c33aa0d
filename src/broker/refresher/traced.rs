//! The steps of a flight as traces tell of them, so that the steps themselves say nothing of it.

use super::{Outcome, Parts, RefreshError, exchange::Prepared};
use crate::{
    clock::Timestamp,
    domain::{
        attempt::{Ask, Renewal},
        failure::Failure,
        names::ConnectionName,
    },
    store::{StoreError, claim::Claim, ledger::Committed},
    traces::{self, Fault, Span, names},
};

impl Parts {
    /// From when it was due, or else from now, to its end.
    pub(super) fn flying(&self, name: &ConnectionName, ask: Ask, due: Option<Timestamp>) -> Span {
        let span = self.tracer.begin(&names::REFRESH, due);
        span.say(names::CONNECTION, name);
        span.say(names::TRIGGER, trigger(ask));
        span
    }

    pub(super) async fn prepare(
        &self,
        name: &ConnectionName,
        ask: Ask,
        probed: Option<Timestamp>,
    ) -> Result<Prepared, RefreshError> {
        traces::step(&names::PREPARE).told(self.made_ready(name, ask, probed)).await
    }

    pub(super) async fn commit(&self, claim: &Claim, prepared: &Prepared, renewal: Renewal) -> Committed {
        let span = traces::step(&names::COMMIT);
        let committed = span.around(self.made_present(claim, prepared, renewal)).await;
        let word = match &committed {
            Committed::Done(_) => "committed",
            Committed::Superseded(_) => "superseded",
            Committed::Orphaned => "orphaned",
        };
        span.say(names::OUTCOME, word);
        committed
    }

    pub(super) async fn give_up(
        &self,
        claim: &Claim,
        prepared: &Prepared,
        failure: Failure,
    ) -> Result<Failure, RefreshError> {
        traces::step(&names::SET_BACK).told(self.written_down(claim, prepared, failure)).await
    }
}

/// What came of it all.
pub(super) fn landed(span: &Span, outcome: &Outcome) {
    match outcome {
        Ok(loaded) => {
            span.say(names::PROVIDER, &loaded.record.provider);
            span.count(names::GENERATION, loaded.record.generation);
            span.say(names::OUTCOME, "renewed");
        }
        Err(err) => {
            span.say(names::OUTCOME, err.word());
            if is_fault(err) {
                span.failed(err.word());
            }
        }
    }
}

const fn trigger(ask: Ask) -> &'static str {
    match ask {
        Ask::Scheduler => "schedule",
        Ask::Caller => "caller",
        Ask::Operator => "operator",
        Ask::Revocation => "revocation",
        Ask::Bootstrap => "bootstrap",
        Ask::Authorization(_) => "consent",
    }
}

/// Whether something is wrong, and not only in the way.
const fn is_fault(err: &RefreshError) -> bool {
    match err {
        RefreshError::Held { .. }
        | RefreshError::Ended(_)
        | RefreshError::Busy
        | RefreshError::Gone
        | RefreshError::Replaced
        | RefreshError::Stopping => false,
        RefreshError::Failed(_)
        | RefreshError::Orphaned
        | RefreshError::NoProfile(_)
        | RefreshError::NoClient(_)
        | RefreshError::Store(_)
        | RefreshError::Seal(_)
        | RefreshError::Lost => true,
    }
}

impl Fault for RefreshError {
    fn word(&self) -> &'static str {
        match self {
            Self::Failed(failure) => failure.word(),
            Self::Held { .. } => "held",
            Self::Ended(_) => "ended",
            Self::Busy => "busy",
            Self::Gone => "gone",
            Self::Orphaned => "orphaned",
            Self::Replaced => "replaced",
            Self::NoProfile(_) => "no_profile",
            Self::NoClient(_) => "no_client",
            Self::Store(err) => err.word(),
            Self::Seal(_) => "seal",
            Self::Stopping => "stopping",
            Self::Lost => "lost",
        }
    }
}

impl Fault for StoreError {
    fn word(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "store_unavailable",
            Self::WritesRefused { .. } => "store_writes_refused",
            Self::Full => "store_full",
            Self::Broken { .. } => "store_broken",
            Self::Forged { .. } => "store_forged",
            Self::RolledBack { .. } => "store_rolled_back",
            Self::TooNew { .. } => "store_too_new",
            Self::NoKeys { .. } => "store_no_keys",
            Self::Deleted { .. } => "store_deleted",
            Self::KeyAway { .. } => "store_key_away",
            Self::Contended { .. } => "store_contended",
            Self::Refused { .. } => "store_refused",
            Self::Unusable { .. } => "store_unusable",
        }
    }
}
