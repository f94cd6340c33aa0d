//! Plain data into answers. Secrets have no way out through here but one: the access token of a release.

use super::errors::says;
use crate::{
    api,
    audit::Released,
    broker::{Handed, admin::etag},
    clock::Timestamp,
    domain::{
        client::{Client, Environment, StoredSecret, Tenant},
        connection::{Connection, LastFailure, Narrowing, Principal, PrincipalKind, State, StateReason},
        failure::{Class, Reason},
        lifecycle::{Degraded, Moment},
        profile::{ClientAuth, GrantKind, Overlap, Profile, RefreshExpiry, Reuse, Revocation, Rotation},
    },
};
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

pub fn token(handed: Handed, now: Moment) -> api::Token {
    let record = &handed.connection.record;
    let degraded = degraded(handed.degraded, record.last_failure.as_ref());
    api::Token {
        token_type: "Bearer".into(),
        expire_time: some_timestamp(record.token.as_ref().map(|token| token.expires_at)),
        scopes: record.scopes.clone(),
        api_base_url: record.api_base_url.clone().unwrap_or_default(),
        generation: record.token.as_ref().map_or(record.generation, |token| token.generation),
        next_refresh_time: some_timestamp(record.due.map(|due| here(due, now))),
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
        next_refresh_time: some_timestamp(c.due.map(|due| here(due, now))),
        last_success_time: some_timestamp(c.last_success_at),
        last_failure: c.last_failure.as_ref().map(|failure| api::Failure {
            time: Some(timestamp(failure.at)),
            class: class(failure.class).into(),
            provider_code: failure.code.clone().unwrap_or_default(),
            correlation_id: failure.correlation_id.clone().unwrap_or_default(),
            attempts_since_success: c.failures,
        }),
        labels: c.labels.clone(),
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

pub fn client(c: &Client, now: Moment) -> api::Client {
    api::Client {
        name: c.name.to_string(),
        uid: c.uid.to_string(),
        etag: etag(c.uid, c.revision),
        create_time: Some(timestamp(c.created_at)),
        update_time: Some(timestamp(c.updated_at)),
        provider: c.provider.to_string(),
        client_id: c.client_id.clone(),
        auth_method: client_auth(c.auth).into(),
        allowed_grants: c.allowed_grants.iter().map(|grant| grant_kind(*grant).into()).collect(),
        allowed_scopes: c.allowed_scopes.clone(),
        environment: match c.environment {
            Environment::Sandbox => api::Environment::Sandbox,
            Environment::Production => api::Environment::Production,
        }
        .into(),
        secrets: c.secrets.iter().map(secret).collect(),
        hold: c.held(now.store).map(|hold| api::ClientHold {
            until: Some(timestamp(here(hold.until, now))),
            // Why exactly is in the provider's code.
            reason: api::client_hold::Reason::Unspecified.into(),
            provider_code: hold.code.clone().unwrap_or_default(),
            correlation_id: hold.correlation_id.clone().unwrap_or_default(),
            time: Some(timestamp(hold.at)),
        }),
    }
}

fn secret(secret: &StoredSecret) -> api::ClientSecret {
    use api::client_secret::{Kind, State};
    let state = if secret.retired_at.is_some() { State::Retired } else { State::Active };
    api::ClientSecret {
        id: secret.id.to_string(),
        kind: Kind::SharedSecret.into(),
        state: state.into(),
        create_time: Some(timestamp(secret.created_at)),
        last_used_time: None,
        expire_time: None,
    }
}

pub fn tenant(t: &Tenant) -> api::Tenant {
    api::Tenant {
        name: t.name.to_string(),
        uid: t.uid.to_string(),
        etag: etag(t.uid, t.revision),
        display_name: t.display_name.clone(),
        labels: t.labels.clone(),
        create_time: Some(timestamp(t.created_at)),
        update_time: Some(timestamp(t.updated_at)),
        delete_time: None,
        purge_time: None,
    }
}

pub fn provider(p: &Profile) -> api::Provider {
    use api::provider as w;
    let text = |url: Option<&url::Url>| url.map(ToString::to_string).unwrap_or_default();
    api::Provider {
        name: p.name.to_string(),
        display_name: p.display_name.clone(),
        issuer: text(p.issuer.as_ref()),
        token_endpoint: text(p.token_endpoint.as_ref()),
        endpoints: Some(api::Endpoints {
            revocation: text(p.revocation_endpoint.as_ref()),
            ..api::Endpoints::default()
        }),
        dialect: p.dialect.word().to_owned(),
        rotation: match p.rotation {
            Rotation::Never => w::Rotation::Never,
            Rotation::Always => w::Rotation::Always,
            Rotation::Sometimes => w::Rotation::Sometimes,
            Rotation::Unknown => w::Rotation::Unknown,
        }
        .into(),
        reuse: match p.reuse {
            Reuse::Ignore => w::Reuse::Ignore,
            Reuse::Reject => w::Reuse::Reject,
            Reuse::RevokeFamily => w::Reuse::RevokeFamily,
            Reuse::Unknown => w::Reuse::Unknown,
        }
        .into(),
        overlap: match p.overlap {
            Overlap::OldAccessTokenSurvives => w::Overlap::OldAccessTokenSurvives,
            Overlap::Dies => w::Overlap::OldAccessTokenDies,
        }
        .into(),
        grace: Some(duration(p.grace)),
        lifetimes: Some(api::Lifetimes {
            access_token: p.lifetimes.access_default.map(duration),
            refresh_token_idle: p.lifetimes.refresh_idle.map(duration),
            refresh_token_absolute: p.lifetimes.refresh_absolute.map(duration),
        }),
        refresh_expiry: match p.refresh_expiry {
            RefreshExpiry::None => w::RefreshExpiry::None,
            RefreshExpiry::Relative => w::RefreshExpiry::Relative,
            RefreshExpiry::Epoch => w::RefreshExpiry::Epoch,
        }
        .into(),
        client_auth_methods: p.client_auth.iter().map(|auth| client_auth(*auth).into()).collect(),
        grants: p.grants.iter().map(|grant| grant_kind(*grant).into()).collect(),
        allowed_hosts: p.hosts.iter().map(|host| host.0.clone()).collect(),
        data_centers: p
            .data_centers
            .iter()
            .map(|(id, url)| api::DataCenter {
                id: id.clone(),
                api_base_url: url.as_str().trim_end_matches('/').to_owned(),
                environment: api::Environment::Unspecified.into(),
            })
            .collect(),
        revocation: match p.revocation {
            Revocation::None => w::Revocation::None,
            Revocation::Rfc7009 => w::Revocation::Rfc7009,
            Revocation::ConcurDelete => w::Revocation::DeleteConnections,
        }
        .into(),
        exchange_timeout: Some(duration(p.exchange_timeout)),
        narrows_scopes: false,
        source_notes: p.sources.join("\n"),
    }
}
