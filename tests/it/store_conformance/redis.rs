//! What only the shared store promises: how it behaves when Redis is full, gone, flushed, old or foreign.

use super::*;
use crate::support::{
    ports::free_port,
    redis::{Release, Server, Settings, least_user},
};
use bursar::store::redis::{Confirm, Durability, DurabilityFinding, RedisOptions, Risk};
use std::collections::HashMap;
/// How long nobody waits for replicas that did not answer.
const CONFIRM_PAUSE: Duration = Duration::from_secs(1);

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

async fn connect(server: &Server) -> RedisStore {
    connected(server.options()).await
}

async fn refused(options: RedisOptions) -> String {
    match RedisStore::connect(options).await {
        Err(StoreError::Unusable { cause }) => cause,
        Err(other) => panic!("{other:?}"),
        Ok(store) => panic!("{store:?} connected"),
    }
}

fn forced(change: Change) -> Change {
    Change { room: Room::Forced, ..change }
}

/// Waits out the moment in which a connection finds that it is broken.
async fn works_again(store: &RedisStore) {
    crate::support::until("the store is back", async || match store.read(&key("probe")).await {
        Ok(_) => Some(()),
        Err(StoreError::Unavailable { .. }) => None,
        Err(other) => panic!("{other:?}"),
    })
    .await;
}

/// How many connections the server has taken so far, the asking one included.
async fn connections(server: &Server) -> u64 {
    let stats: String = server.command(&["INFO", "stats"]).await;
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().trim().parse().unwrap()
}

async fn script_calls(server: &Server) -> u64 {
    let stats: String = server.command(&["INFO", "commandstats"]).await;
    let calls = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":calls="));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    calls("cmdstat_evalsha") + calls("cmdstat_eval")
}

#[tokio::test]
async fn a_full_redis_refuses_a_claim_and_takes_a_commit() {
    let server = Server::start().await;
    let store = connect(&server).await;
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    create(&store, "a", b"claim", Some(Timestamp(1))).await;
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    // Twice: once the script is not known yet, once it is.
    for _ in 0..2 {
        let claim = store.swap(put("a", Expect::At(Version(1)), b"next claim", None)).await;
        assert_eq!(claim, Err(StoreError::Full));
    }
    let commit = forced(put("a", Expect::At(Version(1)), &[7; 5000], Some(Timestamp(2))));
    assert_eq!(swap(&store, commit).await, Swapped::Done(Version(2)));
    let created = forced(put("b", Expect::Absent, b"", None));
    assert_eq!(swap(&store, created.clone()).await, Swapped::Done(Version(1)));
    assert!(matches!(swap(&store, created).await, Swapped::Conflict(Some(_))));
    assert_eq!(read(&store, "a").await.unwrap().body, [7; 5000]);
    assert_eq!(due(&store, 9).await.0, [("a".to_owned(), Timestamp(2))]);
    assert_eq!(store.scan("", None, 9).await.unwrap().len(), 2);
    let want = [changed("a", 1), changed("a", 2), changed("b", 1)];
    assert_eq!(heard_of_each(&mut feed, 3).await, want);
    assert_eq!(swap(&store, forced(delete("a", 2))).await, Swapped::Done(Version(2)));
    // A replica that starts now finds the deployment as it was begun.
    assert!(read(&connect(&server).await, "b").await.is_some());
}

