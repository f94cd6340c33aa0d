//! Asks what has to be asked before a person can consent. Nothing is spent here, so nothing is lost with an answer.

use super::{
    answer::Response,
    authorization::{DeviceCode, Prelude, Preparation, Prepared, scopes},
    client_auth::Asking,
    concur,
    line::{Line, local},
    request::Form,
};
use crate::{
    domain::{
        failure::{Class, Evidence, Failure, Stage, Trouble, classify},
        profile::{ClientAuth, Dialect, Profile, ResourceIndicators},
    },
    egress::Outgoing,
};
use std::time::Duration;
use url::Url;

/// Longest address or code that a server may give for a person, in bytes.
const ADDRESS_MAX: usize = 2048;
const USER_CODE_MAX: usize = 64;
/// Used where the server does not say how long a device code lives, which RFC 8628 §3.2 requires.
const DEVICE_LIVES: Duration = Duration::from_mins(10);

pub(super) async fn prepare(
    line: &Line,
    preparation: &Preparation<'_>,
    asking: &Asking<'_>,
) -> Result<Prepared, Failure> {
    let profile = preparation.profile;
    let missing = || local(Class::Configuration, "provider profile has no endpoint for this");
    match preparation.ask {
        Prelude::Push(parameters) => {
            let endpoint = profile.pushed_authorization_request_endpoint.as_ref();
            let alias = profile.mtls_endpoint_aliases.pushed_authorization_request_endpoint.as_ref();
            let endpoint = asking.endpoint(endpoint, alias).ok_or_else(missing)?;
            let request = asking.request(endpoint, push_form(parameters, asking))?;
            pushed(profile, &sent(line, profile, request).await?)
        }
        Prelude::Device { scopes: asked, resources } => {
            let endpoint = profile.device_authorization_endpoint.as_ref();
            let alias = profile.mtls_endpoint_aliases.device_authorization_endpoint.as_ref();
            let endpoint = asking.endpoint(endpoint, alias).ok_or_else(missing)?;
            let request = asking.request(endpoint, device_form(profile, asked, resources, asking))?;
            device(profile, sent(line, profile, request).await?)
        }
        Prelude::Otp { .. } => match profile.dialect {
            Dialect::SapConcur => concur::send_otp(line, preparation, asking).await,
            Dialect::Rfc6749 => Err(missing()),
        },
    }
}

/// The parameters of the request, the client's name once: most methods write it themselves.
fn push_form(parameters: &[(String, String)], asking: &Asking<'_>) -> Form {
    let mut form = Form::new();
    for (name, value) in parameters.iter().filter(|(name, _)| name != "client_id") {
        form.put(name, value);
    }
    if asking.auth == ClientAuth::ClientSecretBasic {
        form.put("client_id", asking.client_id);
    }
    form
}

fn device_form(profile: &Profile, asked: &[String], resources: &[String], asking: &Asking<'_>) -> Form {
    let mut form = Form::new();
    // RFC 8628 §3.1 wants it of clients that do not authenticate; some servers look for it in any request.
    if asking.auth == ClientAuth::ClientSecretBasic {
        form.put("client_id", asking.client_id);
    }
    let scopes = scopes(profile, asked);
    if !scopes.is_empty() {
        form.put("scope", &scopes);
    }
    match profile.resource_indicators {
        ResourceIndicators::None => {}
        ResourceIndicators::Authorization | ResourceIndicators::Everywhere => {
            for resource in resources {
                form.put("resource", resource);
            }
        }
    }
    form
}

async fn sent(line: &Line, profile: &Profile, request: Outgoing) -> Result<Response, Failure> {
    let told = line.send(profile, request).await.map_err(|evidence| judged(profile, &evidence, None))?;
    match told.response.status {
        200..=299 => Ok(told.response),
        _ => Err(refused(profile, &told.response)),
    }
}

/// What an answer that is none means.
pub(super) fn refused(profile: &Profile, response: &Response) -> Failure {
    let evidence = match response.status {
        300..=399 => Evidence::Redirected { status: response.status },
        _ => Evidence::Refused(response.refusal()),
    };
    judged(profile, &evidence, response.correlation_id.as_deref())
}

pub(super) fn judged(profile: &Profile, evidence: &Evidence, correlation_id: Option<&str>) -> Failure {
    classify(profile, Stage::Bootstrap, evidence, correlation_id)
}

fn unreadable(profile: &Profile, response: &Response) -> Failure {
    let evidence = Evidence::Unreadable { status: response.status, trouble: Trouble::NotJson };
    let failure = judged(profile, &evidence, response.correlation_id.as_deref());
    Failure { class: Class::Malformed, detail: "answer lacks what was asked for", ..failure }
}

/// RFC 9126 §2.2.
fn pushed(profile: &Profile, response: &Response) -> Result<Prepared, Failure> {
    let uri = response.fields.as_ref().and_then(|fields| fields.text("request_uri"));
    match uri.filter(|uri| uri.len() <= ADDRESS_MAX && uri.bytes().all(|b| b.is_ascii_graphic())) {
        Some(uri) => Ok(Prepared::Pushed { request_uri: uri.to_owned() }),
        None => Err(unreadable(profile, response)),
    }
}

/// RFC 8628 §3.2. `verification_url` is what Google calls it.
fn device(profile: &Profile, mut response: Response) -> Result<Prepared, Failure> {
    let failure = unreadable(profile, &response);
    let read = || {
        let fields = response.fields.as_mut()?;
        let span = |name: &str| fields.seconds(name)?.ok();
        let (expires_in, interval) = (span("expires_in").unwrap_or(DEVICE_LIVES), span("interval"));
        let shown = |name: &str| fields.text(name).and_then(address);
        let verification_uri = shown("verification_uri").or_else(|| shown("verification_url"))?;
        let verification_uri_complete =
            shown("verification_uri_complete").or_else(|| shown("verification_url_complete"));
        let user_code = fields.text("user_code")?;
        let user_code = user_code
            .bytes()
            .all(|b| b.is_ascii_graphic() || b == b' ')
            .then(|| user_code.to_owned())
            .filter(|code| code.len() <= USER_CODE_MAX)?;
        let device_code = fields.secret("device_code")?;
        Some(DeviceCode {
            device_code,
            user_code,
            verification_uri,
            verification_uri_complete,
            expires_in,
            interval,
        })
    };
    let mut read = read;
    read().map(Prepared::Device).ok_or(failure)
}

/// An address that a person is told to open: a web address, and nothing that could be anything else on a terminal.
fn address(given: &str) -> Option<String> {
    let plain = given.len() <= ADDRESS_MAX && given.bytes().all(|b| b.is_ascii_graphic());
    let url = Url::parse(given).ok().filter(|url| plain && matches!(url.scheme(), "https" | "http"))?;
    url.has_host().then(|| url.into())
}

/// SAP Concur answers `{"message":"otp sent"}`; that it is 2xx is what counts.
pub(super) fn otp_sent(profile: &Profile, response: &Response) -> Result<Prepared, Failure> {
    match response.status {
        200..=299 => Ok(Prepared::OtpSent),
        _ => Err(refused(profile, response)),
    }
}

#[cfg(test)]
#[path = "preparing_tests.rs"]
mod tests;
