//! What a simulated Concur answers: one pure function of its world, the time and a request.
//! Opens no socket and reads no clock. Where SAP publishes no order of checks, the order here is an assumption:
//! format, then client, then grant, then principal, then data centre.

use super::{
    codes,
    grants::{self, Stop},
    issue,
    records::Refusal,
    world::World,
};
use crate::{
    clock::Timestamp,
    simulator::{
        Member,
        exchange::{Answer, Form, Request},
        fault::{Facts, Verdict},
        journal::{Ended, Ending},
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

/// A request that was carried out.
pub(super) struct Done {
    pub(super) answer: Answer,
    pub(super) ending: Ending,
}

pub(super) fn answer(world: &mut World, now: Timestamp, request: &Request) -> Answer {
    let form = request.form();
    let endpoint = Endpoint::of(request);
    let facts = facts(world, now, request, endpoint, &form);
    let correlation = match request.header("concur-correlationid") {
        Some(given) => given.to_owned(),
        None => world.dice.uuid(),
    };
    let (verdict, delay) = world.faults.strike(&facts);
    let (mut answer, ended) = match verdict {
        Verdict::Instead(answer) => {
            let ended = Ended { status: answer.status, code: None, ending: Ending::Failed, lost: false };
            (answer, ended)
        }
        Verdict::Refuse(refusal) => refuse(world, endpoint, &refusal, &correlation),
        Verdict::Proceed(spoil) => {
            let (answer, ended) = match carry_out(world, now, request, endpoint, &form) {
                Ok(Done { answer, ending }) => {
                    let ended = Ended { status: answer.status, code: None, ending, lost: spoil.loses() };
                    (answer, ended)
                }
                Err(Stop::Refused(refusal)) => refuse(world, endpoint, &refusal, &correlation),
                Err(Stop::Broken) => {
                    let ended = Ended { status: 500, code: None, ending: Ending::Failed, lost: false };
                    (Answer::text(500, "signing failed"), ended)
                }
            };
            (spoil.apply(answer), ended)
        }
    };
    world.journal.record(now, facts, ended);
    answer.delay = delay;
    answer.with("concur-correlationid", correlation)
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
                world.refresh_tokens.describe(token, &mut facts);
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

fn carry_out(
    world: &mut World,
    now: Timestamp,
    request: &Request,
    endpoint: Endpoint,
    form: &Form,
) -> Result<Done, Stop> {
    match endpoint {
        Endpoint::Token => grants::token(world, now, request, form),
        Endpoint::SendOtp => grants::send_otp(world, request, form),
        Endpoint::Jwks => {
            let jwks = world.key(&request.site)?.jwks();
            Ok(Done { answer: Answer::json(200, &jwks), ending: Ending::Served })
        }
        Endpoint::Revoke => Ok(match issue::bearer(world, now, request) {
            Some(bearer) => {
                world.refresh_tokens.revoke_principal(&bearer.principal, Some(&bearer.app));
                Done { answer: Answer::json(200, &Value::from("deleted")), ending: Ending::Revoked }
            }
            None => Done { answer: Answer::text(401, "Unauthorized"), ending: Ending::Refused },
        }),
        Endpoint::WrongMethod => {
            Ok(Done { answer: Answer::text(405, "Method Not Allowed"), ending: Ending::Refused })
        }
        Endpoint::Nowhere => Ok(Done { answer: Answer::text(404, "Not Found"), ending: Ending::Refused }),
    }
}

fn refuse(world: &World, endpoint: Endpoint, refusal: &Refusal, correlation: &str) -> (Answer, Ended) {
    let code = codes::look_up(refusal.code);
    let description = match endpoint {
        Endpoint::SendOtp => codes::otp_description(code),
        Endpoint::Token | Endpoint::Jwks | Endpoint::Revoke | Endpoint::WrongMethod | Endpoint::Nowhere => {
            code.description
        }
    };
    let mut body = json!({"error": code.error, "error_description": description, "code": code.number});
    if let Some(geolocation) = &refusal.geolocation {
        body["geolocation"] = geolocation.as_str().into();
    }
    if world.behaviour.body_correlation_id == Member::Sent {
        body["concur-correlationid"] = correlation.into();
    }
    let status = world.behaviour.statuses.get(&code.number).copied().unwrap_or(code.status);
    let ended = Ended { status, code: Some(code.number.to_string()), ending: Ending::Refused, lost: false };
    (Answer::json(status, &body), ended)
}
