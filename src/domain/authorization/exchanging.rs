//! What is exchanged for a new consent: claimed beside the old one, committed in its place, and, when nothing comes of
//! it, no harm to what was there.

use super::{End, Fault, OTP_TRIES, POLL_MAX, SLOW_DOWN, Stage, Way, redeeming::is_denial};
use crate::domain::{
    attempt::Claiming,
    connection::{Attempt, Connection, State},
    failure::{Class, Failure},
    lifecycle::Moment,
    pauses::put_off,
    profile::Profile,
};
use std::time::Duration;
use uuid::Uuid;

/// The right to exchange what a person brought. It blocks refreshes while it lasts, and spends nothing of theirs.
pub(in crate::domain) fn claim(
    connection: &Connection,
    id: Uuid,
    attempt: Attempt,
    profile: &Profile,
    now: Moment,
) -> Claiming {
    match connection.state {
        State::Pending | State::Active | State::NeedsReauthorization | State::Revoked => {}
        State::Disabled | State::Revoking => return Claiming::Ended(connection.state),
    }
    let Some(authorization) =
        connection.authorization.as_ref().filter(|ours| ours.id == id && !ours.stage.is_over())
    else {
        return Claiming::Moved;
    };
    if let Some(other) = connection.live_attempt(now.store) {
        return Claiming::Busy { until: other.lease_until };
    }
    match (&authorization.way, authorization.due) {
        // The server counts what comes too early against us (RFC 8628 §3.5).
        (Way::Device(_), Some(due)) if now.store < due => return Claiming::Held { until: due },
        (Way::Browser(_) | Way::Device(_) | Way::Otp { .. }, _) => {}
    }
    let mut next = connection.clone();
    let attempt = Attempt { generation: connection.generation, ..attempt };
    if let Some(lapsed) = connection.attempt.as_ref().filter(|lapsed| lapsed.authorization.is_none()) {
        // A refresh ended without a word before this: that must not be forgotten with its attempt.
        next.mark_lapsed(profile, lapsed);
        // Nor what follows: as in `attempt`, it is not spent again before it must be.
        let waits = put_off(&next, profile, now).filter(|_| !profile.introspects());
        if let (Some(after), Some(_)) = (waits, next.due) {
            next.due = Some(now.store.plus(after));
            next.failures = next.failures.saturating_add(1);
        }
    }
    if let Some(ours) = &mut next.authorization {
        ours.due = Some(attempt.lease_until);
    }
    next.attempt = Some(attempt);
    Claiming::Claim(Box::new(next))
}

/// What a new grant replaces, and may: the record as it is before the answer goes in. `None` if the authorization was
/// replaced, or the connection ended, meanwhile.
pub(in crate::domain) fn replaced(
    connection: &Connection,
    id: Uuid,
    family: Uuid,
    now: Moment,
) -> Option<Connection> {
    match connection.state {
        State::Pending | State::Active | State::NeedsReauthorization | State::Disabled | State::Revoked => {}
        State::Revoking => return None,
    }
    let ours =
        connection.authorization.as_ref().filter(|ours| ours.id == id && ours.stage != Stage::Succeeded)?;
    let mut next = connection.clone();
    next.grant = ours.way.grant();
    next.family = family;
    next.scopes = if ours.scopes.is_empty() { Vec::new() } else { ours.scopes.clone() };
    next.refresh_expires_at = None;
    next.last_failure = None;
    if next.state == State::Revoked {
        next.enter(State::Pending, None, now);
    }
    next.end_authorization(&End::plain(Stage::Succeeded), now);
    Some(next)
}

/// An exchange for an authorization brought nothing: the family's own grant has nothing to do with it.
pub(in crate::domain) fn failed(connection: &Connection, failure: &Failure, now: Moment) -> Connection {
    let mut next = connection.clone();
    next.attempt = None;
    let Some(authorization) = next.authorization.as_mut().filter(|ours| !ours.stage.is_over()) else {
        return next;
    };
    let pause = match (&mut authorization.way, failure.code.as_deref(), failure.class) {
        (Way::Device(device), Some("authorization_pending"), _) => Ok(device.interval),
        (Way::Device(device), Some("slow_down"), _) => {
            device.interval = (device.interval + SLOW_DOWN).min(POLL_MAX);
            Ok(device.interval.max(failure.retry_after.unwrap_or_default()))
        }
        (Way::Device(_), Some("expired_token"), _) => Err(Stage::Expired),
        (_, Some(code), _) if is_denial(code) => Err(Stage::Denied),
        // §3.5: exponentially longer where the connection fails. Nothing is known to be used up.
        (Way::Device(device), _, Class::NotSent | Class::Throttled | Class::Down | Class::Ambiguous) => {
            device.interval = (device.interval * 2).min(POLL_MAX);
            Ok(device.interval.max(failure.retry_after.unwrap_or_default()).min(POLL_MAX * 5))
        }
        // A mistyped password is no end yet; nor is a server that was not there.
        (Way::Otp { refused }, _, Class::Suspect) if *refused + 1 < OTP_TRIES => {
            *refused += 1;
            Ok(Duration::MAX)
        }
        (Way::Otp { .. }, _, Class::NotSent | Class::Throttled | Class::Down) => Ok(Duration::MAX),
        (
            Way::Browser(_) | Way::Device(_) | Way::Otp { .. },
            _,
            Class::NotSent
            | Class::Suspect
            | Class::Client
            | Class::Configuration
            | Class::Throttled
            | Class::Down
            | Class::Ambiguous
            | Class::Malformed
            | Class::Policy,
        ) => Err(Stage::Failed),
    };
    match pause {
        Ok(pause) => authorization.due = Some(now.store.plus(pause).min(authorization.expires_at)),
        Err(stage) => {
            let (code, correlation_id) = (failure.code.as_deref(), failure.correlation_id.as_deref());
            let fault = (stage == Stage::Failed).then(|| Fault::of(failure));
            next.end_authorization(&End { stage, fault, code, correlation_id }, now);
        }
    }
    next
}
