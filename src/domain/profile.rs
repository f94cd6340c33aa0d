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

/// Where a server leaves the standard, and how far it is followed there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quirks {
    pub missing_token_type: MissingTokenType,
    pub scope_separator: ScopeSeparator,
    /// Hosts whose redirects are followed: the same request goes once to the address they name, if that is allowed.
    pub redirecting_hosts: Vec<HostPattern>,
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

/// A host that may receive secrets: `api.example.com`, `*.api.example.com` (one label more, not none and not two),
/// `idp.example.com:8443`, or, for servers on this machine, `127.0.0.1:7611` or `127.0.0.1:*`. Without a port it
/// is the scheme's own.
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

    /// May this address be sent a secret? Only over TLS, or within this machine, and only to a listed host.
    pub fn admits(&self, url: &Url) -> bool {
        secure(url) && self.hosts.iter().any(|pattern| pattern.admits(url))
    }
}

impl HostPattern {
    /// Compares host and port; the scheme is looked at elsewhere.
    pub fn admits(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let (pattern, port) = split_port(&self.0);
        let port_fits = match port {
            Some("*") => true,
            Some(port) => url.port_or_known_default().is_some_and(|given| given.to_string() == port),
            None => url.port().is_none(),
        };
        let host_fits = match pattern.strip_prefix("*.") {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
            None => host.eq_ignore_ascii_case(pattern),
        };
        port_fits && host_fits
    }

    /// The host and the port as they are written.
    pub fn parts(&self) -> (&str, Option<&str>) {
        split_port(&self.0)
    }
}

/// `https`, or `http` to a host that is this machine by its very name.
pub fn secure(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

/// An IP literal of the loopback network, or `localhost`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

fn split_port(pattern: &str) -> (&str, Option<&str>) {
    match pattern.rsplit_once(':') {
        // The colons of an IPv6 literal stand inside brackets.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (pattern, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_pattern_admits_what_it_names_and_no_more() {
        let cases = [
            ("api.example.com", "https://api.example.com/x", true),
            ("api.example.com", "https://API.example.com", true),
            ("api.example.com", "https://api.example.com:443", true),
            ("api.example.com", "https://api.example.com:8443", false),
            ("api.example.com", "https://api.example.com.", false),
            ("api.example.com", "https://api.example.com.evil", false),
            ("api.example.com:8443", "https://api.example.com:8443", true),
            ("api.example.com:8443", "https://api.example.com", false),
            ("api.example.com:443", "https://api.example.com", true),
            ("*.api.example.com", "https://us.api.example.com", true),
            ("*.api.example.com", "https://api.example.com", false),
            ("*.api.example.com", "https://.api.example.com", false),
            ("*.api.example.com", "https://a.b.api.example.com", false),
            ("*.api.example.com", "https://evil-api.example.com", false),
            ("127.0.0.1:*", "http://127.0.0.1:7611", true),
            ("127.0.0.1:*", "http://127.0.0.2:7611", false),
            ("[::1]:*", "http://[::1]:7611", true),
            ("[::1]", "http://[::1]:7611", false),
        ];
        for (pattern, url, admitted) in cases {
            let url = Url::parse(url).unwrap();
            assert_eq!(HostPattern(pattern.into()).admits(&url), admitted, "{pattern} {url}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in ["https://a.example", "http://127.0.0.1:1", "http://[::1]", "http://localhost:9"] {
            assert!(secure(&Url::parse(good).unwrap()), "{good}");
        }
        for bad in [
            "http://a.example",
            "http://localhost.evil.example",
            "http://10.0.0.1",
            "ftp://localhost",
            "ws://[::1]",
        ] {
            assert!(!secure(&Url::parse(bad).unwrap()), "{bad}");
        }
    }
}
