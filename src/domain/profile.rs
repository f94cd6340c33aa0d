//! What is known about an authorization server, as data. Parsing and checking it is the provider room's work.
//!
//! What nobody knows stays `Unknown` and gets the most careful treatment.

mod extensions;
mod hosts;
mod networks;

use super::{
    client::HoldReason,
    failure::{Class, Reason},
    names::ProviderName,
};
pub use extensions::{
    AssertionAudience, Discovery, Introspection, Issuer, MinimumTls, MtlsAliases, Offer, Pkce,
    RequestScopeSeparator, ResourceIndicators, ResponseIss, SigningAlg,
};
pub use hosts::{HostPattern, is_loopback, secure};
pub use networks::{Network, NotANetwork};
use std::{collections::BTreeMap, time::Duration};
use url::Url;

#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub name: ProviderName,
    pub display_name: String,
    pub dialect: Dialect,
    /// RFC 8414 issuer, where the server has one.
    pub issuer: Option<Issuer>,
    /// Where the server says of itself which endpoints it has. What the profile writes goes before it.
    pub discovery: Discovery,
    /// Where a token is asked for. For SAP Concur the path is appended to the data centre's base URI instead.
    /// `None` also where it comes from discovery; so with the other endpoints.
    pub token_endpoint: Option<Url>,
    /// Where a person's browser is sent (RFC 6749 §3.1). The broker itself sends nothing there, so `hosts` need not
    /// admit it.
    pub authorization_endpoint: Option<Url>,
    /// RFC 8628 §3.1.
    pub device_authorization_endpoint: Option<Url>,
    /// RFC 9126 §2.
    pub pushed_authorization_request_endpoint: Option<Url>,
    pub introspection_endpoint: Option<Url>,
    pub introspection: Introspection,
    pub revocation_endpoint: Option<Url>,
    pub revocation: Revocation,
    /// Keys that sign the server's tokens (RFC 7517). Public.
    pub jwks_uri: Option<Url>,
    /// OpenID Connect Core §5.3.
    pub userinfo_endpoint: Option<Url>,
    /// Used in their stead by clients that authenticate by certificate (RFC 8705 §5).
    pub mtls_endpoint_aliases: MtlsAliases,
    /// Base URIs by data-centre name (SAP Concur), the one where a bootstrap starts, and the one for browsers.
    pub data_centers: BTreeMap<String, Url>,
    pub bootstrap_at: Option<Url>,
    pub authorize_at: Option<Url>,
    /// Hosts that may be sent a secret. Nothing else is, whatever an answer or a record says.
    pub hosts: Vec<HostPattern>,
    pub client_auth: Vec<ClientAuth>,
    pub grants: Vec<GrantKind>,
    /// RFC 7636: whether the authorization request carries a challenge.
    pub pkce: Pkce,
    /// RFC 9207: whether the authorization response names its issuer.
    pub response_iss: ResponseIss,
    /// RFC 9126: whether authorization requests are handed in beforehand.
    pub pushed_authorization: Offer,
    /// RFC 8707: where `resource` is sent.
    pub resource_indicators: ResourceIndicators,
    /// RFC 9449: whether tokens can be bound to a key.
    pub dpop: Offer,
    /// Added to whatever scopes a person is asked for, as `offline_access`, without which some servers give no
    /// refresh token.
    pub offline_scopes: Vec<String>,
    /// Fixed parameters of every authorization request; they never replace one that the request has.
    pub authorization_parameters: BTreeMap<String, String>,
    /// The same for every token request.
    pub token_parameters: BTreeMap<String, String>,
    pub request_scope_separator: RequestScopeSeparator,
    /// What a client's own JWT says whom it is for (RFC 7523 §3).
    pub assertion_audience: AssertionAudience,
    /// What the server takes as the algorithm of `private_key_jwt`, most wanted first.
    pub signing_algs: Vec<SigningAlg>,
    /// PEM of certificates that are trusted for this server besides the system's.
    pub ca_certificates: Option<String>,
    pub minimum_tls: MinimumTls,
    /// Private networks that the hosts may be in though all others are closed: servers of one's own.
    pub private_networks: Vec<Network>,
    pub rotation: Rotation,
    pub reuse: Reuse,
    pub overlap: Overlap,
    /// How long the previous refresh token still works after a rotation; zero where it does not.
    pub grace: Duration,
    pub refresh_expiry: RefreshExpiry,
    pub lifetimes: Lifetimes,
    pub quirks: Quirks,
    /// One request to the token endpoint, from the first byte to the last.
    pub exchange_timeout: Duration,
    /// The longest pause between two tries while the server is down: at least one minute is usual, SAP Concur asks for five.
    pub retry_ceiling: Duration,
    /// What error codes of this server mean, by its own code first, then by RFC 6749 `error`. Two kinds of
    /// keys are no codes: [`ANY_OTHER_CODE`], and `http_403` and the like for JSON errors that nothing else names.
    pub errors: BTreeMap<String, Rule>,
    /// The same, where they mean something else for a grant that is used once (a bootstrap).
    pub bootstrap_errors: BTreeMap<String, Rule>,
    /// Where the values come from.
    pub sources: Vec<Source>,
}

