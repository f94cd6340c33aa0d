//! What a server says of itself (RFC 8414, OpenID Connect Discovery 1.0), read as what it is: the word of a stranger.
//! Wrong types and names that come twice make all of it void, since nobody knows what its author meant.

use crate::domain::{profile::secure, strict};
use serde_json::{Map, Value};
use url::Url;

/// Longest address and longest word of a list, in bytes.
const ADDRESS_MAX: usize = 1024;
const WORD_MAX: usize = 128;
/// Most words of a list.
const WORDS_MAX: usize = 256;

/// The metadata, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Metadata {
    pub(crate) endpoints: Vec<(Endpoint, Url)>,
    /// RFC 8705 §5.
    pub(crate) aliases: Vec<(Endpoint, Url)>,
    pub(crate) auth_methods: Option<Vec<String>>,
    pub(crate) grants: Option<Vec<String>>,
    pub(crate) challenge_methods: Option<Vec<String>>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) dpop_algs: Option<Vec<String>>,
    pub(crate) signing_algs: Option<Vec<String>>,
    pub(crate) response_iss: Said,
    pub(crate) pushed_required: Said,
}

/// An address in the metadata, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    Token,
    Authorization,
    DeviceAuthorization,
    PushedAuthorization,
    Introspection,
    Revocation,
    Userinfo,
    Jwks,
}

/// A truth value that may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Said {
    Yes,
    No,
    #[default]
    Nothing,
}

/// Why metadata is void. In words of our own: what the server wrote is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Void {
    NotJson,
    OtherIssuer,
    NoIssuer,
    WrongType,
    Address,
}

impl Endpoint {
    pub const ALL: [Self; 8] = [
        Self::Token,
        Self::Authorization,
        Self::DeviceAuthorization,
        Self::PushedAuthorization,
        Self::Introspection,
        Self::Revocation,
        Self::Userinfo,
        Self::Jwks,
    ];

    /// As the metadata names it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Token => "token_endpoint",
            Self::Authorization => "authorization_endpoint",
            Self::DeviceAuthorization => "device_authorization_endpoint",
            Self::PushedAuthorization => "pushed_authorization_request_endpoint",
            Self::Introspection => "introspection_endpoint",
            Self::Revocation => "revocation_endpoint",
            Self::Userinfo => "userinfo_endpoint",
            Self::Jwks => "jwks_uri",
        }
    }
}

impl Metadata {
    /// The issuer is compared byte for byte (RFC 8414 §3.3): a server may speak for itself only.
    pub(crate) fn read(body: &[u8], issuer: &str) -> Result<Self, Void> {
        let members = strict::object(body).ok_or(Void::NotJson)?;
        match members.get("issuer") {
            Some(Value::String(named)) if named == issuer => {}
            Some(Value::String(_)) => return Err(Void::OtherIssuer),
            Some(_) => return Err(Void::WrongType),
            None => return Err(Void::NoIssuer),
        }
        let none = Map::new();
        let aliases = match members.get("mtls_endpoint_aliases") {
            None | Some(Value::Null) => &none,
            Some(Value::Object(aliases)) => aliases,
            Some(_) => return Err(Void::WrongType),
        };
        Ok(Self {
            endpoints: addresses(&members)?,
            aliases: addresses(aliases)?,
            auth_methods: words(&members, "token_endpoint_auth_methods_supported")?,
            grants: words(&members, "grant_types_supported")?,
            challenge_methods: words(&members, "code_challenge_methods_supported")?,
            scopes: words(&members, "scopes_supported")?,
            dpop_algs: words(&members, "dpop_signing_alg_values_supported")?,
            signing_algs: words(&members, "token_endpoint_auth_signing_alg_values_supported")?,
            response_iss: said(&members, "authorization_response_iss_parameter_supported")?,
            pushed_required: said(&members, "require_pushed_authorization_requests")?,
        })
    }
}

fn addresses(members: &Map<String, Value>) -> Result<Vec<(Endpoint, Url)>, Void> {
    let mut found = Vec::new();
    for endpoint in Endpoint::ALL {
        match members.get(endpoint.word()) {
            None | Some(Value::Null) => {}
            Some(Value::String(given)) => found.push((endpoint, address(given).ok_or(Void::Address)?)),
            Some(_) => return Err(Void::WrongType),
        }
    }
    Ok(found)
}

/// The URL standard repairs backslashes, blanks and line breaks; nobody honest sends them.
fn address(given: &str) -> Option<Url> {
    let plain = given.len() <= ADDRESS_MAX
        && given.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'@' | b'"' | b'<' | b'>'));
    let url = Url::parse(given).ok().filter(|_| plain)?;
    let fine = secure(&url) && url.host_str().is_some() && url.fragment().is_none();
    fine.then_some(url)
}

fn words(members: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, Void> {
    let list = match members.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) if list.len() <= WORDS_MAX => list,
        Some(_) => return Err(Void::WrongType),
    };
    let word = |item: &Value| {
        item.as_str().filter(|word| word.len() <= WORD_MAX).map(str::to_owned).ok_or(Void::WrongType)
    };
    list.iter().map(word).collect::<Result<_, _>>().map(Some)
}

fn said(members: &Map<String, Value>, name: &str) -> Result<Said, Void> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(Said::Nothing),
        Some(Value::Bool(true)) => Ok(Said::Yes),
        Some(Value::Bool(false)) => Ok(Said::No),
        Some(_) => Err(Void::WrongType),
    }
}

impl Void {
    pub(crate) const fn says(self) -> &'static str {
        match self {
            Self::NotJson => "server's metadata is not one JSON object without repeated names",
            Self::OtherIssuer => {
                "server's metadata is of another issuer: write `issuer` exactly as the server does"
            }
            Self::NoIssuer => "server's metadata names no issuer",
            Self::WrongType => "server's metadata has a member of the wrong type",
            Self::Address => {
                "server's metadata has an address that is not a plain https URL: write the endpoint in the profile"
            }
        }
    }
}
