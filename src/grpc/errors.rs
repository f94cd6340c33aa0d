//! From the broker's errors to reasons on the wire. The outer text is fixed per reason and names the cause and the
//! next step; what lies below goes to the log.

mod full;
mod keys;
mod stored;
mod words;

pub use full::{full, too_large};
pub use keys::keys;
use stored::store;
use words::broken;
pub use words::{fault, says};

use super::problem::Problem;
use crate::{
    api::ErrorReason as R,
    broker::{
        GetTokenError,
        admin::{AdminError, Kind},
        refresher::RefreshError,
    },
    domain::{
        client::SecretsError,
        connection::{LastFailure, State, StateReason},
        failure::{Class, Failure, Reason},
        profile::GrantKind,
        rotation::NotBegun,
    },
    seal::SealError,
};
use std::{fmt::Display, time::Duration};
use tonic::Status;

/// When to ask again for a token that another replica is refreshing.
const IN_PROGRESS_RETRY: Duration = Duration::from_secs(1);

pub fn get_token(name: &dyn Display, err: GetTokenError) -> Status {
    let problem = match err {
        GetTokenError::Full(bound) => full::crowded(bound),
        GetTokenError::NotFound => missing(Kind::Connection, name),
        GetTokenError::Ended { state, reason } => ended(name, state, reason.as_ref()),
        GetTokenError::TooLong { lifetime } => Problem::new(
            R::MinLifetimeTooLong,
            format!(
                "tokens of this connection live {} s: ask for a shorter min_lifetime",
                lifetime.as_secs()
            ),
        )
        .with("lifetime_seconds", Some(lifetime.as_secs())),
        GetTokenError::TooYoung { remaining, retry_in } => Problem::new(
            R::MinLifetimeUnavailable,
            format!("the freshest token lives {} s more: ask for less, or again later", remaining.as_secs()),
        )
        .retry_in(retry_in.unwrap_or(remaining))
        .with("lifetime_seconds", Some(remaining.as_secs())),
        GetTokenError::ScopeNotGranted { scope } => Problem::new(
            R::ScopeNotGranted,
            "a scope was asked for that this connection was not granted: authorize the connection with it",
        )
        .with("scopes", Some(scope)),
        GetTokenError::NotNarrowable => Problem::new(
            R::ScopeNotNarrowable,
            "the provider gives this connection tokens for all its scopes only: ask without scopes, or set \
             scope_narrowing to SERVE_WHOLE",
        ),
        GetTokenError::Bound { problem, thumbprint } => Problem::new(
            R::TokenBound,
            format!(
                "the token is bound to a key and is given only to who proves to hold it: set dpop_proof to a DPoP \
                 proof (RFC 9449) signed with that key, with htm `POST` and htu `bursar:{name}`; what came with this \
                 call is none: {problem}"
            ),
        )
        .with("dpop_jkt", Some(thumbprint)),
        GetTokenError::Refresh(err) => refresh(name, &err),
        GetTokenError::Store(err) => store(&err),
        GetTokenError::Seal(_) => broken("the stored token does not open"),
        GetTokenError::Audit(_) => Problem::new(
            R::AuditUnavailable,
            "the release could not be put on record, so nothing was released",
        ),
    };
    problem.about(name).into()
}

const NOT_UNDER_WAY: &str = "no authorization is under way that this belongs to: call StartAuthorization";
const NO_CONSENT_YET: &str = "the person has not consented yet: wait, the broker asks by itself";
const CONSENT_TOO_LATE: &str =
    "the person took longer than the authorization was open: call StartAuthorization again";
const CONSENT_DENIED: &str =
    "the person, or the provider's policy, said no: call StartAuthorization again if that was a mistake";
const CONSENT_FAILED: &str = "the provider's answer brought no grant: call StartAuthorization again";
const OTHER_PRINCIPAL: &str = "the grant is for another principal than the connection's: create another connection for \
                               it, or start the authorization with allow_principal_change";

