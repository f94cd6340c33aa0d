//! The successful response of a simulated Concur: access token, refresh token, id token and where they are good.
//! Decides nothing but the form.

use super::{
    behaviour::{GeolocationForm, NumberForm},
    world::World,
};
use crate::{
    clock::Timestamp,
    simulator::{
        Member, SimulatorError,
        exchange::{Answer, Request},
        refresh_tokens::Handed,
    },
};
use serde_json::{Map, Value, json};

/// `nbf` lies this many seconds before `iat`, for clients whose clocks are late.
const NOT_BEFORE_ALLOWANCE_SECONDS: u64 = 10;

/// What is to be issued.
pub(super) struct Issue {
    pub(super) app: String,
    /// `company`, `user` or `app`.
    pub(super) kind: &'static str,
    pub(super) subject: String,
    /// Where the token is signed and good.
    pub(super) data_centre: String,
    pub(super) scope: Vec<String>,
    pub(super) refresh: Option<Handed>,
}

/// Who presents an access token.
pub(super) struct Bearer {
    pub(super) app: String,
    pub(super) principal: String,
    /// `company`, `user` or `app`.
    pub(super) kind: String,
}

pub(super) fn success(world: &mut World, now: Timestamp, issue: &Issue) -> Result<Answer, SimulatorError> {
    let access_token = access_token(world, now, issue)?;
    let behaviour = &world.basics.behaviour;
    let mut body = Map::new();
    body.insert("expires_in".to_owned(), number(behaviour.access_token_seconds, behaviour.expires_in));
    body.insert("scope".to_owned(), issue.scope.join(" ").into());
    body.insert("token_type".to_owned(), "Bearer".into());
    body.insert("access_token".to_owned(), access_token.into());
    if let Some(handed) = &issue.refresh {
        body.insert("refresh_token".to_owned(), handed.token.as_str().into());
        if behaviour.refresh_expires_in == Member::Sent {
            body.insert("refresh_expires_in".to_owned(), handed.expires_at.as_secs().into());
        }
    }
    if let Some(geolocation) = geolocation(world.basics.base(&issue.data_centre), behaviour.geolocation) {
        body.insert("geolocation".to_owned(), geolocation.into());
    }
    let openid = issue.scope.iter().any(|scope| scope == "openid");
    if openid && issue.refresh.is_some() && behaviour.id_token == Member::Sent {
        body.insert("id_token".to_owned(), id_token(world, now, issue)?.into());
    }
    Ok(Answer::json(200, &Value::Object(body)))
}

/// Whose unexpired access token of this data centre the request carries.
pub(super) fn bearer(world: &mut World, now: Timestamp, request: &Request) -> Option<Bearer> {
    let claims = world.basics.key(&request.site).ok()?.verify(request.authorization("bearer")?)?;
    let text = |name: &str| claims[name].as_str().map(str::to_owned);
    let good = claims["exp"].as_u64()? > now.as_secs();
    let bearer = Bearer { app: text("concur.appId")?, principal: text("sub")?, kind: text("concur.type")? };
    good.then_some(bearer)
}

fn access_token(world: &mut World, now: Timestamp, issue: &Issue) -> Result<String, SimulatorError> {
    let (base, at) = (world.basics.base(&issue.data_centre), now.as_secs());
    let mut claims = json!({
        "concur.scopes": issue.scope,
        "aud": "*",
        "concur.appId": issue.app,
        "sub": issue.subject,
        "iss": base,
        "exp": at + world.basics.behaviour.access_token_seconds,
        "concur.version": 3,
        "concur.type": issue.kind,
        "nbf": at.saturating_sub(NOT_BEFORE_ALLOWANCE_SECONDS),
        "iat": at,
        // Two tokens of one second would otherwise be the same text.
        "jti": world.basics.dice.uuid(),
    });
    if world.basics.behaviour.url_claims == Member::Sent {
        claims["concur.profile"] = format!("{base}/profile/v1/principals/{}", issue.subject).into();
        claims["concur.app"] = format!("{base}/profile/v1/apps/{}", issue.app).into();
    }
    world.basics.key(&issue.data_centre)?.sign(&claims)
}

fn id_token(world: &mut World, now: Timestamp, issue: &Issue) -> Result<String, SimulatorError> {
    let at = now.as_secs();
    let claims = json!({
        "aud": issue.app,
        "concur.version": 2,
        "concur.type": issue.kind,
        "sub": issue.subject,
        "iss": world.basics.base(&issue.data_centre),
        "exp": at + world.basics.behaviour.access_token_seconds,
        "nbf": at,
        // Sixteen hexadecimal digits, not the half hash of OpenID Connect.
        "at_hash": world.basics.dice.hex16(),
        "iat": at,
    });
    world.basics.key(&issue.data_centre)?.sign(&claims)
}

fn number(value: u64, form: NumberForm) -> Value {
    match form {
        NumberForm::Number => value.into(),
        NumberForm::Text => value.to_string().into(),
    }
}

fn geolocation(base: String, form: GeolocationForm) -> Option<String> {
    match form {
        GeolocationForm::Plain => Some(base),
        GeolocationForm::WithPath => Some(base + "/oauth2/v0/token"),
        GeolocationForm::UpperCase => Some(base.to_ascii_uppercase()),
        GeolocationForm::LeftOut => None,
    }
}
