//! Redis killed or full under a broker that is called all the time.

use super::answer_late;
use crate::support::{
    api::{Api, reason},
    process::{self, Broker},
    redis::{Server, Settings as RedisSettings},
    scene::{FileMode, Held, Place, Scene, Settings},
    until,
};
use bursar::{
    api::DegradedReason,
    clock::{Clock, SystemClock, Timestamp},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

const COUNT: usize = 30;
const LIFETIME: Duration = Duration::from_secs(40);
/// How long Redis is away: less than what is left of a token that is due.
const AWAY: Duration = Duration::from_secs(4);
/// Between two calls of a caller.
const PAUSE: Duration = Duration::from_millis(20);

fn durable() -> RedisSettings {
    RedisSettings { append_only: true, ..RedisSettings::default() }
}

#[tokio::test]
async fn redis_killed_under_calls_costs_no_token_and_no_rotation() {
    let scene = Scene::new(Settings { lifetime: LIFETIME, ..Settings::default() }).await;
    let mut redis = Server::with(durable()).await;
    let broker = Broker::serve(&scene.config("one", &Place::Redis(&redis))).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, COUNT).await;
    for one in &held {
        api.token(&one.id).await.unwrap();
    }
    let calls = Calls::start(&api, &held);
    // The first tokens come due, half a lifetime after the import, while the server is away.
    let imported = api.connection("c0").await.unwrap();
    let due =
        u64::try_from(imported.access_token_expire_time.unwrap().seconds).unwrap() - LIFETIME.as_secs() / 2;
    let soon = Timestamp::from_secs(due - 2);
    tokio::time::sleep(SystemClock.now().until(soon)).await;
    // One answer comes when there is nowhere to put it.
    answer_late(&scene.simulator, &held[1].company.company, AWAY / 2);
    let mut caller = JoinSet::new();
    let asking = api.clone();
    caller.spawn(async move { asking.refresh("c1").await });
    until("the exchange is under way", || async {
        (scene.simulator.counters().total.refreshed > COUNT as u64).then_some(())
    })
    .await;
    redis.kill_9().await;
    tokio::time::sleep(AWAY).await;
    let asked = scene.simulator.counters().total.refreshed;
    redis.restart().await;
    let back = Instant::now();
    println!("{asked} refreshes until Redis was back");

    until("all are refreshed", || refreshed(&api, &held, 3)).await;
    println!("all refreshed twice more {:?} after Redis was back", back.elapsed());
    assert_eq!(caller.join_next().await.unwrap().unwrap().map(|one| one.generation).ok(), Some(2));
    let (served, degraded) = calls.stop().await;
    println!("{served} tokens served, of them without the store: {degraded}");
    assert!(degraded > 0, "no call met the outage");
    agreed(&scene, &api, &held).await;
}

#[tokio::test]
async fn a_full_redis_stops_refreshes_and_nothing_else() {
    let scene = Scene::new(Settings { lifetime: LIFETIME, ..Settings::default() }).await;
    let redis = Server::with(durable()).await;
    let broker = Broker::serve(&scene.config("one", &Place::Redis(&redis))).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, COUNT).await;

    // One answer is on its way when the room ends: it has to be taken all the same.
    answer_late(&scene.simulator, &held[0].company.company, Duration::from_secs(2));
    let before = scene.simulator.counters().total.refreshed;
    let mut caller = JoinSet::new();
    let asking = api.clone();
    caller.spawn(async move { asking.refresh("c0").await });
    until("the exchange is under way", || async {
        (scene.simulator.counters().total.refreshed > before).then_some(())
    })
    .await;
    redis.command::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let kept = caller.join_next().await.unwrap().unwrap();
    assert_eq!(kept.map(|one| one.generation).map_err(|status| status.to_string()), Ok(2));

    // What needs room is refused, and says why. Nothing is asked of the authorization server.
    let asked = scene.simulator.counters().total;
    let refused = api.refresh("c1").await.unwrap_err();
    assert_eq!(reason(&refused), "STORE_FULL", "{refused}");
    assert_eq!(scene.simulator.counters().total, asked);
    let calls = Calls::start(&api, &held);
    until("every token is due", || async {
        let token = api.token(&held[COUNT - 1].id).await.unwrap();
        (token.degraded_reason() == DegradedReason::StoreUnavailable).then_some(())
    })
    .await;
    assert_eq!(scene.simulator.counters().total, asked);

    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let room = Instant::now();
    until("all are refreshed", || refreshed(&api, &held, 2)).await;
    println!("all refreshed {:?} after there was room", room.elapsed());
    let (served, degraded) = calls.stop().await;
    println!("{served} tokens served, of them without the store: {degraded}");
    agreed(&scene, &api, &held).await;
}

