//! The authorization endpoint of the plain authorization server, and requests that are pushed to it before
//! (RFC 6749 §4.1, RFC 7636, RFC 9126, RFC 9207).

use super::{
    answer::Call,
    behaviour::{Behaviour, Iss, Needed},
    client_auth::{Stop, authenticate, stop, stop_because},
    dpop, grants,
    world::{Client, Code, Refusal, World},
};
use crate::{
    clock::Timestamp,
    simulator::{
        consent::{self, Decision},
        exchange::{Answer, Form, Request},
        journal::Ending,
        pkce::Challenge,
        refresh_tokens::Owner,
        world::{Done, Outcome},
    },
};
use serde_json::json;
use url::Url;

/// Who consents when nobody says who.
pub(super) const SOMEBODY: &str = "demo-user";
/// The issuer in a response that says it is somebody else's.
const ANOTHER_ISSUER: &str = "https://another-issuer.example";
const REQUEST_URI_PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// What authenticates a client and is no part of its request.
const CREDENTIALS: [&str; 3] = ["client_secret", "client_assertion", "client_assertion_type"];

/// Whether a request was pushed before.
pub(super) enum Pushed {
    No,
    As(String),
    /// Its `request_uri` is not known, was used, has run out, or is another client's.
    Unknown,
}

impl Pushed {
    /// What the browser asks for: its own query, or what was pushed.
    pub(super) fn of(world: &World, now: Timestamp, query: Form) -> (Self, Form) {
        let Some(uri) = query.get("request_uri").map(str::to_owned) else { return (Self::No, query) };
        let pushed = world.pushed.good(now, &uri).map(|pairs| Form::of(pairs.clone()));
        match pushed.filter(|pushed| pushed.get("client_id") == query.get("client_id")) {
            Some(pushed) => (Self::As(uri), pushed),
            None => (Self::Unknown, query),
        }
    }
}

/// Where a refusal can be sent: only to a client that is known, at an address of its own.
pub(super) struct Back {
    client: String,
    to: Url,
    state: Option<String>,
    issuer: String,
}

impl Back {
    pub(super) fn of(world: &World, site: &str, query: &Form) -> Option<Self> {
        let client = world.clients.get(query.get("client_id")?)?;
        let to = consent::registered(&client.redirect_uris, query.get("redirect_uri")?)?;
        let state = query.get("state").map(str::to_owned);
        Some(Self { client: client.id.clone(), to, state, issuer: world.basics.base(site) })
    }

    pub(super) fn with(&self, behaviour: &Behaviour, members: &[(&str, &str)]) -> Answer {
        let mut members = members.to_vec();
        members.extend(self.state.as_deref().map(|state| ("state", state)));
        match behaviour.authorize.iss {
            Iss::Right => members.push(("iss", &self.issuer)),
            Iss::Wrong => members.push(("iss", ANOTHER_ISSUER)),
            Iss::LeftOut => {}
        }
        consent::send_back(&self.to, &members)
    }
}

/// `GET /authorize`, and `POST` of the page's own form.
pub(super) fn authorize(
    world: &mut World,
    now: Timestamp,
    request: &Request,
    call: &Call,
) -> Outcome<Refusal> {
    let query = &call.query;
    let Some(back) = &call.back else {
        let text = "The client is not known, or the address to go back to is not its own.";
        let answer = consent::notice(400, "This request cannot be answered", text);
        return Ok(Done { answer, ending: Ending::Refused });
    };
    let client = world.clients.get(&back.client).ok_or_else(|| stop("invalid_request"))?.clone();
    let pushed = match &call.pushed {
        Pushed::Unknown => return Err(stop("invalid_request_uri")),
        Pushed::No if world.basics.behaviour.authorize.pushed == Needed::Required => {
            return Err(stop_because("invalid_request", "requests have to be pushed"));
        }
        Pushed::No => None,
        Pushed::As(uri) => Some(uri.clone()),
    };
    let code = wanted(world, &client, query)?;
    match world.basics.behaviour.authorize.consent.decided(&call.form) {
        Decision::Open => {
            Ok(Done { answer: question(world, request, &client, &code), ending: Ending::Served })
        }
        Decision::Denied => {
            spend(world, pushed);
            let answer = back.with(&world.basics.behaviour, &[("error", "access_denied")]);
            Ok(Done { answer, ending: Ending::Refused })
        }
        Decision::Allowed => {
            spend(world, pushed);
            let subject = call.form.get("user").or_else(|| query.get("login_hint")).unwrap_or(SOMEBODY);
            let owner = Owner { principal: subject.to_ascii_lowercase(), ..code.owner };
            let text = world.basics.dice.base36(40);
            let seconds = world.basics.behaviour.authorize.code_seconds;
            world.codes.keep(now, text.clone(), Code { owner, ..code }, seconds);
            let answer = back.with(&world.basics.behaviour, &[("code", &text)]);
            Ok(Done { answer, ending: Ending::Served })
        }
    }
}

