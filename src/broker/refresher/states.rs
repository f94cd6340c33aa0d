//! What an exchange made of a connection's state, put on record. Never holds an exchange up for long, and undoes nothing.

use super::Parts;
use crate::{
    audit::{AuditDown, Event, Name},
    domain::connection::{Connection, State},
};

impl Parts {
    /// To be called when a flight has written a record. `before` is the state that it found.
    pub(super) async fn entered(&self, before: State, record: &Connection) {
        if !is_of_an_exchange(before, record.state) {
            return;
        }
        let event = Event::State {
            connection: Name::of(&record.name),
            to: Name::of(&record.state.word()),
            reason: record.reason.as_ref().map(|why| Name::of(&why.reason.word())),
        };
        if let Err(AuditDown) = self.audit.record(event).await {
            tracing::warn!(connection = %record.name, state = %record.state,
                "that the connection is in another state is not on record: the audit trail cannot be written");
        }
    }
}

/// Exchanges begin grants and end them. Whatever else a state becomes while one is under way is somebody's change, and on
/// record as that.
fn is_of_an_exchange(before: State, after: State) -> bool {
    match after {
        State::Active | State::NeedsReauthorization => before != after,
        State::Pending | State::Disabled | State::Revoking | State::Revoked => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_exchange_does_is_told() {
        use State::{Active, Disabled, NeedsReauthorization, Pending, Revoked, Revoking};
        for (before, after, told) in [
            (Pending, Active, true),
            (Pending, NeedsReauthorization, true),
            (Active, NeedsReauthorization, true),
            (NeedsReauthorization, Active, true),
            (Active, Active, false),
            (NeedsReauthorization, NeedsReauthorization, false),
            (Active, Disabled, false),
            (Active, Revoking, false),
            (Revoking, Revoked, false),
            (Active, Pending, false),
        ] {
            assert_eq!(is_of_an_exchange(before, after), told, "{before} {after}");
        }
    }
}