#[tokio::test]
async fn a_killed_redis_is_unavailable_and_works_again_after_its_restart() {
    let mut server = Server::with(Settings { append_only: true, ..Settings::default() }).await;
    let store = connect(&server).await;
    assert_eq!(store.durability(), []);
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    create(&store, "a", b"1", Some(Timestamp(5))).await;
    assert_eq!(heard(&mut feed).await, changed("a", 1));
    server.kill_9().await;
    let unavailable = |what: &str, error: &StoreError| {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{what}: {error:?}");
    };
    for _ in 0..3 {
        unavailable("read", &store.read(&key("a")).await.unwrap_err());
        let write = forced(put("a", Expect::At(Version(1)), b"2", None));
        unavailable("swap", &store.swap(write).await.unwrap_err());
        unavailable("due", &store.due(0, 0, 1).await.unwrap_err());
        unavailable("scan", &store.scan("", None, 1).await.unwrap_err());
    }
    assert_eq!(heard(&mut feed).await, Notice::Deaf);
    assert!(tokio::time::timeout(Duration::from_millis(300), feed.next()).await.is_err());
    server.restart().await;
    works_again(&store).await;
    assert_eq!(read(&store, "a").await.unwrap().version, Version(1));
    assert_eq!(due(&store, 9).await.0, [("a".to_owned(), Timestamp(5))]);
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    let write = put("a", Expect::At(Version(1)), b"2", None);
    // The writing connection finds out for itself.
    let end = match store.swap(write.clone()).await {
        Err(StoreError::Unavailable { .. }) => swap(&store, write).await,
        end => end.unwrap().value,
    };
    assert_eq!(end, Swapped::Done(Version(2)));
    assert_eq!(heard(&mut feed).await, changed("a", 2));
}

#[tokio::test]
async fn a_silent_redis_is_unavailable_in_time_and_no_write_is_sent_twice() {
    let server = Server::start().await;
    let store = connect(&server).await;
    create(&store, "warm", b"", None).await;
    let mut times = Vec::new();
    for at in ["a", "b", "c"] {
        let before = script_calls(&server).await;
        server.signal("STOP");
        let begun = tokio::time::Instant::now();
        let end = store.swap(put(at, Expect::Absent, b"", None)).await;
        times.push(begun.elapsed());
        assert!(matches!(end, Err(StoreError::Unavailable { .. })), "{end:?}");
        server.signal("CONT");
        works_again(&store).await;
        assert!(script_calls(&server).await - before <= 1);
        // Reading again tells which of the two it was; either way the next write goes through.
        let expect = read(&store, at).await.map_or(Expect::Absent, |there| Expect::At(there.version));
        assert_eq!(swap(&store, put(at, expect, b"", None)).await, Swapped::Done(expect.writes()));
    }
    // A machine that stands still for a moment does so once.
    let least = times.iter().min().unwrap();
    assert!(*least < bursar::store::CALL_TIMEOUT + Duration::from_millis(400), "{times:?}");
}

#[tokio::test]
async fn a_forgotten_script_is_told_again() {
    let server = Server::start().await;
    let store = connect(&server).await;
    create(&store, "a", b"", None).await;
    let _: String = server.command(&["SCRIPT", "FLUSH"]).await;
    let write = put("a", Expect::At(Version(1)), b"", None);
    assert_eq!(swap(&store, write).await, Swapped::Done(Version(2)));
    let known = script_calls(&server).await;
    assert_eq!(swap(&store, delete("a", 2)).await, Swapped::Done(Version(2)));
    assert_eq!(script_calls(&server).await - known, 1);
}

