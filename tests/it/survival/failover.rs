//! The primary of a Redis that fails over is killed under a broker that is called all the time: cached tokens are
//! served throughout, every connection is refreshed on, and no refresh token is spent twice.

use super::{
    answer_late,
    redis::{Calls, agreed, refreshed},
};
use crate::support::{
    api::Api,
    process::Broker,
    redis::{
        Server,
        fleet::{Cluster, GONE_AFTER, PASSWORD, Watched},
    },
    scene::{FileMode, Held, Place, Scene, Settings},
    until,
};
use bursar::{
    clock::{Clock, SystemClock, Timestamp},
    store::{
        Change, Documents, Expect, Key, Room, Then,
        redis::{RedisOptions, RedisStore},
    },
};
use std::time::Duration;
use tokio::{task::JoinSet, time::Instant};

const COUNT: usize = 40;
const LIFETIME: Duration = Duration::from_secs(40);
/// Together 200 calls a second.
const CALLERS: u32 = 10;
const PACE: Duration = Duration::from_millis(50);
/// Long enough for a machine that does much else: here it is not the authorization server that fails.
const EXCHANGE_MAX: Duration = Duration::from_secs(15);
/// After how long a silent node of the cluster counts as gone.
const NODE_TIMEOUT: Duration = Duration::from_secs(3);
const CONFIRMED: &str = "wait_replicas = 1\n";

/// A broker whose tokens come due in a moment, called all the time.
struct Played {
    scene: Scene,
    api: Api,
    held: Vec<Held>,
    calls: Calls,
    begun: Instant,
    _broker: Broker,
}

impl Played {
    async fn begin(lines: impl FnOnce(&str) -> String) -> Self {
        let scene = Scene::new(Settings {
            lifetime: LIFETIME,
            exchange_timeout: EXCHANGE_MAX,
            ..Settings::default()
        })
        .await;
        scene.write("redis-password", FileMode::Secret, PASSWORD);
        let lines = lines(&scene.path("redis-password").display().to_string()) + CONFIRMED;
        let broker = Broker::serve(&scene.config("one", &Place::RedisAt(&lines))).await;
        let api = Api::of(broker.address());
        let held = scene.connect(&api, COUNT).await;
        for one in &held {
            api.token(&one.id).await.unwrap();
        }
        let calls = Calls::by(CALLERS, PACE, &api, &held);
        Self { scene, api, held, calls, begun: Instant::now(), _broker: broker }
    }

    /// Kills the primary while one answer is on its way and the first tokens come due; until all is well again.
    async fn kill(self, primary: &mut Server, mut writing: JoinSet<()>) {
        let imported = self.api.connection("c0").await.unwrap();
        let expires = u64::try_from(imported.access_token_expire_time.unwrap().seconds).unwrap();
        let soon = Timestamp::from_secs(expires - LIFETIME.as_secs() / 2 - 1);
        tokio::time::sleep(SystemClock.now().until(soon)).await;
        // This answer comes when there is nowhere to put it.
        answer_late(&self.scene.simulator, &self.held[1].company.company, Duration::from_secs(1));
        let mut caller = JoinSet::new();
        let asking = self.api.clone();
        caller.spawn(async move { asking.refresh("c1").await });
        let company = &self.held[1].company.company;
        until("the exchange is under way", || async {
            (self.scene.simulator.counters().of(company).refreshed > 1).then_some(())
        })
        .await;
        primary.kill_9().await;
        let killed = Instant::now();
        writing.join_next().await.unwrap().unwrap();
        println!("writes go on {:?} after kill -9", killed.elapsed());
        let asked = caller.join_next().await.unwrap().unwrap();
        let generation = asked.unwrap_or_else(|status| panic!("c1: {status}")).generation;
        assert!(generation >= 2, "{generation}");
        until("all are refreshed twice more", || refreshed(&self.api, &self.held, 3)).await;
        println!("all {COUNT} refreshed twice more {:?} after kill -9", killed.elapsed());
        let (served, degraded) = self.calls.stop().await;
        let span = self.begun.elapsed();
        println!("{served} tokens served in {span:?}, {degraded} of them without the store, none refused");
        assert!(degraded > 0, "no call met the failover");
        agreed(&self.scene, &self.api, &self.held).await;
    }
}

/// Ends with the first write to this shard that is taken after one was not.
async fn write_again(options: RedisOptions, name: String) -> JoinSet<()> {
    let store = RedisStore::connect(options.namespace("probe").unwrap()).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut missed = 0;
        loop {
            let key = Key::new(name.as_str()).unwrap();
            let version = store.read(&key).await.ok().and_then(|dated| Some(dated.value?.version));
            let expect = version.map_or(Expect::Absent, Expect::At);
            let then = Then::Put { body: Vec::new(), due: None };
            let wrote = store.swap(Change { key, expect, then, room: Room::Needed }).await;
            match wrote {
                Ok(_) if missed > 0 => return,
                Ok(_) => {}
                Err(_) => missed += 1,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    tasks
}

#[tokio::test]
async fn a_failover_by_sentinels_costs_no_token_and_no_rotation() {
    let mut fleet = Watched::start(GONE_AFTER).await;
    let played = Played::begin(|password| fleet.lines(password)).await;
    let probe = RedisOptions::new(fleet.topology(crate::support::redis::fleet::PRIMARY));
    let writing = write_again(probe, "probe".to_owned()).await;
    played.kill(&mut fleet.servers[0], writing).await;
}

#[tokio::test]
async fn a_failover_in_a_cluster_costs_no_token_and_no_rotation() {
    let mut cluster = Cluster::start(NODE_TIMEOUT).await;
    let played = Played::begin(|password| cluster.lines(password)).await;
    let seeds = cluster.servers.iter().map(Server::address).collect();
    let probe = RedisOptions::new(bursar::store::redis::Topology::Cluster { seeds }).shards(1).unwrap();
    let writing = write_again(probe, "probe".to_owned()).await;
    let slot: usize = cluster.servers[0].command(&["CLUSTER", "KEYSLOT", "probe:{s00}:d:probe"]).await;
    let owner = Cluster::primary_of(slot);
    played.kill(&mut cluster.servers[owner], writing).await;
}
