//! SAP Concur. Its tokens belong to a data centre ("geolocation"), which an answer may change; its codes are
//! numbers; its revocation is not RFC 7009. No secret goes to a host that the profile does not list.

mod secrets;

pub(super) use secrets::manage;

use super::{
    Answer, Exchange, Grant, Revocation, Revoked, answer,
    answer::Response,
    authorization::{Prelude, Preparation, Prepared},
    client_auth::Asking,
    hosts,
    jwt::Claims,
    line::{Line, Told, local},
    preparing,
    request::{Besides, Form},
};
use crate::{
    domain::{
        connection::{Principal, PrincipalKind},
        failure::{Class, Evidence, Failure, Stage, Unusable, classify},
        profile::Profile,
    },
    egress::Outgoing,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::collections::BTreeMap;
use url::Url;
use uuid::Uuid;

/// How often one exchange is sent on to another data centre.
pub(super) const HOPS_MAX: usize = 3;

const TOKEN_PATH: &str = "/oauth2/v0/token";
const OTP_PATH: &str = "/oauth2/v0/otp";
const CONNECTIONS_PATH: &str = "/app-mgmt/v0/connections";
const CORRELATION_HEADER: HeaderName = HeaderName::from_static("concur-correlationid");
/// "Lives elsewhere": the body says where to ask instead.
const ELSEWHERE: &str = "16";

/// What follows from one answer.
enum Next {
    Settled,
    Ask(Url),
}

pub(super) async fn exchange(
    line: &Line,
    exchange: &Exchange<'_>,
    asking: &Asking<'_>,
) -> Result<Answer, Failure> {
    let Some(ask) = exchange.grant.concur() else {
        return Err(local(Class::Configuration, "provider does not know this grant"));
    };
    let judge = |evidence: Evidence| answer::failure(exchange, &evidence, None);
    let mut asked = vec![start(exchange.profile, exchange.api_base_url).map_err(judge)?];
    loop {
        let base = &asked[asked.len() - 1];
        let besides = Besides::from(exchange);
        let mut request = asking.request(&at(base, TOKEN_PATH), Form::token(&ask, besides))?;
        request.headers.insert(CORRELATION_HEADER, correlation(exchange.correlation_id));
        let told = line.send(exchange.profile, request).await.map_err(judge)?;
        let correlation_id = told.response.correlation_id.clone();
        match onward(exchange.profile, &asked, &told.response) {
            Ok(Next::Ask(base)) => asked.push(base),
            Ok(Next::Settled) => return settled(exchange, told),
            Err(evidence) => return Err(answer::failure(exchange, &evidence, correlation_id.as_deref())),
        }
    }
}

/// Where the first request goes: where the token is good, or where bootstraps begin.
fn start(profile: &Profile, api_base_url: Option<&str>) -> Result<Url, Evidence> {
    let bootstrap = profile.bootstrap_at.as_ref().map(Url::as_str);
    hosts::allowed(profile, api_base_url.or(bootstrap).unwrap_or_default())
}

/// Is there another data centre to ask? Each is asked once.
fn onward(profile: &Profile, asked: &[Url], response: &Response) -> Result<Next, Evidence> {
    let here = &asked[asked.len() - 1];
    let named = if response.code().as_deref() == Some(ELSEWHERE) {
        response.fields.as_ref().and_then(|fields| fields.text("geolocation"))
    } else if (300..400).contains(&response.status) && redirects(profile, here) && asked.len() == 1 {
        response.location.as_deref()
    } else {
        None
    };
    let Some(named) = named else { return Ok(Next::Settled) };
    let next = hosts::allowed(profile, named)?;
    let ends = asked.contains(&next) || asked.len() > HOPS_MAX;
    Ok(if ends { Next::Settled } else { Next::Ask(next) })
}

fn redirects(profile: &Profile, here: &Url) -> bool {
    profile.quirks.redirecting_hosts.iter().any(|host| host.admits(here))
}

/// What the last answer means.
fn settled(exchange: &Exchange<'_>, told: Told) -> Result<Answer, Failure> {
    let correlation_id = told.response.correlation_id.clone();
    let judge = |evidence: Evidence| answer::failure(exchange, &evidence, correlation_id.as_deref());
    let fields = told.response.granted().map_err(judge)?;
    let claims = fields.text("access_token").and_then(super::jwt::peek);
    // Only the address beside a token is where it is good; the one beside code 16 was a signpost.
    let base = fields.text("geolocation").map(|given| hosts::allowed(exchange.profile, given));
    let mut answer = answer::judged(exchange, fields, told.sent_at, correlation_id.clone());
    let expected = expected(exchange);
    answer.principal = claims.as_ref().and_then(principal).or_else(|| expected.clone());
    let unusable = match (&answer.principal, &expected, &base) {
        (Some(found), Some(wanted), _) if !same(found, wanted) => Some(Unusable::OtherPrincipal),
        (_, _, Some(Err(_))) => Some(Unusable::Geolocation),
        _ => None,
    };
    answer.api_base_url = base.and_then(Result::ok).map(|base| hosts::kept(&base));
    if let (Some(unusable), Ok(_)) = (unusable, &answer.access) {
        answer.access = Err(judge(Evidence::Unusable(unusable)));
    }
    Ok(answer)
}

/// For whom the answer must be. A first refresh or client credentials may be for whoever the grant is for.
fn expected(exchange: &Exchange<'_>) -> Option<Principal> {
    let by_grant = match exchange.grant {
        Grant::CompanyRequestToken { company_uuid, .. } => {
            Some(Principal { kind: PrincipalKind::Company, id: company_uuid.clone() })
        }
        Grant::RefreshToken(_)
        | Grant::ClientCredentials
        | Grant::AuthorizationCode { .. }
        | Grant::DeviceCode { .. }
        | Grant::Password { .. }
        | Grant::Otp { .. }
        | Grant::JwtBearer { .. }
        | Grant::SamlBearer { .. }
        | Grant::JwtSubject { .. }
        | Grant::TokenExchange(_) => None,
    };
    by_grant.or_else(|| exchange.principal.cloned())
}

fn principal(claims: &Claims) -> Option<Principal> {
    let kind = match claims.text("concur.type")? {
        "user" => PrincipalKind::User,
        "company" => PrincipalKind::Company,
        "app" => PrincipalKind::App,
        _ => return None,
    };
    Some(Principal { kind, id: claims.text("sub")?.to_owned() })
}

/// UUIDs come in capital and small letters.
fn same(one: &Principal, other: &Principal) -> bool {
    one.kind == other.kind && one.id.eq_ignore_ascii_case(&other.id)
}

/// Has a one-time password sent: at the data centre of the person, wherever that is.
pub(super) async fn send_otp(
    line: &Line,
    preparation: &Preparation<'_>,
    asking: &Asking<'_>,
) -> Result<Prepared, Failure> {
    let Prelude::Otp { email, parameters } = preparation.ask else {
        return Err(local(Class::Configuration, "provider does not know this request"));
    };
    let profile = preparation.profile;
    let judge = |evidence: Evidence| preparing::judged(profile, &evidence, None);
    let mut asked = vec![start(profile, preparation.api_base_url).map_err(judge)?];
    loop {
        let endpoint = at(&asked[asked.len() - 1], OTP_PATH);
        let mut request = asking.request(&endpoint, otp_form(email, parameters))?;
        request.headers.insert(CORRELATION_HEADER, correlation(preparation.correlation_id));
        let told = line.send(profile, request).await.map_err(judge)?;
        match onward(profile, &asked, &told.response).map_err(judge)? {
            Next::Ask(base) => asked.push(base),
            Next::Settled => return preparing::otp_sent(profile, &told.response),
        }
    }
}

fn otp_form(email: &str, parameters: &BTreeMap<String, String>) -> Form {
    let mut form = Form::new();
    form.put("channel_type", "email").put("channel_handle", email);
    for (name, value) in parameters {
        form.put(name, value);
    }
    form
}

/// Removes all refresh tokens of the principal for this app, those of other installations too.
pub(super) async fn revoke(line: &Line, revocation: &Revocation<'_>) -> Result<Revoked, Failure> {
    let profile = revocation.profile;
    let judge = |evidence: &Evidence, id: Option<&str>| classify(profile, Stage::Steady, evidence, id);
    let Some(token) = revocation.access_token else {
        return Err(local(Class::NotSent, "revocation needs an access token: refresh first"));
    };
    let base = start(profile, revocation.api_base_url).map_err(|evidence| judge(&evidence, None))?;
    let mut credentials = HeaderValue::try_from(format!("Bearer {}", token.0.expose()))
        .map_err(|_| local(Class::Malformed, "access token does not fit a header"))?;
    credentials.set_sensitive(true);
    let headers = HeaderMap::from_iter([
        (header::AUTHORIZATION, credentials),
        (CORRELATION_HEADER, correlation(revocation.correlation_id)),
    ]);
    let url = at(&base, CONNECTIONS_PATH);
    let request = Outgoing { method: Method::DELETE, url, headers, body: Vec::new(), presenting: None };
    let told = line.send(profile, request).await.map_err(|evidence| judge(&evidence, None))?;
    let response = told.response;
    let evidence = match response.status {
        // 404: there is no connection any more.
        200..=299 | 404 => return Ok(Revoked::Whole),
        300..=399 => Evidence::Redirected { status: response.status },
        _ => Evidence::Refused(response.refusal()),
    };
    let mut failure = judge(&evidence, response.correlation_id.as_deref());
    if matches!(response.status, 401 | 403) {
        // It is the access token that is refused here, and a refresh shows whether the grant is.
        failure.class = Class::Suspect;
        failure.detail = "server refused the access token: refresh it and revoke again";
    }
    Err(failure)
}

fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(path);
    url
}

fn correlation(id: Uuid) -> HeaderValue {
    HeaderValue::try_from(id.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
#[path = "concur_tests.rs"]
mod tests;
