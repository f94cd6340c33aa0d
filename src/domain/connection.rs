//! What the broker remembers about one authorization, and how much of it an exchange may change.

use super::{
    authorization::Authorization,
    failure::{Class, Reason},
    names::{ClientName, ConnectionName, ProviderName},
    profile::{GrantKind, Overlap},
    token::{AccessToken, DpopKey, PreviousRefreshToken, RefreshToken, Sealed},
};
use crate::clock::Timestamp;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    pub name: ConnectionName,
    pub uid: Uuid,
    /// Counts what callers changed and changes of state, not refreshes; behind the etag.
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub provider: ProviderName,
    pub client: ClientName,
    pub grant: GrantKind,
    pub principal: Option<Principal>,
    /// For whom the broker signs an assertion at every exchange (RFC 7523 §2.1), where that is the grant.
    pub subject: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// What was asked for; empty leaves it to the client's registration.
    pub requested_scopes: Vec<String>,
    /// URIs of the services that the tokens are for (RFC 8707), as they were given; empty leaves it to the server.
    pub requested_resources: Vec<String>,
    /// What was granted, from the first answer on.
    pub scopes: Vec<String>,
    /// Whether a caller that asks for fewer scopes may get the whole token instead of a refusal.
    pub narrowing: Narrowing,
    /// Where the token is good and where it is refreshed (SAP Concur: geolocation), without a trailing slash.
    pub api_base_url: Option<String>,
    pub state: State,
    pub reason: Option<StateReason>,
    /// Where enabling leads back to, while the connection is disabled.
    pub before: Option<Before>,
    /// One consent. A new consent starts a new family.
    pub family: Uuid,
    /// Counts the answers that were committed in this family.
    pub generation: u64,
    /// What the tokens are bound to (RFC 9449). Stays the same through refreshes and new consents: who uses the tokens
    /// has it too.
    pub dpop: Option<BoundKey>,
    pub refresh_token: Option<Sealed<RefreshToken>>,
    pub previous_refresh_token: Option<Sealed<PreviousRefreshToken>>,
    pub refresh_expires_at: Option<Timestamp>,
    pub token: Option<Token>,
    pub attempt: Option<Attempt>,
    /// The attempt whose answer made the present generation: settles a commit whose reply was lost.
    pub settled: Option<Uuid>,
    /// The grant was refused once at this generation.
    pub suspicion: Option<Mark>,
    /// An exchange of this generation ended without an answer: the server may have used the grant up.
    pub ambiguous: Option<Mark>,
    /// When the next exchange may start, by the store's clock; `None` while nothing is to be done.
    pub due: Option<Timestamp>,
    /// Failed attempts since the last success.
    pub failures: u32,
    pub last_success_at: Option<Timestamp>,
    pub last_failure: Option<LastFailure>,
    /// The consent on its way, or the last one.
    pub authorization: Option<Box<Authorization>>,
}

/// An access token as it is kept: sealed, with the times that rules need (by this replica's clock when it was committed).
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub sealed: Sealed<AccessToken>,
    /// The generation it was sealed for.
    pub generation: u64,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// From here on it is refreshed in the background.
    pub soft_at: Timestamp,
    /// From here on callers wait for the refresh.
    pub hard_at: Timestamp,
    pub overlap: Overlap,
    /// The thumbprint of the key that it is bound to; `None`: it is good for whoever has it.
    pub bound_to: Option<String>,
}

/// The key that tokens are bound to, sealed for the connection's uid as its family, at generation 0.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundKey {
    pub sealed: Sealed<DpopKey>,
    /// RFC 7638 thumbprint of the public half, SHA-256 in base64url.
    pub thumbprint: String,
}

/// For whom the token speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub kind: PrincipalKind,
    pub id: String,
}

