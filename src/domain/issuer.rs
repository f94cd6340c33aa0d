//! Who signs callers' tokens, and what of such a token is believed. Plain data: what an operator wrote, checked.

use super::{names::Id, profile::HostPattern};
use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr, time::Duration};
use url::Url;

/// An issuer of JWTs, as its file describes it. All that its tokens are held to; two that are equal behave the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// What policies call it: `oidc:NAME:SUBJECT`.
    pub name: Id,
    /// The claim `iss`, byte for byte.
    pub issuer: String,
    /// A token is meant for one of these (`aud`). Never empty.
    pub audiences: BTreeSet<String>,
    /// What its tokens may be signed with. Never empty.
    pub algorithms: BTreeSet<Algorithm>,
    pub keys: KeySource,
    /// How far the two clocks may be apart.
    pub leeway: Duration,
    /// Longest time from `iat` to `exp`.
    pub max_lifetime: Duration,
    pub token_type: TokenType,
    /// Empty: any subject.
    pub subject_prefix: String,
    /// The claim that lists groups.
    pub groups_claim: Option<String>,
    pub binding: Binding,
}

/// Where the keys are that it signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The text of a file: a JWK set (RFC 7517 section 5).
    Text(String),
    Server(Box<KeyServer>),
}

/// Where to fetch keys from, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyServer {
    pub at: KeyAddress,
    /// PEM of the only authorities that may vouch for the server; `None`: those of the system.
    pub ca: Option<String>,
    /// File with a bearer token of our own, read for each request.
    pub credential: Option<PathBuf>,
    pub route: Route,
    /// How often keys are fetched anew.
    pub refresh: Duration,
    /// How long keys are used that could not be fetched anew.
    pub max_age: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAddress {
    /// What the issuer's own metadata say (OpenID Connect Discovery 1.0 section 4), if it is on one of these hosts.
    Discovery {
        /// `{issuer}/.well-known/openid-configuration`.
        metadata: Url,
        hosts: Vec<HostPattern>,
    },
    Known(Url),
}

/// How an issuer's server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Direct,
    /// As providers are, through the proxy of `egress.proxy`.
    Proxy,
}

/// How a token may be signed: with a key of the issuer's alone. There is no `none` and no HMAC here, so that no token
/// can be taken for one that is signed with a public key as its secret (RFC 8725 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// What kinds of JWT are taken, by the header `typ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// Without `typ`, `JWT` and `at+jwt`.
    Jwt,
    /// `at+jwt` alone (RFC 9068), for issuers whose ID tokens could be mistaken for it.
    AccessToken,
}

/// Whether a token has to be bound to the caller's client certificate (RFC 8705 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Only one that says so.
    IfPresent,
    Required,
}

impl Algorithm {
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// As the header `alg` writes it (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// No algorithm that a token of a caller may be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotOne;

impl FromStr for Algorithm {
    type Err = NotOne;

    fn from_str(word: &str) -> Result<Self, NotOne> {
        Self::ALL.into_iter().find(|algorithm| algorithm.word() == word).ok_or(NotOne)
    }
}
