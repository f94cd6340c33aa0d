//! The token endpoint of the plain authorization server: RFC 6749 with PKCE, RFC 8628, RFC 7523, RFC 8693.
//! Builds no response: that is `issue`.

use super::{
    answer::Call,
    client_auth::{Stop, authenticate, require_unused, stop, stop_because},
    device, dpop,
    issue::{self, Issue},
    world::{Authentication, Client, Refusal, World},
};
use crate::{
    clock::Timestamp,
    simulator::{
        exchange::{Form, Request},
        journal::Ending,
        pkce,
        refresh_tokens::Owner,
        signing::foreign::SignedBy,
        world::{Done, Outcome},
    },
};
use url::Url;

pub(super) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(super) const GRANTS: [&str; 7] = [
    "client_credentials",
    "refresh_token",
    "authorization_code",
    "password",
    DEVICE_CODE,
    JWT_BEARER,
    TOKEN_EXCHANGE,
];
const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A token request of a client that has shown who it is.
pub(super) struct Asked<'a> {
    pub(super) client: &'a Client,
    pub(super) site: &'a str,
    pub(super) form: &'a Form,
    /// The key that the request proves to have.
    pub(super) jkt: Option<String>,
    /// RFC 8707.
    pub(super) resource: Vec<String>,
}

pub(super) fn token(world: &mut World, now: Timestamp, request: &Request, call: &Call) -> Outcome<Refusal> {
    let client = authenticate(world, now, request, &call.form, &call.credentials)?;
    let jkt = dpop::proved_key(world, now, request)?;
    let resource = resources(&call.form)?;
    let asked = Asked { client: &client, site: &request.site, form: &call.form, jkt, resource };
    let grant = call.form.get("grant_type").ok_or_else(|| stop("invalid_request"))?;
    if !GRANTS.contains(&grant) {
        return Err(stop("unsupported_grant_type"));
    }
    if !client.grants.contains(grant) {
        return Err(stop("unauthorized_client"));
    }
    match grant {
        "client_credentials" => client_credentials(world, now, &asked),
        "refresh_token" => refresh(world, now, &asked),
        "authorization_code" => code(world, now, &asked),
        "password" => password(world, now, &asked),
        DEVICE_CODE => device::poll(world, now, &asked),
        JWT_BEARER => jwt_bearer(world, now, &asked),
        _ => token_exchange(world, now, &asked),
    }
}

/// RFC 8707 §2: absolute and without a fragment.
pub(super) fn resources(form: &Form) -> Result<Vec<String>, Stop> {
    let given: Vec<String> = form.all("resource").map(str::to_owned).collect();
    let good = |text: &String| Url::parse(text).is_ok_and(|url| url.fragment().is_none());
    if given.iter().all(good) { Ok(given) } else { Err(stop("invalid_target")) }
}

/// RFC 6749 §4.4.
fn client_credentials(world: &mut World, now: Timestamp, asked: &Asked<'_>) -> Outcome<Refusal> {
    if asked.client.authentication == Authentication::None {
        return Err(stop("unauthorized_client"));
    }
    let scope = asked.form.scope_within(&asked.client.scopes).ok_or_else(|| stop("invalid_scope"))?;
    without_refresh(world, now, asked, &asked.client.id, &scope)
}

fn without_refresh(
    world: &mut World,
    now: Timestamp,
    asked: &Asked<'_>,
    subject: &str,
    scope: &[String],
) -> Outcome<Refusal> {
    let issue = Issue {
        resource: &asked.resource,
        jkt: asked.jkt.as_deref(),
        ..Issue::to(asked.client, subject, scope)
    };
    let body = issue::success(world, now, asked.site, &issue)?;
    Ok(Done { answer: issue::sent(&body), ending: Ending::Granted })
}