pub fn admin(name: &dyn Display, err: AdminError) -> Status {
    let problem = match err {
        AdminError::NotFound { kind, name } => return missing(kind, &name).about(&name).into(),
        AdminError::AlreadyExists { name, .. } => {
            return Problem::new(R::AlreadyExists, format!("{name} exists already")).about(&name).into();
        }
        AdminError::EtagMismatch { .. } => Problem::new(
            R::EtagMismatch,
            "changed since this etag was read: get it again and apply the change anew",
        ),
        AdminError::Invalid { field, problem } => Problem::field(field, problem),
        AdminError::NotEmpty { child, .. } => {
            Problem::new(R::TenantNotEmpty, format!("{child} still belongs to it: delete it first"))
        }
        AdminError::ClientInUse { connection, .. } => {
            let mend = "delete that connection first; where its tenant is deleted, restore it for that, or wait until \
                        it is gone";
            Problem::new(R::ClientInUse, format!("{connection} uses it, or cannot be read: {mend}"))
        }
        AdminError::Secrets(err) => Problem::new(
            match err {
                SecretsError::TooMany => R::TooManySecrets,
                SecretsError::Last => R::LastSecret,
                SecretsError::NotFound => R::ClientSecretNotFound,
            },
            err.to_string(),
        ),
        AdminError::GrantNotAllowed { .. } => Problem::new(R::GrantNotAllowed, err.to_string()),
        AdminError::GrantNotOffered { .. } => Problem::new(R::GrantNotSupported, err.to_string()),
        AdminError::ScopeNotAllowed { ref scope } => {
            Problem::new(R::ScopeNotAllowed, err.to_string()).with("scopes", Some(scope))
        }
        AdminError::WrongState { state: state @ (State::Active | State::Pending) } => {
            let text = format!(
                "is {state}: a grant that still works is not replaced; create another connection for another one"
            );
            Problem::field("name", text)
        }
        AdminError::WrongState { state } => ended(name, state, None),
        AdminError::NothingRenews { .. } => Problem::new(R::NotRenewable, err.to_string()),
        AdminError::GrantRefused { grant, failure } => not_started(grant, &failure),
        AdminError::AuthorizationNotFound => Problem::new(R::AuthorizationNotFound, NOT_UNDER_WAY),
        AdminError::AuthorizationPending { retry } => {
            Problem::new(R::AuthorizationPending, NO_CONSENT_YET).retry_in(retry)
        }
        AdminError::AuthorizationExpired => Problem::new(R::AuthorizationExpired, CONSENT_TOO_LATE),
        AdminError::AuthorizationDenied { code } => {
            Problem::new(R::AuthorizationDenied, CONSENT_DENIED).with("provider_code", code)
        }
        AdminError::AuthorizationFailed { fault: why, code } => {
            Problem::new(fault(why), CONSENT_FAILED).with("provider_code", code)
        }
        AdminError::OtherPrincipal => Problem::new(R::PrincipalMismatch, OTHER_PRINCIPAL),
        AdminError::RevocationRefused(failure) => not_revoked(&failure),
        AdminError::RotationNotOffered { .. } => Problem::new(R::SecretRotationNotSupported, err.to_string()),
        AdminError::RotationNotBegun(why) => Problem::new(
            match why {
                NotBegun::HereNotOne => R::TooManySecrets,
                NotBegun::ThereNotOne => R::SecretRotationFailed,
            },
            why.to_string(),
        ),
        AdminError::RotationFailed(failure) => not_rotated(&failure),
        AdminError::Refresh(err) => refresh(name, &err),
        AdminError::Store(err) => store(&err),
        AdminError::Keys(err) => keys::problem(err),
        AdminError::Seal(err) => sealing(&err),
    };
    problem.about(name).into()
}

fn sealing(err: &SealError) -> Problem {
    match err {
        SealError::TooLarge { .. } => Problem::field("secret", err),
        SealError::Broken(_) | SealError::Kek(_) | SealError::Step(_) => {
            broken("a stored secret does not open")
        }
    }
}

fn not_revoked(failure: &Failure) -> Problem {
    Problem::new(
        R::RevocationRefused,
        "the provider did not revoke the grant; nothing is handed out any more: try again, or revoke it at \
         the provider and delete the connection without revocation",
    )
    .retry_in(failure.retry_after.unwrap_or(Duration::from_mins(1)))
    .with("provider_code", failure.code.as_ref())
    .with("correlation_id", failure.correlation_id.as_ref())
}

