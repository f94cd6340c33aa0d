//! What is known about an authorization server, as data. Parsing and checking it is the provider room's work.
//!
//! What nobody knows stays `Unknown` and gets the most careful treatment.

use super::{
    failure::{Class, Reason},
    names::ProviderName,
};
use std::{collections::BTreeMap, time::Duration};
use url::Url;

#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub name: ProviderName,
    pub display_name: String,
    pub dialect: Dialect,
    /// RFC 8414 issuer, where the server has one.
    pub issuer: Option<Url>,
    /// Where a token is asked for. For SAP Concur the path is appended to the data centre's base URI instead.
    pub token_endpoint: Option<Url>,
    pub revocation_endpoint: Option<Url>,
    pub revocation: Revocation,
    /// Base URIs by data-centre name (SAP Concur), and the one where a bootstrap starts.
    pub data_centers: BTreeMap<String, Url>,
    pub bootstrap_at: Option<Url>,
    /// Hosts that may be sent a secret. Nothing else is, whatever an answer or a record says.
    pub hosts: Vec<HostPattern>,
    pub client_auth: Vec<ClientAuth>,
    pub grants: Vec<GrantKind>,
    pub rotation: Rotation,
    pub reuse: Reuse,
    pub overlap: Overlap,
    /// How long the previous refresh token still works after a rotation; zero where it does not.
    pub grace: Duration,
    pub refresh_expiry: RefreshExpiry,
    pub lifetimes: Lifetimes,
    /// One request to the token endpoint, from the first byte to the last.
    pub exchange_timeout: Duration,
    /// The longest pause between two tries while the server is down: at least one minute is usual, SAP Concur asks for five.
    pub retry_ceiling: Duration,
    /// What error codes of this server mean, by its own code first, then by RFC 6749 `error`.
    pub errors: BTreeMap<String, Rule>,
    /// The same, where they mean something else for a grant that is used once (a bootstrap).
    pub bootstrap_errors: BTreeMap<String, Rule>,
    /// Where the values come from.
    pub sources: Vec<String>,
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
}

/// Used where the server does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifetimes {
    pub access_default: Option<Duration>,
    pub refresh_idle: Option<Duration>,
    pub refresh_absolute: Option<Duration>,
}

/// A host that may receive secrets: `api.example.com`, `*.api.example.com` (one label more), or, for servers on
/// this machine, `127.0.0.1:7611` or `127.0.0.1:*`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct HostPattern(pub String);

/// What an error code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub class: Class,
    /// Why the connection would end, if this is confirmed.
    #[serde(default)]
    pub reason: Option<Reason>,
}

impl Profile {
    /// One exchange, all its requests included: a server that sends the request on to another (SAP Concur's
    /// data centres) answers that at once, so a quarter more than one request's time is enough.
    pub fn exchange_deadline(&self) -> Duration {
        self.exchange_timeout + self.exchange_timeout / 4
    }
}
