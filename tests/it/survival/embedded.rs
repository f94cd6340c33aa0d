//! One broker with a store in a file.

use super::{answer_late, identities};
use crate::support::{
    api::Api,
    process::{self, Broker},
    scene::{FileMode, Place, Scene, Settings},
    until,
};
use bursar::api::connection::State;
use std::time::Duration;
use tokio::{task::JoinSet, time::Instant};

const COUNT: usize = 20;

#[tokio::test]
async fn a_killed_broker_serves_the_same_tokens_again_and_asks_for_nothing_twice() {
    let scene = Scene::new(Settings { lifetime: Duration::from_secs(16), ..Settings::default() }).await;
    let mut broker = Broker::serve(&scene.config("one", &Place::Embedded)).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, COUNT).await;
    let before = identities(&api).await;
    let refreshed = |least| {
        let counters = scene.simulator.counters();
        held.iter().all(|one| counters.of(&one.company.company).refreshed >= least)
    };
    // What is issued from now on lasts: nothing is due again before both sides have been compared.
    scene.simulator.change_behaviour(&serde_json::json!({"access_token_seconds": 60})).unwrap();
    // The import counts as one. The second round begins half a lifetime after it and is over in a moment.
    until("all are refreshed", || async {
        let told = refreshed(2) && api.all().await.iter().all(|one| one.generation >= 2);
        told.then_some(())
    })
    .await;
    let mut tokens = Vec::new();
    for one in &held {
        tokens.push(api.token(&one.id).await.unwrap().access_token);
    }
    let asked = scene.simulator.counters().total;
    broker.kill_9();
    broker.restart().await;

    let api = Api::of(broker.address());
    assert_eq!(identities(&api).await, before);
    for (one, token) in held.iter().zip(&tokens) {
        assert_eq!(api.token(&one.id).await.unwrap().access_token, *token, "{}", one.id);
    }
    assert_eq!(scene.simulator.counters().total, asked);
    scene.books_agree(&api, &held).await;

    until("all are refreshed again", || async {
        let told = refreshed(3) && api.all().await.iter().all(|one| one.generation >= 3);
        told.then_some(())
    })
    .await;
    scene.books_agree(&api, &held).await;
}

#[tokio::test]
async fn a_second_broker_on_the_same_file_is_told_so() {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    let broker = Broker::serve(&config).await;
    let second = process::run(&["serve", "--config", &config.display().to_string()]).await;
    let told = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains("another process"), "{told}");
    assert!(!String::from_utf8_lossy(&second.stdout).contains("ready"));
    // The first one is not disturbed.
    Api::of(broker.address()).create_tenant().await;
}

#[tokio::test]
async fn a_wrong_keyset_opens_nothing_and_changes_nothing() {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    let mut broker = Broker::serve(&config).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, 3).await;
    let (before, token) = (identities(&api).await, api.token("c0").await.unwrap().access_token);
    broker.terminate();
    assert!(broker.ended().await.success());

    let right = std::fs::read_to_string(scene.path("keyset")).unwrap();
    scene.write("keyset", FileMode::Secret, bursar::app::generate_keyset().unwrap().expose());
    let refused = process::run(&["serve", "--config", &config.display().to_string()]).await;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("name the one that the store was made with in [keys]"), "{told}");

    scene.write("keyset", FileMode::Secret, &right);
    broker.restart().await;
    let api = Api::of(broker.address());
    assert_eq!(identities(&api).await, before);
    assert_eq!(api.token("c0").await.unwrap().access_token, token);
    scene.books_agree(&api, &held).await;
}

#[tokio::test]
async fn an_answer_that_a_caller_waits_for_is_stored_before_the_end() {
    let scene = Scene::new(Settings::default()).await;
    let mut broker = Broker::serve(&scene.config("one", &Place::Embedded)).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, 1).await;
    answer_late(&scene.simulator, &held[0].company.company, Duration::from_secs(2));
    let mut caller = JoinSet::new();
    let asking = api.clone();
    caller.spawn(async move { asking.refresh("c0").await });
    stop_in_mid_exchange(&scene, &mut broker, 2).await;
    // Who had asked is answered.
    assert_eq!(caller.join_next().await.unwrap().unwrap().unwrap().generation, 2);
    broker.restart().await;
    scene.books_agree(&Api::of(broker.address()), &held).await;
}

/// The scheduler's exchanges are waited for by nobody, and may take nearly the whole grace period.
#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_stored_before_the_end() {
    let settings = Settings {
        lifetime: Duration::from_secs(6),
        exchange_timeout: Duration::from_secs(15),
        ..Settings::default()
    };
    let scene = Scene::new(settings).await;
    let mut broker = Broker::serve(&scene.config("one", &Place::Embedded)).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, 1).await;
    answer_late(&scene.simulator, &held[0].company.company, Duration::from_secs(8));
    stop_in_mid_exchange(&scene, &mut broker, 2).await;
    broker.restart().await;
    let api = Api::of(broker.address());
    let found = api.connection("c0").await.unwrap();
    assert_eq!((found.generation >= 2, found.state()), (true, State::Active));
    until("it goes on", || async { (scene.simulator.counters().total.refreshed >= 3).then_some(()) }).await;
    until("both sides agree", || async {
        let counted = scene.simulator.counters().total;
        let found = api.connection("c0").await.unwrap().generation;
        (counted.refreshed == found && counted == scene.simulator.counters().total).then_some(())
    })
    .await;
    let counted = scene.simulator.counters().total;
    assert_eq!((counted.double_uses, counted.refused), (0, 0), "{counted:?}");
}

/// SIGTERM while the answer to the refresh of this number is on its way; the process ends well and in time.
async fn stop_in_mid_exchange(scene: &Scene, broker: &mut Broker, number: u64) {
    until("the exchange is under way", || async {
        (scene.simulator.counters().total.refreshed == number).then_some(())
    })
    .await;
    let asked = Instant::now();
    broker.terminate();
    let status = broker.ended_within(scene.settings.grace).await;
    assert!(status.success(), "{status}:\n{}", broker.logged());
    println!("ended {:?} after SIGTERM", asked.elapsed());
}