/// In the midst of a failover, say.
#[tokio::test]
async fn a_broker_starts_over_a_redis_that_can_be_read_and_takes_no_writes() {
    let scene = Scene::new(Settings::default()).await;
    let redis = Server::with(durable()).await;
    let mut broker = Broker::serve(&scene.config("one", &Place::Redis(&redis))).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, 1).await;
    let token = api.token("c0").await.unwrap().access_token;
    broker.terminate();
    assert!(broker.ended().await.success());

    redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    broker.restart().await;
    let api = Api::of(broker.address());
    assert_eq!(api.token("c0").await.unwrap().access_token, token);
    let asked = scene.simulator.counters().total;
    let refused = api.refresh("c0").await.unwrap_err();
    assert_eq!(reason(&refused), "STORE_UNAVAILABLE", "{refused}");
    assert!(refused.message().contains("takes no writes"), "{refused}");
    assert_eq!(scene.simulator.counters().total, asked);

    redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    until("it is refreshed", async || api.refresh("c0").await.ok()).await;
    scene.books_agree(&api, &held).await;
}

#[tokio::test]
async fn a_wrong_keyset_changes_nothing_in_redis() {
    let scene = Scene::new(Settings::default()).await;
    let redis = Server::start().await;
    let config = scene.config("one", &Place::Redis(&redis));
    let mut broker = Broker::serve(&config).await;
    scene.connect(&Api::of(broker.address()), 2).await;
    broker.terminate();
    assert!(broker.ended().await.success());

    let before = contents(&redis).await;
    assert!(before.len() > 4, "{} keys", before.len());
    scene.write("keyset", FileMode::Secret, bursar::app::generate_keyset().unwrap().expose());
    let refused = process::run(&["serve", "--config", &config.display().to_string()]).await;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("name the one that the store was made with in [keys]"), "{told}");
    assert_eq!(contents(&redis).await, before);
}

/// Whether every connection has had so many refreshes, the import included.
pub(super) async fn refreshed(api: &Api, held: &[Held], least: u64) -> Option<()> {
    for one in held {
        // The store may be away.
        let found = api.connection(&one.id).await.ok()?;
        if found.generation < least {
            return None;
        }
    }
    Some(())
}

/// Both sides agree as soon as no exchange is under way.
pub(super) async fn agreed(scene: &Scene, api: &Api, held: &[Held]) {
    until("both sides agree", || async {
        let (before, all) = (scene.simulator.counters(), api.all().await);
        let same = all.iter().map(|one| one.generation).sum::<u64>() == before.total.refreshed;
        (same && before == scene.simulator.counters()).then_some(())
    })
    .await;
    scene.books_agree(api, held).await;
}

/// Every key with its value as Redis would copy it.
async fn contents(redis: &Server) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for key in redis.command::<Vec<String>>(&["KEYS", "*"]).await {
        contents.insert(key.clone().into_bytes(), redis.command(&["DUMP", &key]).await);
    }
    contents
}

/// Callers that take no refusal, one connection after the other.
pub(super) struct Calls {
    stop: CancellationToken,
    callers: JoinSet<(usize, usize)>,
}

impl Calls {
    pub(super) fn start(api: &Api, held: &[Held]) -> Self {
        Self::by(1, PAUSE, api, held)
    }

    /// So many callers, each with a call in so much time; who had to wait catches up.
    pub(super) fn by(count: u32, every: Duration, api: &Api, held: &[Held]) -> Self {
        let (stop, mut callers) = (CancellationToken::new(), JoinSet::new());
        let mut ids: Vec<_> = held.iter().map(|one| one.id.clone()).collect();
        for _ in 0..count {
            callers.spawn(call(api.clone(), ids.clone(), every, stop.clone()));
            ids.rotate_left(1);
        }
        Self { stop, callers }
    }

    /// How many tokens were served, and how many of them without the store.
    pub(super) async fn stop(self) -> (usize, usize) {
        self.stop.cancel();
        let counts = self.callers.join_all().await;
        counts.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

async fn call(api: Api, ids: Vec<String>, every: Duration, stop: CancellationToken) -> (usize, usize) {
    let (mut served, mut without_store) = (0, 0);
    let mut pace = tokio::time::interval(every);
    for id in ids.iter().cycle() {
        pace.tick().await;
        if stop.is_cancelled() {
            break;
        }
        let token = api.token(id).await.unwrap_or_else(|status| panic!("{id}: {status}"));
        served += 1;
        without_store += usize::from(token.degraded_reason() == DegradedReason::StoreUnavailable);
    }
    (served, without_store)
}
