//! What is written down where nobody knows whether a server has used a grant up.

use super::{
    connection::{Attempt, Connection, LastFailure, Mark},
    failure::Class,
    profile::{Profile, Reuse, Rotation},
};
use crate::clock::Timestamp;

impl Connection {
    /// Its holder died or stalled in mid-exchange: nobody knows whether the server answered. That is the last failure, too:
    /// an older one would say that the server can be tried again soon.
    pub(super) fn mark_lapsed(&mut self, profile: &Profile, lapsed: &Attempt) {
        if !self.can_be_lost(profile) {
            return;
        }
        self.mark_ambiguous(profile, lapsed.started_at, None);
        let (class, at) = (Class::Ambiguous, lapsed.started_at);
        self.last_failure = Some(LastFailure { class, code: None, correlation_id: None, at });
    }

    pub(super) fn mark_ambiguous(&mut self, profile: &Profile, at: Timestamp, code: Option<&str>) {
        if self.can_be_lost(profile) && self.standing(self.ambiguous.as_ref()).is_none() {
            self.ambiguous = Some(Mark {
                generation: self.generation,
                at,
                code: code.map(ToOwned::to_owned),
                correlation_id: None,
            });
        }
    }

    /// Only a grant that can be used up can be lost.
    fn can_be_lost(&self, profile: &Profile) -> bool {
        self.refresh_token.is_some() && profile.rotation != Rotation::Never && profile.reuse != Reuse::Ignore
    }
}
