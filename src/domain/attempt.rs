//! The life of one try at the token endpoint, as transitions of a record: claim, commit, fail.
//!
//! Pure: takes the record as it was loaded and says what it becomes. The caller writes that by
//! compare-and-set, and asks again when somebody else wrote first. Correctness rests on family and
//! generation; the lease only saves work.

use super::{
    authorization,
    connection::{Attempt, Before, Connection, LastFailure, Mark, Principal, State, StateReason, Token},
    failure::{Class, Failure, Reason},
    lifecycle::{Moment, jittered},
    pauses::{pause, put_off, put_off_late},
    profile::Profile,
    token::{PreviousRefreshToken, RefreshToken, Sealed},
};
use crate::clock::Timestamp;
use std::time::Duration;
use uuid::Uuid;

/// Who wants an exchange, which decides what may hold it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Nobody in particular: only what is due.
    Scheduler,
    /// A caller that needs a token: not while the provider is being left alone.
    Caller,
    /// A person: whatever the record says, unless it is revoked or somebody is at it.
    Operator,
    /// Who revokes, and needs a living access token for that: even of a connection that is switched off.
    Revocation,
    /// The creator of the connection, who holds the one-time credential.
    Bootstrap,
    /// A person's consent: what it brought is spent for a new family, whatever the present one has come to.
    Authorization(Uuid),
}

impl Ask {
    pub const fn is_consent(self) -> bool {
        matches!(self, Self::Authorization(_))
    }
}

/// Which consent and which answer the asker has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub family: Uuid,
    pub generation: u64,
}

/// How asking for an exchange ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Claiming {
    /// Write this, and the exchange is yours.
    Claim(Box<Connection>),
    /// Somebody is at it until then (store's clock): wait for the result.
    Busy { until: Timestamp },
    /// There is something newer than the asker has seen.
    Moved,
    /// The provider is being left alone until then (store's clock).
    Held { until: Timestamp },
    /// An attempt ended without a word, or the window closed in which that could be mended, and a second use of the token
    /// could revoke the grant. Write this: the next try waits until the access token has nearly run out.
    PutOff(Box<Connection>),
    /// There is nothing left to spend. Write this, and the connection waits for a person.
    Nothing(Box<Connection>),
    /// No exchange in this state.
    Ended(State),
}

/// What a successful exchange leaves behind, sealed for the generation after the claimed one.
#[derive(Debug, Clone)]
pub struct Renewal {
    pub attempt: Uuid,
    pub seen: Seen,
    /// `None` for grants without one.
    pub refresh_token: Option<Sealed<RefreshToken>>,
    /// The one that was replaced, if it was.
    pub previous: Option<Sealed<PreviousRefreshToken>>,
    pub refresh_expires_at: Option<Timestamp>,
    /// The access token, or why the answer has none that can be used.
    pub token: Result<Token, Failure>,
    pub scopes: Option<Vec<String>>,
    pub api_base_url: Option<String>,
    pub principal: Option<Principal>,
    /// Set where this is the first answer of a new consent, which replaces the present one.
    pub consent: Option<Consent>,
}