#[tokio::test]
async fn a_replica_refuses_writes_until_it_is_primary() {
    let server = Server::start().await;
    let store = connect(&server).await;
    create(&store, "a", b"", None).await;
    let nobody = free_port().to_string();
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    let _: String = server.command(&["REPLICAOF", "127.0.0.1", &nobody]).await;
    let write = put("a", Expect::At(Version(1)), b"", None);
    let before = connections(&server).await;
    let error = store.swap(write.clone()).await.unwrap_err();
    let StoreError::Unavailable { cause } = &error else { panic!("{error:?}") };
    assert!(cause.contains("READONLY"), "{cause}");
    // Both are dialed anew: the address may lead to the new primary by now.
    assert!(matches!(store.swap(write.clone()).await, Err(StoreError::Unavailable { .. })));
    assert!(read(&store, "a").await.is_some());
    let dialed = connections(&server).await - before;
    assert!(dialed >= 3, "{dialed}: one for the count, one for writes, one for reads");
    let error = RedisStore::connect(server.options()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable { cause } if cause.contains("replica")), "{error:?}");
    assert_eq!(heard(&mut feed).await, Notice::Deaf);
    let silent = tokio::time::timeout(Duration::from_millis(1500), feed.next()).await;
    assert!(silent.is_err(), "a feed of a replica: {silent:?}");
    let _: String = server.command(&["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(swap(&store, write).await, Swapped::Done(Version(2)));
    assert_eq!(heard(&mut feed).await, Notice::Gap);
}

#[tokio::test]
async fn a_feed_whose_connection_is_killed_says_gap_and_goes_on() {
    let server = Server::start().await;
    let store = connect(&server).await;
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    create(&store, "a", b"", None).await;
    assert_eq!(heard(&mut feed).await, changed("a", 1));
    assert!(tokio::time::timeout(Duration::from_millis(50), feed.next()).await.is_err());
    let clients: String = server.command(&["CLIENT", "LIST"]).await;
    let waiting: Vec<&str> = clients.lines().filter(|client| client.contains("cmd=xread")).collect();
    assert_eq!(waiting.len(), 1, "{clients}");
    let id = waiting[0].split(' ').find_map(|word| word.strip_prefix("id=")).unwrap();
    let killed: u64 = server.command(&["CLIENT", "KILL", "ID", id]).await;
    assert_eq!(killed, 1);
    assert_eq!([heard(&mut feed).await, heard(&mut feed).await], [Notice::Deaf, Notice::Gap]);
    create(&store, "b", b"", None).await;
    assert_eq!(heard(&mut feed).await, changed("b", 1));
}

#[tokio::test]
async fn a_flushed_redis_is_a_gap_even_when_nothing_follows() {
    let server = Server::start().await;
    let store = connect(&server).await;
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    create(&store, "a", b"", None).await;
    assert_eq!(heard(&mut feed).await, changed("a", 1));
    let _: String = server.command(&["FLUSHALL"]).await;
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    // And when a new stream has grown as long as the old one before anyone looked.
    create(&store, "a", b"", None).await;
    assert_eq!(heard(&mut feed).await, changed("a", 1));
    let _: String = server.command(&["FLUSHALL"]).await;
    create(&store, "a", b"", None).await;
    swap(&store, put("a", Expect::At(Version(1)), b"", None)).await;
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    assert_eq!([heard(&mut feed).await, heard(&mut feed).await], [changed("a", 1), changed("a", 2)]);
}

#[tokio::test]
async fn a_feed_that_lags_behind_the_trimmed_stream_says_gap() {
    let server = Server::start().await;
    let options = server.options().shards(1).unwrap();
    let store = RedisStore::connect(options).await.unwrap();
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    create(&store, "a", b"", None).await;
    assert_eq!(heard(&mut feed).await, changed("a", 1));
    for version in 1..10 {
        swap(&store, put("a", Expect::At(Version(version)), b"", None)).await;
    }
    let _: u64 = server.command(&["XTRIM", "bursar:{s00}:feed", "MAXLEN", "2"]).await;
    let told: Vec<Notice> = [heard(&mut feed).await, heard(&mut feed).await, heard(&mut feed).await].into();
    assert_eq!(told, [Notice::Gap, changed("a", 9), changed("a", 10)]);
}

#[tokio::test]
async fn streams_stay_bounded() {
    let server = Server::start().await;
    let store = RedisStore::connect(server.options().shards(1).unwrap()).await.unwrap();
    create(&store, "a", b"", None).await;
    // The script trims what others left, too: fill the stream behind its back.
    let fill = "for i = 1, 9000 do redis.call('XADD', KEYS[1], '9999999999999-*', 'k', 'a', 'v', '1') end";
    let () = server.command(&["EVAL", fill, "1", "bursar:{s00}:feed"]).await;
    swap(&store, put("a", Expect::At(Version(1)), b"", None)).await;
    let length: u64 = server.command(&["XLEN", "bursar:{s00}:feed"]).await;
    assert!((4096..5000).contains(&length), "{length}");
}

#[tokio::test]
async fn everything_of_a_document_lies_in_one_slot() {
    let server = Server::start().await;
    let store = RedisStore::connect(server.options().namespace("team-a").unwrap()).await.unwrap();
    create(&store, "connection/acme/concur", b"", Some(Timestamp(1))).await;
    let mut keys: Vec<String> = server.command(&["KEYS", "*"]).await;
    keys.sort();
    assert_eq!(keys.pop().as_deref(), Some("team-a:{s03}:names"));
    let want =
        ["team-a:meta", "team-a:{s03}:d:connection/acme/concur", "team-a:{s03}:due", "team-a:{s03}:feed"];
    assert_eq!(keys, want);
}

#[tokio::test]
async fn a_deleted_document_leaves_nothing_but_its_notices() {
    let server = Server::start().await;
    let store = RedisStore::connect(server.options().shards(1).unwrap()).await.unwrap();
    create(&store, "a", b"", Some(Timestamp(1))).await;
    swap(&store, delete("a", 1)).await;
    let mut keys: Vec<String> = server.command(&["KEYS", "*"]).await;
    keys.sort();
    assert_eq!(keys, ["bursar:meta", "bursar:{s00}:feed"]);
}

#[tokio::test]
async fn a_document_that_goes_away_during_a_scan_does_not_shorten_the_page() {
    let server = Server::start().await;
    let store = RedisStore::connect(server.options().shards(1).unwrap()).await.unwrap();
    for at in ["a", "b", "e", "f"] {
        create(&store, at, b"", None).await;
    }
    // A name without document is what a scan sees of a document deleted between its two steps.
    for gone in ["c", "d"] {
        let _: u64 = server.command(&["ZADD", "bursar:{s00}:names", "0", gone]).await;
    }
    for (limit, want) in [(1, 1), (3, 3), (4, 4), (5, 4), (6, 4)] {
        assert_eq!(store.scan("", None, limit).await.unwrap().len(), want, "{limit}");
    }
    let all = store.scan("", Some(&key("b")), 2).await.unwrap();
    assert_eq!(all.iter().map(|document| document.key.as_str()).collect::<Vec<_>>(), ["e", "f"]);
}

#[tokio::test]
async fn another_shard_number_is_refused_and_another_namespace_is_not() {
    let server = Server::start().await;
    connect(&server).await;
    let cause = refused(server.options().shards(8).unwrap()).await;
    assert!(cause.contains("format=1 shards=16") && cause.contains("format=1 shards=8"), "{cause}");
    let elsewhere = server.options().namespace("other").unwrap().shards(8).unwrap();
    assert_eq!(RedisStore::connect(elsewhere).await.unwrap().shards(), 8);
    let _: String = server.command(&["SET", "bursar:meta", "format=2 shards=16"]).await;
    assert!(refused(server.options()).await.contains("format=2"));
}

#[tokio::test]
async fn of_two_replicas_that_begin_at_once_one_decides() {
    let server = Server::start().await;
    let connects = (1..=8).map(|shards| RedisStore::connect(server.options().shards(shards).unwrap()));
    let ends = futures_util::future::join_all(connects).await;
    let won: Vec<u16> = ends.iter().flatten().map(Documents::shards).collect();
    assert_eq!(won.len(), 1);
    let begun: String = server.command(&["GET", "bursar:meta"]).await;
    assert_eq!(begun, format!("format=1 shards={}", won[0]));
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_never_shown() {
    let settings = Settings { password: Some("correct-horse".to_owned()), ..Settings::default() };
    let server = Server::with(settings).await;
    let store = connect(&server).await;
    create(&store, "a", b"", None).await;
    assert!(!format!("{store:?} {:?}", server.options()).contains("correct-horse"));
    let port = server.port();
    for login in ["", ":hunter2@", "somebody:hunter2@"] {
        let options = RedisOptions::from_url(&format!("redis://{login}127.0.0.1:{port}")).unwrap();
        let cause = refused(options).await;
        assert!(cause.contains("store.redis.password_file"), "{cause}");
        assert!(!cause.contains("hunter2") && !cause.contains("somebody"), "{cause}");
    }
}

#[tokio::test]
async fn a_user_without_the_rights_is_told_to_mend_its_acl() {
    let server = Server::start().await;
    let user = ["ACL", "SETUSER", "weak", "on", ">weak-password", "~*", "+@all", "-evalsha", "-eval"];
    let _: String = server.command(&user).await;
    let url = format!("redis://weak:weak-password@127.0.0.1:{}", server.port());
    let store = RedisStore::connect(RedisOptions::from_url(&url).unwrap()).await.unwrap();
    let error = store.swap(put("a", Expect::Absent, b"", None)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unusable { cause } if cause.contains("ACL")), "{error:?}");
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let options = RedisOptions::from_url(&format!("redis://127.0.0.1:{}", free_port())).unwrap();
    let error = RedisStore::connect(options).await.err().unwrap();
    assert!(matches!(&error, StoreError::Unavailable { cause } if cause.contains("refused")), "{error:?}");
}

#[tokio::test]
async fn an_old_redis_is_refused_with_its_version() {
    let server = Server::start().await;
    let info: String = server.command(&["INFO", "server"]).await;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap().to_owned();
    // Of the same length, so that the frames of the protocol stay true.
    let old: String = version.chars().map(|c| if c.is_ascii_digit() { '1' } else { c }).collect();
    let old = old.replacen('1', "6", 1);
    let mut proxy = JoinSet::new();
    let port = pretend(&mut proxy, server.port(), HashMap::from([(version, old.clone())])).await;
    let cause = refused(RedisOptions::from_url(&format!("redis://127.0.0.1:{port}")).unwrap()).await;
    assert!(cause.contains(&old) && cause.contains("7.0"), "{cause}");
}

#[tokio::test]
async fn what_nobody_wrote_is_broken_or_another_programs() {
    let server = Server::start().await;
    let store = RedisStore::connect(server.options().shards(1).unwrap()).await.unwrap();
    create(&store, "a", b"", None).await;
    let _: String = server.command(&["SET", "bursar:{s00}:d:a", "short"]).await;
    let broken = [
        store.read(&key("a")).await.map(|_| ()).unwrap_err(),
        store.swap(delete("a", 1)).await.map(|_| ()).unwrap_err(),
        store.scan("", None, 1).await.map(|_| ()).unwrap_err(),
    ];
    for error in broken {
        assert!(matches!(&error, StoreError::Broken { key, .. } if key == "a"), "{error:?}");
    }
    let _: u64 = server.command(&["LPUSH", "bursar:{s00}:d:b", "x"]).await;
    let error = store.read(&key("b")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unusable { cause } if cause.contains("namespace")), "{error:?}");
    let error = store.swap(put("b", Expect::Absent, b"", None)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unusable { cause } if cause.contains("namespace")), "{error:?}");
}

