//! An app's own administration of its secrets at SAP Concur (`/app-mgmt/v4/{app}/secrets`, marked as a prerelease).
//! Every call is made with an app token that is asked for just before, with the one secret that the caller chose.

use super::{CORRELATION_HEADER, at, correlation, exchange as token};
use crate::{
    domain::{
        failure::{Class, Evidence, Failure, Stage, Trouble, classify},
        rotation::{Listed, Status},
        token::{ClientSecret, Secret},
    },
    egress::Outgoing,
    provider::{
        Exchange, Grant, Managed, ManagingSecrets, SecretStep,
        answer::Response,
        client_auth::{Asking, Next},
        echo::Credentials,
        hosts,
        line::{Line, local},
    },
};
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

/// Members that may hold a new secret: SAP does not publish which.
const VALUE_MEMBERS: [&str; 4] = ["secret", "clientSecret", "client_secret", "value"];
/// Most secrets of an app that are looked at.
const LISTED_MAX: usize = 64;

pub(in crate::provider) async fn manage(
    line: &Line,
    managing: &ManagingSecrets<'_>,
    asking: &Asking<'_>,
) -> Result<Managed, Failure> {
    let exchange = Exchange {
        profile: managing.profile,
        client: managing.client,
        grant: &Grant::ClientCredentials,
        scopes: &[],
        resources: &[],
        granted: &[],
        api_base_url: None,
        dpop: None,
        principal: None,
        correlation_id: managing.correlation_id,
    };
    let answered = token(line, &exchange, asking).await;
    let Next::Settled = managing.client.heard(asking, &answered) else {
        return answered.map(|_| Managed::Done);
    };
    let answer = answered?;
    let access = answer.access?.access_token;
    if let SecretStep::Prove = managing.step {
        return Ok(Managed::Done);
    }
    let base = answer.api_base_url.unwrap_or_default();
    let base = hosts::allowed(managing.profile, &base).map_err(|evidence| judged(managing, &evidence))?;
    let request = request(managing, &base, &access.0)?;
    let credentials = Credentials::sent(&request);
    let reply =
        line.fetch(managing.profile, request).await.map_err(|evidence| judged(managing, &evidence))?;
    let response = Response::read(&reply, &managing.profile.quirks, credentials, line.clock.now());
    match (response.status, &managing.step) {
        (200..=299, SecretStep::List) => listed(&reply.body).map(Managed::Listed),
        (200..=299, SecretStep::Create) => created(&reply.body),
        (200..=299, _) | (404, SecretStep::Delete(_)) => Ok(Managed::Done),
        _ => Err(judged(managing, &Evidence::Refused(response.refusal()))),
    }
}

fn judged(managing: &ManagingSecrets<'_>, evidence: &Evidence) -> Failure {
    classify(managing.profile, Stage::Steady, evidence, None)
}

fn request(managing: &ManagingSecrets<'_>, base: &Url, access: &Secret) -> Result<Outgoing, Failure> {
    let path = format!("/app-mgmt/v4/{}/secrets", managing.client.client_id);
    let status = |value: &str| {
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "replace", "path": "/status", "value": value }],
        })
    };
    let (method, id, body) = match managing.step {
        SecretStep::List | SecretStep::Prove => (Method::GET, None, None),
        SecretStep::Create => (Method::POST, None, None),
        SecretStep::Activate(id) => (Method::PATCH, Some(id), Some(status("active"))),
        SecretStep::Deactivate(id) => (Method::PATCH, Some(id), Some(status("inactive"))),
        SecretStep::Delete(id) => (Method::DELETE, Some(id), None),
    };
    let mut url = at(base, &path);
    if let Some(id) = id {
        url.path_segments_mut().map_err(|()| local(Class::Policy, "address has no path"))?.push(id);
    }
    let mut credentials = HeaderValue::try_from(format!("Bearer {}", access.expose()))
        .map_err(|_| local(Class::Malformed, "access token does not fit a header"))?;
    credentials.set_sensitive(true);
    let mut headers = HeaderMap::from_iter([
        (header::AUTHORIZATION, credentials),
        (header::ACCEPT, HeaderValue::from_static("application/json")),
        (CORRELATION_HEADER, correlation(managing.correlation_id)),
    ]);
    if body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    Ok(Outgoing { method, url, headers, body, presenting: None })
}

fn listed(body: &[u8]) -> Result<Vec<Listed>, Failure> {
    let unreadable = || local(Class::Malformed, Trouble::NotJson.says());
    let Ok(Value::Array(secrets)) = serde_json::from_slice(body) else { return Err(unreadable()) };
    if secrets.len() > LISTED_MAX {
        return Err(local(Class::Malformed, "answer lists more secrets than an app can have"));
    }
    secrets
        .iter()
        .map(|one| {
            let text = |name: &str| one.get(name).and_then(Value::as_str);
            let active = text("status").ok_or_else(unreadable)?.eq_ignore_ascii_case("active");
            let status = if active { Status::Active } else { Status::Inactive };
            Ok(Listed { id: text("id").ok_or_else(unreadable)?.to_owned(), status })
        })
        .collect()
}

/// The whole answer is a secret: what is read of it is wiped.
fn created(body: &Zeroizing<Vec<u8>>) -> Result<Managed, Failure> {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else {
        return Err(local(Class::Malformed, Trouble::NotJson.says()));
    };
    let value = VALUE_MEMBERS.iter().find_map(|name| match members.remove(*name) {
        Some(Value::String(value)) if !value.is_empty() => Some(ClientSecret(Secret::new(value))),
        _ => None,
    });
    let Some(Value::String(id)) = members.remove("id") else {
        return Err(local(Class::Malformed, "answer to a new secret has no id"));
    };
    match value {
        Some(value) => Ok(Managed::Created { id, value }),
        None => Err(local(
            Class::Malformed,
            "answer to a new secret has none in it: not as secret, clientSecret, client_secret or value",
        )),
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
