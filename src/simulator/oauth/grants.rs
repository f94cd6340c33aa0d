//! The token and revocation endpoints of the plain authorization server.
//! Knows only the two grants that need no browser.

use super::{
    answer::{Call, Credentials},
    world::{Authentication, Client, Refusal, TokenForm, World},
};
use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError,
        exchange::{Answer, Request},
        journal::Ending,
        refresh_tokens::Handed,
        world::{self, Done, Outcome},
    },
};
use serde_json::json;

pub(super) const GRANTS: [&str; 2] = ["client_credentials", "refresh_token"];

type Stop = world::Stop<Refusal>;

fn stop(error: &str) -> Stop {
    Stop::Refused(Refusal::error(error))
}

/// RFC 6749 §4.4 and §6.
pub(super) fn token(world: &mut World, now: Timestamp, request: &Request, call: &Call) -> Outcome<Refusal> {
    let client = authenticate(world, request, call)?;
    let form = &call.form;
    let grant = form.get("grant_type").ok_or_else(|| stop("invalid_request"))?;
    if !GRANTS.contains(&grant) {
        return Err(stop("unsupported_grant_type"));
    }
    if !client.grants.contains(grant) {
        return Err(stop("unauthorized_client"));
    }
    if grant == "client_credentials" {
        let scope = form.scope_within(&client.scopes).ok_or_else(|| stop("invalid_scope"))?;
        let answer = success(world, now, &request.site, &client.id, &client.id, &scope, None)?;
        return Ok(Done { answer, ending: Ending::Granted });
    }
    let presented = form.get("refresh_token").ok_or_else(|| stop("invalid_request"))?;
    let owner = world.basics.refresh_tokens.owner(presented).cloned();
    let owner = owner.filter(|owner| owner.app == client.id).ok_or_else(|| stop("invalid_grant"))?;
    let scope = form.scope_within(&owner.scope).ok_or_else(|| stop("invalid_scope"))?;
    let handed = world.basics.exchange(now, presented).map_err(|_| stop("invalid_grant"))?;
    let answer = success(world, now, &request.site, &client.id, &owner.principal, &scope, Some(&handed))?;
    Ok(Done { answer, ending: Ending::Refreshed })
}

/// RFC 7009: unknown tokens are as good as revoked. An access token lives until it expires: nothing here asks for it.
pub(super) fn revoke(world: &mut World, request: &Request, call: &Call) -> Outcome<Refusal> {
    let client = authenticate(world, request, call)?;
    let token = call.form.get("token").ok_or_else(|| stop("invalid_request"))?;
    match world.basics.refresh_tokens.owner(token) {
        Some(owner) if owner.app != client.id => Err(stop("invalid_grant")),
        Some(_) => {
            world.basics.refresh_tokens.revoke(token);
            Ok(Done { answer: Answer::text(200, ""), ending: Ending::Revoked })
        }
        None => Ok(Done { answer: Answer::text(200, ""), ending: Ending::Served }),
    }
}

fn authenticate(world: &World, request: &Request, call: &Call) -> Result<Client, Stop> {
    // RFC 6749 §3.2: a body in the one format, no parameter twice.
    let content_type = request.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") || call.form.repeats() {
        return Err(stop("invalid_request"));
    }
    match &call.credentials {
        Credentials::Malformed => Err(stop("invalid_request")),
        Credentials::Absent => Err(stop("invalid_client")),
        Credentials::Given { id, secret, by } => {
            let known = world.clients.get(id);
            let good = known.filter(|client| {
                let way = client.authentication == Authentication::Either || client.authentication == *by;
                way && client.secrets.contains(secret)
            });
            good.cloned().ok_or_else(|| stop("invalid_client"))
        }
    }
}

fn success(
    world: &mut World,
    now: Timestamp,
    site: &str,
    client: &str,
    subject: &str,
    scope: &[String],
    refresh: Option<&Handed>,
) -> Result<Answer, SimulatorError> {
    let lifetime = world.basics.behaviour.access_token_seconds;
    let (at, scope) = (now.as_secs(), scope.join(" "));
    let access_token = match world.basics.behaviour.access_token {
        TokenForm::Opaque => world.basics.dice.base36(43),
        TokenForm::Jwt => {
            let claims = json!({
                "iss": world.basics.base(site), "sub": subject, "aud": world.basics.base(site),
                "client_id": client, "scope": scope, "iat": at, "exp": at + lifetime,
                "jti": world.basics.dice.uuid(),
            });
            world.basics.key(site)?.sign(&claims)?
        }
    };
    let mut body = json!({
        "access_token": access_token, "token_type": "Bearer", "expires_in": lifetime, "scope": scope,
    });
    if let Some(handed) = refresh {
        body["refresh_token"] = handed.token.as_str().into();
    }
    Ok(Answer::json(200, &body).with("cache-control", "no-store".to_owned()))
}
