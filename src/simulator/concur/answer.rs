//! What a simulated Concur answers: one pure function of its world, the time and a request.
//! Opens no socket and reads no clock. Where SAP publishes no order of checks, the order here is an assumption:
//! format, then client, then grant, then principal, then data centre.

use super::{behaviour::Behaviour, codes, control::Order, grants, issue, records::Refusal, world::World};
use crate::{
    clock::Timestamp,
    simulator::{
        Member, SimulatorError,
        exchange::{Answer, Form, Request},
        fault::Facts,
        journal::Ending,
        world::{self, Basics, Done, Outcome},
    },
};
use http::Method;
use serde_json::{Value, json};

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Token,
    SendOtp,
    Jwks,
    Revoke,
    WrongMethod,
    /// Also `/oauth2/v0/authorize` and the app secrets, which are not simulated.
    Nowhere,
}

/// A request that was read.
pub struct Call {
    endpoint: Endpoint,
    form: Form,
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
        (facts(self, now, request, endpoint, &form), Call { endpoint, form, correlation })
    }

    fn carry_out(&mut self, now: Timestamp, request: &Request, call: &Call) -> Outcome<Refusal> {
        match call.endpoint {
            Endpoint::Token => grants::token(self, now, request, &call.form),
            Endpoint::SendOtp => grants::send_otp(self, request, &call.form),
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
            | Endpoint::Jwks
            | Endpoint::Revoke
            | Endpoint::WrongMethod
            | Endpoint::Nowhere => code.description,
        };
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
    }
}

impl Endpoint {
    fn of(request: &Request) -> Self {
        let (endpoint, method) = match request.path.as_str() {
            "/oauth2/v0/token" => (Self::Token, Method::POST),
            "/oauth2/v0/otp" => (Self::SendOtp, Method::POST),
            "/oauth2/v0/jwks" => (Self::Jwks, Method::GET),
            "/app-mgmt/v0/connections" => (Self::Revoke, Method::DELETE),
            _ => return Self::Nowhere,
        };
        if request.method == method { endpoint } else { Self::WrongMethod }
    }

    fn grant(self, form: &Form) -> String {
        match self {
            Self::Token => form.get("grant_type").unwrap_or("absent").to_owned(),
            Self::SendOtp => "send_otp".to_owned(),
            Self::Jwks => "jwks".to_owned(),
            Self::Revoke => "revoke".to_owned(),
            Self::WrongMethod | Self::Nowhere => "none".to_owned(),
        }
    }
}

/// What can be told of a request before it is decided. Only names known here are taken over: a client may have sent a
/// secret in the wrong place.
fn facts(world: &mut World, now: Timestamp, request: &Request, endpoint: Endpoint, form: &Form) -> Facts {
    let mut facts = Facts { site: request.site.clone(), grant: endpoint.grant(form), ..Facts::default() };
    if !grants::GRANTS.contains(&facts.grant.as_str()) && endpoint == Endpoint::Token {
        "unknown".clone_into(&mut facts.grant);
    }
    facts.app = form.get("client_id").filter(|id| world.apps.contains_key(*id)).map(str::to_owned);
    match facts.grant.as_str() {
        "refresh_token" => {
            if let Some(token) = form.get("refresh_token") {
                world.basics.refresh_tokens.describe(token, &mut facts);
            }
        }
        "password" => {
            let name = form.get("username").unwrap_or_default().to_ascii_lowercase();
            let by_login = || world.principals.values().find(|one| one.login.as_deref() == Some(&name));
            facts.principal =
                world.principals.get(&name).or_else(by_login).map(|principal| principal.id.clone());
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
