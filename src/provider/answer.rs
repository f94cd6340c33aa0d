//! Reads what a token endpoint answered. Tolerant where servers differ and nothing is at stake, strict where a
//! mistake would hand out a wrong token. Whatever else is wrong with an answer, the refresh token in it is kept.

mod fields;

use super::{Answer, Binding, Exchange, Issued, dpop, echo::Credentials, jwt};
use crate::{
    clock::Timestamp,
    domain::{
        failure::{Body, Evidence, Failure, Refusal, Trouble, Unusable, Words, classify, harmless},
        profile::{MissingTokenType, Offer, Profile, Quirks, RefreshExpiry, ScopeSeparator},
        token::{AccessToken, RefreshToken, Secret},
    },
    egress::{Reply, imf_fixdate},
};
pub(super) use fields::{Fields, Given};
use http::{HeaderMap, header};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// A token that lives longer is taken for a mistake: a moment given for a span, or a wrong unit.
const LIFETIME_MAX: Duration = Duration::from_secs(366 * 86_400);
/// The same for refresh tokens.
const REFRESH_LIFETIME_MAX: Duration = Duration::from_secs(3660 * 86_400);
/// Where neither the answer, the token nor the profile says how long it lives.
const LIFETIME_UNKNOWN: Duration = Duration::from_secs(300);
/// Longer waits that a server asks for are cut to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Where servers put the id that their support asks for.
const CORRELATION_HEADERS: [&str; 5] =
    ["concur-correlationid", "correlationid", "x-correlation-id", "x-request-id", "request-id"];
const CORRELATION_FIELDS: [&str; 2] = ["concur-correlationid", "correlation_id"];

/// The server's own code, unless the profile says otherwise.
const CODE_FIELD: &str = "code";

/// An answer, taken apart.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) fields: Option<Fields>,
    pub(super) correlation_id: Option<String>,
    pub(super) location: Option<String>,
    /// What the server wants in the next proof (RFC 9449 §8).
    pub(super) dpop_nonce: Option<String>,
    retry_after: Option<Duration>,
    /// The member that holds the server's own code.
    code_field: String,
    /// What is wrong with the body, if there are no fields.
    trouble: Trouble,
    words: Words,
}

impl Response {
    /// `credentials` are those of the request: words that repeat them, or what the answer gives, are not shown.
    pub(super) fn read(reply: &Reply, quirks: &Quirks, mut credentials: Credentials, now: Timestamp) -> Self {
        let fields = Fields::read(&reply.body);
        if let Some(fields) = &fields {
            credentials.given(|name| fields.text(name));
        }
        let says_json =
            text(&reply.headers, header::CONTENT_TYPE.as_str()).is_none_or(|t| t.contains("json"));
        let header = CORRELATION_HEADERS.iter().find_map(|name| text(&reply.headers, name));
        let field = || CORRELATION_FIELDS.iter().find_map(|name| fields.as_ref()?.text(name));
        let code_field = quirks.code_field.clone().unwrap_or_else(|| CODE_FIELD.to_owned());
        let code = fields.as_ref().and_then(|fields| code(fields, &code_field));
        let error = fields.as_ref().and_then(Fields::error);
        let echo = [code.as_deref(), error].into_iter().flatten().any(|word| credentials.shown_by(word));
        Self {
            status: reply.status,
            correlation_id: header.or_else(field).filter(|id| !credentials.shown_by(id)).and_then(harmless),
            words: if echo { Words::Withheld } else { Words::Shown },
            dpop_nonce: text(&reply.headers, dpop::NONCE_HEADER.as_str()).and_then(dpop::nonce),
            location: text(&reply.headers, header::LOCATION.as_str()).map(str::to_owned),
            retry_after: text(&reply.headers, header::RETRY_AFTER.as_str())
                .and_then(|wait| retry_after(wait, now)),
            code_field,
            trouble: if says_json { Trouble::NotJson } else { Trouble::ContentType },
            fields,
        }
    }

    /// The fields of a token response, or what the answer is instead.
    pub(super) fn granted(self) -> Result<Fields, Evidence> {
        let refusal = self.refusal();
        match (self.status, self.fields) {
            (200..=299, None) => Err(Evidence::Unreadable { status: self.status, trouble: self.trouble }),
            // Some servers refuse with 200. A refresh token in such an answer is kept all the same.
            (200..=299, Some(fields)) if refusal.error.is_none() || fields.has_token() => {
                Ok(fields.withhold(self.words))
            }
            // An interim status is no answer: what became of the request is open.
            (0..=199, _) => Err(Evidence::Unreadable { status: self.status, trouble: Trouble::Other }),
            (300..=399, _) => Err(Evidence::Redirected { status: self.status }),
            (_, _) => Err(Evidence::Refused(refusal)),
        }
    }

