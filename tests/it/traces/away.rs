//! Collectors that are not there, come back, speak TLS, or are somebody else.

use super::Stage;
use crate::support::{
    api::{Api, name},
    collector::{Collector, hex},
    foreign,
    pki::Pki,
    ports::free_port,
    process::Broker,
    scene::{FileMode, Place, Scene, Settings},
    until,
};
use bursar::api::GetTokenRequest;
use serde_json::json;
use std::net::SocketAddr;
use tonic::Request;

const AWAY: &str = "traces cannot be delivered";
const BACK: &str = "traces can be delivered again";

async fn says(broker: &Broker, words: &str) {
    let look = || async { broker.logged().contains(words).then_some(()) };
    until(words, look).await;
}

fn count(broker: &Broker, words: &str) -> usize {
    broker.logged().matches(words).count()
}

#[tokio::test]
async fn a_collector_that_is_away_does_no_harm_and_is_told_of_once() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let lines = format!("[tracing]\notlp_endpoint = \"http://{address}\"\n");
    let mut stage = Stage::new(Settings::default(), &lines).await;
    let id = stage.held.id.clone();
    says(&stage.broker, AWAY).await;
    for _ in 0..3 {
        stage.api.refresh(&id).await.unwrap();
        stage.api.token(&id).await.unwrap();
    }
    stage.scene.books_agree(&stage.api, std::slice::from_ref(&stage.held)).await;
    assert_eq!(count(&stage.broker, AWAY), 1);

    let collector = Collector::at(address).await;
    let refreshes = || async {
        stage.api.refresh(&id).await.unwrap();
        (count(&stage.broker, BACK) == 1).then_some(())
    };
    until("the broker delivers again", refreshes).await;
    assert!(!collector.spans().is_empty());

    // Gone again, it does not hold the end of the process either.
    drop(collector);
    stage.api.refresh(&id).await.unwrap();
    stage.broker.terminate();
    let ended = stage.broker.ended_within(stage.scene.settings.grace).await;
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn the_last_spans_are_delivered_before_the_process_ends() {
    let collector = Collector::start().await;
    let mut stage = Stage::new(Settings::default(), &collector.lines()).await;
    let mut request = Request::new(GetTokenRequest { name: name(&stage.held.id), ..Default::default() });
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace}-b7ad6b7169203331-01");
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    stage.api.tokens.clone().get_token(request).await.unwrap();
    stage.broker.terminate();
    let ended = stage.broker.ended_within(stage.scene.settings.grace).await;
    assert!(ended.success(), "{ended}");
    assert!(collector.spans().iter().any(|(_, span)| hex(&span.trace_id) == trace));
}

#[tokio::test]
async fn a_collector_is_believed_by_the_authorities_that_are_configured() {
    let scene = Scene::new(Settings::default()).await;
    let (ours, theirs) = (Pki::new(), Pki::new());
    let server = ours.server();
    scene.write("collector.pem", FileMode::Plain, &server.certificate);
    scene.write("collector.key", FileMode::Secret, &server.key);
    scene.write("ours.pem", FileMode::Plain, &ours.certificate());
    scene.write("theirs.pem", FileMode::Plain, &theirs.certificate());
    let receiver = foreign::otlp_receiver(&scene.path("collector.pem"), &scene.path("collector.key")).await;
    let lines = |ca: &str| {
        let ca = scene.path(ca);
        format!("[tracing]\notlp_endpoint = \"{}\"\nca_file = \"{}\"\n", receiver.issuer, ca.display())
    };
    let (mistaken, believed) = (lines("theirs.pem"), lines("ours.pem"));

    let stage = Stage::on(scene, &mistaken).await;
    says(&stage.broker, AWAY).await;
    let log = stage.broker.logged();
    let told = log.lines().find(|line| line.contains(AWAY)).unwrap();
    assert!(told.contains("invalid peer certificate"), "{told}");
    assert_eq!(receiver.ask(&json!({})).await, json!([]));

    let Stage { scene, mut broker, held, .. } = stage;
    broker.terminate();
    broker.ended_within(scene.settings.grace).await;
    scene.config_with("one", &Place::Embedded, &believed);
    broker.restart().await;
    let api = Api::of(broker.address());
    api.refresh(&held.id).await.unwrap();
    let arrived = || async {
        let spans = receiver.ask(&json!({})).await;
        let mut all = spans.as_array().unwrap().iter();
        all.any(|span| span["name"] == "refresh" && span["service"] == "bursar").then_some(())
    };
    until("the refresh has arrived", arrived).await;
    assert_eq!(count(&broker, AWAY), 0);
}
