//! What operators do to a connection, as transitions of its record: switch off and on, revoke. Pure, like the life of
//! an attempt, which may be going on meanwhile.

use super::{
    connection::{Before, Connection, State, StateReason},
    failure::Reason,
    lifecycle::Moment,
};
use crate::clock::Timestamp;
use std::time::Duration;

impl Connection {
    pub(super) fn enter(&mut self, state: State, reason: Option<StateReason>, now: Moment) {
        if self.state != state {
            self.revision += 1;
        }
        self.state = state;
        self.reason = reason;
        self.updated_at = now.here;
    }

    /// Nothing more is exchanged or served until it is enabled again.
    pub fn disable(&mut self, now: Moment) {
        if self.state != State::Disabled {
            self.before = Some(Before { state: self.state, reason: self.reason.clone() });
        }
        self.due = None;
        self.drop_authorization();
        self.enter(State::Disabled, Some(StateReason::plain(Reason::DisabledByOperator, now.here)), now);
    }

    /// Takes up where it was: a living token is kept, a missing one is due at once.
    pub fn enable(&mut self, now: Moment) {
        let Some(before) = self.before.take() else { return };
        self.enter(before.state, before.reason, now);
        self.failures = 0;
        self.due = match self.state {
            // Where it waited for a person it goes on waiting.
            State::Pending if self.awaits_person() => None,
            State::Pending | State::Active => {
                let soft_in =
                    self.token.as_ref().map_or(Duration::ZERO, |token| now.here.until(self.due_with(token)));
                Some(now.store.plus(soft_in))
            }
            State::NeedsReauthorization | State::Disabled | State::Revoking | State::Revoked => None,
        };
    }

    /// From here on the grant is only good for being revoked.
    pub fn revoking(&mut self, now: Moment) {
        self.due = None;
        self.authorization = None;
        self.enter(State::Revoking, None, now);
    }

    /// Nothing is left that could be used.
    pub fn revoked(&mut self, now: Moment) {
        self.refresh_token = None;
        self.previous_refresh_token = None;
        self.token = None;
        self.attempt = None;
        self.authorization = None;
        self.due = None;
        self.enter(State::Revoked, Some(StateReason::plain(Reason::RevokedByOperator, now.here)), now);
    }
}

impl StateReason {
    /// A reason of our own, without a provider's code.
    pub const fn plain(reason: Reason, at: Timestamp) -> Self {
        Self { reason, code: None, correlation_id: None, at }
    }
}