    /// RFC 9449 §8.
    pub(super) fn wants_nonce(&self) -> bool {
        matches!(self.status, 400 | 401)
            && self.fields.as_ref().and_then(Fields::error) == Some(dpop::NONCE_WANTED)
    }

    /// The server's own code: a number or a word, or the first of several.
    pub(super) fn code(&self) -> Option<String> {
        code(self.fields.as_ref()?, &self.code_field)
    }

    pub(super) fn refusal(&self) -> Refusal {
        Refusal {
            status: self.status,
            error: self.fields.as_ref().and_then(Fields::error).map(str::to_owned),
            code: self.code(),
            retry_after: self.retry_after,
            body: if self.fields.is_some() { Body::Json } else { Body::Other },
            words: self.words,
        }
    }
}

fn code(fields: &Fields, field: &str) -> Option<String> {
    match fields.get(field)? {
        Value::Array(several) => several.first().and_then(code_of),
        one => code_of(one),
    }
}

fn code_of(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => {
            Some(number.as_f64().map_or_else(|| number.to_string(), |code| code.to_string()))
        }
        Value::String(word) => Some(word.trim().to_owned()).filter(|word| !word.is_empty()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Takes a token response for what it is, by the rules that all servers share.
pub(super) fn judged(
    exchange: &Exchange<'_>,
    mut fields: Fields,
    sent_at: Timestamp,
    correlation_id: Option<String>,
) -> Answer {
    let profile = exchange.profile;
    if let Some(member) = &profile.quirks.nested_in {
        fields.lift(member);
    }
    let scopes = scopes(&fields, profile.quirks.scope_separator);
    let access = issued(exchange, &mut fields, sent_at, scopes.as_deref());
    let identity = fields.text("id_token").and_then(jwt::peek).map(|claims| claims.identity());
    let refused = fields.error().map(|error| Refusal {
        status: 200,
        error: Some(error.to_owned()),
        body: Body::Json,
        words: fields.words(),
        ..Refusal::default()
    });
    let access = match refused {
        Some(refusal) => Err(Evidence::Refused(refusal)),
        None => access.map_err(Evidence::Unusable),
    };
    Answer {
        refresh_token: fields.secret("refresh_token").map(RefreshToken),
        refresh_expires_at: refresh_expires_at(profile, &fields, sent_at),
        access: access.map_err(|evidence| failure(exchange, &evidence, correlation_id.as_deref())),
        scopes,
        api_base_url: None,
        principal: None,
        identity,
        correlation_id,
    }
}

/// Judges evidence by the profile of the exchange.
pub(super) fn failure(exchange: &Exchange<'_>, evidence: &Evidence, correlation_id: Option<&str>) -> Failure {
    classify(exchange.profile, exchange.grant.stage(), evidence, correlation_id)
}

fn issued(
    exchange: &Exchange<'_>,
    fields: &mut Fields,
    sent_at: Timestamp,
    scopes: Option<&[String]>,
) -> Result<Issued, Unusable> {
    // Taken first, so that it is wiped whatever follows.
    let token = fields.secret("access_token").ok_or(Unusable::NoAccessToken)?;
    if fields.repeated() {
        return Err(Unusable::RepeatedField);
    }
    let binding = token_type(exchange, fields)?;
    // RFC 6749 appendix A.12; anything else could break out of a header.
    if !token.expose().bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        return Err(Unusable::NoAccessToken);
    }
    let expires_at = expires_at(exchange.profile, fields, &token, sent_at)?;
    if exceeds(scopes, exchange) {
        return Err(Unusable::WiderScope);
    }
    Ok(Issued { access_token: AccessToken(token), issued_at: sent_at, expires_at, binding })
}

fn token_type(exchange: &Exchange<'_>, fields: &Fields) -> Result<Binding, Unusable> {
    let profile = exchange.profile;
    let bearer = || match profile.dpop {
        Offer::Never | Offer::Offered => Ok(Binding::Bearer),
        Offer::Required => Err(Unusable::NotBound),
    };
    match (fields.given("token_type"), profile.quirks.missing_token_type) {
        (Given::Text(kind), _) if kind.trim().eq_ignore_ascii_case("bearer") => bearer(),
        (Given::Text(kind), _) if profile.quirks.bearer_words.iter().any(|word| word == kind) => bearer(),
        // Only a token that was asked for with a proof can be bound to our key (RFC 9449 §5).
        (Given::Text(kind), _) if kind.trim().eq_ignore_ascii_case("dpop") && exchange.dpop.is_some() => {
            Ok(Binding::Bound)
        }
        (Given::Nothing, MissingTokenType::MeansBearer) => bearer(),
        (Given::Nothing, MissingTokenType::Refuse) | (Given::Text(_) | Given::Other(_), _) => {
            Err(Unusable::TokenType)
        }
    }
}

/// The earlier of `expires_in` and the token's own `exp`; an answer about the past is none.
fn expires_at(
    profile: &Profile,
    fields: &Fields,
    token: &Secret,
    sent_at: Timestamp,
) -> Result<Timestamp, Unusable> {
    let by_token = jwt::peek(token.expose()).and_then(|claims| claims.expires_at());
    let by_answer = match fields.seconds("expires_in") {
        None => None,
        Some(Ok(span)) if (Duration::from_secs(1)..=LIFETIME_MAX).contains(&span) => Some(sent_at.plus(span)),
        Some(_) => return Err(Unusable::Lifetime),
    };
    let by_default = || sent_at.plus(profile.lifetimes.access_default.unwrap_or(LIFETIME_UNKNOWN));
    let far = sent_at.plus(LIFETIME_MAX);
    let expires_at = match (by_answer, by_token.filter(|exp| *exp <= far)) {
        (Some(answer), Some(token)) => answer.min(token),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => by_default(),
    };
    if expires_at > sent_at { Ok(expires_at) } else { Err(Unusable::Lifetime) }
}

/// Does the answer to a refresh grant what was not granted before (RFC 6749 §6)? What a new grant has is for the server to
/// say, also beyond what was asked for: many add scopes of their own, or answer with other names (§3.3).
fn exceeds(scopes: Option<&[String]>, exchange: &Exchange<'_>) -> bool {
    let bound: BTreeSet<_> = exchange.granted.iter().collect();
    !bound.is_empty() && scopes.unwrap_or_default().iter().any(|scope| !bound.contains(scope))
}

fn scopes(fields: &Fields, separator: ScopeSeparator) -> Option<Vec<String>> {
    let parts = |text: &str| -> Vec<String> {
        let splits = |c: char| {
            c.is_whitespace()
                || match separator {
                    ScopeSeparator::Whitespace => false,
                    ScopeSeparator::WhitespaceOrComma => c == ',',
                }
        };
        text.split(splits).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
    };
    let found: Vec<String> = match fields.given("scope") {
        Given::Text(text) => parts(text),
        Given::Other(Value::Array(list)) => list.iter().filter_map(Value::as_str).flat_map(parts).collect(),
        Given::Nothing | Given::Other(_) => return None,
    };
    (!found.is_empty()).then_some(found)
}

fn refresh_expires_at(profile: &Profile, fields: &Fields, sent_at: Timestamp) -> Option<Timestamp> {
    let first = |names: &[&str]| names.iter().find_map(|name| fields.seconds(name)?.ok());
    let at = match profile.refresh_expiry {
        RefreshExpiry::None => return None,
        RefreshExpiry::Relative => {
            let names = ["refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"];
            sent_at.plus(first(&names)?)
        }
        RefreshExpiry::Epoch => moment(first(&["refresh_expires_in", "refresh_expiry"])?, sent_at),
    };
    // Zero means "never" at some servers, and what is past or beyond ten years is a mistake: better none.
    (at > sent_at && at <= sent_at.plus(REFRESH_LIFETIME_MAX)).then_some(at)
}

/// A number that should be seconds since the epoch: milliseconds if it is far too large, a span if it is too small.
fn moment(number: Duration, sent_at: Timestamp) -> Timestamp {
    match number.as_secs() {
        0..=1_000_000_000 => sent_at.plus(number),
        seconds @ 1_000_000_001..=1_000_000_000_000 => Timestamp::from_secs(seconds),
        milliseconds => Timestamp(milliseconds),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// RFC 9110 §10.2.3: seconds, or a date in the form of §5.6.7.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => now.until(imf_fixdate(value)?),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "answer_samples_tests.rs"]
mod samples;
