//! What the plain authorization server answers, as a pure function of its world, the time and a request.
//! Opens no socket and reads no clock.

use super::{
    grants,
    world::{Authentication, Behaviour, NewClient, Refusal, World},
};
use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError,
        control::{done, value},
        exchange::{Answer, Form, Request},
        fault::Facts,
        journal::Ending,
        world::{self, Basics, Done, Outcome},
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

/// The orders that only this server understands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    Client(NewClient),
    Connection {
        client: String,
        subject: String,
        #[serde(default)]
        scope: Option<Vec<String>>,
    },
    SeedConnections {
        client: String,
        count: usize,
    },
    Revoke {
        subject: String,
        #[serde(default)]
        client: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Token,
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
    pub(super) credentials: Credentials,
}

/// How the client showed who it is.
pub(super) enum Credentials {
    Absent,
    Given {
        id: String,
        secret: String,
        by: Authentication,
    },
    /// Two ways at once, or a header that cannot be read.
    Malformed,
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

    fn read(&mut self, _now: Timestamp, request: &Request) -> (Facts, Call) {
        let (endpoint, form) = (Endpoint::of(request), request.form());
        let call = Call { endpoint, credentials: Credentials::of(request, &form), form };
        (facts(self, request, &call), call)
    }

    fn carry_out(&mut self, now: Timestamp, request: &Request, call: &Call) -> Outcome<Refusal> {
        match call.endpoint {
            Endpoint::Token => grants::token(self, now, request, call),
            Endpoint::Revoke => grants::revoke(self, request, call),
            Endpoint::Jwks => Ok(self.basics.jwks(&request.site)?),
            Endpoint::Metadata => {
                let answer = Answer::json(200, &metadata(&self.basics.base(&request.site)));
                Ok(Done { answer, ending: Ending::Served })
            }
            Endpoint::WrongMethod => Ok(Done::refused(405, "Method Not Allowed")),
            Endpoint::Nowhere => Ok(Done::refused(404, "Not Found")),
        }
    }

    fn refuse(&self, call: &Call, refusal: &Refusal) -> (Answer, String) {
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
        (answer, refusal.error.clone())
    }

    fn finish(&self, _call: Call, answer: Answer) -> Answer {
        answer
    }

    fn obey(&mut self, now: Timestamp, order: Order) -> Result<Value, SimulatorError> {
        match order {
            Order::Client(new) => value(&self.put_client(new)?),
            Order::Connection { client, subject, scope } => {
                value(&self.connect(now, &client, &subject, scope)?)
            }
            Order::SeedConnections { client, count } => value(&self.seed_connections(now, &client, count)?),
            Order::Revoke { subject, client } => {
                self.revoke(&subject, client.as_deref());
                done(Ok(()))
            }
        }
    }

    fn forget(&mut self) {
        self.clients.clear();
    }
}

impl Endpoint {
    fn of(request: &Request) -> Self {
        let (endpoint, method) = match request.path.as_str() {
            "/token" => (Self::Token, Method::POST),
            "/revoke" => (Self::Revoke, Method::POST),
            "/jwks" => (Self::Jwks, Method::GET),
            "/.well-known/oauth-authorization-server" => (Self::Metadata, Method::GET),
            _ => return Self::Nowhere,
        };
        if request.method == method { endpoint } else { Self::WrongMethod }
    }
}

impl Credentials {
    fn of(request: &Request, form: &Form) -> Self {
        let posted = form.get("client_secret");
        match (request.header("authorization"), form.get("client_id"), posted) {
            (Some(_), _, Some(_)) => Self::Malformed,
            (Some(_), _, None) => Self::of_header(request).unwrap_or(Self::Malformed),
            (None, Some(id), Some(secret)) => Self::Given {
                id: id.to_owned(),
                secret: secret.to_owned(),
                by: Authentication::ClientSecretPost,
            },
            (None, _, _) => Self::Absent,
        }
    }

    /// Both halves are form-encoded before they are joined (RFC 6749 §2.3.1), so a colon is always the separator.
    fn of_header(request: &Request) -> Option<Self> {
        let bytes = STANDARD.decode(request.authorization("basic")?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (id, secret) = text.split_once(':')?;
        let by = Authentication::ClientSecretBasic;
        Some(Self::Given { id: form_decoded(id), secret: form_decoded(secret), by })
    }
}

/// Undoes form-encoding of one value. A raw `&` would start another one, so it is taken for itself.
fn form_decoded(text: &str) -> String {
    let pair = format!("v={}", text.replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

fn facts(world: &World, request: &Request, call: &Call) -> Facts {
    let grant = grant(call).to_owned();
    let mut facts = Facts { site: request.site.clone(), grant, ..Facts::default() };
    if let Credentials::Given { id, .. } = &call.credentials {
        facts.app = world.clients.contains_key(id).then(|| id.clone());
    }
    match facts.grant.as_str() {
        "client_credentials" => facts.principal.clone_from(&facts.app),
        "refresh_token" => {
            if let Some(token) = call.form.get("refresh_token") {
                world.basics.refresh_tokens.describe(token, &mut facts);
            }
        }
        "revoke" => {
            let owner = call.form.get("token").and_then(|token| world.basics.refresh_tokens.owner(token));
            facts.principal = owner.map(|owner| owner.principal.clone());
        }
        _ => {}
    }
    facts
}

fn grant(call: &Call) -> &str {
    match call.endpoint {
        Endpoint::Token => match call.form.get("grant_type") {
            Some(grant) if grants::GRANTS.contains(&grant) => grant,
            Some(_) => "unknown",
            None => "absent",
        },
        Endpoint::Revoke => "revoke",
        Endpoint::Jwks => "jwks",
        Endpoint::Metadata => "metadata",
        Endpoint::WrongMethod | Endpoint::Nowhere => "none",
    }
}

fn metadata(base: &str) -> Value {
    json!({
        "issuer": base,
        "token_endpoint": format!("{base}/token"),
        "revocation_endpoint": format!("{base}/revoke"),
        "jwks_uri": format!("{base}/jwks"),
        "grant_types_supported": grants::GRANTS,
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    })
}
