//! Records that tests begin with: an hour's token of a careful provider. A test changes what it is about.

use super::{
    client::{Client, Environment},
    connection::{Attempt, Connection, Mark, Narrowing, State, Token},
    credential::{PublicPart, StoredSecret},
    lifecycle::{Moment, points},
    profile::{
        AssertionAudience, ClientAuth, Dialect, Discovery, GrantKind, Introspection, Lifetimes, MinimumTls,
        MtlsAliases, Offer, Overlap, Pkce, Profile, Quirks, RefreshExpiry, RequestScopeSeparator,
        ResourceIndicators, ResponseIss, Reuse, Revocation, Rotation, SigningAlg,
    },
    token::Sealed,
};
use crate::clock::Timestamp;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// How far the store's clock is ahead of the replica's, so that a mix-up of the two fails a test.
pub(crate) const SKEW: Duration = Duration::from_secs(7 * 24 * 3600);

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// So long after the start, by both clocks.
pub(crate) fn at(after: Duration) -> Moment {
    Moment { here: START.plus(after), store: START.plus(SKEW).plus(after) }
}

pub(crate) fn profile() -> Profile {
    Profile {
        name: "providers/p".parse().unwrap(),
        display_name: "P".into(),
        dialect: Dialect::Rfc6749,
        issuer: None,
        discovery: Discovery::None,
        token_endpoint: None,
        authorization_endpoint: None,
        device_authorization_endpoint: None,
        pushed_authorization_request_endpoint: None,
        introspection_endpoint: None,
        introspection: Introspection::None,
        revocation_endpoint: None,
        revocation: Revocation::None,
        jwks_uri: None,
        userinfo_endpoint: None,
        mtls_endpoint_aliases: MtlsAliases::default(),
        data_centers: BTreeMap::new(),
        bootstrap_at: None,
        authorize_at: None,
        hosts: vec![],
        client_auth: vec![ClientAuth::ClientSecretBasic],
        grants: vec![GrantKind::RefreshToken],
        pkce: Pkce::S256,
        response_iss: ResponseIss::Unknown,
        pushed_authorization: Offer::Never,
        resource_indicators: ResourceIndicators::None,
        dpop: Offer::Never,
        offline_scopes: vec![],
        authorization_parameters: BTreeMap::new(),
        token_parameters: BTreeMap::new(),
        request_scope_separator: RequestScopeSeparator::Space,
        assertion_audience: AssertionAudience::Issuer,
        signing_algs: vec![SigningAlg::Es256],
        ca_certificates: None,
        minimum_tls: MinimumTls::Tls12,
        private_networks: vec![],
        rotation: Rotation::Unknown,
        reuse: Reuse::Unknown,
        overlap: Overlap::OldAccessTokenSurvives,
        grace: Duration::ZERO,
        refresh_expiry: RefreshExpiry::None,
        lifetimes: Lifetimes::default(),
        quirks: Quirks::default(),
        exchange_timeout: secs(25),
        retry_ceiling: secs(60),
        errors: BTreeMap::new(),
        bootstrap_errors: BTreeMap::new(),
        sources: vec![],
    }
}

/// Issued at the start, for so long, with the points that a commit would give it.
pub(crate) fn token(generation: u64, lifetime: Duration, overlap: Overlap) -> Token {
    let points = points(id(1), generation, START, START.plus(lifetime), overlap);
    Token {
        sealed: Sealed::from_bytes(*b"access"),
        generation,
        issued_at: START,
        expires_at: START.plus(lifetime),
        soft_at: points.soft_at,
        hard_at: points.hard_at,
        overlap,
        bound_to: None,
    }
}

/// ACTIVE at generation 3, with an hour's token and nothing wrong.
pub(crate) fn connection() -> Connection {
    let token = token(3, HOUR, Overlap::OldAccessTokenSurvives);
    Connection {
        name: "tenants/t/connections/c".parse().unwrap(),
        uid: id(1),
        revision: 1,
        created_at: START,
        updated_at: START,
        provider: "providers/p".parse().unwrap(),
        client: "tenants/t/clients/app".parse().unwrap(),
        grant: GrantKind::RefreshToken,
        principal: None,
        subject: None,
        labels: BTreeMap::new(),
        requested_scopes: vec![],
        requested_resources: vec![],
        scopes: vec!["read".into()],
        narrowing: Narrowing::Refuse,
        api_base_url: None,
        state: State::Active,
        reason: None,
        before: None,
        family: id(2),
        generation: 3,
        dpop: None,
        refresh_token: Some(Sealed::from_bytes(*b"refresh")),
        previous_refresh_token: None,
        refresh_expires_at: None,
        due: Some(token.soft_at.plus(SKEW)),
        token: Some(token),
        attempt: None,
        settled: None,
        suspicion: None,
        ambiguous: None,
        failures: 0,
        last_success_at: Some(START),
        last_failure: None,
        authorization: None,
    }
}

/// The try number `n`, begun then, with a lease of 45 s.
pub(crate) fn attempt(n: u128, begun: Moment) -> Attempt {
    Attempt {
        id: id(n),
        replica: "a".into(),
        generation: 3,
        started_at: begun.here,
        lease_until: begun.store.plus(secs(45)),
        authorization: None,
    }
}

pub(crate) fn mark(generation: u64) -> Mark {
    Mark { generation, at: START, code: None, correlation_id: None }
}

pub(crate) fn client() -> Client {
    Client {
        name: "tenants/t/clients/app".parse().unwrap(),
        uid: id(3),
        revision: 1,
        created_at: START,
        updated_at: START,
        provider: "providers/p".parse().unwrap(),
        client_id: "client-1".into(),
        auth: ClientAuth::ClientSecretBasic,
        allowed_grants: vec![],
        allowed_scopes: vec![],
        environment: Environment::Sandbox,
        secrets: vec![secret(10)],
        preferred: None,
        rotation: None,
        hold: None,
        endings: vec![],
    }
}

pub(crate) fn secret(n: u128) -> StoredSecret {
    StoredSecret {
        id: id(n),
        public: PublicPart::SharedSecret,
        sealed: Some(Sealed::from_bytes(*b"secret")),
        created_at: START,
        retired_at: None,
        expires_at: None,
        last_used_at: None,
        refused_at: None,
    }
}
