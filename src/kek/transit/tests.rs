//! Answers from a scripted server, and from one that does what the documentation of the engine says. No real OpenBao or Vault
//! has been asked: none can be installed where these tests run.

use super::*;
use crate::{egress::AddressPolicy, seal::Outlook};
use axum::{Router, extract::State, response::IntoResponse};
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

#[derive(Default)]
struct Script {
    answers: VecDeque<(u16, String)>,
    seen: Vec<Seen>,
}

struct Seen {
    path: String,
    headers: HeaderMap,
    body: Value,
}

struct Scripted {
    base: Url,
    script: Arc<Mutex<Script>>,
}

impl Scripted {
    async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let app = Router::new().fallback(answered).with_state(script.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        TaskTracker::new().spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { base, script }
    }

    #[expect(clippy::needless_pass_by_value, reason = "tests read better without a reference at each body")]
    fn then(&self, status: u16, body: impl ToString) -> &Self {
        self.script.lock().answers.push_back((status, body.to_string()));
        self
    }

    fn kek(&self, login: Login) -> Transit {
        let settings = Settings {
            address: self.base.clone(),
            mount: "team/transit".into(),
            key: "bursar".into(),
            namespace: Some("ns1/".into()),
            ca: None,
            login,
        };
        Transit::new(Egress::new(AddressPolicy::LoopbackOnly).unwrap(), settings).unwrap()
    }

    /// With a token that cannot be prolonged.
    async fn wrap(&self) -> Result<Vec<u8>, KekError> {
        self.script.lock().answers.push_front((400, String::new()));
        self.kek(token("t1")).wrap(b"here", &KeyBytes::generate()).await
    }

    fn paths(&self) -> Vec<String> {
        self.script.lock().seen.iter().map(|seen| seen.path.clone()).collect()
    }

    fn tokens(&self) -> Vec<String> {
        let of =
            |seen: &Seen| seen.headers.get("x-vault-token").map(|token| token.to_str().unwrap().to_owned());
        self.script.lock().seen.iter().filter_map(of).collect()
    }
}

