//! What the plain authorization server answers, as a pure function of its world, the time and a request.
//! Opens no socket and reads no clock.

use super::{
    authorize::{self, Back, Pushed},
    behaviour::Behaviour,
    client_auth::{Credentials, authenticate, stop},
    control::Order,
    device, dpop, grants, issue, metadata,
    world::{Authentication, Refusal, World},
};
use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError, consent,
        exchange::{Answer, Form, Request},
        fault::Facts,
        journal::Ending,
        tickets::Tickets,
        world::{self, Basics, Done, Outcome},
    },
};
use http::Method;
use serde_json::{Value, json};
use url::Url;

/// Resources of a request that the journal keeps.
const RESOURCES_MAX: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Token,
    Authorize,
    Par,
    DeviceAuthorization,
    Device,
    Introspect,
    Revoke,
    Jwks,
    Metadata,
    WrongMethod,
    Nowhere,
}

/// A request that was read.
pub struct Call {
    endpoint: Endpoint,
    pub(super) form: Form,
    /// What the browser asks for: its query, or what was pushed before.
    pub(super) query: Form,
    pub(super) pushed: Pushed,
    pub(super) back: Option<Back>,
    pub(super) credentials: Credentials,
    nonce: Option<String>,
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
        let query = Form::parse(request.query.as_bytes());
        let (pushed, query) = Pushed::of(self, now, query);
        let asked_by_browser = endpoint == Endpoint::Authorize;
        let back = asked_by_browser.then(|| Back::of(self, &request.site, &query)).flatten();
        let credentials = Credentials::of(request, &form);
        let nonce = self.nonce_to_send(now);
        let call = Call { endpoint, form, query, pushed, back, credentials, nonce };
        (facts(self, request, &call), call)
    }

    fn carry_out(&mut self, now: Timestamp, request: &Request, call: &Call) -> Outcome<Refusal> {
        match call.endpoint {
            Endpoint::Token => grants::token(self, now, request, call),
            Endpoint::Authorize => authorize::authorize(self, now, request, call),
            Endpoint::Par => authorize::push(self, now, request, call),
            Endpoint::DeviceAuthorization => device::begin(self, now, request, call),
            Endpoint::Device => Ok(device::page(self, now, call)),
            Endpoint::Introspect => introspect(self, now, request, call),
            Endpoint::Revoke => revoke(self, now, request, call),
            Endpoint::Jwks => Ok(self.basics.jwks(&request.site)?),
            Endpoint::Metadata => {
                let told = metadata::metadata(&self.basics.base(&request.site), &self.basics.behaviour);
                Ok(Done { answer: Answer::json(200, &told), ending: Ending::Served })
            }
            Endpoint::WrongMethod => Ok(Done::refused(405, "Method Not Allowed")),
            Endpoint::Nowhere => Ok(Done::refused(404, "Not Found")),
        }
    }

    fn refuse(&self, call: &Call, refusal: &Refusal) -> (Answer, String) {
        let word = refusal.error.clone();
        if let Some(back) = &call.back {
            let mut members = vec![("error", refusal.error.as_str())];
            members.extend(refusal.description.as_deref().map(|text| ("error_description", text)));
            return (back.with(&self.basics.behaviour, &members), word);
        }
        if matches!(call.endpoint, Endpoint::Authorize | Endpoint::Device) {
            return (
                consent::notice(refusal.status.unwrap_or(400), "This was refused", &refusal.error),
                word,
            );
        }
        let mut body = json!({"error": refusal.error});
        if let Some(description) = &refusal.description {
            body["error_description"] = description.as_str().into();
        }
        let unknown_client = refusal.error == "invalid_client";
        let status = refusal.status.unwrap_or(if unknown_client { 401 } else { 400 });
        let mut answer = Answer::json(status, &body).with("cache-control", "no-store".to_owned());
        // RFC 6749 §5.2: a client that tried the header is told the scheme.
        if status == 401
            && matches!(call.credentials, Credentials::Given { by: Authentication::ClientSecretBasic, .. })
        {
            answer = answer.with("www-authenticate", "Basic realm=\"token\"".to_owned());
        }
        (answer, word)
    }

    fn finish(&self, call: Call, answer: Answer) -> Answer {
        match call.nonce {
            Some(nonce) => answer.with("dpop-nonce", nonce),
            None => answer,
        }
    }

    fn obey(&mut self, now: Timestamp, order: Order) -> Result<Value, SimulatorError> {
        self.follow(now, order)
    }

    fn forget(&mut self) {
        self.clients.clear();
        self.users.clear();
        self.trusted.clear();
        self.codes = Tickets::default();
        self.pushed = Tickets::default();
        self.devices = Tickets::default();
        self.opaque = Tickets::default();
        self.revoked = Tickets::default();
        self.seen = Tickets::default();
        self.nonce = None;
    }
}

