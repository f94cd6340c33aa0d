//! Plain data into answers. Secrets have no way out through here but one: the access token of a release.

mod clients;
mod keys;
mod provider;

pub use clients::client;
pub use keys::key_chain;

use super::errors::{fault, says};
use crate::{
    api,
    audit::Released,
    broker::{
        Handed,
        admin::{
            consent::{NextStep, Started},
            etag,
        },
    },
    clock::Timestamp,
    domain::{
        authorization::{Authorization, Stage},
        client::Tenant,
        connection::{Connection, LastFailure, Narrowing, Principal, PrincipalKind, State, StateReason},
        failure::{Class, Reason},
        lifecycle::{Degraded, Moment},
        profile::{ClientAuth, GrantKind},
    },
};
pub use provider::provider;
use std::time::Duration;

pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.0 % 1000).unwrap_or(0) * 1_000_000,
    }
}

fn some_timestamp(at: Option<Timestamp>) -> Option<prost_types::Timestamp> {
    at.map(timestamp)
}

fn duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// A time of the store's clock, as this replica's clock will show it.
fn here(at: Timestamp, now: Moment) -> Timestamp {
    now.here.plus(now.store.until(at))
}

/// Only what lasts is refreshed; the rest is looked at once more when it has run out.
fn next_refresh(c: &Connection, now: Moment) -> Option<prost_types::Timestamp> {
    some_timestamp(c.due.filter(|_| c.lasts()).map(|due| here(due, now)))
}

pub fn token(handed: Handed, now: Moment) -> api::Token {
    let record = &handed.connection.record;
    let bound_to = record.token.as_ref().and_then(|token| token.bound_to.as_ref());
    let degraded = degraded(handed.degraded, record.last_failure.as_ref());
    api::Token {
        token_type: bound_to.map_or("Bearer", |_| "DPoP").into(),
        dpop_jkt: bound_to.cloned().unwrap_or_default(),
        expire_time: some_timestamp(record.token.as_ref().map(|token| token.expires_at)),
        scopes: record.scopes.clone(),
        api_base_url: record.api_base_url.clone().unwrap_or_default(),
        generation: record.token.as_ref().map_or(record.generation, |token| token.generation),
        next_refresh_time: next_refresh(record, now),
        degraded_reason: degraded.into(),
        principal: record.principal.as_ref().map(principal),
        access_token: Released::into_token(handed.released).0.expose().to_owned(),
    }
}

fn degraded(why: Option<Degraded>, last: Option<&LastFailure>) -> api::DegradedReason {
    use api::DegradedReason as D;
    match why {
        None => D::Unspecified,
        Some(Degraded::NeedsReauthorization) => D::NeedsReauthorization,
        Some(Degraded::GrantAtRisk) => D::GrantAtRisk,
        Some(Degraded::StoreUnavailable) => D::StoreUnavailable,
        Some(Degraded::RefreshSlow) => D::RefreshSlow,
        Some(Degraded::ProviderFailing | Degraded::ConfigurationRefused) => match last.map(|last| last.class)
        {
            Some(Class::Throttled) => D::ProviderThrottled,
            Some(Class::Malformed) => D::ProviderMalformedAnswer,
            Some(Class::Client) => D::ClientRefused,
            Some(Class::Configuration | Class::Policy) => D::ProviderConfiguration,
            Some(Class::NotSent | Class::Down | Class::Ambiguous | Class::Suspect) | None => {
                D::ProviderUnavailable
            }
        },
    }
}

pub fn connection(c: &Connection, now: Moment) -> api::Connection {
    api::Connection {
        name: c.name.to_string(),
        uid: c.uid.to_string(),
        etag: etag(c.uid, c.revision),
        create_time: Some(timestamp(c.created_at)),
        update_time: Some(timestamp(c.updated_at)),
        provider: c.provider.to_string(),
        client: c.client.to_string(),
        grant_type: grant_kind(c.grant).into(),
        principal: c.principal.as_ref().map(principal),
        scopes: c.scopes.clone(),
        requested_scopes: c.requested_scopes.clone(),
        requested_resources: c.requested_resources.clone(),
        api_base_url: c.api_base_url.clone().unwrap_or_default(),
        scope_narrowing: match c.narrowing {
            Narrowing::Refuse => api::connection::ScopeNarrowing::Strict,
            Narrowing::ServeWhole => api::connection::ScopeNarrowing::ServeWhole,
        }
        .into(),
        state: state(c.state).into(),
        state_reason: c.reason.as_ref().map(state_reason),
        refresh_token_expire_time: some_timestamp(c.refresh_expires_at),
        access_token_expire_time: some_timestamp(c.token.as_ref().map(|token| token.expires_at)),
        generation: c.generation,
        next_refresh_time: next_refresh(c, now),
        last_success_time: some_timestamp(c.last_success_at),
        last_failure: c.last_failure.as_ref().map(|failure| api::Failure {
            time: Some(timestamp(failure.at)),
            class: class(failure.class).into(),
            provider_code: failure.code.clone().unwrap_or_default(),
            correlation_id: failure.correlation_id.clone().unwrap_or_default(),
            attempts_since_success: c.failures,
        }),
        labels: c.labels.clone(),
        authorization: c.authorization.as_deref().map(|ours| authorization(ours, now)),
        dpop_jkt: c.dpop.as_ref().map(|key| key.thumbprint.clone()).unwrap_or_default(),
    }
}

