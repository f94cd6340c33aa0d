//! Tables over the pure decisions of the plain authorization server, and one walk over a socket.

mod consent;
mod proofs;

use super::{world::*, *};
use crate::{
    clock::{SystemClock, Timestamp},
    simulator::{
        exchange::{Answer, Request},
        fault::{Fault, Only, Trouble},
        world::answer,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
/// Characters that form-encoding changes, and the separator itself.
const SECRET: &str = "p:w &+%/é";

struct Bench {
    world: World,
    now: Timestamp,
    client: Client,
    refresh_token: String,
}

fn bench() -> Bench {
    let mut world = World::new(Behaviour::default(), Some(1));
    world.basics.bases.insert(SITE.to_owned(), "http://as.test".to_owned());
    let new = NewClient {
        id: Some("my client".to_owned()),
        secrets: vec![SECRET.to_owned(), "next".to_owned()],
        ..NewClient::default()
    };
    let client = world.put_client(new).unwrap();
    let refresh_token = world.connect(NOW, &client.id, "Wanda", None).unwrap().refresh_token;
    Bench { world, now: NOW, client, refresh_token }
}

fn request(path: &str, form: &[(&str, &str)]) -> Request {
    let mut headers = HeaderMap::new();
    headers
        .insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded;charset=UTF-8"));
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into();
    let (site, query) = (SITE.to_owned(), String::new());
    Request { site, method: Method::POST, path: path.to_owned(), query, headers, body }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn basic(mut request: Request, id: &str, secret: &str) -> Request {
    let value = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    request.headers.insert("authorization", HeaderValue::from_str(&value).unwrap());
    request
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

impl Bench {
    fn answer(&mut self, request: &Request) -> Answer {
        answer(&mut self.world, self.now, request)
    }

    fn behave(&mut self, change: &Value) {
        self.world.basics.change_behaviour(change).unwrap();
    }

    fn ask(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = basic(request(path, form), &encoded(&self.client.id), &encoded(SECRET));
        self.answer(&request)
    }

    fn refresh(&mut self, token: &str) -> Result<String, String> {
        let answer = self.ask("/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]);
        let members = body(&answer);
        let text = |name: &str| members[name].as_str().unwrap_or_default().to_owned();
        if answer.status == 200 { Ok(text("refresh_token")) } else { Err(text("error")) }
    }
}

#[test]
fn a_client_authenticates_in_either_way_but_in_one() {
    let grant = ("grant_type", "client_credentials");
    let posted = |id, secret| request("/token", &[grant, ("client_id", id), ("client_secret", secret)]);
    let id = encoded("my client");
    let cases = [
        (200, basic(request("/token", &[grant]), &id, &encoded(SECRET))),
        (200, basic(request("/token", &[grant]), &id, "next")),
        (200, basic(request("/token", &[grant, ("client_id", "my client")]), &id, "next")),
        (200, posted("my client", SECRET)),
        (401, basic(request("/token", &[grant]), &id, SECRET)),
        (401, basic(request("/token", &[grant]), "nobody", "next")),
        (401, posted("my client", "wrong")),
        (401, request("/token", &[grant])),
        (400, basic(posted("my client", SECRET), &id, "next")),
    ];
    for (at, (want, request)) in cases.into_iter().enumerate() {
        let mut bench = bench();
        let answer = bench.answer(&request);
        assert_eq!(answer.status, want, "case {at}");
        let challenged = answer.headers.iter().any(|(name, _)| *name == "www-authenticate");
        assert_eq!(challenged, want == 401 && request.header("authorization").is_some(), "case {at}");
    }
}

#[test]
fn a_client_may_be_held_to_one_way() {
    let mut bench = bench();
    let authentication = Authentication::ClientSecretPost;
    let new = NewClient { id: Some("poster".to_owned()), authentication, ..NewClient::default() };
    let secret = bench.world.put_client(new).unwrap().secrets.remove(0);
    let grant = ("grant_type", "client_credentials");
    let header = basic(request("/token", &[grant]), "poster", &secret);
    let post = request("/token", &[grant, ("client_id", "poster"), ("client_secret", &secret)]);
    assert_eq!((bench.answer(&header).status, bench.answer(&post).status), (401, 200));
}

#[test]
fn requests_earn_their_errors() {
    let mut bench = bench();
    let token = bench.refresh_token.clone();
    let grants = Some(["client_credentials".to_owned()].into());
    let other = NewClient { id: Some("other".to_owned()), grants, ..NewClient::default() };
    let other = bench.world.put_client(other).unwrap();
    let foreign = bench.world.connect(NOW, "other", "wanda", None).unwrap().refresh_token;
    let refresh = ("grant_type", "refresh_token");
    let cases: [(&str, Vec<(&str, &str)>); 7] = [
        ("invalid_request", vec![("refresh_token", &token)]),
        ("invalid_request", vec![refresh]),
        ("invalid_request", vec![refresh, refresh, ("refresh_token", &token)]),
        ("unsupported_grant_type", vec![("grant_type", "magic")]),
        ("invalid_grant", vec![refresh, ("refresh_token", "unknown")]),
        ("invalid_grant", vec![refresh, ("refresh_token", &foreign)]),
        ("invalid_scope", vec![refresh, ("refresh_token", &token), ("scope", "read admin")]),
    ];
    for (want, form) in cases {
        let answer = bench.ask("/token", &form);
        assert_eq!((answer.status, &body(&answer)["error"]), (400, &json!(want)), "{form:?}");
    }
    let form = [refresh, ("client_id", "other"), ("client_secret", &other.secrets[0])];
    assert_eq!(body(&bench.answer(&request("/token", &form)))["error"], "unauthorized_client");
    assert!(bench.refresh(&token).is_ok());
}

#[test]
fn every_refresh_rotates_and_reuse_ends_the_family() {
    let mut bench = bench();
    let first = bench.refresh_token.clone();
    let second = bench.refresh(&first).unwrap();
    assert_ne!(first, second);
    let third = bench.refresh(&second).unwrap();
    assert_eq!(bench.refresh(&first), Err("invalid_grant".to_owned()));
    assert_eq!(bench.refresh(&third), Err("invalid_grant".to_owned()));
    let counts = bench.world.basics.journal().counters().of("wanda");
    assert_eq!((counts.refreshed, counts.double_uses), (2, 1));
}

#[test]
fn revocation_asks_whose_token_it_is() {
    let mut bench = bench();
    let token = bench.refresh_token.clone();
    let other = bench.world.put_client(NewClient { id: Some("other".to_owned()), ..NewClient::default() });
    let secret = other.unwrap().secrets.remove(0);
    let form = [("token", token.as_str()), ("client_id", "other"), ("client_secret", secret.as_str())];
    assert_eq!(bench.answer(&request("/revoke", &form)).status, 400);
    assert_eq!(bench.ask("/revoke", &[("token", "unknown")]).status, 200);
    assert_eq!(bench.ask("/revoke", &[]).status, 400);
    let next = bench.refresh(&token).unwrap();
    assert_eq!(bench.ask("/revoke", &[("token", &next)]).status, 200);
    assert_eq!(bench.refresh(&next), Err("invalid_grant".to_owned()));
}

#[test]
fn an_access_token_is_opaque_or_a_jwt() {
    let mut bench = bench();
    let ask = [("grant_type", "client_credentials"), ("scope", "read")];
    let members = body(&bench.ask("/token", &ask));
    assert_eq!((&members["expires_in"], &members["scope"]), (&json!(3600), &json!("read")));
    assert!(members["refresh_token"].is_null());
    let jwt = members["access_token"].as_str().unwrap();
    let claims = bench.world.basics.key(SITE).unwrap().verify(jwt).unwrap();
    assert_eq!((&claims["sub"], &claims["iss"]), (&json!("my client"), &json!("http://as.test")));
    bench
        .world
        .basics
        .change_behaviour(&json!({"access_token": "opaque", "access_token_seconds": 30}))
        .unwrap();
    let members = body(&bench.ask("/token", &ask));
    assert!(!members["access_token"].as_str().unwrap().contains('.'));
    assert_eq!(members["expires_in"], 30);
}

#[test]
fn faults_speak_this_servers_words() {
    let mut bench = bench();
    let refusal = Refusal { status: Some(503), ..Refusal::error("temporarily_unavailable") };
    let fault = Fault::once(Trouble::Refuse(refusal)).only(Only::principal("wanda"));
    bench.world.basics.faults().push(fault).unwrap();
    let token = bench.refresh_token.clone();
    assert_eq!(bench.refresh(&token), Err("temporarily_unavailable".to_owned()));
    assert!(bench.refresh(&token).is_ok());
}

#[tokio::test]
async fn metadata_keys_orders_and_restart_work_over_sockets() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options { state_file: Some(folder.path().join("oauth.json")), ..Options::default() };
    let server = start(options.clone(), Arc::new(SystemClock)).await.unwrap();
    let get = async |url: String| -> Value {
        serde_json::from_slice(&http.get(url).send().await.unwrap().bytes().await.unwrap()).unwrap()
    };
    let base = server.base_url(SITE).unwrap();
    let metadata = get(format!("{base}/.well-known/oauth-authorization-server")).await;
    assert_eq!(
        (&metadata["issuer"], &metadata["token_endpoint"]),
        (&json!(base), &json!(server.token_url()))
    );
    let keys = get(format!("{base}/jwks")).await;
    let order = async |word: &str, members: Value| {
        let request = http.post(format!("{}/control/{word}", server.control_url()));
        let request = request.header("content-type", "application/json").body(members.to_string());
        request.send().await.unwrap().status()
    };
    assert_eq!(order("client", json!({"id": "app"})).await, 200);
    assert_eq!(order("connection", json!({"client": "app", "subject": "w", "scope": ["read"]})).await, 200);
    assert_eq!(order("seed_connections", json!({"client": "app", "count": 3})).await, 200);
    assert_eq!(
        order("break", json!({"trouble": {"refuse": {"error": "server_error", "status": 500}}})).await,
        200
    );
    assert_eq!(order("connection", json!({"client": "nobody", "subject": "w"})).await, 404);
    assert_eq!(order("revoke", json!({"subject": "w"})).await, 200);
    assert_eq!(server.seed_connections("app", 2).unwrap().len(), 2);
    let broken = http.post(server.token_url()).send().await.unwrap();
    assert_eq!(broken.status(), 500);
    server.shutdown().await;

    let server = start(options, Arc::new(SystemClock)).await.unwrap();
    assert_eq!(server.base_url(SITE).unwrap(), base);
    assert_eq!(get(format!("{base}/jwks")).await, keys);
    assert_eq!(server.counters().total.refused, 1);
    server.shutdown().await;
}
