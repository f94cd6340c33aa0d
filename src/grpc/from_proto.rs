//! Requests into plain data. Everything that comes in is checked here, and an error names the field and the mend.

mod credentials;
mod grant;
mod start;

pub use grant::grant;
pub use start::{otp, principals, start};

use super::problem::Problem;
use crate::{
    api,
    broker::admin::credentials::NewSecret,
    clock::Timestamp,
    domain::{
        client::Environment,
        connection::Narrowing,
        labels::LabelPatch,
        names::NameError,
        profile::{ClientAuth, GrantKind},
        token::Secret,
    },
    store::Key,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{collections::BTreeMap, str::FromStr, time::Duration};
use uuid::Uuid;

/// Most scopes of a request, and longest one in characters.
const SCOPES_MAX: usize = 256;
const SCOPE_LENGTH_MAX: usize = 256;
/// Most resource indicators of a request, and longest one in characters.
const RESOURCES_MAX: usize = 16;
const RESOURCE_LENGTH_MAX: usize = 2048;
/// Most labels of a resource.
const LABELS_MAX: usize = 64;
const LABEL_LENGTH_MAX: usize = 63;
/// Longest display name, in characters.
const DISPLAY_NAME_MAX: usize = 200;
/// Longest client identifier, in bytes.
const CLIENT_ID_MAX: usize = 512;
/// Longest secret, refresh token or assertion, in bytes.
const SECRET_MAX: usize = 16 * 1024;
/// Page sizes: what an unset one means, and the most.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1000;
/// Longest lifetime that can be asked of a token.
const MIN_LIFETIME_MAX: Duration = Duration::from_hours(24 * 30);

pub fn name<N: FromStr<Err = NameError>>(field: &str, text: &str) -> Result<N, Problem> {
    if text.is_empty() {
        return Err(Problem::field(field, "is required"));
    }
    text.parse().map_err(|err| {
        // What was given is not repeated: it may be a secret in the wrong place, and error texts get around.
        let mend = match err {
            NameError::Id(_) => {
                "an id is 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit".to_owned()
            }
            NameError::Form { form, .. } => format!("is not a resource name of the form `{form}`"),
        };
        Problem::field(field, mend)
    })
}

pub fn timestamp(at: &prost_types::Timestamp) -> Timestamp {
    let millis = u64::try_from(at.seconds).unwrap_or(0).saturating_mul(1000);
    Timestamp(millis.saturating_add(u64::try_from(at.nanos / 1_000_000).unwrap_or(0)))
}

pub fn min_lifetime(given: Option<prost_types::Duration>) -> Result<Option<Duration>, Problem> {
    let Some(given) = given else { return Ok(None) };
    let wrong = |mend: &str| Problem::field("min_lifetime", mend);
    let span = Duration::try_from(given).map_err(|_| wrong("must not be negative"))?;
    if span > MIN_LIFETIME_MAX {
        return Err(wrong("is longer than any access token lives: ask for less than 30 days"));
    }
    Ok(Some(span))
}

/// RFC 6749 §3.3: visible ASCII without quotes and backslash.
pub fn scopes(field: &str, given: Vec<String>) -> Result<Vec<String>, Problem> {
    if given.len() > SCOPES_MAX {
        return Err(Problem::field(field, format!("has more than {SCOPES_MAX} scopes")));
    }
    let mut kept: Vec<String> = Vec::with_capacity(given.len());
    for scope in given {
        let well_formed = (1..=SCOPE_LENGTH_MAX).contains(&scope.len())
            && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        if !well_formed {
            let mend = "a scope is 1 to 256 visible ASCII characters without quotes, spaces and backslash; \
                        give one scope per entry";
            return Err(Problem::field(field, mend));
        }
        if !kept.contains(&scope) {
            kept.push(scope);
        }
    }
    Ok(kept)
}

/// RFC 8707 §2: absolute URIs without a fragment. Kept as they are written: servers compare them so.
pub fn resources(field: &str, given: Vec<String>) -> Result<Vec<String>, Problem> {
    if given.len() > RESOURCES_MAX {
        return Err(Problem::field(field, format!("has more than {RESOURCES_MAX} resources")));
    }
    for resource in &given {
        let written = resource.len() <= RESOURCE_LENGTH_MAX && resource.bytes().all(|b| b.is_ascii_graphic());
        if !written || !url::Url::parse(resource).is_ok_and(|url| url.fragment().is_none()) {
            let mend = "a resource is an absolute URI without a fragment, at most 2048 characters";
            return Err(Problem::field(field, mend));
        }
    }
    Ok(given)
}

pub fn labels(field: &str, given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Problem> {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let well_formed = |text: &str| {
        text.len() <= LABEL_LENGTH_MAX
            && text.chars().all(inner)
            && edge(text.chars().next())
            && edge(text.chars().last())
    };
    if given.len() > LABELS_MAX {
        return Err(Problem::field(field, format!("has more than {LABELS_MAX} labels")));
    }
    for (key, value) in &given {
        if key.is_empty() || !well_formed(key) || !well_formed(value) {
            let mend = "label names and values are up to 63 letters, digits, -, _ and ., beginning and ending \
                        with a letter or digit";
            return Err(Problem::field(field, mend));
        }
    }
    Ok(given)
}

pub fn display_name(field: &str, given: String) -> Result<String, Problem> {
    if given.chars().count() > DISPLAY_NAME_MAX || given.chars().any(char::is_control) {
        return Err(Problem::field(
            field,
            format!("is at most {DISPLAY_NAME_MAX} characters without control ones"),
        ));
    }
    Ok(given)
}

/// Text that a provider gave, opaque to us: not empty, bounded.
pub fn opaque(field: &str, given: String) -> Result<String, Problem> {
    match given.len() {
        0 => Err(Problem::field(field, "is required")),
        1..=SECRET_MAX => Ok(given),
        _ => Err(Problem::field(field, format!("is longer than {SECRET_MAX} bytes"))),
    }
}

/// RFC 6749 appendix A.1: visible ASCII and spaces. Anything else could be no identifier at a provider, and steer the
/// terminal of whoever looks at it.
pub fn client_id(field: &str, given: String) -> Result<String, Problem> {
    let well_formed = (1..=CLIENT_ID_MAX).contains(&given.len())
        && given.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if well_formed {
        return Ok(given);
    }
    let mend = format!(
        "is required: 1 to {CLIENT_ID_MAX} visible ASCII characters and spaces, as the provider gave it"
    );
    Err(Problem::field(field, mend))
}

/// A private key in PEM; `None` where none was given. Whether it is one is for who uses it.
pub fn pem(field: &str, given: String) -> Result<Option<Secret>, Problem> {
    if given.is_empty() { Ok(None) } else { opaque(field, given).map(|pem| Some(Secret::new(pem))) }
}

pub fn uuid(field: &str, given: &str) -> Result<Uuid, Problem> {
    given.parse().map_err(|_| Problem::field(field, "is not a UUID"))
}

pub fn page_size(given: i32) -> Result<usize, Problem> {
    match usize::try_from(given) {
        Ok(0) => Ok(PAGE_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_MAX)),
        Err(_) => Err(Problem::field("page_size", "must not be negative")),
    }
}

/// A page token says after which key the page begins.
/// A sealed token, as [`Admin::from_page_token`](crate::broker::admin::Admin::from_page_token) takes it.
pub fn sealed_page(given: &str) -> Result<Vec<u8>, Problem> {
    let mend = "is not a next_page_token of this method: start again without it";
    let short = given.len() <= PAGE_TOKEN_MAX;
    let decoded = URL_SAFE_NO_PAD.decode(given).ok().filter(|_| short);
    decoded.ok_or_else(|| Problem::field("page_token", mend))
}

pub fn to_sealed_page(token: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(token)
}

pub fn page_token(given: &str) -> Result<Option<Key>, Problem> {
    if given.is_empty() {
        return Ok(None);
    }
    let decoded = URL_SAFE_NO_PAD.decode(given).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let key = decoded.and_then(|text| Key::new(text).ok());
    let mend = "is not a next_page_token of this method: start again without it";
    key.map(Some).ok_or_else(|| Problem::field("page_token", mend))
}

pub fn to_page_token(next: Option<&Key>) -> String {
    next.map(|key| URL_SAFE_NO_PAD.encode(key.as_str())).unwrap_or_default()
}

/// Longest page token, in bytes.
const PAGE_TOKEN_MAX: usize = 4096;

/// Which fields an update is about: those of the mask, or, without one, those that are set.
pub struct Mask(Option<Vec<String>>);

impl Mask {
    pub fn new(mask: Option<prost_types::FieldMask>, changeable: &[&str]) -> Result<Self, Problem> {
        let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else { return Ok(Self(None)) };
        for path in &mask.paths {
            let label = path.strip_prefix("labels.").is_some_and(|key| !key.is_empty());
            let known = changeable.contains(&path.as_str()) || (label && changeable.contains(&"labels"));
            if path != "*" && !known {
                let mend =
                    format!("names a field that cannot be changed; these can: {}", changeable.join(", "));
                return Err(Problem::field("update_mask", mend));
            }
        }
        Ok(Self(Some(mask.paths)))
    }

    /// The labels that are changed one by one; none, if they are replaced as a whole.
    fn label_keys(&self) -> impl Iterator<Item = &str> {
        let paths = self.0.as_deref().unwrap_or_default();
        let whole = paths.iter().any(|path| path == "labels" || path == "*");
        paths.iter().filter_map(|path| path.strip_prefix("labels.")).filter(move |_| !whole)
    }

    /// The value, if the update is about this field.
    pub fn take<T>(&self, path: &str, value: T, is_set: impl Fn(&T) -> bool) -> Option<T> {
        let wanted = match &self.0 {
            Some(paths) => paths.iter().any(|named| named == path || named == "*"),
            None => is_set(&value),
        };
        wanted.then_some(value)
    }
}

pub fn grant_kind(field: &str, given: i32) -> Result<GrantKind, Problem> {
    use api::GrantType as G;
    Ok(match G::try_from(given).unwrap_or(G::Unspecified) {
        G::Unspecified => return Err(Problem::field(field, "is not a grant type")),
        G::ClientCredentials => GrantKind::ClientCredentials,
        G::RefreshToken => GrantKind::RefreshToken,
        G::AuthorizationCode => GrantKind::AuthorizationCode,
        G::DeviceCode => GrantKind::DeviceCode,
        G::Password => GrantKind::Password,
        G::Otp => GrantKind::Otp,
        G::CompanyRequestToken => GrantKind::CompanyRequestToken,
        G::JwtBearer => GrantKind::JwtBearer,
        G::TokenExchange => GrantKind::TokenExchange,
        G::SamlBearer => GrantKind::SamlBearer,
    })
}

pub fn client_auth(given: i32) -> Result<Option<ClientAuth>, Problem> {
    use api::ClientAuthMethod as M;
    let method = M::try_from(given).map_err(|_| Problem::field("client.auth_method", "is not a method"))?;
    Ok(match method {
        M::Unspecified => None,
        M::ClientSecretBasic => Some(ClientAuth::ClientSecretBasic),
        M::ClientSecretPost => Some(ClientAuth::ClientSecretPost),
        M::ClientSecretJwt => Some(ClientAuth::ClientSecretJwt),
        M::PrivateKeyJwt => Some(ClientAuth::PrivateKeyJwt),
        M::TlsClientAuth => Some(ClientAuth::TlsClientAuth),
        M::SelfSignedTlsClientAuth => Some(ClientAuth::SelfSignedTlsClientAuth),
        M::None => Some(ClientAuth::None),
    })
}

pub fn environment(given: i32) -> Result<Environment, Problem> {
    use api::Environment as E;
    match E::try_from(given).map_err(|_| Problem::field("client.environment", "is not an environment"))? {
        // The careful reading: what nobody declared a sandbox is treated as the real thing.
        E::Unspecified | E::Production => Ok(Environment::Production),
        E::Sandbox => Ok(Environment::Sandbox),
    }
}

pub fn narrowing(given: i32) -> Result<Narrowing, Problem> {
    use api::connection::ScopeNarrowing as S;
    match S::try_from(given)
        .map_err(|_| Problem::field("connection.scope_narrowing", "is not a value of it"))?
    {
        S::Unspecified | S::Strict => Ok(Narrowing::Refuse),
        S::ServeWhole => Ok(Narrowing::ServeWhole),
    }
}

/// What an update makes of labels: `labels` replaces them, `labels.KEY` sets one, or removes it where the resource
/// given has none of that key.
pub fn label_patch(
    field: &str,
    mask: &Mask,
    given: BTreeMap<String, String>,
) -> Result<Option<LabelPatch>, Problem> {
    let given = labels(field, given)?;
    let keys: Vec<_> = mask.label_keys().collect();
    if keys.is_empty() {
        let whole = mask.take("labels", given, |labels| !labels.is_empty());
        return Ok(whole.map(LabelPatch::Replace));
    }
    let changes = keys.into_iter().map(|key| (key.to_owned(), given.get(key).cloned())).collect();
    Ok(Some(LabelPatch::Merge(changes)))
}

/// `None` where none was given.
pub fn client_secret(given: Option<api::ClientSecretInput>) -> Result<Option<NewSecret>, Problem> {
    given.map(credentials::new_secret).transpose()
}

/// How long the caller waits, from its `grpc-timeout` header: up to 8 digits and a unit.
pub fn deadline(metadata: &tonic::metadata::MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_hours(amount),
        "M" => Duration::from_mins(amount),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "from_proto_tests.rs"]
mod tests;
