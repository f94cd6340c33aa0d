//! The grant of a request into plain data, checked field by field. Credentials go in here and nowhere out.

use super::{opaque, resources, timestamp, uuid};
use crate::{
    api::{self, grant::Kind},
    broker::admin::grants::{Location, NewGrant},
    domain::{
        profile::GrantKind,
        token::{RefreshToken, Secret},
    },
    grpc::problem::Problem,
    provider::TokenExchange,
};

/// Longest user name, password or subject, in characters.
const WORD_MAX: usize = 512;
/// Most audiences, and longest one in characters.
const AUDIENCES_MAX: usize = 16;
const AUDIENCE_LENGTH_MAX: usize = 512;
/// Longest URI.
const URI_MAX: usize = 2048;

pub fn grant(given: Option<api::Grant>) -> Result<NewGrant, Problem> {
    let kind = given.and_then(|grant| grant.kind).ok_or_else(|| Problem::field("grant", "is required"))?;
    Ok(match kind {
        Kind::ClientCredentials(grant) => client_credentials(grant),
        Kind::RefreshToken(grant) => NewGrant::RefreshToken {
            token: RefreshToken(secret("grant.refresh_token.refresh_token", grant.refresh_token)?),
            api_base_url: some(grant.api_base_url),
            expires_at: grant.refresh_token_expire_time.as_ref().map(timestamp),
        },
        Kind::CompanyRequestToken(grant) => {
            let request_token = secret("grant.company_request_token.request_token", grant.request_token)?;
            NewGrant::CompanyRequestToken {
                company_uuid: uuid("grant.company_request_token.company_uuid", &grant.company_uuid)?
                    .to_string(),
                request_token,
                api_base_url: some(grant.api_base_url),
            }
        }
        Kind::AuthorizationCode(grant) => authorization_code(grant)?,
        Kind::DeviceCode(_) => NewGrant::Person(GrantKind::DeviceCode),
        Kind::Password(grant) => NewGrant::Password {
            username: word("grant.password.username", grant.username)?,
            password: Secret::new(word("grant.password.password", grant.password)?),
        },
        Kind::Otp(_) => NewGrant::Person(GrantKind::Otp),
        Kind::JwtBearer(grant) => jwt_bearer(grant)?,
        Kind::SamlBearer(grant) => saml_bearer(grant)?,
        Kind::TokenExchange(grant) => NewGrant::TokenExchange(token_exchange(grant)?),
    })
}

fn client_credentials(grant: api::ClientCredentialsGrant) -> NewGrant {
    use api::client_credentials_grant::Location as At;
    let at = grant.location.map(|at| match at {
        At::DataCenter(id) => Location::DataCenter(id),
        At::TokenHost(host) => Location::BaseUrl(format!("https://{host}")),
    });
    NewGrant::ClientCredentials { at }
}

fn authorization_code(grant: api::AuthorizationCodeGrant) -> Result<NewGrant, Problem> {
    if grant.code.is_empty() {
        let besides = [
            ("grant.authorization_code.redirect_uri", &grant.redirect_uri),
            ("grant.authorization_code.code_verifier", &grant.code_verifier),
            ("grant.authorization_code.api_base_url", &grant.api_base_url),
        ];
        return match besides.iter().find(|(_, value)| !value.is_empty()) {
            Some((field, _)) => {
                Err(Problem::field(*field, "goes with a code only: set code, or leave this out"))
            }
            None => Ok(NewGrant::Person(GrantKind::AuthorizationCode)),
        };
    }
    Ok(NewGrant::AuthorizationCode {
        code: secret("grant.authorization_code.code", grant.code)?,
        redirect_uri: some(grant.redirect_uri)
            .map(|text| uri("grant.authorization_code.redirect_uri", text))
            .transpose()?,
        code_verifier: some(grant.code_verifier).map(code_verifier).transpose()?,
        api_base_url: some(grant.api_base_url),
    })
}

/// RFC 7636 §4.1.
fn code_verifier(text: String) -> Result<Secret, Problem> {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    if (43..=128).contains(&text.len()) && text.bytes().all(unreserved) {
        Ok(Secret::new(text))
    } else {
        let mend = "is 43 to 128 letters, digits, -, ., _ and ~: the verifier, not the challenge made of it";
        Err(Problem::field("grant.authorization_code.code_verifier", mend))
    }
}