fn missing(kind: Kind, name: &dyn Display) -> Problem {
    let (reason, mend) = match kind {
        Kind::Provider => {
            (R::ProviderNotFound, "see ListProviders; profiles come with the deployment's files")
        }
        Kind::Tenant => (R::TenantNotFound, "see ListTenants; create the tenant first"),
        Kind::Client => (R::ClientNotFound, "see ListClients; create the client first"),
        Kind::Connection => (R::ConnectionNotFound, "see ListConnections; create the connection first"),
    };
    Problem::new(reason, format!("{name} does not exist: {mend}"))
}

fn ended(name: &dyn Display, state: State, why: Option<&StateReason>) -> Problem {
    let (reason, message) = match state {
        State::NeedsReauthorization => (
            R::NeedsReauthorization,
            format!(
                "{name} has to be authorized again: {}",
                why.map_or("its grant is over", |why| says(why.reason))
            ),
        ),
        State::Disabled => {
            (R::ConnectionDisabled, format!("{name} is disabled: enable it with EnableConnection"))
        }
        State::Revoking | State::Revoked => (
            R::ConnectionRevoked,
            format!("{name} is revoked: authorize it again or create a new connection"),
        ),
        State::Pending | State::Active => {
            (R::ConnectionPending, format!("{name} has no token yet: its first exchange has not succeeded"))
        }
    };
    Problem::new(reason, message)
        .with("state", Some(state.word().to_uppercase()))
        .with("state_reason", why.map(|why| why.reason.word().to_uppercase()))
        .with("provider_code", why.and_then(|why| why.code.as_ref()))
        .with("correlation_id", why.and_then(|why| why.correlation_id.as_ref()))
}

fn refresh(name: &dyn Display, err: &RefreshError) -> Problem {
    match err {
        RefreshError::Failed(failure) => failed(failure),
        RefreshError::Held { at, until, failure } => held(failure.as_ref())
            .retry_in(at.store.until(*until))
            .with("retry_time", Some(at.here.plus(at.store.until(*until)))),
        RefreshError::Ended(state) => ended(name, *state, None),
        RefreshError::Busy => Problem::new(
            R::RefreshInProgress,
            "another replica is still refreshing this connection: ask again",
        )
        .retry_in(IN_PROGRESS_RETRY),
        RefreshError::Gone | RefreshError::Orphaned => missing(Kind::Connection, name),
        RefreshError::Replaced => Problem::new(
            R::AuthorizationNotFound,
            "the authorization was replaced by another one, or its connection ended: call StartAuthorization",
        ),
        RefreshError::NoProfile(provider) => missing(Kind::Provider, provider),
        RefreshError::NoClient(client) => missing(Kind::Client, client),
        RefreshError::Store(err) => store(err),
        RefreshError::Seal(_) => broken("the stored grant does not open"),
        RefreshError::Stopping => {
            Problem::new(R::ShuttingDown, "this replica is shutting down: ask again, another one answers")
        }
        RefreshError::Lost => Problem::new(R::Internal, "the refresh ended without an outcome; see the log"),
    }
}

fn held(failure: Option<&LastFailure>) -> Problem {
    let (class, code) = failure.map_or((None, None), |f| (Some(f.class), f.code.as_ref()));
    let message = match class {
        Some(Class::Client) => "the provider refuses this connection's client: check its id and secret",
        Some(Class::Configuration | Class::Policy) => {
            "the provider refuses the request: compare the provider's profile and the client's registration"
        }
        Some(
            Class::NotSent
            | Class::Suspect
            | Class::Throttled
            | Class::Down
            | Class::Ambiguous
            | Class::Malformed,
        )
        | None => "the provider failed a moment ago and is left alone for a while: ask again later",
    };
    Problem::new(R::RefreshHeld, message)
        .with("provider_code", code)
        .with("correlation_id", failure.and_then(|f| f.correlation_id.as_ref()))
}