/// The first exchange of a new family. The refresh token of a public client is bound to its key (RFC 9449 §5).
pub(super) fn start(
    world: &mut World,
    now: Timestamp,
    asked: &Asked<'_>,
    owner: Owner,
    nonce: Option<&str>,
) -> Outcome<Refusal> {
    let public = asked.client.authentication == Authentication::None;
    let resource = narrowed(&owner.resource, &asked.resource)?;
    let owner = Owner { jkt: asked.jkt.clone().filter(|_| public), ..owner };
    let (subject, scope) = (owner.principal.clone(), owner.scope.clone());
    let refreshable = asked.client.grants.contains("refresh_token");
    let refresh = refreshable.then(|| world.basics.issue(now, owner));
    let issue = Issue {
        resource: &resource,
        jkt: asked.jkt.as_deref(),
        refresh,
        nonce,
        ..Issue::to(asked.client, &subject, &scope)
    };
    let body = issue::success(world, now, asked.site, &issue)?;
    Ok(Done { answer: issue::sent(&body), ending: Ending::Granted })
}

/// What was granted, or the part of it that is asked for.
fn narrowed(granted: &[String], asked: &[String]) -> Result<Vec<String>, Stop> {
    if asked.is_empty() {
        return Ok(granted.to_vec());
    }
    let within = granted.is_empty() || asked.iter().all(|one| granted.contains(one));
    if within { Ok(asked.to_vec()) } else { Err(stop("invalid_target")) }
}

/// RFC 6749 §6.
fn refresh(world: &mut World, now: Timestamp, asked: &Asked<'_>) -> Outcome<Refusal> {
    let presented = asked.form.get("refresh_token").ok_or_else(|| stop("invalid_request"))?;
    let owner = world.basics.refresh_tokens.owner(presented).cloned();
    let owner = owner.filter(|owner| owner.app == asked.client.id).ok_or_else(|| stop("invalid_grant"))?;
    if owner.jkt.is_some() && owner.jkt != asked.jkt {
        return Err(stop_because("invalid_grant", "refresh token is bound to another key"));
    }
    let scope = asked.form.scope_within(&owner.scope).ok_or_else(|| stop("invalid_scope"))?;
    let resource = narrowed(&owner.resource, &asked.resource)?;
    let handed = world.basics.exchange(now, presented).map_err(|_| stop("invalid_grant"))?;
    let issue = Issue {
        resource: &resource,
        jkt: asked.jkt.as_deref(),
        refresh: Some(handed),
        ..Issue::to(asked.client, &owner.principal, &scope)
    };
    let body = issue::success(world, now, asked.site, &issue)?;
    Ok(Done { answer: issue::sent(&body), ending: Ending::Refreshed })
}

/// RFC 6749 §4.1.3 with RFC 7636. A code that comes again ends what it brought (§4.1.2).
fn code(world: &mut World, now: Timestamp, asked: &Asked<'_>) -> Outcome<Refusal> {
    let presented = asked.form.get("code").ok_or_else(|| stop("invalid_request"))?;
    let code = world.codes.good(now, presented).cloned().ok_or_else(|| stop("invalid_grant"))?;
    if let Some(brought) = &code.spent_for {
        world.basics.refresh_tokens.revoke(brought);
        return Err(stop_because("invalid_grant", "code was used before"));
    }
    if code.owner.app != asked.client.id {
        return Err(stop("invalid_grant"));
    }
    if asked.form.get("redirect_uri") != Some(&code.redirect_uri) {
        return Err(stop_because("invalid_grant", "redirect_uri differs"));
    }
    if !pkce::proves(code.challenge.as_deref(), asked.form.get("code_verifier")) {
        return Err(stop_because("invalid_grant", "code_verifier does not fit"));
    }
    if code.owner.jkt.is_some() && code.owner.jkt != asked.jkt {
        return Err(stop_because("invalid_grant", "code is bound to another key"));
    }
    let done = start(world, now, asked, code.owner, code.nonce.as_deref())?;
    let body: serde_json::Value = serde_json::from_slice(&done.answer.body).unwrap_or_default();
    if let Some(code) = world.codes.good_mut(now, presented) {
        code.spent_for = Some(body["refresh_token"].as_str().unwrap_or_default().to_owned());
    }
    Ok(done)
}