fn jwt_bearer(grant: api::JwtBearerGrant) -> Result<NewGrant, Problem> {
    use api::jwt_bearer_grant::Source;
    match grant.source {
        Some(Source::Assertion(text)) => {
            let field = "grant.jwt_bearer.assertion";
            let assertion = secret(field, text)?;
            // RFC 7515 §3.1: three parts of base64url.
            let parts: Vec<_> = assertion.expose().split('.').collect();
            if parts.len() != 3 || !parts.iter().all(|part| is_base64url(part)) {
                return Err(Problem::field(
                    field,
                    "is not a signed JWT: three parts of base64url with dots between",
                ));
            }
            Ok(NewGrant::JwtBearer { assertion })
        }
        Some(Source::Subject(text)) => {
            Ok(NewGrant::JwtSubject { subject: word("grant.jwt_bearer.subject", text)? })
        }
        None => Err(Problem::field("grant.jwt_bearer", "has no source: set assertion or subject")),
    }
}

fn saml_bearer(grant: api::SamlBearerGrant) -> Result<NewGrant, Problem> {
    let field = "grant.saml_bearer.assertion";
    let assertion = secret(field, grant.assertion)?;
    if is_base64url(assertion.expose()) {
        Ok(NewGrant::SamlBearer { assertion })
    } else {
        Err(Problem::field(field, "is the XML of the assertion in base64url without padding and line breaks"))
    }
}

fn token_exchange(grant: api::TokenExchangeGrant) -> Result<TokenExchange, Problem> {
    let actor = match (some(grant.actor_token), some(grant.actor_token_type)) {
        (Some(token), Some(kind)) => Some((
            secret("grant.token_exchange.actor_token", token)?,
            uri("grant.token_exchange.actor_token_type", kind)?,
        )),
        (None, None) => None,
        (Some(_), None) => {
            return Err(Problem::field(
                "grant.token_exchange.actor_token_type",
                "is required with actor_token",
            ));
        }
        (None, Some(_)) => {
            let mend = "goes with an actor_token only: set that, or leave this out";
            return Err(Problem::field("grant.token_exchange.actor_token_type", mend));
        }
    };
    let audiences_fit = grant.audiences.len() <= AUDIENCES_MAX
        && grant.audiences.iter().all(|one| (1..=AUDIENCE_LENGTH_MAX).contains(&one.chars().count()));
    if !audiences_fit {
        let mend = format!(
            "has more than {AUDIENCES_MAX} audiences, or one that is not 1 to {AUDIENCE_LENGTH_MAX} characters"
        );
        return Err(Problem::field("grant.token_exchange.audiences", mend));
    }
    Ok(TokenExchange {
        subject_token: secret("grant.token_exchange.subject_token", grant.subject_token)?,
        subject_token_type: uri("grant.token_exchange.subject_token_type", grant.subject_token_type)?,
        actor,
        requested_token_type: some(grant.requested_token_type)
            .map(|text| uri("grant.token_exchange.requested_token_type", text))
            .transpose()?,
        audiences: grant.audiences,
        resources: resources("grant.token_exchange.resources", grant.resources)?,
    })
}

fn is_base64url(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn secret(field: &str, given: String) -> Result<Secret, Problem> {
    opaque(field, given).map(Secret::new)
}

/// 1 to [`WORD_MAX`] characters.
fn word(field: &str, given: String) -> Result<String, Problem> {
    match given.chars().count() {
        0 => Err(Problem::field(field, "is required")),
        1..=WORD_MAX => Ok(given),
        _ => Err(Problem::field(field, format!("is longer than {WORD_MAX} characters"))),
    }
}

/// An absolute URI.
fn uri(field: &str, given: String) -> Result<String, Problem> {
    if given.is_empty() {
        return Err(Problem::field(field, "is required"));
    }
    if given.len() <= URI_MAX && url::Url::parse(&given).is_ok() {
        Ok(given)
    } else {
        Err(Problem::field(field, format!("is not an absolute URI of at most {URI_MAX} characters")))
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
