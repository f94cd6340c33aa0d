//! A scripted server on this machine, for the tests of this room: answers what it is told, and shows what it was sent.

use super::{
    Answer, ClientIdentity, Credential, Exchange, Grant, Proof, Providers, Verdicts, catalogue::Catalogue,
};
use crate::{
    clock::{Clock, Timestamp},
    domain::{
        failure::Failure,
        profile::{ClientAuth, Profile},
        token::{ClientSecret, RefreshToken, Secret},
    },
    egress::{AddressPolicy, Egress},
};
use axum::{Router, body::Bytes, extract::State, response::IntoResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// 2026-09-21T14:13:20Z, as every test of this room has it.
pub(super) const NOW: Timestamp = Timestamp(1_790_000_000_000);

pub(super) struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

pub(super) struct Scripted {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Scripted>>,
    seen: Mutex<Vec<Seen>>,
}

pub(super) struct FakeServer {
    pub(super) base: String,
    shared: Arc<Shared>,
    _tasks: TaskTracker,
}

impl FakeServer {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let tasks = TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { base, shared, _tasks: tasks }
    }

    pub(super) fn then(&self, status: u16, body: impl ToString) -> &Self {
        self.then_with(status, &[], body)
    }

    #[expect(clippy::needless_pass_by_value, reason = "tests read better without a reference at each body")]
    pub(super) fn then_with(
        &self,
        status: u16,
        headers: &[(&'static str, &str)],
        body: impl ToString,
    ) -> &Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.shared.script.lock().push_back(Scripted { status, headers, body: body.to_string() });
        self
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let body = String::from_utf8(body.to_vec()).unwrap();
    shared.seen.lock().push(Seen { method, path: uri.path().to_owned(), headers, body });
    let next = shared.script.lock().pop_front();
    let next = next.unwrap_or(Scripted { status: 599, headers: vec![], body: "script is over".to_owned() });
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in next.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
    }
    (StatusCode::from_u16(next.status).unwrap(), headers, next.body)
}

pub(super) fn providers() -> Providers {
    Providers::new(Egress::new(AddressPolicy::LoopbackOnly).unwrap(), Arc::new(StoppedClock))
}

/// A profile that extends a built-in one by some lines.
pub(super) fn profile(extends: &str, lines: &str) -> Profile {
    let text = format!("extends = \"{extends}\"\nname = \"under-test\"\n{lines}");
    let catalogue = Catalogue::built_in().unwrap().with(&[("test.toml".to_owned(), text)]).unwrap();
    catalogue.get(&"providers/under-test".parse().unwrap()).unwrap().as_ref().clone()
}

/// RFC 6749 at this server; `lines` go to the top of the file.
pub(super) fn plain(server: &FakeServer, lines: &str) -> Profile {
    let base = &server.base;
    profile(
        "generic-oauth2",
        &format!(
            "token_endpoint = \"{base}/token\"\nrevocation_endpoint = \"{base}/revoke\"\nrevocation = \"rfc7009\"\n{lines}"
        ),
    )
}

/// SAP Concur with these servers as its data centres, the first for bootstraps.
pub(super) fn concur(servers: &[&FakeServer], lines: &str) -> Profile {
    let hosts: Vec<_> =
        servers.iter().map(|s| format!("{:?}", s.base.strip_prefix("http://").unwrap())).collect();
    let text = format!(
        "bootstrap_at = {glz:?}\nauthorize_at = {glz:?}\nhosts = [{}]\n{lines}\n[data_centers]\n",
        hosts.join(", "),
        glz = servers[0].base,
    );
    profile("sap-concur", &text)
}

pub(super) fn client(auth: ClientAuth, secrets: &[&str]) -> ClientIdentity {
    let shared = |secret: &&str| Proof::Shared(ClientSecret(Secret::new(*secret)));
    identity(auth, secrets.iter().map(shared).collect())
}

/// The credentials are numbered from 1.
pub(super) fn identity(auth: ClientAuth, proofs: Vec<Proof>) -> ClientIdentity {
    let numbered = (1..).zip(proofs);
    let credentials = numbered.map(|(n, proof)| Credential { id: Uuid::from_u128(n), proof }).collect();
    ClientIdentity { client_id: "client-1".to_owned(), auth, credentials, verdicts: Verdicts::default() }
}

pub(super) fn refresh_token(token: &str) -> Grant {
    Grant::RefreshToken(RefreshToken(Secret::new(token)))
}

pub(super) fn ask<'a>(profile: &'a Profile, client: &'a ClientIdentity, grant: &'a Grant) -> Exchange<'a> {
    Exchange {
        profile,
        client,
        grant,
        scopes: &[],
        resources: &[],
        granted: &[],
        api_base_url: None,
        dpop: None,
        principal: None,
        correlation_id: Uuid::from_u128(0x9b1f_0d6c_0000_4000_8000_0000_0000_0001),
    }
}

/// Refreshes with one secret in the body.
pub(super) async fn refresh(profile: &Profile) -> Result<Answer, Failure> {
    let (client, grant) = (client(ClientAuth::ClientSecretPost, &["secret-1"]), refresh_token("r1"));
    providers().spend_unclaimed(&ask(profile, &client, &grant)).await
}
