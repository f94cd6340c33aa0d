//! A person's consent on its way: begun, redeemed once, ended. Pure transitions of the connection's record.
//!
//! What was granted before goes on serving until a new grant is committed in its place; whatever goes wrong with
//! the new one leaves the old one as it was.

mod exchanging;
mod redeeming;

pub(super) use exchanging::{claim, failed, replaced};
pub use redeeming::{Brought, Opening, Over, Redeemed, Redirect, Refused, open, recognised, redeem};

use super::{
    connection::{Connection, State, StateReason},
    failure::{Class, Failure, Reason, Unusable, harmless},
    lifecycle::Moment,
    profile::GrantKind,
    token::{AuthorizationSecrets, Sealed},
};
use crate::clock::Timestamp;
use std::{fmt, time::Duration};
use uuid::Uuid;

/// The longest that a person has for a consent in a browser or a one-time password, and what it is unless an operator
/// makes it shorter.
pub const OPEN_FOR: Duration = Duration::from_mins(10);
/// The longest that a device code is polled for, whatever the server says.
pub const DEVICE_OPEN_MAX: Duration = Duration::from_mins(30);
/// RFC 8628 §3.2: how often is asked where the server does not say; and what `slow_down` adds (§3.5).
pub const POLL_EVERY: Duration = Duration::from_secs(5);
pub const SLOW_DOWN: Duration = Duration::from_secs(5);
/// The longest pause between two polls, and the longest that a server may ask for.
pub const POLL_MAX: Duration = Duration::from_mins(1);
/// How often a one-time password may be mistyped.
const OTP_TRIES: u32 = 5;
/// A code that was taken and whose exchange left no word for so long is lost: longer than any lease.
const TAKEN_FOR: Duration = Duration::from_mins(10);

/// SHA-256 of a random value that somebody else keeps: the record proves it and cannot tell it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

/// One authorization by a person. A connection has at most one; a new one replaces it.
#[derive(Debug, Clone, PartialEq)]
pub struct Authorization {
    pub id: Uuid,
    pub way: Way,
    pub stage: Stage,
    pub started_at: Timestamp,
    /// By the store's clock, which all replicas share.
    pub expires_at: Timestamp,
    /// When somebody has to look at it (store's clock): a poll, an end. `None` once it has ended.
    pub due: Option<Timestamp>,
    /// What only the exchange needs; wiped when it was used.
    pub secrets: Option<Sealed<AuthorizationSecrets>>,
    pub scopes: Vec<String>,
    /// RFC 8707.
    pub resources: Vec<String>,
    pub principals: Principals,
    pub ended_at: Option<Timestamp>,
    /// Why it failed, where it did.
    pub fault: Option<Fault>,
    /// What the provider gave as the reason for the end, cut to harmless characters.
    pub code: Option<String>,
    pub correlation_id: Option<String>,
}

/// Who may consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principals {
    /// Whoever did before.
    Same,
    Any,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    Browser(Browser),
    Device(Device),
    Otp {
        /// Passwords that were refused.
        refused: u32,
    },
}

/// RFC 6749 §4.1.
#[derive(Debug, Clone, PartialEq)]
pub struct Browser {
    pub taker: Taker,
    /// Of `state`.
    pub state: Digest,
    /// Of the word in the address that starts it.
    pub opener: Option<Digest>,
    /// Of the cookie of the browser that opened it first.
    pub cookie: Option<Digest>,
    pub redirect_uri: String,
    /// Where the browser goes in the end; the broker's own page, if nowhere.
    pub return_uri: Option<String>,
    /// Compared byte for byte with `iss` (RFC 9207).
    pub issuer: Option<String>,
    pub iss: Presence,
    /// Whether the server brings `state` back; where it may not, the redirect URI and the cookie say whose it is.
    pub state_echo: Presence,
}

/// Who takes the redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Taker {
    Broker,
    FrontEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    Required,
    Optional,
}

/// RFC 8628.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub interval: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The person has not been through yet.
    Open,
    /// What the person brought is being exchanged. It is used up, whatever comes of it.
    Taken,
    Succeeded,
    /// The person, or the provider's policy, said no.
    Denied,
    Expired,
    Failed,
}

/// Why nothing came of a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The redirect brought an error.
    ProviderError,
    /// `iss` is missing or another's.
    WrongIssuer,
    /// The redirect, or the identity beside the token, is not what was asked for.
    Nonsense,
    /// The exchange left no word: its replica ended.
    Lost,
    OtherPrincipal,
    /// What the exchange came to, by its [`Class`].
    NotSent,
    Refused,
    Client,
    Configuration,
    Throttled,
    Down,
    Ambiguous,
    Malformed,
    Policy,
}

impl Fault {
    /// An answer for somebody else is told apart from one that cannot be read.
    pub fn of(failure: &Failure) -> Self {
        if failure.detail == Unusable::OtherPrincipal.says() {
            return Self::OtherPrincipal;
        }
        match failure.class {
            Class::NotSent => Self::NotSent,
            Class::Suspect => Self::Refused,
            Class::Client => Self::Client,
            Class::Configuration => Self::Configuration,
            Class::Throttled => Self::Throttled,
            Class::Down => Self::Down,
            Class::Ambiguous => Self::Ambiguous,
            Class::Malformed => Self::Malformed,
            Class::Policy => Self::Policy,
        }
    }
}