fn risks(store: &RedisStore) -> Vec<Risk> {
    store.durability().into_iter().map(|finding: DurabilityFinding| finding.risk).collect()
}

#[tokio::test]
async fn a_redis_that_keeps_nothing_is_found_out() {
    let server = Server::start().await;
    let _: String = server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let evicts = Risk::EvictsKeys { policy: "allkeys-lru".to_owned() };
    assert_eq!(risks(&connect(&server).await), [evicts, Risk::NoAppendOnlyFile]);
    let cause = refused(server.options().durability(Durability::Require)).await;
    assert!(cause.contains("set it to noeviction") && cause.contains("set appendonly yes"), "{cause}");
    assert!(cause.contains(&server.address().to_string()), "{cause}");
    let _: String = server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    let _: String = server.command(&["CONFIG", "SET", "appendonly", "yes"]).await;
    let required = RedisStore::connect(server.options().durability(Durability::Require)).await.unwrap();
    assert_eq!(risks(&required), [Risk::SyncsEachSecond]);
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "100mb"]).await;
    assert_eq!(risks(&connect(&server).await), [Risk::SyncsEachSecond]);
}

/// After a failover, say, to a server that is set up otherwise.
#[tokio::test]
async fn a_redis_that_begins_to_lose_is_given_answers_only_if_durability_is_required() {
    let server = Server::with(Settings { append_only: true, ..Settings::default() }).await;
    let store = RedisStore::connect(server.options().durability(Durability::Require)).await.unwrap();
    create(&store, "a", b"", None).await;
    let _: String = server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let write = |version| put("a", Expect::At(Version(version)), b"", None);
    let mut version = 1;
    let cause = loop {
        match store.swap(write(version)).await {
            Ok(done) => assert_eq!(done.value, Swapped::Done(Version(version + 1))),
            Err(StoreError::WritesRefused { cause }) => break cause,
            Err(other) => panic!("{other:?}"),
        }
        version += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(version < 200, "it was not found out");
    };
    assert!(cause.contains("set it to noeviction") && cause.contains("store.redis.durability"), "{cause}");
    assert_eq!(swap(&store, forced(write(version))).await, Swapped::Done(Version(version + 1)));
    assert_eq!(read(&store, "a").await.unwrap().version, Version(version + 1));
    let _: String = server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    crate::support::until("it is trusted again", || async { store.swap(write(version + 1)).await.ok() })
        .await;
    assert_eq!(store.durability(), []);
}