/// A document that values were taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub document: String,
    pub url: Option<String>,
    /// The day on which it was read, as `2026-11-24`.
    pub read: Option<String>,
    /// Keys of the profile that it establishes, as `grace` or `lifetimes.refresh_idle`.
    pub says: Vec<String>,
}

/// How the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    Rfc6749,
    SapConcur,
}

/// Does a refresh replace the refresh token? (RFC 6749 §6, RFC 9700 §4.14.2)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    Never,
    Always,
    Sometimes,
    #[default]
    Unknown,
}

/// What the server does when a refresh token that was replaced comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    Ignore,
    Reject,
    RevokeFamily,
    #[default]
    Unknown,
}

/// Does the old access token live on after a refresh?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    #[default]
    OldAccessTokenSurvives,
    Dies,
}

/// How the server tells when the refresh token expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshExpiry {
    #[default]
    None,
    /// Seconds from now, in `refresh_expires_in` or `refresh_token_expires_in`.
    Relative,
    /// Seconds since the epoch, in `refresh_expires_in` (SAP Concur).
    Epoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    #[default]
    None,
    /// RFC 7009.
    Rfc7009,
    /// `DELETE /app-mgmt/v0/connections` with the principal's access token (SAP Concur).
    ConcurDelete,
}

/// OAuth 2.0 client authentication (RFC 6749 §2.3, OIDC Core §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    ClientSecretBasic,
    ClientSecretPost,
    ClientSecretJwt,
    PrivateKeyJwt,
    TlsClientAuth,
    SelfSignedTlsClientAuth,
    None,
}

/// How a connection came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    ClientCredentials,
    RefreshToken,
    AuthorizationCode,
    DeviceCode,
    Password,
    Otp,
    CompanyRequestToken,
    JwtBearer,
    TokenExchange,
    SamlBearer,
}

/// Used where the server does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifetimes {
    pub access_default: Option<Duration>,
    pub refresh_idle: Option<Duration>,
    pub refresh_absolute: Option<Duration>,
}

/// Where a server leaves the standard, and how far it is followed there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quirks {
    pub missing_token_type: MissingTokenType,
    pub scope_separator: ScopeSeparator,
    /// Hosts whose redirects are followed: the same request goes once to the address they name, if that is allowed.
    pub redirecting_hosts: Vec<HostPattern>,
    /// What `token_type` may be besides `Bearer` for a token that is sent as one.
    pub bearer_words: Vec<String>,
    /// The member whose object holds the tokens, where they are not at the top of the answer.
    pub nested_in: Option<String>,
    /// The member that holds the server's own code in a refusal; `code` where nothing is written.
    pub code_field: Option<String>,
}

/// What to make of an answer without `token_type`, which RFC 6749 §5.1 requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingTokenType {
    #[default]
    Refuse,
    MeansBearer,
}

/// What stands between two scopes of one string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeSeparator {
    /// RFC 6749 §3.3; a tab or a line break counts as a space.
    #[default]
    Whitespace,
    WhitespaceOrComma,
}

/// Key of [`Profile::errors`] for codes of the server's own that the table does not name.
pub const ANY_OTHER_CODE: &str = "*";

/// What an error code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub class: Class,
    /// Why the connection would end, if this is confirmed.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// Why the client is held, where it is refused (`class = "client"`).
    #[serde(default)]
    pub hold: Option<HoldReason>,
}

impl Profile {
    /// Whether endpoints that are not written come from the server's own metadata.
    pub fn discovers(&self) -> bool {
        match self.discovery {
            Discovery::None => false,
            Discovery::Oidc | Discovery::Oauth => true,
        }
    }

    /// Whether requests for consent are handed in beforehand (RFC 9126). Where it is merely offered it would only be one
    /// thing more that can fail.
    pub fn pushes(&self) -> bool {
        match self.pushed_authorization {
            Offer::Never | Offer::Offered => false,
            Offer::Required => true,
        }
    }

    /// One exchange, all its requests included: a server that sends the request on to another (SAP Concur's
    /// data centres) answers that at once, so a quarter more than one request's time is enough.
    pub fn exchange_deadline(&self) -> Duration {
        self.exchange_timeout + self.exchange_timeout / 4
    }

    /// May this address be sent a secret? Only over TLS, or within this machine, and only to a listed host.
    pub fn admits(&self, url: &Url) -> bool {
        secure(url) && self.hosts.iter().any(|pattern| pattern.admits(url))
    }
}
