//! The program as its container runs it: a user of any number, a root folder with nothing else in it that cannot be
//! written to, no privileges, and one volume for data. Without a container engine: namespaces and mounts of the kernel.
//!
//! `BURSAR_IMAGE=FOLDER` tests what `make image-binary` built there; otherwise the program of this build, with the
//! libraries that it is linked to.

mod root;

use crate::support::{
    api::Api,
    pki::Pki,
    process::PROGRAM,
    scene::{Place, Scene, Settings},
    until,
};
use root::{Root, Running, Volume};
use std::{collections::BTreeSet, fs, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// A user that no machine knows.
const USER: u32 = 1_234_567;
/// The group that a pod's files are given to (`fsGroup`).
const GROUP: u32 = 1_234_568;
/// The answer of the authorization server comes so late.
const LATE: Duration = Duration::from_secs(5);

/// A scene whose configuration and secrets lie in the root as a pod has them: owned by root, readable by the group.
async fn mounted(grace: Duration) -> (Scene, Root) {
    let scene = Scene::new(Settings { grace, ..Settings::default() }).await;
    let config = fs::read_to_string(scene.config("one", &Place::Embedded)).unwrap();
    let at = scene.path("").display().to_string();
    let root = Root::new(PROGRAM);
    let config = config.replace(&format!("{at}data"), "/var/lib/bursar").replace(&at, "/etc/bursar/");
    root.file("etc/bursar/bursar.toml", &config);
    root.file("etc/bursar/keyset", &fs::read_to_string(scene.path("keyset")).unwrap());
    // As the image brings it: without any authority there is no client for HTTPS.
    root.file("etc/ssl/certs/ca-certificates.crt", &Pki::new().certificate());
    let profile = fs::read_to_string(scene.path("providers/concur-here.toml")).unwrap();
    root.file("etc/bursar/providers/concur-here.toml", &profile);
    (scene, root)
}

#[tokio::test]
async fn any_user_serves_from_a_root_that_cannot_be_written_to() {
    let (scene, root) = mounted(Duration::from_secs(30)).await;
    let mut running = Running::start(&root, Volume::Writable);
    let api = Api::of(running.ready().await);
    let held = scene.connect(&api, 2).await;
    api.token("c0").await.unwrap();
    api.refresh("c1").await.unwrap();

    let status = running.status();
    assert_eq!((running.id("uid"), running.id("gid")), (USER, USER));
    assert_eq!(status["CapEff"].trim_start_matches('0'), "");
    assert_eq!(status["CapPrm"].trim_start_matches('0'), "");
    assert_eq!(status["NoNewPrivs"], "1");
    assert_eq!(running.writable_mounts(), BTreeSet::from(["/var/lib/bursar".to_owned()]));
    let written = root.written();
    assert!(written.iter().any(|path| path.ends_with("/bursar.redb")), "{written:?}");
    assert!(written.iter().any(|path| path.ends_with("/audit/one/00000001.jsonl")), "{written:?}");

    scene.books_agree(&api, &held).await;
    running.terminate();
    assert!(running.ended().await.success(), "{}", running.logged());
}

#[tokio::test]
async fn after_sigterm_an_exchange_is_finished_and_kept_and_the_process_ends_in_time() {
    let grace = Duration::from_secs(60);
    let (scene, root) = mounted(grace).await;
    let mut running = Running::start(&root, Volume::Writable);
    let api = Api::of(running.ready().await);
    let held = scene.connect(&api, 1).await;
    let fault = bursar::simulator::fault::Fault::once(bursar::simulator::fault::Trouble::Slow).late(LATE);
    scene.simulator.break_next(fault).unwrap();
    let before = scene.simulator.counters().total.refreshed;
    let mut caller = JoinSet::new();
    caller.spawn({
        let api = api.clone();
        async move { api.refresh("c0").await }
    });
    until("the exchange is under way", || async {
        (scene.simulator.counters().total.refreshed > before).then_some(())
    })
    .await;
    let asked = Instant::now();
    running.terminate();
    let status = running.ended().await;
    assert!(asked.elapsed() < grace, "{:?}", asked.elapsed());
    println!("ended {:?} after SIGTERM, with an answer that came {LATE:?} late", asked.elapsed());
    assert!(status.success(), "{status}: {}", running.logged());
    let refreshed = caller.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(refreshed.generation, before + 1);

    let mut again = Running::start(&root, Volume::Writable);
    let api = Api::of(again.ready().await);
    scene.books_agree(&api, &held).await;
    again.terminate();
    assert!(again.ended().await.success());
}

#[tokio::test]
async fn without_a_place_for_its_data_it_says_so_and_does_not_start() {
    let (_scene, root) = mounted(Duration::from_secs(30)).await;
    let mut running = Running::start(&root, Volume::ReadOnly);
    let status = running.ended().await;
    assert_eq!(status.code(), Some(1), "{}", running.logged());
    let logged = running.logged();
    assert!(logged.contains("/var/lib/bursar") && logged.contains("writ"), "{logged}");
}
