//! Who a client of the plain authorization server is, and how it shows it: a secret in the header or in the body
//! (RFC 6749 §2.3.1), a signed assertion (RFC 7523 §2.2), or nothing at all for a public one.

use super::world::{Authentication, Client, Refusal, World};
use crate::{
    clock::Timestamp,
    simulator::{
        exchange::{Form, Request},
        signing::foreign::SignedBy,
        world,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};

pub(super) type Stop = world::Stop<Refusal>;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The longest that an assertion may be good, in seconds.
pub(super) const ASSERTION_SECONDS_MAX: u64 = 600;

pub(super) fn stop(error: &str) -> Stop {
    Stop::Refused(Refusal::error(error))
}

pub(super) fn stop_because(error: &str, description: &str) -> Stop {
    Stop::Refused(Refusal { description: Some(description.to_owned()), ..Refusal::error(error) })
}

/// How the client showed who it is.
pub(super) enum Credentials {
    Absent,
    /// An id and nothing to prove it.
    Named {
        id: String,
    },
    Given {
        id: String,
        secret: String,
        by: Authentication,
    },
    Assertion {
        jwt: String,
        /// Whose it says it is.
        id: String,
    },
    /// Two ways at once, or one that cannot be read.
    Malformed,
}

impl Credentials {
    pub(super) fn of(request: &Request, form: &Form) -> Self {
        let header = request.header("authorization").filter(|given| !given.starts_with("DPoP "));
        let (posted, assertion) = (form.get("client_secret"), form.get("client_assertion"));
        match (header, posted, assertion, form.get("client_id")) {
            (None, None | Some(_), None, None) => Self::Absent,
            (None, None, None, Some(id)) => Self::Named { id: id.to_owned() },
            (Some(_), None, None, _) => Self::of_header(request).unwrap_or(Self::Malformed),
            (None, Some(secret), None, Some(id)) => Self::Given {
                id: id.to_owned(),
                secret: secret.to_owned(),
                by: Authentication::ClientSecretPost,
            },
            (None, None, Some(jwt), named) => Self::of_assertion(form, jwt, named).unwrap_or(Self::Malformed),
            (Some(_), Some(_), _, _) | (Some(_), _, Some(_), _) | (_, Some(_), Some(_), _) => Self::Malformed,
        }
    }

    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Named { id } | Self::Given { id, .. } | Self::Assertion { id, .. } => Some(id),
            Self::Absent | Self::Malformed => None,
        }
    }

    /// For the journal: how, not with what.
    pub(super) fn way(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Named { .. } => "none",
            Self::Given { by: Authentication::ClientSecretBasic, .. } => "client_secret_basic",
            Self::Given { .. } => "client_secret_post",
            Self::Assertion { jwt, .. } => {
                let symmetric = SignedBy::read(jwt).is_some_and(|jwt| jwt.header["alg"] == "HS256");
                if symmetric { "client_secret_jwt" } else { "private_key_jwt" }
            }
            Self::Malformed => "malformed",
        }
    }

    /// Both halves are form-encoded before they are joined (RFC 6749 §2.3.1), so a colon is always the separator.
    fn of_header(request: &Request) -> Option<Self> {
        let bytes = STANDARD.decode(request.authorization("basic")?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (id, secret) = text.split_once(':')?;
        let by = Authentication::ClientSecretBasic;
        Some(Self::Given { id: form_decoded(id), secret: form_decoded(secret), by })
    }

    fn of_assertion(form: &Form, jwt: &str, named: Option<&str>) -> Option<Self> {
        let read = SignedBy::read(jwt)?;
        let (issuer, subject) = (read.text("iss")?, read.text("sub")?);
        let whole = form.get("client_assertion_type") == Some(ASSERTION_TYPE)
            && issuer == subject
            && named.is_none_or(|named| named == issuer);
        whole.then(|| Self::Assertion { jwt: jwt.to_owned(), id: issuer.to_owned() })
    }
}

/// Undoes form-encoding of one value. A raw `&` would start another one, so it is taken for itself.
fn form_decoded(text: &str) -> String {
    let pair = format!("v={}", text.replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

/// The client, if it has shown that it is the one, in the way it is registered with.
pub(super) fn authenticate(
    world: &mut World,
    now: Timestamp,
    request: &Request,
    form: &Form,
    credentials: &Credentials,
) -> Result<Client, Stop> {
    // RFC 6749 §3.2: a body in the one format, no parameter twice.
    let content_type = request.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") || form.repeats() {
        return Err(stop("invalid_request"));
    }
    if matches!(credentials, Credentials::Malformed) {
        return Err(stop("invalid_request"));
    }
    let known = credentials.id().and_then(|id| world.clients.get(id)).cloned();
    let client = known.ok_or_else(|| stop("invalid_client"))?;
    let registered = client.authentication;
    match credentials {
        Credentials::Named { .. } if registered == Authentication::None => Ok(client),
        Credentials::Given { secret, by, .. }
            if (registered == *by || registered == Authentication::Either)
                && client.secrets.contains(secret) =>
        {
            Ok(client)
        }
        Credentials::Assertion { jwt, .. } => {
            let jwt = SignedBy::read(jwt).ok_or_else(|| stop("invalid_client"))?;
            let signed = match registered {
                Authentication::ClientSecretJwt => client.secrets.iter().any(|one| jwt.is_by_secret(one)),
                Authentication::PrivateKeyJwt => {
                    client.jwks.as_ref().is_some_and(|keys| jwt.is_by_one_of(keys))
                }
                Authentication::ClientSecretBasic
                | Authentication::ClientSecretPost
                | Authentication::Either
                | Authentication::None => false,
            };
            let issuer = world.basics.base(&request.site);
            require_unused(world, now, &jwt, &issuer, signed)
                .map_err(|why| stop_because("invalid_client", why))?;
            Ok(client)
        }
        Credentials::Absent
        | Credentials::Named { .. }
        | Credentials::Given { .. }
        | Credentials::Malformed => Err(stop("invalid_client")),
    }
}

/// What holds for every assertion: signed, for this server alone, good for a short time, and never seen before.
pub(super) fn require_unused(
    world: &mut World,
    now: Timestamp,
    jwt: &SignedBy,
    issuer: &str,
    signed: bool,
) -> Result<(), &'static str> {
    let jti = jwt.text("jti").map(|jti| format!("{}\n{jti}", jwt.text("iss").unwrap_or_default()));
    let jti = jti.ok_or("assertion without jti")?;
    if !signed {
        return Err("signature does not verify");
    }
    if !jwt.is_for(issuer) {
        return Err("aud is not the issuer");
    }
    if !jwt.is_fresh(now.as_secs(), ASSERTION_SECONDS_MAX) {
        return Err("expired, or good for too long");
    }
    if world.seen.good(now, &jti).is_some() {
        return Err("jti was seen before");
    }
    world.seen.keep(now, jti, (), ASSERTION_SECONDS_MAX);
    Ok(())
}
