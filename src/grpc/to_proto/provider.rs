//! A profile into an answer. Says what the profile says, unknowns too.

use super::{client_auth, duration, grant_kind};
use crate::{
    api::{self, provider as wire},
    domain::profile::{
        AssertionAudience, Discovery, Introspection, Offer, Overlap, Pkce, Profile, RefreshExpiry,
        RequestScopeSeparator, ResourceIndicators, ResponseIss, Reuse, Revocation, Rotation, Source,
    },
};
use url::Url;

pub fn provider(p: &Profile) -> api::Provider {
    api::Provider {
        name: p.name.to_string(),
        display_name: p.display_name.clone(),
        issuer: p.issuer.as_ref().map(|issuer| issuer.as_str().to_owned()).unwrap_or_default(),
        token_endpoint: text(p.token_endpoint.as_ref()),
        endpoints: Some(endpoints(p)),
        dialect: p.dialect.word().to_owned(),
        rotation: rotation(p.rotation).into(),
        reuse: reuse(p.reuse).into(),
        overlap: overlap(p.overlap).into(),
        grace: Some(duration(p.grace)),
        lifetimes: Some(api::Lifetimes {
            access_token: p.lifetimes.access_default.map(duration),
            refresh_token_idle: p.lifetimes.refresh_idle.map(duration),
            refresh_token_absolute: p.lifetimes.refresh_absolute.map(duration),
        }),
        refresh_expiry: refresh_expiry(p.refresh_expiry).into(),
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
        revocation: revocation(p.revocation).into(),
        exchange_timeout: Some(duration(p.exchange_timeout)),
        narrows_scopes: false,
        sources: p.sources.iter().map(source).collect(),
        discovery: discovery(p.discovery).into(),
        pkce: pkce(p.pkce).into(),
        response_iss: response_iss(p.response_iss).into(),
        pushed_authorization: offer(p.pushed_authorization).into(),
        resource_indicators: resource_indicators(p.resource_indicators).into(),
        dpop: offer(p.dpop).into(),
        introspection: introspection(p.introspection).into(),
        offline_scopes: p.offline_scopes.clone(),
        authorization_parameters: p.authorization_parameters.clone(),
        token_parameters: p.token_parameters.clone(),
        request_scope_separator: scope_separator(p.request_scope_separator).into(),
        assertion_audience: assertion_audience(p.assertion_audience).into(),
        signing_algs: p.signing_algs.iter().map(ToString::to_string).collect(),
        ca_certificates: p.ca_certificates.clone().unwrap_or_default(),
        minimum_tls: p.minimum_tls.to_string(),
    }
}

fn source(source: &Source) -> api::ProviderSource {
    api::ProviderSource {
        document: source.document.clone(),
        url: source.url.clone().unwrap_or_default(),
        read: source.read.clone().unwrap_or_default(),
        keys: source.says.clone(),
    }
}

fn text(url: Option<&Url>) -> String {
    url.map(ToString::to_string).unwrap_or_default()
}

fn endpoints(p: &Profile) -> api::Endpoints {
    let mtls = &p.mtls_endpoint_aliases;
    api::Endpoints {
        authorization: text(p.authorization_endpoint.as_ref().or(p.authorize_at.as_ref())),
        device_authorization: text(p.device_authorization_endpoint.as_ref()),
        otp: String::new(),
        revocation: text(p.revocation_endpoint.as_ref()),
        introspection: text(p.introspection_endpoint.as_ref()),
        jwks: text(p.jwks_uri.as_ref()),
        pushed_authorization_request: text(p.pushed_authorization_request_endpoint.as_ref()),
        userinfo: text(p.userinfo_endpoint.as_ref()),
        mtls_aliases: Some(api::MtlsEndpointAliases {
            token: text(mtls.token_endpoint.as_ref()),
            revocation: text(mtls.revocation_endpoint.as_ref()),
            introspection: text(mtls.introspection_endpoint.as_ref()),
            device_authorization: text(mtls.device_authorization_endpoint.as_ref()),
            pushed_authorization_request: text(mtls.pushed_authorization_request_endpoint.as_ref()),
        }),
    }
}