/// A new consent, and the family that it founds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    pub authorization: Uuid,
    pub family: Uuid,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Committing {
    Commit(Box<Connection>),
    /// It is committed already: only the reply was lost.
    Settled,
    /// Another answer of the same consent came first. The answer at hand is a sibling.
    Superseded,
    /// The consent ended or was replaced meanwhile. The answer at hand is an orphan.
    Orphaned,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Failing {
    Write(Box<Connection>),
    /// The attempt is not the open one any more: whoever took over has the word.
    Overtaken,
}

/// Two refusals closer together are one piece of evidence.
pub const CONFIRM_APART: Duration = Duration::from_secs(2);
/// An exchange that failed once is confirmed after this long.
const CONFIRM_AFTER: Duration = Duration::from_millis(3500);

pub fn claim(
    connection: &Connection,
    seen: Seen,
    attempt: Attempt,
    ask: Ask,
    profile: &Profile,
    now: Moment,
) -> Claiming {
    if let Ask::Authorization(id) = ask {
        return authorization::claim(connection, id, attempt, profile, now);
    }
    match (connection.state, ask) {
        (State::Pending | State::Active, _)
        | (State::NeedsReauthorization, Ask::Operator | Ask::Revocation)
        | (State::Disabled | State::Revoking, Ask::Revocation) => {}
        (State::NeedsReauthorization | State::Disabled | State::Revoking | State::Revoked, _) => {
            return Claiming::Ended(connection.state);
        }
    }
    if connection.seen() != seen {
        return Claiming::Moved;
    }
    if let Some(other) = connection.live_attempt(now.store) {
        return Claiming::Busy { until: other.lease_until };
    }
    let held = match ask {
        Ask::Scheduler => connection.due.filter(|due| now.store < *due),
        Ask::Caller => connection.held_until(now.store),
        Ask::Operator | Ask::Revocation | Ask::Bootstrap | Ask::Authorization(_) => None,
    };
    if let Some(until) = held {
        return Claiming::Held { until };
    }
    if !connection.can_renew(ask) {
        if connection.awaits_person() {
            return Claiming::Ended(State::Pending);
        }
        // Somebody is about to start it with a credential that is not stored: until then it is nobody else's.
        if let Some(until) = connection.due.filter(|due| now.store < *due) {
            return Claiming::Held { until };
        }
        return Claiming::Nothing(Box::new(over(connection, now)));
    }
    let mut next = connection.clone();
    let lapsed = connection.attempt.as_ref().filter(|lapsed| lapsed.authorization.is_none());
    let waits = if let Some(lapsed) = lapsed {
        next.mark_lapsed(profile, lapsed);
        put_off(&next, profile, now)
    } else {
        put_off_late(&next, profile, now)
    };
    // A server that can be asked about the token is asked first: it is sent again only if that does no harm.
    if let (Some(after), Ask::Scheduler | Ask::Caller) = (waits.filter(|_| !profile.introspects()), ask) {
        (next.attempt, next.due) = (None, Some(now.store.plus(after)));
        next.failures = next.failures.saturating_add(1);
        return Claiming::PutOff(Box::new(next));
    }
    next.due = Some(attempt.lease_until);
    next.attempt = Some(attempt);
    Claiming::Claim(Box::new(next))
}

/// Nothing is left to spend: the first exchange never brought a token, or the only one that it brought has run out.
fn over(connection: &Connection, now: Moment) -> Connection {
    let mut ended = connection.clone();
    ended.attempt = None;
    let reason = if connection.token.is_some() { Reason::Expired } else { Reason::BootstrapLost };
    ended.end(reason, None, None, now);
    ended
}

pub fn commit(connection: &Connection, renewal: &Renewal, now: Moment) -> Committing {
    // A family is made for one exchange. Where it is the present one, the answer was taken, and may have been followed
    // by others since.
    let founded = renewal.consent.is_some_and(|consent| consent.family == connection.family);
    if founded || connection.settled == Some(renewal.attempt) {
        return Committing::Settled;
    }
    if connection.family != renewal.seen.family {
        return Committing::Orphaned;
    }
    let base = match (renewal.consent, connection.state) {
        (Some(consent), _) => authorization::replaced(connection, consent.authorization, consent.family, now),
        (None, State::Revoked) => None,
        // While it is being revoked, the newest token is the one to revoke with.
        (
            None,
            State::Pending | State::Active | State::NeedsReauthorization | State::Disabled | State::Revoking,
        ) => Some(connection.clone()),
    };
    let Some(mut next) = base else { return Committing::Orphaned };
    // The lease is not asked for: a valid successor wins over a newer claim that has no answer yet.
    if connection.generation != renewal.seen.generation {
        return Committing::Superseded;
    }
    next.generation += 1;
    next.settled = Some(renewal.attempt);
    next.attempt = None;
    next.suspicion = None;
    next.ambiguous = None;
    next.refresh_token.clone_from(&renewal.refresh_token);
    next.previous_refresh_token.clone_from(&renewal.previous);
    next.updated_at = now.here;
    keep(&mut next.refresh_expires_at, renewal.refresh_expires_at.as_ref());
    match &renewal.token {
        Ok(token) => {
            keep(&mut next.api_base_url, renewal.api_base_url.as_ref());
            // Whose the former grant was says nothing of a new one.
            let known = next.principal.take().filter(|_| renewal.consent.is_none() && next.token.is_some());
            next.principal = renewal.principal.clone().or(known);
            next.granted(renewal.scopes.as_deref());
            next.renewed(token.clone(), now);
        }
        Err(failure) => next.paused(failure, pause(&next, failure, None), now),
    }
    Committing::Commit(Box::new(next))
}

/// What an answer leaves out stays as it was.
fn keep<T: Clone>(kept: &mut Option<T>, new: Option<&T>) {
    if let Some(new) = new {
        *kept = Some(new.clone());
    }
}

pub fn fail(
    connection: &Connection,
    attempt: Uuid,
    failure: &Failure,
    profile: &Profile,
    now: Moment,
) -> Failing {
    let Some(open) = connection.attempt.as_ref().filter(|open| open.id == attempt) else {
        return Failing::Overtaken;
    };
    if open.authorization.is_some() {
        return Failing::Write(Box::new(authorization::failed(connection, failure, now)));
    }
    let mut next = connection.clone();
    next.attempt = None;
    if failure.leaves_open() {
        next.mark_ambiguous(profile, open.started_at, failure.code.as_deref());
    }
    let confirmed = connection.is_confirmed(now.here);
    match failure.class {
        Class::Suspect if confirmed => {
            let lost = next.standing(next.ambiguous.as_ref()).is_some();
            let reason = if lost { Reason::LostRotation } else { failure.reason.unwrap_or(Reason::Revoked) };
            next.failed(failure, now);
            next.end(reason, failure.code.as_ref(), failure.correlation_id.as_ref(), now);
        }
        Class::Suspect => {
            next.suspicion = Some(Mark {
                generation: next.generation,
                at: now.here,
                code: failure.code.clone(),
                correlation_id: failure.correlation_id.clone(),
            });
            let after = jittered(CONFIRM_AFTER, next.uid, next.generation, next.failures);
            next.paused(failure, after, now);
        }
        Class::NotSent
        | Class::Client
        | Class::Configuration
        | Class::Throttled
        | Class::Down
        | Class::Ambiguous
        | Class::Malformed
        | Class::Policy => {
            let pause = pause(&next, failure, Some(profile));
            let after = match put_off(&next, profile, now).filter(|_| failure.class == Class::Ambiguous) {
                // Asking does no harm, so that need not wait so long.
                Some(after) if profile.introspects() => after.min(pause),
                Some(after) => after,
                None => pause,
            };
            next.paused(failure, after, now);
        }
    }
    Failing::Write(Box::new(next))
}

impl Connection {
    pub fn seen(&self) -> Seen {
        Seen { family: self.family, generation: self.generation }
    }

    /// Whether a refusal now would be the second piece of evidence against the grant.
    pub fn is_confirmed(&self, here: Timestamp) -> bool {
        self.standing(self.suspicion.as_ref()).is_some_and(|first| first.at.until(here) >= CONFIRM_APART)
    }

    /// Whether there is something to spend.
    fn can_renew(&self, ask: Ask) -> bool {
        self.lasts() || ask == Ask::Bootstrap
    }

    fn renewed(&mut self, token: Token, now: Moment) {
        match self.state {
            State::Pending | State::Active | State::NeedsReauthorization => {
                self.enter(State::Active, None, now);
                self.due = Some(now.store.plus(now.here.until(self.due_with(&token))));
            }
            // Switched off while the answer was on its way: keep what came, start nothing.
            State::Disabled => {
                self.before = Some(Before { state: State::Active, reason: None });
                self.due = None;
            }
            State::Revoking | State::Revoked => self.due = None,
        }
        self.token = Some(token);
        self.failures = 0;
        self.last_success_at = Some(now.here);
    }

    fn failed(&mut self, failure: &Failure, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.updated_at = now.here;
        self.last_failure = Some(LastFailure {
            class: failure.class,
            code: failure.code.clone(),
            correlation_id: failure.correlation_id.clone(),
            at: now.here,
        });
    }

    pub(super) fn paused(&mut self, failure: &Failure, after: Duration, now: Moment) {
        self.failed(failure, now);
        self.due = match self.state {
            State::Pending | State::Active => Some(now.store.plus(after)),
            State::NeedsReauthorization | State::Disabled | State::Revoking | State::Revoked => None,
        };
    }

    /// The grant is over; the access token is served for as long as it lives.
    fn end(&mut self, reason: Reason, code: Option<&String>, correlation_id: Option<&String>, now: Moment) {
        self.due = None;
        let reason = StateReason {
            reason,
            code: code.cloned(),
            correlation_id: correlation_id.cloned(),
            at: now.here,
        };
        match self.state {
            State::Pending | State::Active | State::NeedsReauthorization => {
                self.enter(State::NeedsReauthorization, Some(reason), now);
            }
            // Switched off while the answer was on its way: it shows when it is switched on again.
            State::Disabled => {
                self.before = Some(Before { state: State::NeedsReauthorization, reason: Some(reason) });
            }
            State::Revoking | State::Revoked => {}
        }
    }
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
