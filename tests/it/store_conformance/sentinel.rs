//! What a primary with replicas promises that sentinels watch over: the laws, a failover, and what is told of mistakes.

use super::*;
use crate::support::{
    ports::free_port,
    redis::{
        Server,
        fleet::{Cluster, GONE_AFTER, NEVER_GONE, PASSWORD, PRIMARY, Password, Watched, options},
    },
    until,
};
use bursar::{
    domain::{host_port::HostPort, token::Secret},
    store::redis::{Confirm, Fresh, RedisOptions, Risk, Sees, Topology, Tried},
};
use rustls::ClientConfig;
use tokio::time::Instant;

async fn refused(options: RedisOptions) -> String {
    match RedisStore::connect(options).await {
        Err(StoreError::Unusable { cause }) => cause,
        Err(other) => panic!("{other:?}"),
        Ok(store) => panic!("{store:?} connected"),
    }
}

/// Writes until it is taken, each time over what is there.
pub(super) async fn written(store: &dyn Documents, at: &str) -> Version {
    until("a write is taken", || async {
        let found = store.read(&key(at)).await.ok()?.value;
        let expect = found.map_or(Expect::Absent, |found| Expect::At(found.version));
        match store.swap(put(at, expect, b"", None)).await.ok()?.value {
            Swapped::Done(version) => Some(version),
            Swapped::Conflict(_) => None,
        }
    })
    .await
}

/// Until the feed hears again.
pub(super) async fn gap(feed: &mut Box<dyn Feed>) {
    while heard(feed).await != Notice::Gap {}
}

#[tokio::test]
async fn sentinels_lead_to_the_primary_and_every_law_holds_there() {
    let fleet = Watched::start(NEVER_GONE).await;
    all_hold(async |namespace| {
        let options = RedisOptions::new(fleet.topology(PRIMARY)).namespace(namespace).unwrap();
        connected(options).await
    })
    .await;
    let looking = RedisStore::look(fleet.options()).await.unwrap();
    let seen = looking.nodes_now(&SystemClock).await.unwrap();
    assert_eq!((seen.len(), seen[0].replicas), (1, fleet.servers.len() - 1));
    assert_eq!(looking.tried().await.unwrap(), Tried::default());
    let store = connected(fleet.options()).await;
    let risks: Vec<_> = store.durability().into_iter().map(|finding| finding.risk).collect();
    assert_eq!(risks, [Risk::Unknown { setting: "appendfsync" }]);
    mistakes(&fleet).await;
}

/// Has one wrong password.
struct WrongAt(&'static str);

impl Fresh for WrongAt {
    fn password(&self) -> Result<Option<Secret>, String> {
        Password(if self.0 == "redis" { "hunter2" } else { PASSWORD }).password()
    }

    fn sentinel_password(&self) -> Result<Option<Secret>, String> {
        Password(if self.0 == "sentinel" { "hunter2" } else { PASSWORD }).password()
    }

    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        Ok(None)
    }
}

async fn mistakes(fleet: &Watched) {
    let cause = refused(options(fleet.topology("other"))).await;
    assert!(cause.contains("store.redis.sentinel_master"), "{cause}");
    // One that knows is enough.
    let Topology::Sentinel { mut sentinels, primary } = fleet.topology(PRIMARY) else { panic!() };
    sentinels.truncate(1);
    sentinels.push(HostPort::new("127.0.0.1", free_port()).unwrap());
    let one_away = options(Topology::Sentinel { sentinels, primary });
    connected(one_away.clone()).await;
    let told = RedisStore::look(one_away).await.unwrap().sentinels_told().await;
    let primary = fleet.servers[0].address();
    assert_eq!((told[0].primary.as_ref(), told.len()), (Ok(&primary), 2), "{told:?}");
    assert_eq!(
        (told[0].sees, told[0].sentinels, told[0].quorum),
        (Sees::Primary, Some(3), Some(2)),
        "{told:?}"
    );
    let StoreError::Unavailable { cause } = told[1].primary.as_ref().unwrap_err() else { panic!("{told:?}") };
    assert!(cause.contains(&told[1].sentinel.to_string()), "{cause}");
    let sentinels = vec![fleet.servers[0].address()];
    let cause = refused(options(Topology::Sentinel { sentinels, primary: PRIMARY.to_owned() })).await;
    assert!(cause.contains("does not answer as a Sentinel"), "{cause}");
    let sentinel = Topology::Standalone(fleet.sentinels[0].address());
    let cause = refused(options(sentinel)).await;
    assert!(cause.contains("Redis at 127.0.0.1"), "{cause}");
    for (who, mend) in
        [("redis", "store.redis.password_file"), ("sentinel", "store.redis.sentinel_password_file")]
    {
        let cause = refused(fleet.options().fresh(Arc::new(WrongAt(who)))).await;
        assert!(cause.contains(mend) && !cause.contains("hunter2"), "{cause}");
    }
    let replica = refused_or_away(options(Topology::Standalone(fleet.servers[1].address()))).await;
    assert!(replica.contains("store.redis.topology = \"sentinel\""), "{replica}");
}

async fn refused_or_away(options: RedisOptions) -> String {
    RedisStore::connect(options).await.err().unwrap().to_string()
}

/// It keeps its connections and answers nothing, as after a cut of the network; later it comes back and believes for a
/// moment that it is still the primary.
#[tokio::test]
async fn a_primary_that_falls_silent_is_left_for_the_one_that_took_over() {
    let fleet = Watched::start(GONE_AFTER).await;
    let confirm = Confirm { replicas: 1, within: Duration::from_millis(100) };
    let store = connected(fleet.options().confirm(Some(confirm))).await;
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    create(&store, "a", b"1", Some(Timestamp(5))).await;
    assert_eq!(heard(&mut feed).await, changed("a", 1));

    fleet.servers[0].signal("STOP");
    let stopped = Instant::now();
    let version = written(&store, "a").await;
    println!(
        "written again {:?} after the primary fell silent (down after {GONE_AFTER:?})",
        stopped.elapsed()
    );
    assert_eq!(version, Version(2), "what was acknowledged was not lost");
    gap(&mut feed).await;
    fleet.servers[0].signal("CONT");
    until("it is a replica by now", || async {
        let info = fleet.servers[0].replication().await;
        info.contains("role:slave").then_some(())
    })
    .await;
    assert_eq!(written(&store, "a").await, Version(3));
    assert_eq!(read(&store, "a").await.unwrap().version, Version(3));
    assert_eq!(due(&store, 9).await.0, []);
    let mut last = heard(&mut feed).await;
    while last != changed("a", 3) {
        last = heard(&mut feed).await;
    }
}

#[tokio::test]
async fn each_topology_tells_what_the_other_would_need() {
    let single = Server::start().await;
    let seeds = vec![single.address()];
    let cause = refused(RedisOptions::new(Topology::Cluster { seeds })).await;
    assert!(cause.contains("is no node of a cluster"), "{cause}");
    let cluster = Cluster::start(Duration::from_secs(5)).await;
    let cause = refused(options(Topology::Standalone(cluster.servers[0].address()))).await;
    assert!(cause.contains("store.redis.topology = \"cluster\""), "{cause}");
}
