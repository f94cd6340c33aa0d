//! Real brokers whose keys are changed under load: keyset, KEK, root key and the keys of tenants are rotated while a
//! thousand calls a second and short-lived tokens go on; and a walk that a crash interrupts is finished by another.

use crate::support::{
    api::{Api, TENANT, name, reason},
    process::{self, Broker},
    redis::Server,
    scene::{Place, Scene, Settings},
    tell_load, until,
};
use bursar::{
    api::{KeyChain, RotateTenantKeyRequest, WatchKeyChainRequest, key_version::State},
    clock::{Clock, SystemClock},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

const CONNECTIONS: usize = 100;
/// Of a token: each connection is refreshed several times while the test runs.
const LIFETIME: Duration = Duration::from_secs(30);
const CALLERS: usize = 24;
/// Of one caller: fifty calls a second, more than a thousand by all.
const PACE: Duration = Duration::from_millis(20);
/// Within this time every replica knows of a change.
const PROPAGATION: &str = "4s";
/// How long a rotation may take, on a machine that builds something else meanwhile.
const ROTATION_MAX: Duration = Duration::from_secs(180);
const OWNER: &str = "tenants/acme/keyChain";

/// A configuration whose rotations are quick.
fn quick(scene: &Scene, broker: &str, place: &Place<'_>, records_per_second: u32) -> PathBuf {
    let file = scene.config(broker, place);
    let text = fs::read_to_string(&file).unwrap();
    let keys = format!(
        "[keys]\nreload = \"1s\"\npropagation = \"{PROPAGATION}\"\nrecords_per_second = {records_per_second}\n"
    );
    assert!(text.contains("[keys]\n"));
    fs::write(&file, text.replace("[keys]\n", &keys)).unwrap();
    file
}

/// `bursar keys …` against a broker, as JSON.
async fn keys(broker: &Broker, arguments: &[&str]) -> serde_json::Value {
    let endpoint = format!("http://{}", broker.address());
    let words = [&["--endpoint", &endpoint, "--output", "json", "keys"], arguments].concat();
    let output = process::run(&words).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn keyset(arguments: &[&str]) {
    let output = process::run(&[&["keys", "keyset"], arguments].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn states(chain: &KeyChain) -> Vec<(u32, State)> {
    chain.versions.iter().map(|version| (version.version, version.state())).collect()
}

/// Watches a chain to its end; gives the last state, and how many there were.
async fn watched(api: &Api, chain: &str) -> (KeyChain, usize) {
    let watching = async {
        let request = WatchKeyChainRequest { name: chain.to_owned() };
        let mut news = api.keys.clone().watch_key_chain(request).await.unwrap().into_inner();
        let (mut last, mut told) = (None, 0);
        while let Some(next) = news.message().await.unwrap() {
            (last, told) = (Some(next), told + 1);
        }
        (last.unwrap(), told)
    };
    tokio::time::timeout(ROTATION_MAX, watching).await.expect("the rotation did not end")
}

/// Everything that lies in one Redis, in another.
async fn copied(from: &Server, to: &Server) {
    let (mut from, mut to) = (from.connection().await.unwrap(), to.connection().await.unwrap());
    let all: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut from).await.unwrap();
    for key in all {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut from).await.unwrap();
        let () = redis::cmd("RESTORE").arg(&key).arg(0).arg(dump).query_async(&mut to).await.unwrap();
    }
}

struct Load {
    callers: JoinSet<usize>,
    stop: tokio::sync::watch::Sender<()>,
    done: Arc<AtomicUsize>,
    begun: Instant,
}

impl Load {
    /// Calls at both replicas, a thousand a second. One that fails is the end of the test.
    fn on(replicas: &[Api; 2]) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(());
        let (done, begun) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (api, stopped, done) = (replicas[caller % 2].clone(), stopped.clone(), done.clone());
            callers.spawn(async move {
                let mut ticks = interval(PACE);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let mut calls = caller;
                while stopped.has_changed().is_ok() {
                    ticks.tick().await;
                    let id = format!("c{}", calls % CONNECTIONS);
                    let token = api.token(&id).await;
                    let token = token.unwrap_or_else(|err| panic!("{id} after {:?}: {err}", begun.elapsed()));
                    assert!(!token.access_token.is_empty());
                    calls += 1;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                calls - caller
            });
        }
        Self { callers, stop, done, begun }
    }

    /// Nothing has failed so far.
    fn look(&mut self, what: &str) {
        assert!(self.callers.try_join_next().is_none(), "a caller ended before `{what}`");
        println!("{:>6.1?}: {what}, after {} calls", self.begun.elapsed(), self.done.load(Ordering::Relaxed));
    }

    async fn end(self) {
        drop(self.stop);
        let calls: usize = self.callers.join_all().await.into_iter().sum();
        tell_load(calls, self.begun);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_is_rotated_under_load_without_a_failed_call_or_a_lost_refresh() {
    let scene = Scene::new(Settings { lifetime: LIFETIME, ..Settings::default() }).await;
    let redis = Server::start().await;
    let mut one = Broker::serve(&quick(&scene, "one", &Place::Redis(&redis), 200)).await;
    let mut two = Broker::serve(&quick(&scene, "two", &Place::Redis(&redis), 200)).await;
    let replicas = [Api::of(one.address()), Api::of(two.address())];
    let held = scene.connect(&replicas[0], CONNECTIONS).await;
    let before = Server::start().await;
    copied(&redis, &before).await;
    let file = scene.path("keyset").display().to_string();

    let mut load = Load::on(&replicas);
    keyset(&["add", &file]).await;
    for api in &replicas {
        until("a replica has seen the new keyset", || async {
            let kek = api.chain("keyChains/kek").await.unwrap();
            (states(&kek) == [(2, State::Prepared), (1, State::Active)]).then_some(())
        })
        .await;
    }
    load.look("both replicas read the new keyset");
    // Told by the clock of the replica, which is compared with the store's anew each time.
    let made =
        async || replicas[1].chain("keyChains/kek").await.unwrap().versions[1].create_time.unwrap().seconds;
    let before_rotation = made().await;
    keys(&one, &["rotate", "kek"]).await;
    let (told, age) = (made().await, SystemClock.now().as_secs().abs_diff(before_rotation.unsigned_abs()));
    // Clocks that are compared on a busy machine differ a little; it is far from the time of the rotation in any case.
    assert!(told.abs_diff(before_rotation) * 2 < age, "it was met when the deployment began, {age} s ago");
    let kek = replicas[1].chain("keyChains/kek").await.unwrap();
    assert_eq!(states(&kek), [(2, State::Active), (1, State::DecryptOnly)]);
    load.look("root keys are wrapped by the new KEK");

    rotated(&two, &replicas, &mut load).await;
    keyset(&["remove", &file, "1"]).await;
    for broker in [&one, &two] {
        until("a replica uses the keyset without the old key", || async {
            (broker.logged().matches("keyset file has changed and is in use").count() == 2).then_some(())
        })
        .await;
    }
    // Long enough for every token to be refreshed by keys that are new.
    tokio::time::sleep(LIFETIME).await;
    load.look("every token was refreshed since");
    load.end().await;

    // A refresh that is under way ends by itself; then nothing is begun any more.
    for broker in [&mut one, &mut two] {
        broker.terminate();
        assert!(broker.ended().await.success());
        let log = broker.logged();
        // A disk or a store that a busy machine holds up for a moment is no matter of keys.
        let held_up = ["audit trail's disk does not answer", "could not be stored yet"];
        let told = log.lines().filter(|line| line.contains("\"level\":\"ERROR\""));
        let told: Vec<_> = told.filter(|line| !held_up.iter().any(|of| line.contains(of))).collect();
        assert_eq!(told, Vec::<&str>::new());
    }
    one.restart().await;
    let api = Api::of(one.address());
    scene.books_agree(&api, &held).await;
    for one in &held {
        api.token(&one.id).await.unwrap_or_else(|err| panic!("{}: {err}", one.id));
    }
    opens_no_more(&scene, &before, &file).await;
}

/// Root key and owners' keys at the same time, and the end of the old versions.
async fn rotated(broker: &Broker, replicas: &[Api; 2], load: &mut Load) {
    for words in [&["rotate", "root"][..], &["rotate", "tenant", "platform"], &["rotate", "tenant", TENANT]] {
        keys(broker, words).await;
    }
    let again = RotateTenantKeyRequest { name: OWNER.into(), etag: String::new() };
    let refusal = replicas[0].keys.clone().rotate_tenant_key(again).await.unwrap_err();
    assert_eq!(reason(&refusal), "KEY_ROTATION_IN_PROGRESS");
    for (chain, records) in [("keyChains/root", 2), (OWNER, 2 + CONNECTIONS), ("platform/keyChain", 0)] {
        let (ended, told) = watched(&replicas[0], chain).await;
        assert_eq!(states(&ended), [(2, State::Active), (1, State::DecryptOnly)], "{chain}");
        let reseal = ended.reseal.unwrap();
        assert!(reseal.end_time.is_some() && reseal.broken_count == 0, "{chain}: {reseal:?}");
        assert_eq!(reseal.scanned_count, reseal.resealed_count, "{chain}");
        if records > 0 {
            assert_eq!(reseal.total_count, u64::try_from(records).unwrap(), "{chain}");
        }
        assert_eq!(ended.versions[1].record_count, 0, "{chain}");
        load.look(&format!("{chain} is moved, told {told} times"));
    }
    for chain in [OWNER, "platform/keyChain", "keyChains/root", "keyChains/kek"] {
        let retired = replicas[0].retire(chain, 1).await.unwrap();
        assert_eq!(states(&retired), [(2, State::Active), (1, State::Destroyed)], "{chain}");
    }
    load.look("the old versions are destroyed");
}

/// A copy of the store from before, with the new keyset only.
async fn opens_no_more(scene: &Scene, before: &Server, keyset: &str) {
    let config = scene.config("thief", &Place::Redis(before));
    assert!(fs::read_to_string(&config).unwrap().contains(keyset));
    let output = process::run(&["serve", "--config", &config.display().to_string()]).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(told.contains("does not open with the configured KEK"), "{told}");
    assert!(told.contains("not among the configured keys"), "{told}");
}

fn walk_is_under_way(chain: &KeyChain) -> Option<u64> {
    let reseal = chain.reseal.as_ref()?;
    let begun = reseal.total_count > 0 && reseal.scanned_count > 0 && reseal.end_time.is_none();
    begun.then_some(reseal.scanned_count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_that_a_crash_interrupts_is_finished_by_another_replica() {
    let scene = Scene::new(Settings::default()).await;
    let redis = Server::start().await;
    let mut one = Broker::serve(&quick(&scene, "one", &Place::Redis(&redis), 16)).await;
    let api = Api::of(one.address());
    let held = scene.connect(&api, 4 * CONNECTIONS).await;
    keys(&one, &["rotate", "tenant", TENANT]).await;
    let scanned =
        until("the walk is under way", || async { walk_is_under_way(&api.chain(OWNER).await.unwrap()) })
            .await;
    one.kill_9();

    let two = Broker::serve(&quick(&scene, "two", &Place::Redis(&redis), 64)).await;
    let api = Api::of(two.address());
    let left = api.retire(OWNER, 1).await.unwrap_err();
    assert_eq!(reason(&left), "KEY_VERSION_IN_USE");
    println!("killed after {scanned} records: {}", left.message());
    let (ended, _) = watched(&api, OWNER).await;
    let reseal = ended.reseal.unwrap();
    let all = u64::try_from(held.len() + 2).unwrap();
    assert_eq!((reseal.total_count, reseal.scanned_count, reseal.resealed_count), (all, all, all));
    assert_eq!(
        (reseal.broken_count, ended.versions[0].record_count, ended.versions[1].record_count),
        (0, all, 0)
    );
    api.retire(OWNER, 1).await.unwrap();
    for one in &held {
        api.token(&one.id).await.unwrap_or_else(|err| panic!("{}: {err}", name(&one.id)));
    }
    let told = keys(&two, &["chain", OWNER]).await;
    assert_eq!(told["versions"][1]["state"], "STATE_DESTROYED", "{told}");
    let _: &Path = two.output();
}

#[tokio::test]
async fn a_keyset_that_opens_nothing_is_not_used() {
    let scene = Scene::new(Settings::default()).await;
    let broker = Broker::serve(&quick(&scene, "one", &Place::Embedded, 500)).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, 1).await;
    let good = fs::read_to_string(scene.path("keyset")).unwrap();
    let foreign = bursar::app::generate_keyset().unwrap();
    let warned = || broker.logged().matches("keyset file cannot be used").count();
    for (number, bad) in ["bursar-keyset 1\nkey 1 primary", foreign.expose()].into_iter().enumerate() {
        fs::write(scene.path("keyset"), bad).unwrap();
        until("it is warned of", || async { (warned() > number).then_some(()) }).await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let log = broker.logged();
    assert!(log.contains("not among the configured keys"), "{log}");
    assert_eq!(log.matches("keyset file cannot be used").count(), 2, "each once: {log}");
    let kek = api.chain("keyChains/kek").await.unwrap();
    assert_eq!(states(&kek), [(1, State::Active)]);
    api.token(&held[0].id).await.unwrap();
    fs::write(scene.path("keyset"), good).unwrap();
    let audit = until("it is on record", || async {
        let files = fs::read_dir(scene.path("data/audit/one")).unwrap();
        let all: String = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok()).collect();
        all.contains("\"what\":\"keyset\",\"outcome\":\"refused\"").then_some(all)
    })
    .await;
    assert!(!audit.contains("\"outcome\":\"done\""));
}
