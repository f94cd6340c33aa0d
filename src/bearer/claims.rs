//! What a token's claims come to for one issuer (RFC 7519, RFC 9068, RFC 8725). Pure: says nothing of the signature,
//! without which none of it means anything.

use super::{refusal::Refusal, token::Token};
use crate::{
    clock::Timestamp,
    domain::issuer::{Binding, Issuer},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, time::Duration};

/// Longest subject, in bytes.
const SUBJECT_MAX: usize = 1024;
/// Most audiences of a token.
const AUDIENCES_MAX: usize = 64;
/// Most groups, and the longest name of one, in bytes.
const GROUPS_MAX: usize = 256;
const GROUP_MAX: usize = 256;
/// A later time is a mistake: the year 5138, in seconds.
const TIME_MAX: f64 = 1e11;

/// Who a token says that its bearer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) subject: String,
    pub(super) groups: BTreeSet<String>,
    /// From then on it is refused.
    pub(super) ends_at: Timestamp,
    /// SHA-256 of the certificate that it is bound to.
    pub(super) bound_to: Option<[u8; 32]>,
}

/// The issuer that a token names.
pub(super) fn issuer_of<'t>(token: &'t Token<'_>) -> Result<&'t str, Refusal> {
    text(&token.claims, "iss").ok_or(Refusal::Claim("iss"))
}

pub(super) fn claimed(token: &Token<'_>, issuer: &Issuer, now: Timestamp) -> Result<Claimed, Refusal> {
    token.is_of(issuer.token_type)?;
    if !issuer.algorithms.contains(&token.algorithm) {
        return Err(Refusal::Algorithm);
    }
    let claims = &token.claims;
    if issuer_of(token)? != issuer.issuer {
        return Err(Refusal::Issuer);
    }
    audience(claims, issuer)?;
    let ends_at = times(claims, issuer, now)?;
    let subject = subject(claims, issuer)?;
    let groups = match &issuer.groups_claim {
        Some(claim) => groups(claims, claim, issuer)?,
        None => BTreeSet::new(),
    };
    let bound_to = confirmation(claims, issuer.binding)?;
    Ok(Claimed { subject, groups, ends_at, bound_to })
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str)
}

fn audience(claims: &Map<String, Value>, issuer: &Issuer) -> Result<(), Refusal> {
    let wrong = Err(Refusal::Claim("aud"));
    let one_of_ours = match claims.get("aud") {
        Some(Value::String(one)) => issuer.audiences.contains(one),
        Some(Value::Array(all)) if all.len() <= AUDIENCES_MAX => {
            if !all.iter().all(Value::is_string) {
                return wrong;
            }
            all.iter().filter_map(Value::as_str).any(|one| issuer.audiences.contains(one))
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) | None => {
            return wrong;
        }
    };
    if one_of_ours { Ok(()) } else { Err(Refusal::Audience) }
}

/// When it ends, by our clock.
fn times(claims: &Map<String, Value>, issuer: &Issuer, now: Timestamp) -> Result<Timestamp, Refusal> {
    let required = |name| time(claims, name)?.ok_or(Refusal::Claim(name));
    let (exp, iat) = (required("exp")?, required("iat")?);
    let nbf = time(claims, "nbf")?;
    let ends_at = exp.plus(issuer.leeway);
    if ends_at <= now {
        return Err(Refusal::Expired);
    }
    let begins_at = nbf.map_or(iat, |nbf| nbf.max(iat));
    if begins_at > now.plus(issuer.leeway) {
        return Err(Refusal::NotYet);
    }
    if iat.until(exp) > issuer.max_lifetime {
        return Err(Refusal::Lifetime);
    }
    Ok(ends_at)
}

/// Seconds since 1970, of which there may be fractions (RFC 7519 section 2).
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..TIME_MAX).contains(seconds));
    let seconds = seconds.ok_or(Refusal::Claim(name))?;
    Ok(Some(Timestamp(0).plus(Duration::from_secs_f64(seconds))))
}

/// It stands in policies and in the audit trail, where two subjects must never look the same.
fn subject(claims: &Map<String, Value>, issuer: &Issuer) -> Result<String, Refusal> {
    let subject = text(claims, "sub").filter(|sub| !sub.is_empty()).ok_or(Refusal::Claim("sub"))?;
    let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    let fits = subject.len() <= SUBJECT_MAX
        && subject.bytes().all(plain)
        && subject.starts_with(&issuer.subject_prefix);
    if fits { Ok(subject.to_owned()) } else { Err(Refusal::Subject) }
}

/// Named after the issuer, so that no issuer can put its callers into a group of somebody else. A list that cannot be
/// read is refused: a group left out could be one that a policy forbids something.
fn groups(claims: &Map<String, Value>, claim: &str, issuer: &Issuer) -> Result<BTreeSet<String>, Refusal> {
    let named = |group: &Value| {
        let group = group.as_str().filter(|group| (1..=GROUP_MAX).contains(&group.len()))?;
        let fits = !group.contains(char::is_control);
        fits.then(|| format!("oidc:{}:{group}", issuer.name))
    };
    match claims.get(claim) {
        None => Ok(BTreeSet::new()),
        Some(one @ Value::String(_)) => Ok([named(one).ok_or(Refusal::Groups)?].into()),
        Some(Value::Array(all)) if all.len() <= GROUPS_MAX => {
            all.iter().map(|group| named(group).ok_or(Refusal::Groups)).collect()
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Refusal::Groups)
        }
    }
}

/// RFC 7800 section 3.1: what is said there has to hold, so what cannot be checked is refused.
fn confirmation(claims: &Map<String, Value>, binding: Binding) -> Result<Option<[u8; 32]>, Refusal> {
    let members = match (claims.get("cnf"), binding) {
        (None, Binding::IfPresent) => return Ok(None),
        (None, Binding::Required) => return Err(Refusal::Unbound),
        (Some(Value::Object(members)), _) => members,
        (Some(_), _) => return Err(Refusal::Confirmation),
    };
    let thumbprint = text(members, "x5t#S256").filter(|_| members.len() == 1);
    let thumbprint = thumbprint.and_then(|text| BASE64URL.decode(text).ok()?.try_into().ok());
    thumbprint.map(Some).ok_or(Refusal::Confirmation)
}