const fn rotation(given: Rotation) -> wire::Rotation {
    match given {
        Rotation::Never => wire::Rotation::Never,
        Rotation::Always => wire::Rotation::Always,
        Rotation::Sometimes => wire::Rotation::Sometimes,
        Rotation::Unknown => wire::Rotation::Unknown,
    }
}

const fn reuse(given: Reuse) -> wire::Reuse {
    match given {
        Reuse::Ignore => wire::Reuse::Ignore,
        Reuse::Reject => wire::Reuse::Reject,
        Reuse::RevokeFamily => wire::Reuse::RevokeFamily,
        Reuse::Unknown => wire::Reuse::Unknown,
    }
}

const fn overlap(given: Overlap) -> wire::Overlap {
    match given {
        Overlap::OldAccessTokenSurvives => wire::Overlap::OldAccessTokenSurvives,
        Overlap::Dies => wire::Overlap::OldAccessTokenDies,
    }
}

const fn refresh_expiry(given: RefreshExpiry) -> wire::RefreshExpiry {
    match given {
        RefreshExpiry::None => wire::RefreshExpiry::None,
        RefreshExpiry::Relative => wire::RefreshExpiry::Relative,
        RefreshExpiry::Epoch => wire::RefreshExpiry::Epoch,
    }
}

const fn revocation(given: Revocation) -> wire::Revocation {
    match given {
        Revocation::None => wire::Revocation::None,
        Revocation::Rfc7009 => wire::Revocation::Rfc7009,
        Revocation::ConcurDelete => wire::Revocation::DeleteConnections,
    }
}

const fn discovery(given: Discovery) -> wire::Discovery {
    match given {
        Discovery::None => wire::Discovery::None,
        Discovery::Oidc => wire::Discovery::Oidc,
        Discovery::Oauth => wire::Discovery::Oauth,
    }
}

const fn pkce(given: Pkce) -> wire::Pkce {
    match given {
        Pkce::S256 => wire::Pkce::S256,
        Pkce::None => wire::Pkce::None,
    }
}

const fn response_iss(given: ResponseIss) -> wire::ResponseIss {
    match given {
        ResponseIss::Required => wire::ResponseIss::Required,
        ResponseIss::Optional => wire::ResponseIss::Optional,
        ResponseIss::Absent => wire::ResponseIss::Absent,
        ResponseIss::Unknown => wire::ResponseIss::Unknown,
    }
}

const fn offer(given: Offer) -> wire::Offer {
    match given {
        Offer::Never => wire::Offer::Never,
        Offer::Offered => wire::Offer::Offered,
        Offer::Required => wire::Offer::Required,
    }
}

const fn resource_indicators(given: ResourceIndicators) -> wire::ResourceIndicators {
    match given {
        ResourceIndicators::None => wire::ResourceIndicators::None,
        ResourceIndicators::Authorization => wire::ResourceIndicators::Authorization,
        ResourceIndicators::Everywhere => wire::ResourceIndicators::Everywhere,
    }
}

const fn introspection(given: Introspection) -> wire::Introspection {
    match given {
        Introspection::None => wire::Introspection::None,
        Introspection::Rfc7662 => wire::Introspection::Rfc7662,
    }
}

const fn scope_separator(given: RequestScopeSeparator) -> wire::ScopeSeparator {
    match given {
        RequestScopeSeparator::Space => wire::ScopeSeparator::Space,
        RequestScopeSeparator::Comma => wire::ScopeSeparator::Comma,
    }
}

const fn assertion_audience(given: AssertionAudience) -> wire::AssertionAudience {
    match given {
        AssertionAudience::Issuer => wire::AssertionAudience::Issuer,
        AssertionAudience::TokenEndpoint => wire::AssertionAudience::TokenEndpoint,
    }
}