pub fn started(started: Started, now: Moment) -> api::StartAuthorizationResponse {
    use api::start_authorization_response::NextStep as Next;
    let next = match started.next {
        NextStep::Open { url, redirect_uri } => {
            Next::AuthorizationCode(api::AuthorizationCodePrompt { authorization_url: url, redirect_uri })
        }
        NextStep::Show { verification_uri, verification_uri_complete, user_code } => {
            let verification_uri_complete = verification_uri_complete.unwrap_or_default();
            Next::DeviceCode(api::DeviceCodePrompt { verification_uri, verification_uri_complete, user_code })
        }
        NextStep::AskForPassword { sent_to } => Next::Otp(api::OtpPrompt { sent_to }),
    };
    api::StartAuthorizationResponse {
        expire_time: Some(timestamp(here(started.expires_at, now))),
        next_step: Some(next),
    }
}

fn authorization(a: &Authorization, now: Moment) -> api::Authorization {
    use api::authorization::State as S;
    let state = match a.stage {
        Stage::Open | Stage::Taken => S::UnderWay,
        Stage::Succeeded => S::Granted,
        Stage::Denied => S::Denied,
        Stage::Expired => S::Expired,
        Stage::Failed => S::Failed,
    };
    api::Authorization {
        state: state.into(),
        grant_type: grant_kind(a.way.grant()).into(),
        start_time: Some(timestamp(a.started_at)),
        expire_time: Some(timestamp(here(a.expires_at, now))),
        reason: a.fault.map_or(api::ErrorReason::Unspecified, fault).into(),
        provider_code: a.code.clone().unwrap_or_default(),
    }
}

fn principal(p: &Principal) -> api::Principal {
    use api::principal::Kind;
    let kind = match p.kind {
        PrincipalKind::User => Kind::User,
        PrincipalKind::Company => Kind::Company,
        PrincipalKind::App => Kind::App,
    };
    api::Principal { kind: kind.into(), id: p.id.clone() }
}

const fn state(state: State) -> api::connection::State {
    use api::connection::State as S;
    match state {
        State::Pending => S::Pending,
        State::Active => S::Active,
        State::NeedsReauthorization => S::NeedsReauthorization,
        State::Disabled => S::Disabled,
        State::Revoking => S::Revoking,
        State::Revoked => S::Revoked,
    }
}

fn state_reason(why: &StateReason) -> api::StateReason {
    use api::state_reason::Reason as R;
    let reason = match why.reason {
        Reason::Revoked => R::Revoked,
        Reason::LostRotation => R::LostRotation,
        Reason::Expired => R::Expired,
        Reason::PrincipalDisabled => R::PrincipalDisabled,
        Reason::CompanyNotEnabled => R::CompanyNotEnabled,
        Reason::GrantOfAnotherClient => R::IssuedToOtherClient,
        Reason::BootstrapLost => R::BootstrapLost,
        Reason::DisabledByOperator => R::DisabledByOperator,
        Reason::RevokedByOperator => R::RevokedByOperator,
        Reason::AwaitingAuthorization => R::AwaitingAuthorization,
        Reason::AuthorizationExpired => R::AuthorizationExpired,
        Reason::AuthorizationDenied => R::AuthorizationDenied,
        Reason::AuthorizationFailed => R::AuthorizationFailed,
    };
    api::StateReason {
        reason: reason.into(),
        provider_code: why.code.clone().unwrap_or_default(),
        correlation_id: why.correlation_id.clone().unwrap_or_default(),
        message: says(why.reason).to_owned(),
        time: Some(timestamp(why.at)),
    }
}

const fn class(class: Class) -> api::FailureClass {
    use api::FailureClass as F;
    match class {
        Class::NotSent => F::NotSent,
        Class::Suspect => F::Suspect,
        Class::Client => F::Client,
        Class::Configuration => F::Configuration,
        Class::Throttled => F::Throttled,
        Class::Down => F::ProviderDown,
        Class::Ambiguous => F::Ambiguous,
        Class::Malformed => F::MalformedSuccess,
        Class::Policy => F::Policy,
    }
}

const fn grant_kind(grant: GrantKind) -> api::GrantType {
    use api::GrantType as G;
    match grant {
        GrantKind::ClientCredentials => G::ClientCredentials,
        GrantKind::RefreshToken => G::RefreshToken,
        GrantKind::AuthorizationCode => G::AuthorizationCode,
        GrantKind::DeviceCode => G::DeviceCode,
        GrantKind::Password => G::Password,
        GrantKind::Otp => G::Otp,
        GrantKind::CompanyRequestToken => G::CompanyRequestToken,
        GrantKind::JwtBearer => G::JwtBearer,
        GrantKind::TokenExchange => G::TokenExchange,
        GrantKind::SamlBearer => G::SamlBearer,
    }
}

const fn client_auth(auth: ClientAuth) -> api::ClientAuthMethod {
    use api::ClientAuthMethod as M;
    match auth {
        ClientAuth::ClientSecretBasic => M::ClientSecretBasic,
        ClientAuth::ClientSecretPost => M::ClientSecretPost,
        ClientAuth::ClientSecretJwt => M::ClientSecretJwt,
        ClientAuth::PrivateKeyJwt => M::PrivateKeyJwt,
        ClientAuth::TlsClientAuth => M::TlsClientAuth,
        ClientAuth::SelfSignedTlsClientAuth => M::SelfSignedTlsClientAuth,
        ClientAuth::None => M::None,
    }
}

pub fn tenant(t: &Tenant, now: Moment) -> api::Tenant {
    api::Tenant {
        name: t.name.to_string(),
        uid: t.uid.to_string(),
        etag: etag(t.uid, t.revision),
        display_name: t.display_name.clone(),
        labels: t.labels.clone(),
        create_time: Some(timestamp(t.created_at)),
        update_time: Some(timestamp(t.updated_at)),
        delete_time: some_timestamp(t.deletion.map(|deletion| deletion.deleted_at)),
        purge_time: some_timestamp(t.deletion.map(|deletion| here(deletion.purge_at, now))),
    }
}