/// RFC 6749 §4.3.
fn password(world: &mut World, now: Timestamp, asked: &Asked<'_>) -> Outcome<Refusal> {
    let name = asked.form.get("username").ok_or_else(|| stop("invalid_request"))?;
    let given = asked.form.get("password").ok_or_else(|| stop("invalid_request"))?;
    if world.users.get(name).is_none_or(|good| good != given) {
        return Err(stop("invalid_grant"));
    }
    let scope = asked.form.scope_within(&asked.client.scopes).ok_or_else(|| stop("invalid_scope"))?;
    let principal = name.to_ascii_lowercase();
    let resource = asked.resource.clone();
    let owner = Owner { app: asked.client.id.clone(), principal, scope, resource, jkt: None };
    start(world, now, asked, owner, None)
}

/// RFC 7523 §2.1: an assertion of somebody whose keys are registered here, or of the client itself.
fn jwt_bearer(world: &mut World, now: Timestamp, asked: &Asked<'_>) -> Outcome<Refusal> {
    let refused = |why| stop_because("invalid_grant", why);
    let assertion = asked.form.get("assertion").ok_or_else(|| stop("invalid_request"))?;
    let jwt = SignedBy::read(assertion).ok_or_else(|| refused("assertion is no JWT"))?;
    let issuer = jwt.text("iss").ok_or_else(|| refused("assertion without iss"))?;
    let subject = jwt.text("sub").ok_or_else(|| refused("assertion without sub"))?.to_ascii_lowercase();
    let own = || asked.client.jwks.as_ref().filter(|_| issuer == asked.client.id);
    let keys = world.trusted.get(issuer).or_else(own).cloned();
    let signed = keys.is_some_and(|keys| jwt.is_by_one_of(&keys));
    let base = world.basics.base(asked.site);
    require_unused(world, now, &jwt, &base, signed).map_err(refused)?;
    let scope = asked.form.scope_within(&asked.client.scopes).ok_or_else(|| stop("invalid_scope"))?;
    without_refresh(world, now, asked, &subject, &scope)
}

/// RFC 8693: an access token of this server for one with fewer rights, another audience, or an actor.
fn token_exchange(world: &mut World, now: Timestamp, asked: &Asked<'_>) -> Outcome<Refusal> {
    let form = asked.form;
    let wanted = form.get("requested_token_type").unwrap_or(ACCESS_TOKEN_TYPE);
    if wanted != ACCESS_TOKEN_TYPE {
        return Err(stop_because("invalid_request", "only access tokens are issued"));
    }
    let subject = presented(world, now, asked, "subject_token")?.ok_or_else(|| stop("invalid_request"))?;
    let actor = presented(world, now, asked, "actor_token")?;
    let text = |claims: &serde_json::Value, name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let granted: Vec<String> = text(&subject, "scope").split_whitespace().map(str::to_owned).collect();
    let scope = form.scope_within(&granted).ok_or_else(|| stop("invalid_scope"))?;
    let audience = form.all("audience").map(str::to_owned);
    let resource: Vec<String> = asked.resource.iter().cloned().chain(audience).collect();
    let (sub, actor) = (text(&subject, "sub"), actor.map(|claims| text(&claims, "sub")));
    let issue = Issue {
        resource: &resource,
        jkt: asked.jkt.as_deref(),
        actor: actor.as_deref(),
        ..Issue::to(asked.client, &sub, &scope)
    };
    let mut body = issue::success(world, now, asked.site, &issue)?;
    body["issued_token_type"] = ACCESS_TOKEN_TYPE.into();
    Ok(Done { answer: issue::sent(&body), ending: Ending::Granted })
}

/// The claims of a token that a request carries; `None` if it carries none.
fn presented(
    world: &mut World,
    now: Timestamp,
    asked: &Asked<'_>,
    name: &str,
) -> Result<Option<serde_json::Value>, Stop> {
    let kind = asked.form.get(&format!("{name}_type"));
    let Some(token) = asked.form.get(name) else {
        return if kind.is_none() { Ok(None) } else { Err(stop("invalid_request")) };
    };
    if !matches!(kind, Some(ACCESS_TOKEN_TYPE | JWT_TYPE)) {
        return Err(stop_because("invalid_request", "the type of a token is missing or unknown"));
    }
    let claims = issue::claims_of(world, now, asked.site, token);
    claims.map(Some).ok_or_else(|| stop_because("invalid_request", "a token is not good here"))
}
