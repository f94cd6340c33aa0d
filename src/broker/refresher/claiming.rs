//! The right to spend a connection's grant, asked for immediately before it is spent.

use super::Parts;
use crate::{
    domain::{
        attempt::{Ask, Seen},
        connection::Attempt,
        lifecycle::Moment,
        names::ConnectionName,
        profile::Profile,
    },
    store::{StoreError, ledger::Claimed},
    traces::{self, names},
};
use uuid::Uuid;

impl Parts {
    pub(super) async fn claim(
        &self,
        name: &ConnectionName,
        seen: Seen,
        ask: Ask,
        profile: &Profile,
    ) -> Result<Claimed, StoreError> {
        let span = traces::step(&names::CLAIM);
        let open = |now| self.attempt(profile, seen, ask, now);
        let claimed = span.told(self.ledger.claim(name, seen, ask, profile, open)).await?;
        span.say(names::OUTCOME, word_of_claim(&claimed));
        Ok(claimed)
    }

    fn attempt(&self, profile: &Profile, seen: Seen, ask: Ask, now: Moment) -> Attempt {
        Attempt {
            id: Uuid::new_v4(),
            replica: self.replica.clone(),
            generation: seen.generation,
            started_at: now.here,
            lease_until: now
                .store
                .plus(profile.asking_time() + profile.exchange_deadline() + self.lease_extra),
            authorization: match ask {
                Ask::Authorization(id) => Some(id),
                Ask::Scheduler | Ask::Caller | Ask::Operator | Ask::Revocation | Ask::Bootstrap => None,
            },
        }
    }
}

const fn word_of_claim(claimed: &Claimed) -> &'static str {
    match claimed {
        Claimed::Yours(_) => "claimed",
        Claimed::Moved(_) => "moved",
        Claimed::Held { .. } => "held",
        Claimed::Ended(_) => "ended",
        Claimed::Over { .. } => "over",
        Claimed::Busy { .. } => "busy",
    }
}