/// What an exchange that failed just now means to who asked for it.
fn failed(failure: &Failure) -> Problem {
    let (reason, message) = match failure.class {
        Class::Client => {
            (R::ClientRefused, "the provider refuses this connection's client: check its id and secret")
        }
        Class::Configuration => (
            R::ProviderConfiguration,
            "the provider refuses the request: compare the provider's profile and the client's registration",
        ),
        Class::Policy => (
            R::ProviderAddressRefused,
            "the answer leads to an address that is not among the provider's allowed hosts; nothing was sent there",
        ),
        Class::Throttled => (R::ProviderThrottled, "the provider asks to slow down: ask again later"),
        Class::Malformed => (
            R::ProviderMalformedAnswer,
            "the provider answered without a token that can be used: ask again later",
        ),
        Class::NotSent | Class::Down => {
            (R::ProviderUnavailable, "the provider was not reached or is down: ask again later")
        }
        Class::Ambiguous => (R::ProviderAnswerLost, "the provider's answer did not arrive: ask again later"),
        Class::Suspect => (
            R::RefreshHeld,
            "the provider refused the grant; that is being confirmed: ask again in a few seconds",
        ),
    };
    let problem = Problem::new(reason, format!("{message} ({})", failure.detail))
        .with("provider_code", failure.code.as_ref())
        .with("correlation_id", failure.correlation_id.as_ref());
    match failure.retry_after {
        Some(after) => problem.retry_in(after),
        None => problem,
    }
}

/// The grant that a connection was to be started with brought nothing, and nothing was kept.
fn not_started(grant: GrantKind, failure: &Failure) -> Problem {
    let (reason, message) = match (failure.class, failure.reason, grant) {
        (Class::Suspect, Some(Reason::PrincipalDisabled), _) => {
            (R::PrincipalDisabled, "the user or company is disabled at the provider")
        }
        (Class::Suspect, Some(Reason::CompanyNotEnabled), _) => {
            (R::CompanyNotEnabled, "the company has not enabled the app: its administrator has to")
        }
        (Class::Suspect, _, GrantKind::CompanyRequestToken) => (
            R::RequestTokenRefused,
            "the provider refused the request token: it lives 24 hours and belongs to one app and company; \
             have a new one made",
        ),
        (Class::Suspect, _, _) => (R::GrantRefused, refused(grant)),
        (
            Class::NotSent
            | Class::Client
            | Class::Configuration
            | Class::Throttled
            | Class::Down
            | Class::Ambiguous
            | Class::Malformed
            | Class::Policy,
            _,
            _,
        ) => return failed(failure),
    };
    Problem::new(reason, message)
        .with("provider_code", failure.code.as_ref())
        .with("correlation_id", failure.correlation_id.as_ref())
}

/// What to do about a credential that the provider does not take.
const fn refused(grant: GrantKind) -> &'static str {
    match grant {
        GrantKind::Password => "the provider refused the user name and password: check both",
        GrantKind::AuthorizationCode => {
            "the provider refused the code: it is good once, for minutes, for one client and redirect URI; get a new one"
        }
        GrantKind::JwtBearer | GrantKind::SamlBearer => {
            "the provider refused the assertion: check its issuer, audience, subject, times and key, and sign a new one"
        }
        GrantKind::TokenExchange => {
            "the provider refused the token to exchange: check its type and age, and whether this client may exchange it"
        }
        GrantKind::ClientCredentials
        | GrantKind::RefreshToken
        | GrantKind::DeviceCode
        | GrantKind::Otp
        | GrantKind::CompanyRequestToken => "the provider refused the grant",
    }
}

/// A step of a rotation failed. What the provider may do better a moment later is said as elsewhere.
fn not_rotated(failure: &Failure) -> Problem {
    match failure.class {
        Class::NotSent | Class::Down | Class::Throttled | Class::Ambiguous | Class::Client => failed(failure),
        Class::Suspect | Class::Configuration | Class::Malformed | Class::Policy => {
            let text = format!("the secret was not changed yet: {}; call again to go on", failure.detail);
            Problem::new(R::SecretRotationFailed, text)
                .with("provider_code", failure.code.as_ref())
                .with("correlation_id", failure.correlation_id.as_ref())
        }
    }
}
