//! What a simulated Concur answers: one pure function of its world, the time and a request.
//! Opens no socket and reads no clock. Where SAP publishes no order of checks, the order here is an assumption:
//! format, then client, then grant, then principal, then data centre.

use super::{
    authorize::{self, Back},
    behaviour::Behaviour,
    codes,
    control::Order,
    grants, issue, otp,
    records::Refusal,
    secrets::{self, Place},
    world::World,
};
use crate::{
    clock::Timestamp,
    simulator::{
        Member, SimulatorError,
        exchange::{Answer, Form, Request},
        fault::Facts,
        journal::Ending,
        tickets::Tickets,
        world::{self, Basics, Done, Outcome},
    },
};
use http::Method;
use serde_json::{Value, json};

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Endpoint {
    Token,
    SendOtp,
    Authorize,
    Secrets(Place),
    Jwks,
    Revoke,
    WrongMethod,
    Nowhere,
}

/// A request that was read.
pub struct Call {
    endpoint: Endpoint,
    pub(super) form: Form,
    pub(super) query: Form,
    /// Where a browser can be sent back to, when this is one.
    pub(super) back: Option<Back>,
    correlation: String,
}

impl world::World for World {
    type Behaviour = Behaviour;
    type Refusal = Refusal;
    type Order = Order;
    type Call = Call;

    fn basics(&self) -> &Basics<Behaviour, Refusal> {
        &self.basics
    }

    fn basics_mut(&mut self) -> &mut Basics<Behaviour, Refusal> {
        &mut self.basics
    }

    fn read(&mut self, now: Timestamp, request: &Request) -> (Facts, Call) {
        let (endpoint, form) = (Endpoint::of(request), request.form());
        let correlation = match request.header("concur-correlationid") {
            Some(given) => given.to_owned(),
            None => self.basics.dice.uuid(),
        };
        let query = Form::parse(request.query.as_bytes());
        let back = if endpoint == Endpoint::Authorize { Back::of(self, &query) } else { None };
        let facts = facts(self, now, request, &endpoint, &form, &query);
        (facts, Call { endpoint, form, query, back, correlation })
    }

    fn carry_out(&mut self, now: Timestamp, request: &Request, call: &Call) -> Outcome<Refusal> {
        match &call.endpoint {
            Endpoint::Token => grants::token(self, now, request, &call.form),
            Endpoint::SendOtp => otp::send(self, now, request, &call.form),
            Endpoint::Authorize => authorize::authorize(self, now, request, call),
            Endpoint::Secrets(place) => Ok(secrets::manage(self, now, request, place)),
            Endpoint::Jwks => Ok(self.basics.jwks(&request.site)?),
            Endpoint::Revoke => Ok(revoke(self, now, request)),
            Endpoint::WrongMethod => Ok(Done::refused(405, "Method Not Allowed")),
            Endpoint::Nowhere => Ok(Done::refused(404, "Not Found")),
        }
    }

    fn refuse(&self, call: &Call, refusal: &Refusal) -> (Answer, String) {
        let code = codes::look_up(refusal.code);
        let description = match call.endpoint {
            Endpoint::SendOtp => codes::otp_description(code),
            Endpoint::Token
            | Endpoint::Authorize
            | Endpoint::Secrets(_)
            | Endpoint::Jwks
            | Endpoint::Revoke
            | Endpoint::WrongMethod
            | Endpoint::Nowhere => code.description,
        };
        if let Some(back) = &call.back {
            let number = code.number.to_string();
            return (back.refused(&self.basics.behaviour, &number, description), number);
        }
        let mut body = json!({"error": code.error, "error_description": description, "code": code.number});
        if let Some(geolocation) = &refusal.geolocation {
            body["geolocation"] = geolocation.as_str().into();
        }
        if self.basics.behaviour.body_correlation_id == Member::Sent {
            body["concur-correlationid"] = call.correlation.as_str().into();
        }
        let status = self.basics.behaviour.statuses.get(&code.number).copied().unwrap_or(code.status);
        (Answer::json(status, &body), code.number.to_string())
    }

    fn finish(&self, call: Call, answer: Answer) -> Answer {
        answer.with("concur-correlationid", call.correlation)
    }

    fn obey(&mut self, now: Timestamp, order: Order) -> Result<Value, SimulatorError> {
        self.follow(now, order)
    }

    fn forget(&mut self) {
        self.apps.clear();
        self.principals.clear();
        self.request_tokens.clear();
        self.codes = Tickets::default();
        self.otps = Tickets::default();
        self.managed_secrets.clear();
    }
}