async fn answered(
    State(script): State<Arc<Mutex<Script>>>,
    uri: Uri,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> impl IntoResponse {
    let mut script = script.lock();
    let body = serde_json::from_slice(&body).unwrap();
    script.seen.push(Seen { path: uri.path().to_owned(), headers, body });
    let (status, body) = script.answers.pop_front().unwrap_or((599, "the script is over".to_owned()));
    (StatusCode::from_u16(status).unwrap(), body)
}

/// A file whose text changes by itself, one text for each time it is read; the last one stays.
struct Texts(Mutex<VecDeque<&'static str>>);

impl SecretSource for Texts {
    fn read(&self) -> Result<Secret, String> {
        let mut texts = self.0.lock();
        let text = if texts.len() > 1 { texts.pop_front() } else { texts.front().copied() };
        text.map(Secret::new).ok_or_else(|| "the file was not found: check its path".to_owned())
    }
}

fn texts(texts: &[&'static str]) -> Arc<dyn SecretSource> {
    Arc::new(Texts(Mutex::new(texts.iter().copied().collect())))
}

fn token(text: &'static str) -> Login {
    Login::TokenFile(texts(&[text]))
}

fn kubernetes() -> Login {
    Login::Kubernetes { mount: "k8s".into(), role: "bursar".into(), jwt: texts(&["jwt1"]) }
}

fn encrypted(version: u32) -> Value {
    json!({ "data": { "ciphertext": format!("vault:v{version}:AAAA"), "key_version": version } })
}

fn logged_in(token: &str, seconds: u64) -> Value {
    json!({ "auth": { "client_token": token, "lease_duration": seconds } })
}

#[tokio::test]
async fn a_request_says_what_the_engine_has_to_know_and_not_more() {
    let server = Scripted::start().await;
    server.then(200, encrypted(3));
    let wrapped = Wrapped::parse(&server.wrap().await.unwrap()).unwrap();
    assert_eq!(wrapped.key.id, "team/transit/bursar:v3");
    assert_eq!((wrapped.ciphertext, wrapped.annotations.len()), (b"vault:v3:AAAA".to_vec(), 1));
    assert_eq!(server.paths(), ["/v1/auth/token/renew-self", "/v1/team/transit/encrypt/bursar"]);
    let script = server.script.lock();
    let seen = &script.seen[1];
    for (name, value) in [("x-vault-token", "t1"), ("x-vault-namespace", "ns1/"), ("x-vault-request", "true")]
    {
        assert_eq!(seen.headers[name], value);
    }
    assert_eq!(seen.body.as_object().unwrap().len(), 2);
    assert_eq!(seen.body["associated_data"], BASE64.encode(b"here"));
    assert_eq!(BASE64.decode(seen.body["plaintext"].as_str().unwrap()).unwrap().len(), 8 + 4 + 8 + 32);
}

#[tokio::test]
async fn answers_that_are_none_are_refused_and_not_repeated() {
    let server = Scripted::start().await;
    let ciphertext = |text: &str| json!({ "data": { "ciphertext": text } }).to_string();
    for body in [
        "canary".to_owned(),
        "{}".to_owned(),
        json!({ "data": { "ciphertext": 1 } }).to_string(),
        ciphertext("canary"),
        ciphertext("vault:v0:AAAA"),
        ciphertext("vault:v01:AAAA"),
        ciphertext("vault:v1:"),
        ciphertext("vault:v1:canary!"),
        ciphertext("vault:v4294967296:AAAA"),
        ciphertext(&format!("vault:v1:{}", "AAAA".repeat(1024))),
        json!({ "data": { "ciphertext": "vault:v1:AAAA", "key_version": 2 } }).to_string(),
    ] {
        let said = server.then(200, &body).wrap().await.unwrap_err();
        assert!(matches!(said, KekError::Misbehaved { .. }), "{said} for {body}");
        assert!(!said.to_string().contains("canary"), "{said}");
    }
    let huge = server.then(200, "x".repeat(100_000)).wrap().await.unwrap_err();
    assert!(matches!(huge, KekError::Misbehaved { .. }), "{huge}");
}

#[tokio::test]
async fn each_status_says_what_to_do() {
    let server = Scripted::start().await;
    let cases = [
        (403, "grant `update`"),
        (404, "nothing is mounted at team/transit"),
        (405, "no Transit engine"),
        (307, "standby that redirects"),
        (429, "answered 429"),
        (473, "standby"),
        (500, "answered 500"),
        (502, "answered 502"),
        (503, "sealed"),
        (418, "a status that"),
    ];
    for (status, want) in cases {
        let said = server.then(status, json!({ "errors": ["canary"] })).wrap().await;
        // A refused token file is read, prolonged and tried no second time while it holds the same.
        let said = said.unwrap_err();
        assert!(said.to_string().contains(want), "{status}: {said}");
        assert!(!said.to_string().contains("canary"), "{said}");
        assert_eq!(said.outlook(), Outlook::MayPass);
        server.script.lock().answers.clear();
    }
    let no_key = json!({ "errors": ["encryption key not found"] });
    let said = server.then(400, &no_key).then(400, &no_key).wrap().await.unwrap_err();
    assert!(said.to_string().contains("there is no key team/transit/keys/bursar"), "{said}");
    let said = server.then(400, "").then(400, "").wrap().await.unwrap_err();
    assert!(said.to_string().contains("not derived"), "{said}");
}

#[tokio::test]
async fn a_cipher_that_takes_no_associated_data_is_asked_without_from_then_on() {
    let server = Scripted::start().await;
    server.then(400, "").then(400, "").then(200, encrypted(1)).then(200, encrypted(1));
    let kek = server.kek(token("t1"));
    for _ in 0..2 {
        let wrapped = Wrapped::parse(&kek.wrap(b"here", &KeyBytes::generate()).await.unwrap()).unwrap();
        assert!(wrapped.annotations.is_empty());
    }
    let script = server.script.lock();
    let with: Vec<_> = script.seen.iter().map(|seen| seen.body.get("associated_data").is_some()).collect();
    assert_eq!(with, [false, true, false, false]);
}

/// A wrapped key as the store has it, and what the engine answers when it is asked for it.
async fn unwrapped(version: &str, answers: &[(u16, Value)]) -> Result<KeyBytes, KekError> {
    let server = Scripted::start().await;
    server.then(400, "");
    for (status, body) in answers {
        server.then(*status, body);
    }
    let key = KekKey { kind: KekKind::Transit, id: format!("team/transit/{version}") };
    let wrapped = Wrapped { key, ciphertext: b"vault:v1:AAAA".to_vec(), annotations: BTreeMap::new() };
    server.kek(token("t1")).unwrap(b"here", &wrapped.encode()).await
}

#[tokio::test]
async fn a_key_that_does_not_open_is_told_from_one_that_may_not() {
    let answer = |plain: &[u8]| json!({ "data": { "plaintext": BASE64.encode(plain) } });
    let key = KeyBytes::generate();
    let opened = unwrapped("bursar:v1", &[(200, answer(&bound(b"here", &key)))]).await.unwrap();
    assert_eq!(opened.expose(), key.expose());
    for plain in [&b""[..], &[0; 32], &bound(b"there", &key)] {
        let said = unwrapped("bursar:v1", &[(200, answer(plain))]).await.unwrap_err();
        assert_eq!(said, KekError::Broken);
    }
    for garbage in [json!({ "data": { "plaintext": "?" } }), json!({}), json!("canary")] {
        let said = unwrapped("bursar:v1", &[(200, garbage)]).await.unwrap_err();
        assert!(matches!(said, KekError::Misbehaved { .. }), "{said}");
    }
    let failed = || (400, json!({ "errors": ["cipher: message authentication failed"] }));
    assert_eq!(unwrapped("bursar:v1", &[failed()]).await.unwrap_err(), KekError::Broken);
    let other = unwrapped("other:v1", &[failed()]).await.unwrap_err();
    assert!(
        matches!(&other, KekError::Unknown { wanted } if wanted.id == "team/transit/other:v1"),
        "{other}"
    );
    let old = json!({ "errors": ["ciphertext or signature version is disallowed by policy (too old)"] });
    let said = unwrapped("bursar:v1", &[(400, old)]).await.unwrap_err();
    assert!(said.to_string().contains("min_decryption_version"), "{said}");
    assert_eq!(said.outlook(), Outlook::MayPass);
}

/// What lies in the store is sent to nobody before it looks like a ciphertext.
#[tokio::test]
async fn a_forged_ciphertext_is_not_sent() {
    let server = Scripted::start().await;
    let key = KekKey { kind: KekKind::Transit, id: "team/transit/bursar:v1".into() };
    for forged in ["", "vault:v1:AAAA\",\"x\":\"", "vault:v1", "v1:AAAA", "vault:v1:AA\nAA"] {
        let (key, annotations) = (key.clone(), BTreeMap::new());
        let wrapped = Wrapped { key, ciphertext: forged.as_bytes().to_vec(), annotations };
        let said = server.kek(token("t1")).unwrap(b"here", &wrapped.encode()).await;
        assert_eq!(said.unwrap_err(), KekError::Broken, "{forged}");
    }
    assert!(server.paths().is_empty());
}

#[tokio::test]
async fn a_login_serves_until_shortly_before_it_ends() {
    let server = Scripted::start().await;
    let kek = server.kek(kubernetes());
    let wrap = async || kek.wrap(b"here", &KeyBytes::generate()).await;
    server.then(200, logged_in("s1", 3600)).then(200, encrypted(1)).then(200, encrypted(1));
    wrap().await.unwrap();
    wrap().await.unwrap();
    assert_eq!(server.tokens(), ["s1", "s1"]);
    assert_eq!(server.paths()[0], "/v1/auth/k8s/login");
    assert_eq!(server.script.lock().seen[0].body, json!({ "role": "bursar", "jwt": "jwt1" }));
    let renewal =
        |seconds| session::renewal(seconds).duration_since(tokio::time::Instant::now()).as_secs_f64();
    for (seconds, want) in [(30, 20.0), (3600, 2400.0), (0, 2400.0), (u64::MAX, 1_728_000.0)] {
        assert!((renewal(seconds) - want).abs() < 1.0, "{seconds}");
    }
}

#[tokio::test]
async fn a_refused_token_is_taken_anew_once() {
    let server = Scripted::start().await;
    let kek = server.kek(kubernetes());
    let wrap = async || kek.wrap(b"here", &KeyBytes::generate()).await;
    server
        .then(200, logged_in("s1", 3600))
        .then(403, "")
        .then(200, logged_in("s2", 3600))
        .then(200, encrypted(1));
    wrap().await.unwrap();
    assert_eq!(server.tokens(), ["s1", "s2"]);
    // The policy is the matter, then.
    server.then(403, "").then(200, logged_in("s3", 3600)).then(403, "");
    let said = wrap().await.unwrap_err();
    assert_eq!(server.tokens(), ["s1", "s2", "s2", "s3"]);
    assert!(said.to_string().contains("team/transit/encrypt/bursar"), "{said}");
}

#[tokio::test]
async fn a_login_that_is_refused_says_what_to_check() {
    let server = Scripted::start().await;
    let app_role = || Login::AppRole {
        mount: "approle".into(),
        role_id: "r1".into(),
        secret_id: texts(&["canary-secret-id"]),
    };
    for (status, want) in [(400, "check the role"), (403, "check the role"), (404, "keys.transit.auth_mount")]
    {
        server.then(status, json!({ "errors": ["canary"] }));
        let said = server.kek(app_role()).present().await.unwrap_err();
        assert!(said.to_string().contains(want) && !said.to_string().contains("canary"), "{said}");
        server.script.lock().answers.clear();
    }
    let garbage = server.then(200, "canary").kek(app_role()).present().await.unwrap_err();
    assert!(matches!(garbage, KekError::Misbehaved { .. }), "{garbage}");
    assert_eq!(
        server.script.lock().seen[0].body,
        json!({ "role_id": "r1", "secret_id": "canary-secret-id" })
    );
    let missing = Login::TokenFile(texts(&[]));
    let said = server.kek(missing).present().await.unwrap_err();
    assert!(said.to_string().contains("check its path"), "{said}");
}

#[tokio::test]
async fn a_token_file_is_read_again_for_each_request() {
    let server = Scripted::start().await;
    let kek = server.kek(Login::TokenFile(texts(&["t1", "t2"])));
    for _ in 0..2 {
        server.then(200, logged_in("ignored", 60)).then(200, encrypted(1));
        kek.wrap(b"here", &KeyBytes::generate()).await.unwrap();
    }
    // Once more: known, and prolonged a moment ago.
    server.then(200, encrypted(1));
    kek.wrap(b"here", &KeyBytes::generate()).await.unwrap();
    assert_eq!(server.tokens(), ["t1", "t1", "t2", "t2", "t2"]);
}

#[tokio::test]
async fn a_token_that_a_busy_server_did_not_prolong_is_prolonged_with_the_next_request() {
    let server = Scripted::start().await;
    let kek = server.kek(token("t1"));
    for status in [429, 472, 500, 503] {
        server.then(status, json!({})).then(200, encrypted(1));
        kek.wrap(b"here", &KeyBytes::generate()).await.unwrap();
    }
    server.then(200, logged_in("ignored", 60)).then(200, encrypted(1));
    kek.wrap(b"here", &KeyBytes::generate()).await.unwrap();
    server.then(200, encrypted(1));
    kek.wrap(b"here", &KeyBytes::generate()).await.unwrap();
    let asked = server.paths().iter().filter(|path| path.ends_with("renew-self")).count();
    assert_eq!(asked, 5, "{:?}", server.paths());
}

#[tokio::test]
async fn a_server_that_is_down_or_hangs_is_an_outage() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let down = Scripted { base, script: Arc::default() };
    let said = down.kek(token("t1")).present().await.unwrap_err();
    assert!(matches!(said, KekError::Unavailable { .. }), "{said}");
    for (evidence, said) in [
        (Evidence::Lost(Trouble::Timeout), "did not answer in time"),
        (Evidence::NotSent(Trouble::Timeout), "did not answer in time"),
        (Evidence::NotSent(Trouble::Dns), "does not resolve"),
        (Evidence::NotSent(Trouble::Tls), "keys.transit.ca_file"),
        (Evidence::HostRefused { host: "canary".into() }, "metadata"),
    ] {
        let told = unsent(&evidence).to_string();
        assert!(told.contains(said) && !told.contains("canary"), "{told}");
    }
}

/// The engine as its documentation describes it: versions of a key, the newest of which encrypts.
#[derive(Default)]
struct Engine {
    version: u32,
    /// Plaintext and associated data, by ciphertext.
    kept: BTreeMap<String, (String, Value)>,
}

async fn engine(
    State(engine): State<Arc<Mutex<Engine>>>,
    uri: Uri,
    body: axum::body::Bytes,
) -> impl IntoResponse {
    let mut engine = engine.lock();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    let refused = || (StatusCode::BAD_REQUEST, json!({ "errors": ["refused"] }).to_string());
    match uri.path() {
        "/v1/team/transit/encrypt/bursar" => {
            let number = engine.kept.len();
            let ciphertext = format!("vault:v{}:{}", engine.version, BASE64.encode(format!("{number:032}")));
            engine.kept.insert(ciphertext.clone(), (text("plaintext"), body["associated_data"].clone()));
            let data = json!({ "ciphertext": ciphertext, "key_version": engine.version });
            (StatusCode::OK, json!({ "data": data }).to_string())
        }
        "/v1/team/transit/decrypt/bursar" => match engine.kept.get(&text("ciphertext")) {
            Some((plaintext, data)) if *data == body["associated_data"] => {
                (StatusCode::OK, json!({ "data": { "plaintext": plaintext } }).to_string())
            }
            Some(_) | None => refused(),
        },
        _ => refused(),
    }
}

#[tokio::test]
async fn the_engine_does_what_every_kek_has_to_do() {
    let state = Arc::new(Mutex::new(Engine { version: 1, ..Engine::default() }));
    let app = Router::new().fallback(engine).with_state(state.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    TaskTracker::new().spawn(async move { axum::serve(listener, app).await.unwrap() });
    let kek = Scripted { base, script: Arc::default() }.kek(token("t1"));
    crate::kek::conformance::conforms(&kek, async || state.lock().version = 2).await;
}