impl Principal {
    /// UUIDs come in capital and small letters; any other id is what it is.
    pub fn is(&self, other: &Self) -> bool {
        let same_uuid = || match (self.id.parse::<Uuid>(), other.id.parse::<Uuid>()) {
            (Ok(one), Ok(other)) => one == other,
            (Ok(_) | Err(_), _) => false,
        };
        self.kind == other.kind && (self.id == other.id || same_uuid())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    User,
    Company,
    App,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Narrowing {
    #[default]
    Refuse,
    ServeWhole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// No answer has been committed yet.
    Pending,
    Active,
    NeedsReauthorization,
    Disabled,
    Revoking,
    Revoked,
}

/// The state that an operator interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    pub state: State,
    pub reason: Option<StateReason>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateReason {
    pub reason: Reason,
    pub code: Option<String>,
    pub correlation_id: Option<String>,
    pub at: Timestamp,
}

/// One try at the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub id: Uuid,
    pub replica: String,
    pub generation: u64,
    pub started_at: Timestamp,
    /// Until then, by the store's clock, others leave the attempt alone.
    pub lease_until: Timestamp,
    /// What is spent is not the grant of this family but what a person brought for a new one.
    pub authorization: Option<Uuid>,
}

/// Something that stands on one generation and is void on the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub generation: u64,
    pub at: Timestamp,
    pub code: Option<String>,
    pub correlation_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    pub class: Class,
    pub code: Option<String>,
    pub correlation_id: Option<String>,
    pub at: Timestamp,
}

impl Connection {
    /// The mark, if it stands on the present generation.
    pub fn standing<'a>(&self, mark: Option<&'a Mark>) -> Option<&'a Mark> {
        mark.filter(|mark| mark.generation == self.generation)
    }

    /// Until when (store's clock) callers leave the provider alone after a failure. A refused client is not
    /// held here but by its [`Hold`](super::client::Hold), which a new secret lifts for all its connections.
    pub fn held_until(&self, store_now: Timestamp) -> Option<Timestamp> {
        let own = match self.last_failure.as_ref()?.class {
            Class::Client => return None,
            Class::NotSent
            | Class::Suspect
            | Class::Configuration
            | Class::Throttled
            | Class::Down
            | Class::Ambiguous
            | Class::Malformed
            | Class::Policy => self.due,
        };
        own.filter(|due| self.failures > 0 && store_now < *due)
    }

    /// Whether there is something to ask for the next token with, and no person in between. Without it a connection
    /// lives as long as its access token.
    pub fn lasts(&self) -> bool {
        self.refresh_token.is_some() || self.mints()
    }

    /// Whether the client can ask for a token whenever it likes: there is no refresh token then, and none is needed.
    pub fn mints(&self) -> bool {
        match self.grant {
            GrantKind::ClientCredentials => true,
            GrantKind::JwtBearer => self.subject.is_some(),
            GrantKind::RefreshToken
            | GrantKind::AuthorizationCode
            | GrantKind::DeviceCode
            | GrantKind::Password
            | GrantKind::Otp
            | GrantKind::CompanyRequestToken
            | GrantKind::TokenExchange
            | GrantKind::SamlBearer => false,
        }
    }

    /// A server may leave out what it granted if that is what was asked for (RFC 6749 §5.1). With a refresh token that was
    /// brought nothing is asked for: what it has stays unknown until the server says it.
    pub(super) fn granted(&mut self, scopes: Option<&[String]>) {
        let asked = match self.grant {
            GrantKind::RefreshToken => false,
            _ if self.mints() => !self.requested_scopes.is_empty(),
            _ => self.scopes.is_empty(),
        };
        match scopes {
            Some(scopes) => self.scopes = scopes.to_vec(),
            None if asked => self.scopes.clone_from(&self.requested_scopes),
            None => {}
        }
    }

    /// When there is something to do about this token: renew it, or write down that it was the last one.
    pub fn due_with(&self, token: &Token) -> Timestamp {
        if self.lasts() { token.soft_at } else { token.expires_at }
    }

    /// What a refresh does to the present access token.
    pub fn overlap(&self) -> Overlap {
        self.token.as_ref().map(|token| token.overlap).unwrap_or_default()
    }

    /// The attempt that others must leave alone.
    pub fn live_attempt(&self, store_now: Timestamp) -> Option<&Attempt> {
        self.attempt.as_ref().filter(|attempt| store_now < attempt.lease_until)
    }
}
