//! Where keys may be fetched from, and who is shown our own token: with servers on this machine that take down who asked.

use super::*;
use crate::{domain::issuer::Route, egress::AddressPolicy};
use axum::{Router, extract::State};
use http::{StatusCode, Uri};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// What a server answers, by path, and what it was asked: path and credential.
#[derive(Default)]
struct Script {
    answers: BTreeMap<String, (u16, String)>,
    asked: Vec<(String, Option<String>)>,
}

struct Scripted {
    base: String,
    script: Arc<Mutex<Script>>,
}

impl Scripted {
    async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let app = Router::new().fallback(answered).with_state(script.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        TaskTracker::new().spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { base, script }
    }

    fn say(&self, path: &str, status: u16, body: impl Into<String>) {
        self.script.lock().answers.insert(path.to_owned(), (status, body.into()));
    }

    fn asked(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.script.lock().asked)
    }

    fn keys_at(&self, at: KeyAddress) -> OverHttp {
        let credential: ReadSecret = Arc::new(|| Ok(Secret::new("ours")));
        let server = KeyServer {
            at,
            ca: None,
            credential: Some("/token".into()),
            route: Route::Direct,
            refresh: Duration::from_secs(60),
            max_age: Duration::from_secs(60),
        };
        let egress = Egress::new(AddressPolicy::LoopbackOnly).unwrap();
        OverHttp { egress, server, issuer: self.base.clone(), credential: Some(credential) }
    }

    fn by_discovery(&self, hosts: &[&str]) -> OverHttp {
        let metadata = format!("{}/.well-known/openid-configuration", self.base).parse().unwrap();
        let hosts = hosts.iter().map(|&host| HostPattern(host.to_owned())).collect();
        self.keys_at(KeyAddress::Discovery { metadata, hosts })
    }
}

async fn answered(
    State(script): State<Arc<Mutex<Script>>>,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let mut script = script.lock();
    let shown = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    script.asked.push((uri.path().to_owned(), shown));
    let (status, body) = script.answers.get(uri.path()).cloned().unwrap_or((404, String::new()));
    (StatusCode::from_u16(status).unwrap(), body)
}

fn ours(path: &str) -> (String, Option<String>) {
    (path.to_owned(), Some("Bearer ours".to_owned()))
}

#[tokio::test]
async fn keys_are_where_they_are_known_to_be_or_where_the_issuer_says_on_an_approved_host() {
    let (issuer, other) = (Scripted::start().await, Scripted::start().await);
    issuer.say("/keys", 200, "the keys");
    other.say("/keys", 200, "the keys of the other host");
    let known = issuer.keys_at(KeyAddress::Known(format!("{}/keys", issuer.base).parse().unwrap()));
    assert_eq!(known.fetch().await.unwrap(), b"the keys");
    assert_eq!(issuer.asked(), [ours("/keys")]);

    let metadata = |keys: &str| format!(r#"{{"issuer":"{}","jwks_uri":"{keys}/keys"}}"#, issuer.base);
    let at = "/.well-known/openid-configuration";
    issuer.say(at, 200, metadata(&issuer.base));
    assert_eq!(issuer.by_discovery(&[]).fetch().await.unwrap(), b"the keys");
    assert_eq!(issuer.asked(), [ours(at), ours("/keys")]);

    issuer.say(at, 200, metadata(&other.base));
    let told = issuer.by_discovery(&[]).fetch().await.unwrap_err().to_string();
    assert!(told.contains("nobody has approved") && told.contains("jwks_hosts"), "{told}");
    assert_eq!(other.asked(), [], "nobody comes to a host that was not approved");
    let host = other.base.strip_prefix("http://").unwrap();
    assert_eq!(issuer.by_discovery(&[host]).fetch().await.unwrap(), b"the keys of the other host");
    assert_eq!(other.asked(), [("/keys".to_owned(), None)], "our token is not shown there");
}

#[tokio::test]
async fn what_is_no_answer_says_what_to_mend() {
    let issuer = Scripted::start().await;
    let known = || issuer.keys_at(KeyAddress::Known(format!("{}/keys", issuer.base).parse().unwrap()));
    for (status, want) in
        [(401, "token_file"), (403, "token_file"), (302, "answered 302"), (500, "answered 500")]
    {
        issuer.say("/keys", status, "");
        let told = known().fetch().await.unwrap_err().to_string();
        assert!(told.contains(want), "{status}: {told}");
    }
    issuer.say("/keys", 200, "x".repeat(crate::egress::BODY_MAX + 1));
    assert!(known().fetch().await.unwrap_err().to_string().contains("larger than any may be"));
    let unreadable: ReadSecret = Arc::new(|| Err("/token: was not found; mount it".to_owned()));
    let told = OverHttp { credential: Some(unreadable), ..known() }.fetch().await.unwrap_err().to_string();
    assert_eq!(told, "/token: was not found; mount it");
    let nowhere = KeyAddress::Known("http://127.0.0.1:1/keys".parse().unwrap());
    assert_eq!(issuer.keys_at(nowhere).fetch().await.unwrap_err().to_string(), "the server does not answer");
}

#[test]
fn metadata_speak_for_their_issuer_and_name_a_plain_address() {
    let at = |body: &str| keys_at(body.as_bytes(), "https://issuer.test").map(String::from);
    let said = |jwks: &str| format!(r#"{{"issuer":"https://issuer.test","jwks_uri":{jwks}}}"#);
    assert_eq!(at(&said(r#""https://keys.test/k?v=1""#)).unwrap(), "https://keys.test/k?v=1");
    assert_eq!(at(&said(r#""http://127.0.0.1:1/k""#)).unwrap(), "http://127.0.0.1:1/k");
    for jwks in [
        "null",
        "1",
        r#""""#,
        r#""http://keys.test/k""#,
        r#""https://user@keys.test/k""#,
        r#""https://keys.test/k#x""#,
        r#""https:\\\\keys.test/k""#,
        r#""file:///etc/passwd""#,
    ] {
        let told = at(&said(jwks)).unwrap_err().to_string();
        assert!(told.contains("no `jwks_uri`"), "{jwks}: {told}");
    }
    for (body, want) in [
        ("[]", "one JSON object"),
        (r#"{"issuer":"https://issuer.test","issuer":"https://issuer.test"}"#, "one JSON object"),
        (r#"{"issuer":"https://issuer.test/"}"#, "another issuer"),
        (r#"{"jwks_uri":"https://keys.test"}"#, "another issuer"),
    ] {
        assert!(at(body).unwrap_err().to_string().contains(want), "{body}");
    }
}
