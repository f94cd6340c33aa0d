//! What a real process shows to whoever runs it: probes while its key service is away, while its store is, and while it
//! ends.

use crate::support::{
    api::Api,
    probes::{self, Probes},
    process::{Broker, told_url},
    redis::Server,
    scene::{FileMode, Place, Scene, Settings},
    until,
};
use axum::{Json, Router, extract::Path as Segment, http::StatusCode, routing::post};
use bursar::simulator::{
    concur::Refusal,
    fault::{Fault, Trouble},
};
use serde_json::{Value, json};
use std::{fs, net::SocketAddr, path::Path, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// What a health check by gRPC says.
async fn health(address: SocketAddr) -> ServingStatus {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let request = HealthCheckRequest { service: "bursar.v1.TokenService".into() };
    let answer = HealthClient::new(channel).check(request).await;
    answer.map_or(ServingStatus::Unknown, |answer| answer.into_inner().status())
}

async fn health_becomes(address: SocketAddr, wanted: ServingStatus) {
    let what = format!("grpc.health.v1 says {wanted:?}");
    until(&what, || async { (health(address).await == wanted).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_store_is_told_and_takes_nobody_out_before_its_time() {
    let scene = Scene::new(Settings::default()).await;
    let mut redis = Server::start().await;
    let (patient, strict) =
        (scene.config("one", &Place::Redis(&redis)), scene.config("two", &Place::Redis(&redis)));
    probes::watched(&patient, "1h");
    probes::watched(&strict, "0s");
    let (patient, strict) = (Broker::serve(&patient).await, Broker::serve(&strict).await);
    let api = Api::of(patient.address());
    let held = scene.connect(&api, 1).await;
    let token = api.token(&held[0].id).await.unwrap();
    let (at, there) = (Probes::of(&patient).await, Probes::of(&strict).await);
    for probes in [at, there] {
        let report = probes.readiness(200, "[+] store: answers").await;
        assert!(report.contains("[+] change_feed: hears") && report.ends_with("\nready\n"), "{report}");
    }
    health_becomes(patient.address(), ServingStatus::Serving).await;

    redis.kill_9().await;
    let report = at.readiness(200, "[!] store: does not answer since ").await;
    assert!(report.ends_with("\nready\n"), "{report}");
    at.readiness(200, "[!] change_feed: hears nothing since ").await;
    there.readiness(503, "[-] store: does not answer since ").await;
    for probes in [at, there] {
        assert_eq!(probes.get("/livez").await.status, 200);
    }
    // What it is ready for, it does.
    assert_eq!(api.token(&held[0].id).await.unwrap().access_token, token.access_token);
    assert_eq!(health(patient.address()).await, ServingStatus::Serving);
    health_becomes(strict.address(), ServingStatus::NotServing).await;

    redis.restart().await;
    for (broker, probes) in [(&patient, at), (&strict, there)] {
        probes.readiness(200, "[+] store: answers").await;
        probes.readiness(200, "[+] change_feed: hears").await;
        health_becomes(broker.address(), ServingStatus::Serving).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_says_so_at_once_and_lives_until_then() {
    let settings = Settings { exchange_timeout: Duration::from_secs(30), ..Settings::default() };
    let scene = Scene::new(settings).await;
    let config = scene.config("one", &Place::Embedded);
    probes::watched(&config, "10m");
    let mut broker = Broker::serve(&config).await;
    let (api, at) = (Api::of(broker.address()), Probes::of(&broker).await);
    let held = scene.connect(&api, 1).await;
    at.readiness(200, "[+] draining: was not told to stop").await;

    // An exchange that holds the end up.
    let slow: Fault<Refusal> = Fault::once(Trouble::Slow).late(Duration::from_secs(10));
    scene.simulator.break_next(slow).unwrap();
    let before = scene.simulator.counters().total.token_requests;
    let mut refreshing = JoinSet::new();
    let (asking, id) = (api.clone(), held[0].id.clone());
    refreshing.spawn(async move { asking.refresh(&id).await });
    until("the exchange is under way", || {
        std::future::ready((scene.simulator.counters().total.token_requests > before).then_some(()))
    })
    .await;
    broker.terminate();
    let report = at.readiness(503, "[-] draining: was told to stop").await;
    assert!(report.ends_with("\nnot ready\n"), "{report}");
    assert_eq!(at.get("/livez").await.status, 200);
    refreshing.join_next().await.unwrap().unwrap().unwrap();
    assert!(broker.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_service_that_is_away_is_the_reason_and_probes_are_answered_meanwhile() {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    let engine = by_transit(&scene, &config).await;

    let mut broker = Broker::begin(&config);
    let at = Probes::of(&broker).await;
    let report = at.readiness(503, "[-] root_key: cannot be unlocked yet: the key service is not").await;
    assert!(report.contains("[-] listening: no calls are taken yet"), "{report}");
    assert_eq!(at.get("/livez").await.status, 200);
    let listening = fs::read_to_string(&config).unwrap();
    let address: SocketAddr = listening.split('"').nth(1).unwrap().parse().unwrap();
    health_becomes(address, ServingStatus::NotServing).await;

    let listener = TcpListener::bind(engine).await.unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, transit()).await });
    broker.ready().await;
    at.readiness(200, "[+] root_key: unlocked").await;
    health_becomes(broker.address(), ServingStatus::Serving).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_at_the_start_is_waited_for() {
    let scene = Scene::new(Settings::default()).await;
    let mut redis = Server::start().await;
    let config = scene.config("one", &Place::Redis(&redis));
    probes::watched(&config, "10m");
    redis.kill_9().await;

    let mut broker = Broker::begin(&config);
    let at = Probes::of(&broker).await;
    let report = at.readiness(503, "store: does not answer since ").await;
    assert!(report.contains("[-] listening: no calls are taken yet"), "{report}");
    assert_eq!(at.get("/livez").await.status, 200);

    redis.restart().await;
    broker.ready().await;
    at.readiness(200, "[+] store: answers").await;
    assert!(broker.logged().contains("the store does not answer yet"), "{}", broker.logged());
    scene.connect(&Api::of(broker.address()), 1).await;
}

/// A port that nobody listens at.
fn free() -> SocketAddr {
    ([127, 0, 0, 1], crate::support::ports::free_port()).into()
}

/// Makes the configuration one that is watched, whose key service is at an address that nobody listens at yet.
pub(crate) async fn by_transit(scene: &Scene, config: &Path) -> SocketAddr {
    probes::watched(config, "10m");
    let engine = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    scene.write("engine-token", FileMode::Secret, "of-the-test");
    let text = fs::read_to_string(config).unwrap();
    let keyset = text.lines().find(|line| line.starts_with("keyset_file")).unwrap();
    let token = scene.path("engine-token").display().to_string();
    let keys = format!(
        "kind = \"transit\"\n[keys.transit]\naddress = \"http://{engine}\"\nkey = \"bursar\"\ntoken_file = \"{token}\""
    );
    let listen = format!("listen = \"{}\"\nreplica", free());
    let text = text.replace(keyset, &keys).replace("listen = \"127.0.0.1:0\"\nreplica", &listen);
    assert!(text.contains(&keys) && text.contains(&listen), "{text}");
    fs::write(config, text).unwrap();
    engine
}

/// What of a Transit engine is asked here: it keeps nothing, as what it wraps is what it was given.
pub(crate) fn transit() -> Router {
    async fn encrypt(Segment(_): Segment<String>, Json(body): Json<Value>) -> Json<Value> {
        let text = body["plaintext"].as_str().unwrap();
        Json(json!({ "data": { "ciphertext": format!("vault:v1:{text}"), "key_version": 1 } }))
    }
    async fn decrypt(Segment(_): Segment<String>, Json(body): Json<Value>) -> Json<Value> {
        let text = body["ciphertext"].as_str().unwrap().trim_start_matches("vault:v1:");
        Json(json!({ "data": { "plaintext": text } }))
    }
    Router::new()
        .route("/v1/transit/encrypt/{key}", post(encrypt))
        .route("/v1/transit/decrypt/{key}", post(decrypt))
        // The token cannot be prolonged.
        .fallback(async || StatusCode::BAD_REQUEST)
}

#[tokio::test]
async fn the_listener_for_probes_takes_nothing_but_questions() {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    probes::watched(&config, "10m");
    let broker = Broker::serve(&config).await;
    let at = Probes::of(&broker).await;
    for (method, path, status) in [
        ("GET", "/livez", 200),
        ("HEAD", "/livez", 200),
        ("GET", "/livez?verbose", 200),
        ("GET", "/", 404),
        ("GET", "/readyz/", 404),
        ("POST", "/livez", 405),
        ("DELETE", "/readyz", 405),
    ] {
        let answered = at.ask(method, path).await;
        assert_eq!(answered.status, status, "{method} {path}: {answered:?}");
        assert!(answered.head.contains("cache-control: no-store"), "{answered:?}");
    }
    let huge = format!("GET /livez HTTP/1.1\r\nHost: probes\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let refused = at.said(huge.as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    // It is no way into the API.
    let address = at.address();
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut tokens = bursar::api::token_service_client::TokenServiceClient::new(channel);
    let answer = tokens.get_token(bursar::api::GetTokenRequest::default()).await.unwrap_err();
    assert!(matches!(answer.code(), Code::Unknown | Code::Unavailable | Code::Internal), "{answer:?}");
}

#[tokio::test]
async fn dev_says_where_its_probes_are() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::dev(&folder.path().join("data")).await;
    let url = told_url(&broker.said(), "probes");
    let at = Probes::at(url.trim_start_matches("http://").parse().unwrap());
    at.readiness(200, "[+] store: answers").await;
    assert_eq!(at.get("/livez").await.body, "alive\n");
}