impl Endpoint {
    fn of(request: &Request) -> Self {
        let get = request.method == Method::GET;
        let (endpoint, method) = match request.path.as_str() {
            "/token" => (Self::Token, Method::POST),
            "/authorize" => (Self::Authorize, if get { Method::GET } else { Method::POST }),
            "/par" => (Self::Par, Method::POST),
            "/device_authorization" => (Self::DeviceAuthorization, Method::POST),
            "/device" => (Self::Device, if get { Method::GET } else { Method::POST }),
            "/introspect" => (Self::Introspect, Method::POST),
            "/revoke" => (Self::Revoke, Method::POST),
            "/jwks" => (Self::Jwks, Method::GET),
            path if metadata::PATHS.contains(&path) => (Self::Metadata, Method::GET),
            _ => return Self::Nowhere,
        };
        if request.method == method { endpoint } else { Self::WrongMethod }
    }

    /// As the journal and the control endpoint call it.
    fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Authorize => "authorize",
            Self::Par => "par",
            Self::DeviceAuthorization => "device_authorization",
            Self::Device => "device",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::Jwks => "jwks",
            Self::Metadata => "metadata",
            Self::WrongMethod | Self::Nowhere => "none",
        }
    }

    fn authenticates(self) -> bool {
        match self {
            Self::Token | Self::Par | Self::DeviceAuthorization | Self::Introspect | Self::Revoke => true,
            Self::Authorize
            | Self::Device
            | Self::Jwks
            | Self::Metadata
            | Self::WrongMethod
            | Self::Nowhere => false,
        }
    }
}

/// What can be told of a request before it is decided; never what it proves anything with.
fn facts(world: &World, request: &Request, call: &Call) -> Facts {
    let grant = match (call.endpoint, call.form.get("grant_type")) {
        (Endpoint::Token, Some(grant)) if grants::GRANTS.contains(&grant) => grant,
        (Endpoint::Token, Some(_)) => "unknown",
        (Endpoint::Token, None) => "absent",
        (other, _) => other.word(),
    };
    let mut facts = Facts {
        site: request.site.clone(),
        endpoint: call.endpoint.word(),
        grant: grant.to_owned(),
        dpop_jkt: dpop::claimed_key(request),
        resource: resources(call),
        ..Facts::default()
    };
    if call.endpoint.authenticates() {
        facts.auth = Some(call.credentials.way());
    }
    let id = call.credentials.id().or_else(|| call.query.get("client_id"));
    facts.app = id.filter(|id| world.clients.contains_key(*id)).map(str::to_owned);
    let known = |name: &str| call.form.get(name);
    match facts.grant.as_str() {
        "client_credentials" => facts.principal.clone_from(&facts.app),
        "refresh_token" => {
            if let Some(token) = known("refresh_token") {
                world.basics.refresh_tokens.describe(token, &mut facts);
            }
        }
        "authorization_code" => {
            let code = known("code").and_then(|code| world.codes.known(code));
            facts.principal = code.map(|code| code.owner.principal.clone());
        }
        "password" => {
            let user = known("username").filter(|name| world.users.contains_key(*name));
            facts.principal = user.map(str::to_owned);
        }
        "revoke" | "introspect" => {
            let owner = known("token").and_then(|token| world.basics.refresh_tokens.owner(token));
            facts.principal = owner.map(|owner| owner.principal.clone());
        }
        _ => {}
    }
    facts
}

/// Only addresses, and without what may be a secret in one.
fn resources(call: &Call) -> Vec<String> {
    let given = call.form.all("resource").chain(call.query.all("resource"));
    let urls = given.filter_map(|text| Url::parse(text).ok());
    urls.take(RESOURCES_MAX)
        .map(|url| format!("{}{}", url.origin().ascii_serialization(), url.path()))
        .collect()
}

/// RFC 7662: only for clients that can prove who they are.
fn introspect(world: &mut World, now: Timestamp, request: &Request, call: &Call) -> Outcome<Refusal> {
    let client = authenticate(world, now, request, &call.form, &call.credentials)?;
    if client.authentication == Authentication::None {
        return Err(stop("invalid_client"));
    }
    let token = call.form.get("token").ok_or_else(|| stop("invalid_request"))?;
    let told = issue::introspected(world, now, &request.site, &client.id, token);
    Ok(Done { answer: issue::sent(&told), ending: Ending::Served })
}

/// RFC 7009: unknown tokens are as good as revoked.
fn revoke(world: &mut World, now: Timestamp, request: &Request, call: &Call) -> Outcome<Refusal> {
    let client = authenticate(world, now, request, &call.form, &call.credentials)?;
    let token = call.form.get("token").ok_or_else(|| stop("invalid_request"))?;
    let done = |ending| Ok(Done { answer: Answer::text(200, ""), ending });
    match world.basics.refresh_tokens.owner(token) {
        Some(owner) if owner.app != client.id => return Err(stop("invalid_grant")),
        Some(_) => {
            world.basics.refresh_tokens.revoke(token);
            return done(Ending::Revoked);
        }
        None => {}
    }
    match issue::claims_of(world, now, &request.site, token) {
        Some(claims) if claims["client_id"] != client.id.as_str() => Err(stop("invalid_grant")),
        Some(claims) => {
            issue::revoke(world, now, &claims);
            done(Ending::Revoked)
        }
        None => done(Ending::Served),
    }
}