/// `POST /par`.
pub(super) fn push(world: &mut World, now: Timestamp, request: &Request, call: &Call) -> Outcome<Refusal> {
    let client = authenticate(world, now, request, &call.form, &call.credentials)?;
    let jkt = dpop::proved_key(world, now, request)?;
    let form = &call.form;
    if form.get("request_uri").is_some() || form.get("client_id").is_some_and(|id| id != client.id) {
        return Err(stop("invalid_request"));
    }
    if Back::of(world, &request.site, &with_id(form, &client.id)).is_none() {
        return Err(stop_because("invalid_request", "redirect_uri is not registered"));
    }
    wanted(world, &client, form)?;
    let mut pairs: Vec<(String, String)> =
        with_id(form, &client.id).iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    pairs.extend(jkt.map(|jkt| ("dpop_jkt".to_owned(), jkt)));
    let uri = format!("{REQUEST_URI_PREFIX}{}", world.basics.dice.base36(40));
    let seconds = world.basics.behaviour.authorize.request_uri_seconds;
    world.pushed.keep(now, uri.clone(), pairs, seconds);
    let body = json!({"request_uri": uri, "expires_in": seconds});
    Ok(Done {
        answer: Answer::json(201, &body).with("cache-control", "no-store".to_owned()),
        ending: Ending::Served,
    })
}

/// Without credentials, and with the id of the client that sent it.
fn with_id(form: &Form, id: &str) -> Form {
    let own = form.iter().filter(|(name, _)| !CREDENTIALS.contains(name) && *name != "client_id");
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Form::of(own.chain([("client_id".to_owned(), id.to_owned())]).collect())
}

/// The code that a request would get, but for whom.
fn wanted(world: &World, client: &Client, query: &Form) -> Result<Code, Stop> {
    if query.get("response_type") != Some("code") {
        return Err(stop("unsupported_response_type"));
    }
    if !client.grants.contains("authorization_code") {
        return Err(stop("unauthorized_client"));
    }
    let scope = query.scope_within(&client.scopes).ok_or_else(|| stop("invalid_scope"))?;
    let challenge = match Challenge::of(query) {
        Challenge::Unusable => return Err(stop_because("invalid_request", "only S256 is a challenge")),
        Challenge::None if world.basics.behaviour.authorize.pkce == Needed::Required => {
            return Err(stop_because("invalid_request", "code_challenge is needed"));
        }
        challenge => challenge.into_text(),
    };
    let owner = Owner {
        app: client.id.clone(),
        principal: String::new(),
        scope,
        resource: grants::resources(query)?,
        jkt: query.get("dpop_jkt").map(str::to_owned),
    };
    Ok(Code {
        owner,
        redirect_uri: query.get("redirect_uri").unwrap_or_default().to_owned(),
        challenge,
        nonce: query.get("nonce").map(str::to_owned),
        spent_for: None,
    })
}

/// A pushed request is good for one decision (RFC 9126 §7.3).
fn spend(world: &mut World, pushed: Option<String>) {
    if let Some(uri) = pushed {
        world.pushed.spend(&uri);
    }
}

fn question(world: &World, request: &Request, client: &Client, code: &Code) -> Answer {
    let people: Vec<String> = world.users.keys().cloned().collect();
    let action = format!("{}?{}", request.path, request.query);
    consent::Question {
        server: "OAuth 2.0 (simulated)",
        client: &client.id,
        scopes: &code.owner.scope,
        action: &action,
        hidden: &[],
        people: &people,
    }
    .page()
}
