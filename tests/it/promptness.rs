//! How fast a token is handed out that lies ready: nothing in between waits for anything.

use crate::support::{
    api::Api,
    percentile,
    process::Broker,
    scene::{Place, Scene, Settings},
};
use std::time::Duration;
use tokio::time::Instant;

const CALLS: usize = 60;
/// Less than what a peer may put off an acknowledgement, and more than a slow machine needs.
const QUARTER_MAX: Duration = Duration::from_millis(25);

#[tokio::test]
async fn a_ready_token_does_not_wait_for_acknowledgements() {
    let scene = Scene::new(Settings::default()).await;
    let broker = Broker::serve(&scene.config("one", &Place::Embedded)).await;
    let api = Api::of(broker.address());
    scene.connect(&api, 1).await;
    let mut waits = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let asked = Instant::now();
        api.token("c0").await.unwrap();
        waits.push(asked.elapsed());
    }
    waits.sort_unstable();
    let [quarter, half, most] = [25, 50, 100].map(|percent| percentile(&waits, percent));
    println!("{CALLS} tokens: a quarter within {quarter:?}, half {half:?}, most {most:?}");
    assert!(quarter < QUARTER_MAX, "{waits:?}");
}
