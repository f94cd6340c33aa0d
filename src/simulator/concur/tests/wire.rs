//! The simulated Concur over real sockets: what the pure tables cannot show.

use super::*;
use crate::clock::SystemClock;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{path::Path, time::Duration};

fn client() -> reqwest::Client {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn started(state_file: Option<&Path>) -> ConcurSimulator {
    let options = Options { state_file: state_file.map(Path::to_owned), ..Options::default() };
    start(options, Arc::new(SystemClock)).await.unwrap()
}

/// One connected company of one app.
fn connected(simulator: &ConcurSimulator) -> (App, Connected) {
    let app = simulator.app(NewApp::default()).unwrap();
    let company = simulator.seed_connections(&app.id, 1, Some("eu2")).unwrap().remove(0);
    (app, company)
}

async fn post(base: &str, app: &App, members: &[(&str, &str)]) -> reqwest::Result<reqwest::Response> {
    let mut form = vec![("client_id", app.id.as_str()), ("client_secret", app.secrets[0].as_str())];
    form.extend(members);
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = client().post(format!("{base}/oauth2/v0/token")).body(body);
    request.header("content-type", "application/x-www-form-urlencoded").send().await
}

async fn refresh(base: &str, app: &App, token: &str) -> reqwest::Result<reqwest::Response> {
    post(base, app, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_published_keys_verify_an_access_token() {
    let simulator = started(None).await;
    let (app, one) = connected(&simulator);
    let members = json_of(refresh(&one.geolocation, &app, &one.refresh_token).await.unwrap()).await;
    let jwks = client().get(format!("{}/oauth2/v0/jwks", one.geolocation)).send().await.unwrap();
    let key = json_of(jwks).await["keys"][0].clone();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let public = RsaPublicKeyComponents { n: number("n"), e: number("e") };
    for token in ["access_token", "id_token"] {
        let (input, signature) = members[token].as_str().unwrap().rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature).unwrap();
        assert!(public.verify(&RSA_PKCS1_2048_8192_SHA256, b"other", &signature).is_err());
        let header = URL_SAFE_NO_PAD.decode(input.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!((&header["kid"], &header["alg"]), (&key["kid"], &json!("RS256")));
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn broken_answers_look_broken_to_a_client() {
    let simulator = started(None).await;
    let (app, one) = connected(&simulator);
    let base = &one.geolocation;
    for trouble in [Trouble::DropBefore, Trouble::DropAfter] {
        simulator.break_next(Fault::once(trouble)).unwrap();
        let error = refresh(base, &app, &one.refresh_token).await.unwrap_err();
        assert!(error.is_request(), "{error:?}");
    }
    simulator.break_next(Fault::once(Trouble::Truncated)).unwrap();
    let half = refresh(base, &app, &one.refresh_token).await.unwrap();
    assert_eq!(half.status(), 200);
    assert!(half.bytes().await.is_err());
    simulator.break_next(Fault::once(Trouble::Garbage)).unwrap();
    let garbage = refresh(base, &app, &one.refresh_token).await.unwrap().bytes().await.unwrap();
    assert!(serde_json::from_slice::<Value>(&garbage).is_err());
    simulator.break_next(Fault::once(Trouble::Huge { bytes: 1_000_000 })).unwrap();
    let huge = refresh(base, &app, &one.refresh_token).await.unwrap().bytes().await.unwrap();
    assert_eq!(huge.len(), 1_000_000);
    let throttled = Trouble::Status { status: 429, body: None, retry_after_seconds: Some(7) };
    simulator.break_next(Fault::once(throttled)).unwrap();
    let answer = refresh(base, &app, &one.refresh_token).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &HeaderValue::from_static("7"))
    );
    let counts = simulator.counters().of(&one.company);
    assert_eq!((counts.failed, counts.lost, counts.refreshed), (2, 4, 4));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_body_may_come_slowly_or_never_end_and_does_not_outlive_the_server() {
    let simulator = started(None).await;
    let (app, one) = connected(&simulator);
    let (base, token) = (&one.geolocation, &one.refresh_token);
    simulator.break_next(Fault::once(Trouble::Drip { gap_ms: 0 })).unwrap();
    let slow = refresh(base, &app, token).await.unwrap();
    assert!(slow.headers().get("content-length").is_none());
    assert_eq!(json_of(slow).await["token_type"], "Bearer");
    simulator.break_next(Fault::once(Trouble::Endless)).unwrap();
    let mut endless = refresh(base, &app, token).await.unwrap();
    let mut bytes = 0;
    while bytes < 1_000_000 {
        bytes += endless.chunk().await.unwrap().unwrap().len();
    }
    simulator.shutdown().await;
    let rest = async { while let Ok(Some(_)) = endless.chunk().await {} };
    tokio::time::timeout(Duration::from_secs(30), rest).await.unwrap();
}

#[tokio::test]
async fn a_chunked_body_is_refused() {
    let simulator = started(None).await;
    let (app, one) = connected(&simulator);
    let form = format!("client_id={}&client_secret={}&grant_type=client_credentials", app.id, app.secrets[0]);
    let mut stream =
        tokio::net::TcpStream::connect(one.geolocation.trim_start_matches("http://")).await.unwrap();
    let request = format!(
        "POST /oauth2/v0/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{form}\r\n0\r\n\r\n",
        form.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("\"code\":135"), "{answer}");
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_restart_finds_ports_keys_tokens_and_a_rotation_whose_answer_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("concur.json");
    let simulator = started(Some(&path)).await;
    simulator.change_behaviour(&json!({"refresh": {"rotation": "rotate_every"}})).unwrap();
    let (app, one) = connected(&simulator);
    let members = json_of(refresh(&one.geolocation, &app, &one.refresh_token).await.unwrap()).await;
    let second = members["refresh_token"].as_str().unwrap();
    let (access, control) = (members["access_token"].as_str().unwrap(), simulator.control_url());
    simulator.break_next(Fault::once(Trouble::DropAfter)).unwrap();
    refresh(&one.geolocation, &app, second).await.unwrap_err();
    // What lies in the file is what a killed process would have left.
    let left_behind = std::fs::read(&path).unwrap();
    simulator.shutdown().await;
    std::fs::write(&path, left_behind).unwrap();

    let simulator = started(Some(&path)).await;
    assert_eq!(
        (simulator.base_url("eu2").unwrap(), simulator.control_url()),
        (one.geolocation.clone(), control)
    );
    let refused = refresh(&one.geolocation, &app, second).await.unwrap();
    assert_eq!(json_of(refused).await["code"], 108);
    assert_eq!(simulator.counters().of(&one.company).double_uses, 1);
    let delete = client().delete(format!("{}/app-mgmt/v0/connections", one.geolocation));
    assert_eq!(delete.bearer_auth(access).send().await.unwrap().status(), 200);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_remembered_port_that_is_taken_is_replaced_and_a_wanted_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("concur.json");
    let simulator = started(Some(&path)).await;
    let old = simulator.base_url("us2").unwrap();
    let other =
        start(Options { state_file: Some(path), ..Options::default() }, Arc::new(SystemClock)).await.unwrap();
    assert_ne!(other.base_url("us2").unwrap(), old);
    let port = old.rsplit_once(':').unwrap().1.parse().unwrap();
    let taken = start(Options { control_port: port, ..Options::default() }, Arc::new(SystemClock)).await;
    assert!(matches!(taken, Err(SimulatorError::Listen { port: failed, .. }) if failed == port));
    simulator.shutdown().await;
    other.shutdown().await;
}

#[tokio::test]
async fn all_orders_can_be_given_over_http() {
    let simulator = started(None).await;
    let control = format!("{}/control", simulator.control_url());
    let order = async |word: &str, members: Value| {
        let request = client().post(format!("{control}/{word}")).header("content-type", "application/json");
        let answer = request.body(members.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, json_of(answer).await)
    };
    let app = order("app", json!({"id": "app-1"})).await.1;
    let company = order("principal", json!({"data_centre": "us2"})).await.1["id"].clone();
    let seeded = order("seed_connections", json!({"app": "app-1", "count": 1000})).await.1;
    assert_eq!(seeded.as_array().unwrap().len(), 1000);
    let made = order("request_token", json!({"company": company, "app": "app-1"})).await;
    assert!(made.1["token"].as_str().unwrap().starts_with("at-"));
    let accepted = [
        ("change_app", json!({"app": "app-1", "change": {"status": "disabled"}})),
        ("move", json!({"company": company, "to": "eu2", "how": "farewell", "via": "glz"})),
        ("refuse", json!({"principal": company, "code": 134})),
        ("refuse", json!({"principal": company, "code": null})),
        ("connect_link", json!({"company": company, "app": "app-1", "landing_page": "https://app.test/"})),
        ("mailbox", json!({})),
        ("disconnect", json!({"principal": company, "app": "app-1"})),
        ("connect", json!({"principal": company, "app": "app-1"})),
        ("revoke", json!({"principal": company})),
        (
            "break",
            json!({"trouble": {"refuse": {"code": 108}}, "times": 2, "only": {"grant": "refresh_token"}}),
        ),
        ("break", json!({"trouble": {"status": {"status": 503}}, "delay_ms": 10})),
        ("break", json!({"trouble": "drop_after"})),
        (
            "behaviour",
            json!({"access_token_seconds": 30, "refresh": {"superseded": {"grace": {"seconds": 5}}}}),
        ),
    ];
    for (word, members) in accepted {
        assert_eq!(order(word, members.clone()).await.0, 200, "{word} {members}");
    }
    assert_eq!(simulator.behaviour().access_token_seconds, 30);
    assert_eq!(order("revoke", json!({"principal": "nobody"})).await.0, 404);
    assert_eq!(order("break", json!({"trouble": "no_such"})).await.0, 400);
    let form = client().post(format!("{control}/reset")).body("").send().await.unwrap();
    assert_eq!(form.status(), 415);
    let id: App = serde_json::from_value(app).unwrap();
    refresh(&simulator.base_url("us2").unwrap(), &id, "t").await.unwrap();
    let ask =
        async |word: &str| json_of(client().get(format!("{control}/{word}")).send().await.unwrap()).await;
    assert_eq!(ask("counters").await["total"]["refused"], 1);
    assert_eq!(ask("events").await[0]["code"], "108");
    assert_eq!(ask("behaviour").await["access_token_seconds"], 30);
    assert_eq!(ask("sites").await["us2"], simulator.base_url("us2").unwrap());
    assert_eq!(order("reset", json!({})).await.0, 200);
    assert_eq!(ask("counters").await["total"]["refused"], 0);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_slow_answer_takes_effect_at_once_and_shutdown_does_not_wait_for_it() {
    let simulator = started(None).await;
    let (app, one) = connected(&simulator);
    simulator.break_next(Fault::once(Trouble::Slow).late(Duration::from_secs(3600))).unwrap();
    let asking = refresh(&one.geolocation, &app, &one.refresh_token);
    let watching = async {
        while simulator.counters().of(&one.company).refreshed == 0 {
            tokio::task::yield_now().await;
        }
        simulator.shutdown().await;
    };
    let both = async { tokio::join!(asking, watching) };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
    assert!(answer.is_err());
}
