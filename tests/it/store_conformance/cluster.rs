//! What a Redis Cluster promises: the laws, spread over its primaries; slots that move; a failover.

use super::{
    sentinel::{gap, written},
    *,
};
use crate::support::{
    redis::{Server, fleet::Cluster},
    until,
};
use bursar::store::redis::{Confirm, RedisOptions, Risk, Topology, Tried};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// After how long a node that is silent counts as gone.
const TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn every_law_holds_over_the_nodes_of_a_cluster() {
    let cluster = Cluster::start(Duration::from_secs(30)).await;
    all_hold(async |namespace| {
        let seeds = vec![cluster.servers[0].address()];
        let options = RedisOptions::new(Topology::Cluster { seeds }).namespace(namespace).unwrap();
        connected(options).await
    })
    .await;
    // The documents of the laws lie on all of them, and nowhere else.
    for server in &cluster.servers[..3] {
        assert!(server.command::<u64>(&["DBSIZE"]).await > 20);
    }
    // Who looks sees each primary, may do what is needed there, and begins nothing.
    let looking = RedisStore::look(cluster.options()).await.unwrap();
    let seen = looking.nodes_now(&SystemClock).await.unwrap();
    let seen: BTreeSet<_> = seen.iter().map(|node| (node.node.port(), node.replicas)).collect();
    assert_eq!(seen, cluster.servers[..3].iter().map(|server| (server.port(), 1)).collect());
    assert_eq!(looking.tried().await.unwrap(), Tried::default());
    for server in &cluster.servers[..3] {
        assert_eq!(server.command::<Vec<String>>(&["KEYS", "bursar:*"]).await, Vec::<String>::new());
    }
    let store = connected(cluster.options()).await;
    let risks: Vec<_> = store.durability().into_iter().map(|finding| finding.risk).collect();
    assert_eq!(risks, vec![Risk::Unknown { setting: "appendfsync" }; 3]);
}

#[tokio::test]
async fn a_killed_primary_is_replaced_and_its_shards_go_on() {
    let mut cluster = Cluster::start(TIMEOUT).await;
    let confirm = Confirm { replicas: 1, within: Duration::from_millis(100) };
    let options = cluster.options().confirm(Some(confirm)).shards(1).unwrap();
    let store = connected(options).await;
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    create(&store, "a", b"1", None).await;
    assert_eq!(heard(&mut feed).await, changed("a", 1));
    let slot: usize = cluster.servers[0].command(&["CLUSTER", "KEYSLOT", "bursar:{s00}:d:a"]).await;
    let owner = Cluster::primary_of(slot);
    cluster.servers[owner].kill_9().await;
    let killed = Instant::now();
    assert_eq!(heard(&mut feed).await, Notice::Deaf);
    assert_eq!(written(&store, "a").await, Version(2), "what was acknowledged was not lost");
    println!("written again {:?} after the primary was killed (node timeout {TIMEOUT:?})", killed.elapsed());
    gap(&mut feed).await;
    // As a replica it comes back, and is not taken for the primary that it was.
    cluster.servers[owner].restart().await;
    until("it is a replica by now", || async {
        let info = cluster.servers[owner].replication().await;
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    assert_eq!(written(&store, "a").await, Version(3));
}

/// A slot on its way from one node to another, as `redis-cli --cluster reshard` moves it.
struct Moving<'a> {
    slot: String,
    from: &'a Server,
    to: &'a Server,
}

impl Moving<'_> {
    async fn begin(&self) {
        let ids = [self.from, self.to].map(|server| server.command::<String>(&["CLUSTER", "MYID"]));
        let [from, to] = ids;
        let (from, to) = (from.await, to.await);
        self.to.command::<()>(&["CLUSTER", "SETSLOT", &self.slot, "IMPORTING", &from]).await;
        self.from.command::<()>(&["CLUSTER", "SETSLOT", &self.slot, "MIGRATING", &to]).await;
    }

    async fn carry(&self, key: &str) {
        let port = self.to.port().to_string();
        self.from.command::<()>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await;
    }

    async fn end(&self) {
        let to: String = self.to.command(&["CLUSTER", "MYID"]).await;
        for server in [self.to, self.from] {
            server.command::<()>(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &to]).await;
        }
    }
}

#[tokio::test]
async fn a_shard_that_moves_is_followed_and_written_once_more_when_it_is_there() {
    let cluster = Cluster::start(Duration::from_secs(30)).await;
    let store = connected(cluster.options().shards(1).unwrap()).await;
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    for at in ["a", "b"] {
        create(&store, at, b"1", Some(Timestamp(5))).await;
    }
    let slot: usize = cluster.servers[0].command(&["CLUSTER", "KEYSLOT", "bursar:{s00}:d:a"]).await;
    let owner = Cluster::primary_of(slot);
    let (from, to) = (&cluster.servers[owner], &cluster.servers[(owner + 1) % 3]);
    let moving = Moving { slot: slot.to_string(), from, to };
    moving.begin().await;
    moving.carry("bursar:{s00}:d:a").await;
    // Read from where it is (ASK); a script that needs both sides cannot run (TRYAGAIN), and did not.
    assert_eq!(read(&store, "a").await.unwrap().version, Version(1));
    assert_eq!(read(&store, "b").await.unwrap().version, Version(1));
    let error = store.swap(put("a", Expect::At(Version(1)), b"2", None)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable { cause } if cause.contains("TRYAGAIN")), "{error:?}");
    for rest in ["bursar:{s00}:d:b", "bursar:{s00}:due", "bursar:{s00}:names", "bursar:{s00}:feed"] {
        moving.carry(rest).await;
    }
    // All is there, and the slot is not its new owner's yet.
    assert_eq!(swap(&store, put("a", Expect::At(Version(1)), b"2", None)).await, Swapped::Done(Version(2)));
    moving.end().await;
    assert_eq!(swap(&store, put("b", Expect::At(Version(1)), b"2", None)).await, Swapped::Done(Version(2)));
    assert_eq!(store.scan("", None, 9).await.unwrap().len(), 2);
    gap(&mut feed).await;
    swap(&store, delete("b", 2)).await;
    assert_eq!(heard(&mut feed).await, Notice::Deleted { key: key("b") });
}