#[tokio::test]
async fn the_least_rights_are_enough_and_do_not_tell_the_configuration() {
    let user = least_user("least", "least-password");
    let settings = Settings { append_only: true, lines: vec![user], ..Settings::default() };
    for release in [Release::Installed, Release::Newest] {
        let server = Server::with(Settings { release, ..settings.clone() }).await;
        let options =
            RedisOptions::from_url(&format!("redis://least:least-password@127.0.0.1:{}", server.port()));
        let options = options
            .unwrap()
            .durability(Durability::Require)
            .confirm(Some(Confirm { replicas: 1, within: Duration::from_millis(20) }));
        let store = RedisStore::connect(options).await.unwrap();
        assert_eq!(risks(&store), [Risk::Unknown { setting: "appendfsync" }]);
        let mut feed = store.changes().await.unwrap();
        assert_eq!(heard(&mut feed).await, Notice::Gap);
        create(&store, "a", b"", Some(Timestamp(1))).await;
        let _: String = server.command(&["SCRIPT", "FLUSH"]).await;
        assert_eq!(swap(&store, delete("a", 1)).await, Swapped::Done(Version(1)));
        assert_eq!(heard(&mut feed).await, changed("a", 1));
        assert_eq!(due(&store, 9).await.0, []);
        assert_eq!(store.scan("", None, 9).await.unwrap(), []);
        // The one refusal is that of CONFIG, and it was asked for once.
        let log: Vec<HashMap<String, ::redis::Value>> = server.command(&["ACL", "LOG"]).await;
        assert_eq!(log.len(), 1, "{log:?}");
        let count: u64 = ::redis::from_redis_value(log[0]["count"].clone()).unwrap();
        let object: String = ::redis::from_redis_value(log[0]["object"].clone()).unwrap();
        assert_eq!((count, object.as_str()), (1, "config|get"));
    }
}

