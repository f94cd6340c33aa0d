//! The successful response of the plain authorization server, and what its access tokens say.
//! Decides nothing but the form.

use super::{
    behaviour::TokenForm,
    world::{Client, World},
};
use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError,
        exchange::Answer,
        refresh_tokens::{Handed, Owner},
    },
};
use serde_json::{Value, json};

/// What is to be issued.
pub(super) struct Issue<'a> {
    pub(super) client: &'a Client,
    pub(super) subject: &'a str,
    pub(super) scope: &'a [String],
    pub(super) resource: &'a [String],
    /// The key that the access token is bound to.
    pub(super) jkt: Option<&'a str>,
    pub(super) refresh: Option<Handed>,
    /// For the id token.
    pub(super) nonce: Option<&'a str>,
    /// Who acts for the subject (RFC 8693 §4.1).
    pub(super) actor: Option<&'a str>,
}

impl<'a> Issue<'a> {
    pub(super) fn to(client: &'a Client, subject: &'a str, scope: &'a [String]) -> Self {
        Self { client, subject, scope, resource: &[], jkt: None, refresh: None, nonce: None, actor: None }
    }
}

pub(super) fn success(
    world: &mut World,
    now: Timestamp,
    site: &str,
    issue: &Issue<'_>,
) -> Result<Value, SimulatorError> {
    let base = world.basics.base(site);
    let lifetime = world.basics.behaviour.access_token_seconds;
    let at = now.as_secs();
    let scopes: Vec<String> =
        issue.scope.iter().chain(&world.basics.behaviour.extra_scopes).cloned().collect();
    let scope = scopes.join(" ");
    let audience = match issue.resource {
        [] => json!(base),
        [one] => json!(one),
        several => json!(several),
    };
    let mut claims = json!({
        "iss": base, "sub": issue.subject, "aud": audience, "client_id": issue.client.id, "scope": scope,
        "iat": at, "exp": at + lifetime, "jti": world.basics.dice.uuid(),
    });
    if let Some(jkt) = issue.jkt {
        claims["cnf"] = json!({ "jkt": jkt });
    }
    if let Some(actor) = issue.actor {
        claims["act"] = json!({ "sub": actor });
    }
    let access_token = match world.basics.behaviour.access_token {
        TokenForm::Opaque => {
            let token = world.basics.dice.base36(43);
            world.opaque.keep(now, token.clone(), claims, lifetime);
            token
        }
        TokenForm::Jwt => world.basics.key(site)?.sign(&claims)?,
    };
    let token_type = if issue.jkt.is_some() { "DPoP" } else { "Bearer" };
    let mut body = json!({
        "access_token": access_token, "token_type": token_type, "expires_in": lifetime, "scope": scope,
    });
    if let Some(handed) = &issue.refresh {
        body["refresh_token"] = handed.token.as_str().into();
    }
    if issue.refresh.is_some() && scopes.iter().any(|one| one == "openid") {
        let mut claims = json!({
            "iss": base, "sub": issue.subject, "aud": issue.client.id, "iat": at, "exp": at + lifetime,
        });
        if let Some(nonce) = issue.nonce {
            claims["nonce"] = nonce.into();
        }
        body["id_token"] = world.basics.key(site)?.sign(&claims)?.into();
    }
    Ok(body)
}

pub(super) fn sent(body: &Value) -> Answer {
    Answer::json(200, body).with("cache-control", "no-store".to_owned())
}

/// What a good access token of this server says; `None` if it is none.
pub(super) fn claims_of(world: &mut World, now: Timestamp, site: &str, token: &str) -> Option<Value> {
    let claims = match world.opaque.good(now, token) {
        Some(claims) => claims.clone(),
        None => world.basics.key(site).ok()?.verify(token)?,
    };
    let alive = claims["exp"].as_u64().is_some_and(|exp| exp > now.as_secs());
    let revoked = world.revoked.good(now, claims["jti"].as_str()?).is_some();
    (alive && !revoked && claims["client_id"].is_string()).then_some(claims)
}

/// RFC 7662 §2.2: what a resource server or the client itself is told.
pub(super) fn introspected(
    world: &mut World,
    now: Timestamp,
    site: &str,
    client: &str,
    token: &str,
) -> Value {
    if let Some(mut claims) = claims_of(world, now, site, token) {
        claims["active"] = true.into();
        let bound = claims.get("cnf").is_some();
        claims["token_type"] = if bound { "DPoP" } else { "Bearer" }.into();
        return claims;
    }
    let rules = &world.basics.behaviour.refresh;
    match world.basics.refresh_tokens.alive(now, rules, token) {
        Some((Owner { app, principal, scope, .. }, expires_at)) if app == client => json!({
            "active": true, "client_id": app, "sub": principal, "scope": scope.join(" "),
            "exp": expires_at.as_secs(), "iss": world.basics.base(site),
        }),
        Some(_) | None => json!({ "active": false }),
    }
}

/// Ends an access token of this client before its time.
pub(super) fn revoke(world: &mut World, now: Timestamp, claims: &Value) {
    let left = claims["exp"].as_u64().unwrap_or(0).saturating_sub(now.as_secs());
    if let Some(jti) = claims["jti"].as_str() {
        world.revoked.keep(now, jti.to_owned(), (), left);
    }
}