impl Endpoint {
    fn of(request: &Request) -> Self {
        let (endpoint, method) = match request.path.as_str() {
            "/oauth2/v0/token" => (Self::Token, Method::POST),
            "/oauth2/v0/otp" => (Self::SendOtp, Method::POST),
            "/oauth2/v0/jwks" => (Self::Jwks, Method::GET),
            "/oauth2/v0/authorize" if request.method == Method::POST => (Self::Authorize, Method::POST),
            "/oauth2/v0/authorize" => (Self::Authorize, Method::GET),
            "/app-mgmt/v0/connections" => (Self::Revoke, Method::DELETE),
            other => return Place::of(other).map_or(Self::Nowhere, Self::Secrets),
        };
        if request.method == method { endpoint } else { Self::WrongMethod }
    }

    /// As the journal calls it.
    fn word(&self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::SendOtp => "send_otp",
            Self::Authorize => "authorize",
            Self::Secrets(_) => "secrets",
            Self::Jwks => "jwks",
            Self::Revoke => "revoke",
            Self::WrongMethod | Self::Nowhere => "none",
        }
    }

    fn grant(&self, form: &Form) -> String {
        match self {
            Self::Token => form.get("grant_type").unwrap_or("absent").to_owned(),
            Self::SendOtp
            | Self::Authorize
            | Self::Secrets(_)
            | Self::Jwks
            | Self::Revoke
            | Self::WrongMethod
            | Self::Nowhere => self.word().to_owned(),
        }
    }
}

/// What can be told of a request before it is decided. Only names known here are taken over: a client may have sent a
/// secret in the wrong place.
fn facts(
    world: &mut World,
    now: Timestamp,
    request: &Request,
    endpoint: &Endpoint,
    form: &Form,
    query: &Form,
) -> Facts {
    let mut facts = Facts {
        site: request.site.clone(),
        endpoint: endpoint.word(),
        grant: endpoint.grant(form),
        auth: form.get("client_secret").map(|_| "client_secret_post"),
        ..Facts::default()
    };
    if !grants::GRANTS.contains(&facts.grant.as_str()) && *endpoint == Endpoint::Token {
        "unknown".clone_into(&mut facts.grant);
    }
    let id = match endpoint {
        Endpoint::Authorize => query.get("client_id"),
        Endpoint::Secrets(place) => Some(place.app.as_str()),
        Endpoint::Token
        | Endpoint::SendOtp
        | Endpoint::Jwks
        | Endpoint::Revoke
        | Endpoint::WrongMethod
        | Endpoint::Nowhere => form.get("client_id"),
    };
    facts.app = id.filter(|id| world.apps.contains_key(*id)).map(str::to_owned);
    match facts.grant.as_str() {
        "refresh_token" => {
            if let Some(token) = form.get("refresh_token") {
                world.basics.refresh_tokens.describe(token, &mut facts);
            }
        }
        "password" => {
            let name = form.get("username").unwrap_or_default().to_ascii_lowercase();
            let by_login = || world.principals.values().find(|one| one.is_called(&name));
            facts.principal =
                world.principals.get(&name).or_else(by_login).map(|principal| principal.id.clone());
        }
        "authorization_code" => {
            let code = form.get("code").and_then(|code| world.codes.known(code));
            facts.principal = code.map(|code| code.user.clone());
        }
        "otp" | "send_otp" => {
            let handle = form.get("channel_handle").unwrap_or_default();
            let user = world.principals.values().find(|one| one.is_called(handle));
            facts.principal = user.map(|one| one.id.clone());
        }
        "client_credentials" => facts.principal.clone_from(&facts.app),
        "revoke" => {
            if let Some(bearer) = issue::bearer(world, now, request) {
                (facts.app, facts.principal) = (Some(bearer.app), Some(bearer.principal));
            }
        }
        _ => {}
    }
    facts
}

/// By the principal's own access token: all its refresh tokens for this app (`DELETE /app-mgmt/v0/connections`).
fn revoke(world: &mut World, now: Timestamp, request: &Request) -> Done {
    match issue::bearer(world, now, request) {
        Some(bearer) => {
            world.basics.refresh_tokens.revoke_principal(&bearer.principal, Some(&bearer.app));
            Done { answer: Answer::json(200, &Value::from("deleted")), ending: Ending::Revoked }
        }
        None => Done::refused(401, "Unauthorized"),
    }
}