#[tokio::test]
async fn a_write_waits_for_replicas_and_goes_on_without_them() {
    let server = Server::start().await;
    let follows = format!("replicaof 127.0.0.1 {}", server.port());
    let lines = vec![follows, "repl-diskless-sync-delay 0".to_owned()];
    let replica = Server::with(Settings { lines, ..Settings::default() }).await;
    crate::support::until("the replica is online", || async {
        let info = server.replication().await;
        info.contains("state=online").then_some(())
    })
    .await;
    let within = Duration::from_millis(500);
    let there =
        async |at: &str| !replica.command::<Vec<String>>(&["KEYS", &format!("*:d:{at}")]).await.is_empty();
    let options = server.options().confirm(Some(Confirm { replicas: 1, within }));
    let store = RedisStore::connect(options).await.unwrap();
    let mut waited_for = 0;
    for round in 0..50 {
        let begun = tokio::time::Instant::now();
        create(&store, &format!("key-{round}"), b"", None).await;
        // What is acknowledged in time is there already, although nobody waits for it here.
        if begun.elapsed() < within {
            assert!(there(&format!("key-{round}")).await, "{round}");
            waited_for += 1;
        } else {
            tokio::time::sleep(CONFIRM_PAUSE).await;
        }
    }
    assert!(waited_for > 25, "{waited_for}");
    replica.signal("STOP");
    let begun = tokio::time::Instant::now();
    create(&store, "alone", b"", None).await;
    assert!(begun.elapsed() >= within, "{:?}", begun.elapsed());
    // For a while nobody waits in vain.
    let alone = tokio::time::Instant::now();
    let before = wait_calls(&server).await;
    create(&store, "alone-too", b"", None).await;
    let after = wait_calls(&server).await;
    assert!(after == before || alone.elapsed() >= CONFIRM_PAUSE, "{before} {after}");
    // Nor do many that come together hold each other up until they fail.
    for round in 0..3 {
        tokio::time::sleep(CONFIRM_PAUSE).await;
        let many = (0..50).map(|n| {
            let store = &store;
            async move { create(store, &format!("many-{round}-{n}"), b"", None).await }
        });
        futures_util::future::join_all(many).await;
    }
    replica.signal("CONT");
    let mut round = 0;
    crate::support::until("writes are waited for again", async || {
        round += 1;
        let at = format!("together-{round}");
        create(&store, &at, b"", None).await;
        there(&at).await.then_some(())
    })
    .await;
}

