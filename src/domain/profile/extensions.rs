//! How far an authorization server follows what was added to RFC 6749 over the years, as data.

use serde::Deserialize;
use url::Url;

/// An issuer identifier as it is written: it is compared byte for byte (RFC 8414 §3.3, RFC 9207 §2.4), and a parsed
/// URL may have gained a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    written: String,
    url: Url,
}

impl Issuer {
    /// `url` is what `written` parses to.
    pub fn new(written: &str, url: Url) -> Self {
        Self { written: written.to_owned(), url }
    }

    pub fn as_str(&self) -> &str {
        &self.written
    }

    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Where the server publishes its metadata, below its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discovery {
    #[default]
    None,
    /// `{issuer}/.well-known/openid-configuration` (OpenID Connect Discovery 1.0 §4).
    Oidc,
    /// `/.well-known/oauth-authorization-server` between host and path of the issuer (RFC 8414 §3).
    Oauth,
}

/// Endpoints for clients that authenticate by certificate (RFC 8705 §5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MtlsAliases {
    pub token_endpoint: Option<Url>,
    pub revocation_endpoint: Option<Url>,
    pub introspection_endpoint: Option<Url>,
    pub device_authorization_endpoint: Option<Url>,
    pub pushed_authorization_request_endpoint: Option<Url>,
}

/// RFC 7636. A server that does not know it ignores the challenge (RFC 6749 §3.1), so it is left out only where
/// the server is known to refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pkce {
    #[default]
    S256,
    None,
}

/// `iss` in the authorization response (RFC 9207).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseIss {
    /// An answer without it is refused.
    Required,
    /// Compared where it comes.
    Optional,
    /// The server does not send it; if it comes it is compared all the same.
    Absent,
    /// As `Optional`.
    #[default]
    Unknown,
}

/// Something that the server may know, and may insist on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// Not used.
    #[default]
    Never,
    /// Used where somebody asks for it.
    Offered,
    /// Always used.
    Required,
}

/// Which requests carry `resource` (RFC 8707 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceIndicators {
    #[default]
    None,
    /// The authorization request only.
    Authorization,
    /// Token requests too, refreshes among them.
    Everywhere,
}

/// Whether the server can be asked about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Introspection {
    #[default]
    None,
    Rfc7662,
}

/// What stands between two scopes of an authorization request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestScopeSeparator {
    /// RFC 6749 §3.3.
    #[default]
    Space,
    Comma,
}

/// `aud` of a client's JWT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionAudience {
    /// The issuer, which no other server can pass off as its own; the token endpoint where there is no issuer.
    #[default]
    Issuer,
    TokenEndpoint,
}

/// JWS algorithms for a client's JWT (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub enum SigningAlg {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "RS256")]
    Rs256,
}

/// The oldest version of TLS that is spoken with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum MinimumTls {
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}
