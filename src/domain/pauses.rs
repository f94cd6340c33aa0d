//! How long a provider is left alone after a failure.

use super::{
    client::Noted,
    connection::{Connection, LastFailure},
    failure::{Class, Failure},
    lifecycle::{Moment, jittered},
    profile::{Profile, Reuse},
};
use crate::clock::Timestamp;
use std::time::Duration;

/// The first pause after a failure; it doubles from there.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
/// The longest pause after what a person has to mend.
const PAUSE_MOST_CONFIGURATION: Duration = Duration::from_mins(15);
const PAUSE_FIRST_CONFIGURATION: Duration = Duration::from_secs(30);
/// The longest `Retry-After` that is honoured.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// So long before its end a grace window counts as closed: a request takes that long to reach the server (name, connection,
/// TLS), and the replica that began the attempt and the one that judges it may differ in their clocks.
const GRACE_SPARE: Duration = Duration::from_secs(10);

/// Where a second use of the refresh token may revoke the whole family, trying again waits until the access token
/// that is still good has nearly run out. What nobody knows of a server is taken for the worse. While a grace window is
/// open a second use does no harm: it opens, at the earliest, when the attempt began whose answer is missing.
pub(super) fn put_off(connection: &Connection, profile: &Profile, now: Moment) -> Option<Duration> {
    let mark = connection.standing(connection.ambiguous.as_ref())?;
    let in_grace = now.here.plus(GRACE_SPARE) < mark.at.plus(profile.grace);
    let harmful = match profile.reuse {
        Reuse::Ignore | Reuse::Reject => false,
        Reuse::RevokeFamily | Reuse::Unknown => !in_grace,
    };
    let token = connection.token.as_ref().filter(|_| harmful)?;
    Some(now.here.until(token.hard_at)).filter(|left| !left.is_zero())
}

/// The same for what is due by now: its next try was meant for a grace window, and comes too late for it.
pub(super) fn put_off_late(connection: &Connection, profile: &Profile, now: Moment) -> Option<Duration> {
    let for_the_window = match connection.last_failure.as_ref()?.class {
        // A server that says it is down is tried at its own pace, and a refusal is confirmed soon, window or not.
        Class::Down | Class::Suspect => false,
        Class::NotSent
        | Class::Client
        | Class::Configuration
        | Class::Throttled
        | Class::Ambiguous
        | Class::Malformed
        | Class::Policy => !profile.grace.is_zero(),
    };
    put_off(connection, profile, now).filter(|_| for_the_window)
}

/// How long the provider is left alone after a failure.
pub(super) fn pause(connection: &Connection, failure: &Failure, profile: Option<&Profile>) -> Duration {
    let ceiling = profile.map_or(PAUSE_MOST_CONFIGURATION, |profile| profile.retry_ceiling);
    let (first, most) = match failure.class {
        Class::NotSent | Class::Down | Class::Ambiguous | Class::Throttled | Class::Suspect => {
            (PAUSE_FIRST, ceiling)
        }
        Class::Client | Class::Configuration | Class::Policy | Class::Malformed => {
            (PAUSE_FIRST_CONFIGURATION, PAUSE_MOST_CONFIGURATION)
        }
    };
    let doubled = first.saturating_mul(1 << connection.failures.min(16)).min(most);
    let asked = failure.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
    jittered(doubled, connection.uid, connection.generation, connection.failures).max(asked)
}

impl Connection {
    /// It could not even be tried, for this failure: nothing was sent.
    pub fn set_aside(&mut self, failure: &Failure, profile: Option<&Profile>, now: Moment) {
        if self.live_attempt(now.store).is_none() {
            self.paused(failure, pause(self, failure, profile), now);
        }
    }

    /// Waits with its client until then. An attempt whose holder died stays: the next claim has to know of it.
    pub fn postponed(&mut self, until: Timestamp, why: LastFailure, now: Moment) -> Noted {
        if self.due.is_none_or(|due| until <= due) || self.live_attempt(now.store).is_some() {
            return Noted::KnownAlready;
        }
        self.due = Some(until);
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(why);
        Noted::Changed
    }
}