/// How it ended, and what the provider said about it.
#[derive(Debug, Clone, Copy)]
struct End<'a> {
    stage: Stage,
    fault: Option<Fault>,
    code: Option<&'a str>,
    correlation_id: Option<&'a str>,
}

impl End<'_> {
    const fn plain(stage: Stage) -> Self {
        Self { stage, fault: None, code: None, correlation_id: None }
    }

    const fn failed(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::plain(Stage::Failed) }
    }
}

/// What the schedule finds to do for an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    Nothing,
    /// Ask the server whether the person has consented.
    Poll(Uuid),
    /// It is over, and nobody said so: write that down.
    Close,
}

impl Digest {
    /// Compares without stopping at the first difference.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digest]")
    }
}

impl Stage {
    pub const fn is_over(self) -> bool {
        match self {
            Self::Open | Self::Taken => false,
            Self::Succeeded | Self::Denied | Self::Expired | Self::Failed => true,
        }
    }
}

impl Way {
    pub const fn grant(&self) -> GrantKind {
        match self {
            Self::Browser(_) => GrantKind::AuthorizationCode,
            Self::Device(_) => GrantKind::DeviceCode,
            Self::Otp { .. } => GrantKind::Otp,
        }
    }
}

impl Authorization {
    fn has_expired(&self, now: Moment) -> bool {
        now.store >= self.expires_at
    }
}

impl Connection {
    /// Replaces whatever was under way.
    pub fn begin_authorization(&mut self, authorization: Authorization, now: Moment) {
        if self.state == State::Pending && self.refresh_token.is_none() {
            self.reason = Some(StateReason::plain(Reason::AwaitingAuthorization, now.here));
            self.grant = authorization.way.grant();
        }
        self.revision += 1;
        self.updated_at = now.here;
        self.authorization = Some(Box::new(authorization));
    }

    /// A new connection that nothing can be done for before somebody consents.
    pub fn await_person(&mut self, now: Moment) {
        self.due = None;
        self.reason = Some(StateReason::plain(Reason::AwaitingAuthorization, now.here));
    }

    /// Whether it waits for a person and for nothing else: there is nothing to spend, and nobody is about to bring it.
    pub fn awaits_person(&self) -> bool {
        self.state == State::Pending
            && self.refresh_token.is_none()
            && self.due.is_none()
            && matches!(self.grant, GrantKind::AuthorizationCode | GrantKind::DeviceCode | GrantKind::Otp)
    }

    /// What the schedule has to do for the authorization now.
    pub fn chore(&self, now: Moment) -> Chore {
        let Some(ours) = &self.authorization else { return Chore::Nothing };
        if ours.due.is_none_or(|due| now.store < due) || self.live_attempt(now.store).is_some() {
            return Chore::Nothing;
        }
        match (&ours.way, ours.stage) {
            (Way::Device(_), Stage::Open) if !ours.has_expired(now) => Chore::Poll(ours.id),
            (
                Way::Browser(_) | Way::Device(_) | Way::Otp { .. },
                Stage::Open
                | Stage::Taken
                | Stage::Succeeded
                | Stage::Denied
                | Stage::Expired
                | Stage::Failed,
            ) => Chore::Close,
        }
    }

    /// Writes down what time has decided.
    pub fn close_authorization(&mut self, now: Moment) {
        if self.chore(now) != Chore::Close {
            return;
        }
        let Some(ours) = &mut self.authorization else { return };
        match ours.stage {
            // Its exchange left no word: whoever had the code has lost it.
            Stage::Taken => self.end_authorization(&End::failed(Fault::Lost), now),
            Stage::Open if ours.has_expired(now) => {
                self.end_authorization(&End::plain(Stage::Expired), now);
            }
            Stage::Open => ours.due = Some(ours.expires_at),
            Stage::Succeeded | Stage::Denied | Stage::Expired | Stage::Failed => ours.due = None,
        }
    }

    /// Nothing that was not begun to be exchanged goes on after the connection was switched off or revoked.
    pub(super) fn drop_authorization(&mut self) {
        self.authorization = self.authorization.take().filter(|ours| ours.stage != Stage::Open);
    }

    fn end_authorization(&mut self, end: &End<'_>, now: Moment) {
        let Some(ours) = &mut self.authorization else { return };
        ours.stage = end.stage;
        ours.fault = end.fault;
        ours.secrets = None;
        ours.due = None;
        ours.ended_at = Some(now.here);
        ours.code = end.code.and_then(harmless);
        ours.correlation_id = end.correlation_id.and_then(harmless);
        let reason = match end.stage {
            Stage::Denied => Reason::AuthorizationDenied,
            Stage::Expired => Reason::AuthorizationExpired,
            Stage::Failed => Reason::AuthorizationFailed,
            Stage::Open | Stage::Taken | Stage::Succeeded => return,
        };
        let (code, correlation_id) = (ours.code.clone(), ours.correlation_id.clone());
        if self.awaits_person() {
            let reason = StateReason { reason, code, correlation_id, at: now.here };
            self.enter(State::Pending, Some(reason), now);
        }
    }

    /// When the store is to show it to the schedule: for a refresh, or for an authorization.
    pub fn queued_at(&self) -> Option<Timestamp> {
        let authorization = self.authorization.as_ref().and_then(|ours| ours.due);
        match (self.due, authorization) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
#[path = "authorization_tests.rs"]
mod tests;