async fn wait_calls(server: &Server) -> u64 {
    let stats: String = server.command(&["INFO", "commandstats"]).await;
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

/// The ids of the store's connections, which are those that ever asked for a document.
async fn readers(server: &Server) -> Vec<String> {
    let clients: String = server.command(&["CLIENT", "LIST"]).await;
    let readers = clients.lines().filter(|client| client.contains("resp=3") && !client.contains("cmd=xread"));
    readers
        .filter_map(|client| client.split(' ').find_map(|word| word.strip_prefix("id=")))
        .map(ToOwned::to_owned)
        .collect()
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_left_though_nobody_writes() {
    let server = Server::start().await;
    let store = connect(&server).await;
    assert_eq!(read(&store, "a").await, None);
    let before = readers(&server).await;
    assert_eq!(before.len(), 1);
    let _: String = server.command(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]).await;
    crate::support::until("reads go over a new connection", || async {
        let _ = store.read(&key("a")).await;
        let now = readers(&server).await;
        (!now.is_empty() && !now.contains(&before[0])).then_some(())
    })
    .await;
}

/// A way to the server on which some words of its answers are exchanged.
async fn pretend(tasks: &mut JoinSet<()>, server: u16, words: HashMap<String, String>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let answers = async {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    let mut text = String::from_utf8(buffer[..count].to_vec()).unwrap();
                    for (word, other) in &words {
                        text = text.replace(word, other);
                    }
                    to_client.write_all(text.as_bytes()).await.unwrap();
                }
            };
            let questions = tokio::io::copy(&mut from_client, &mut to_server);
            tokio::select! { () = answers => {}, _ = questions => {} }
        }
    });
    port
}
