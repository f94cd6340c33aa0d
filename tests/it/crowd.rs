//! Ten thousand callers at once: they share one exchange, nobody is left without an answer, and what is refused for
//! want of room says so.

use crate::support::{
    api::{Api, reason},
    process::Broker,
    scene::{Place, Scene, Settings},
};
use std::{collections::BTreeMap, fs, time::Duration};
use tonic::Code;

const CALLERS: usize = 10_000;
/// Connections that they come over.
const CHANNELS: usize = 20;
/// What a caller waits, most of it for a turn on its connection: a busy machine takes long over ten thousand, and how
/// long is not the question here.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test]
async fn ten_thousand_at_once_are_answered_or_told_to_come_again() {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    let written = fs::read_to_string(&config).unwrap();
    let limits = "[limits]\nconcurrent_requests = 64\nconcurrent_requests_per_connection = 32";
    let tight = written.replacen("[limits]", limits, 1);
    assert_ne!(tight, written);
    fs::write(&config, tight).unwrap();
    let broker = Broker::serve(&config).await;
    let api = Api::of(broker.address());
    scene.connect(&api, 1).await;
    // Its first release is on record before the crowd comes.
    api.token("c0").await.unwrap();
    let before = scene.simulator.counters().total.refreshed;

    let crowd: Vec<_> = (0..CHANNELS).map(|_| Api::patient(broker.address(), PATIENCE)).collect();
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let calls = (0..CALLERS).map(|n| {
        let api = crowd[n % CHANNELS].clone();
        async move { api.token("c0").await }
    });
    for answer in futures_util::future::join_all(calls).await {
        let word = match answer {
            Ok(token) => {
                assert!(!token.access_token.is_empty());
                "served".to_owned()
            }
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                reason(&status)
            }
        };
        *answers.entry(word).or_default() += 1;
    }
    println!("{CALLERS} callers at once: {answers:?}");
    assert!(answers.keys().all(|word| word == "served" || word == "OVERLOADED"), "{answers:?}");
    assert!(answers["served"] > 0);
    assert_eq!(scene.simulator.counters().total.refreshed, before, "a crowd is no reason to refresh");
    api.token("c0").await.unwrap();
}
