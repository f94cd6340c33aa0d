//! The laws of `Documents`, held against every backend; what only one backend does stands in the files beside.

mod cluster;
mod embedded;
mod laws;
mod model;
mod redis;
mod sentinel;
pub(crate) mod tls;

use crate::support::AT_MOST;
use bursar::{
    clock::{SystemClock, Timestamp},
    store::{
        Change, Document, Documents, Expect, Feed, Key, Notice, Room, StoreError, Swapped, Then, Version,
        embedded::Embedded,
        redis::{RedisOptions, RedisStore},
    },
};
use std::{any::Any, sync::Arc, time::Duration};

/// A store, and what has to outlive it.
pub(crate) struct Fixture {
    store: Arc<dyn Documents>,
    _keep: Box<dyn Any + Send>,
}

async fn on_disk() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&folder.path().join("bursar.redb"), Arc::new(SystemClock)).await.unwrap();
    Fixture { store: Arc::new(store), _keep: Box::new(folder) }
}

fn in_memory() -> std::future::Ready<Fixture> {
    let store = Embedded::in_memory(Arc::new(SystemClock)).unwrap();
    std::future::ready(Fixture { store: Arc::new(store), _keep: Box::new(()) })
}

/// A machine that stands still for a second is no failure of the store.
async fn connected(options: RedisOptions) -> RedisStore {
    crate::support::until("the store is there", async || match RedisStore::connect(options.clone()).await {
        Ok(store) => Some(store),
        Err(StoreError::Unavailable { .. }) => None,
        Err(other) => panic!("{other:?}"),
    })
    .await
}

async fn on_redis() -> Fixture {
    let server = crate::support::redis::Server::start().await;
    let store = connected(server.options()).await;
    Fixture { store: Arc::new(store), _keep: Box::new(server) }
}

async fn on_newest_redis() -> Fixture {
    use crate::support::redis::{Release, Server, Settings};
    let server = Server::with(Settings { release: Release::Newest, ..Settings::default() }).await;
    let version: String = server.command(&["INFO", "server"]).await;
    assert!(version.contains("redis_version:8."), "{version}");
    let store = connected(server.options()).await;
    Fixture { store: Arc::new(store), _keep: Box::new(server) }
}

/// One test a law and backend, so that a failure names both. A fleet of servers takes long to start: one runs all laws,
/// each in a namespace of its own.
macro_rules! hold {
    ($($law:ident)*) => {
        /// `open` makes a store with this namespace.
        async fn all_hold(open: impl AsyncFn(&'static str) -> RedisStore) {
            $(
                println!(stringify!($law));
                laws::$law(Arc::new(open(stringify!($law)).await)).await;
            )*
        }

        hold!(@ embedded_on_disk on_disk $($law)*);
        hold!(@ embedded_in_memory in_memory $($law)*);
        hold!(@ redis_server on_redis $($law)*);
        hold!(@ newest_redis_server on_newest_redis $($law)*);
    };
    (@ $backend:ident $open:ident $($law:ident)*) => {
        mod $backend {
            $(
                #[tokio::test]
                async fn $law() {
                    let super::Fixture { store, _keep } = super::$open().await;
                    super::laws::$law(store).await;
                }
            )*
        }
    };
}

hold! {
    an_absent_document_is_absent_and_the_answer_is_dated
    a_document_is_read_back_as_written
    only_the_expected_version_is_overwritten
    an_existing_document_is_not_created_again
    a_deleted_document_is_gone_and_its_successor_counts_from_one
    a_delete_expects_the_right_version
    of_a_hundred_writers_exactly_one_wins_each_version
    due_entries_come_most_overdue_first_and_tell_the_next
    a_write_replaces_the_due_entry_and_none_removes_it
    a_delete_removes_the_due_entry
    a_conflict_changes_nothing
    a_due_limit_is_kept_and_the_next_is_still_told
    the_end_of_time_is_a_due_time
    an_unknown_shard_is_refused
    a_scan_goes_through_all_pages_in_byte_order
    a_scan_stays_inside_its_prefix
    bodies_fit_up_to_the_bound_and_are_refused_beyond
    bodies_of_any_bytes_survive
    a_feed_starts_with_a_gap_and_then_tells_every_change_in_order
    every_feed_hears_everything
    a_dropped_next_loses_no_notice
    a_feed_ends_with_its_store
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn put(at: &str, expect: Expect, body: &[u8], due: Option<Timestamp>) -> Change {
    Change { key: key(at), expect, then: Then::Put { body: body.to_vec(), due }, room: Room::Needed }
}

fn delete(at: &str, version: u64) -> Change {
    Change { key: key(at), expect: Expect::At(Version(version)), then: Then::Delete, room: Room::Needed }
}

async fn swap(store: &dyn Documents, change: Change) -> Swapped {
    store.swap(change).await.unwrap().value
}

async fn create(store: &dyn Documents, at: &str, body: &[u8], due: Option<Timestamp>) {
    assert_eq!(swap(store, put(at, Expect::Absent, body, due)).await, Swapped::Done(Version(1)), "{at}");
}

async fn read(store: &dyn Documents, at: &str) -> Option<Document> {
    store.read(&key(at)).await.unwrap().value
}

async fn now(store: &dyn Documents) -> Timestamp {
    store.read(&key("nothing")).await.unwrap().store_now
}

/// Everything due and the earliest `next`, over all shards.
async fn due(store: &dyn Documents, limit: usize) -> (Vec<(String, Timestamp)>, Option<Timestamp>) {
    let (mut keys, mut next) = (Vec::new(), None);
    for shard in 0..store.shards() {
        let due = store.due(shard, 0, limit).await.unwrap().value;
        keys.extend(due.keys.into_iter().map(|(key, at)| (key.to_string(), at)));
        next = [next, due.next].into_iter().flatten().min();
    }
    keys.sort_by_key(|(key, at)| (*at, key.clone()));
    (keys, next)
}

async fn heard(feed: &mut Box<dyn Feed>) -> Notice {
    tokio::time::timeout(AT_MOST, feed.next()).await.expect("no notice").expect("feed ended")
}

fn changed(at: &str, version: u64) -> Notice {
    Notice::Changed { key: key(at), version: Version(version) }
}

/// So many notices, by key: only those of one key come in order.
async fn heard_of_each(feed: &mut Box<dyn Feed>, count: usize) -> Vec<Notice> {
    let mut notices = Vec::new();
    for _ in 0..count {
        notices.push(heard(feed).await);
    }
    notices.sort_by_key(|notice| match notice {
        Notice::Changed { key, .. } | Notice::Deleted { key } => Some(key.clone()),
        Notice::Gap | Notice::Deaf => None,
    });
    notices
}
