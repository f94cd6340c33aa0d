//! What every store promises. Each law gets an empty store of its own.

use super::*;
use bursar::store::{BODY_MAX, Documents, PAGE_MAX};
use futures_util::StreamExt;
use std::collections::BTreeMap;

type Store = Arc<dyn Documents>;

pub(super) async fn an_absent_document_is_absent_and_the_answer_is_dated(store: Store) {
    use bursar::clock::Clock;
    let answer = store.read(&key("connection/acme/concur")).await.unwrap();
    assert_eq!(answer.value, None);
    let here = SystemClock.now();
    assert!(answer.store_now.until(here) < Duration::from_secs(60), "{:?} {here:?}", answer.store_now);
    assert!(here.until(answer.store_now) < Duration::from_secs(60));
}

pub(super) async fn a_document_is_read_back_as_written(store: Store) {
    create(&*store, "a/b", b"body", None).await;
    let want = Document { key: key("a/b"), version: Version(1), body: b"body".to_vec() };
    assert_eq!(read(&*store, "a/b").await, Some(want));
}

pub(super) async fn only_the_expected_version_is_overwritten(store: Store) {
    create(&*store, "a", b"1", None).await;
    assert_eq!(swap(&*store, put("a", Expect::At(Version(1)), b"2", None)).await, Swapped::Done(Version(2)));
    let current = Document { key: key("a"), version: Version(2), body: b"2".to_vec() };
    for stale in [1, 3, 256, 258] {
        let end = swap(&*store, put("a", Expect::At(Version(stale)), b"x", None)).await;
        assert_eq!(end, Swapped::Conflict(Some(current.clone())), "{stale}");
    }
    assert_eq!(swap(&*store, put("b", Expect::At(Version(1)), b"x", None)).await, Swapped::Conflict(None));
    assert_eq!(read(&*store, "a").await, Some(current));
    assert_eq!(read(&*store, "b").await, None);
}

pub(super) async fn an_existing_document_is_not_created_again(store: Store) {
    create(&*store, "a", b"1", None).await;
    let there = Document { key: key("a"), version: Version(1), body: b"1".to_vec() };
    let end = swap(&*store, put("a", Expect::Absent, b"2", None)).await;
    assert_eq!(end, Swapped::Conflict(Some(there.clone())));
    assert_eq!(read(&*store, "a").await, Some(there));
}

pub(super) async fn a_deleted_document_is_gone_and_its_successor_counts_from_one(store: Store) {
    create(&*store, "a", b"1", None).await;
    swap(&*store, put("a", Expect::At(Version(1)), b"2", None)).await;
    assert_eq!(swap(&*store, delete("a", 2)).await, Swapped::Done(Version(2)));
    assert_eq!(read(&*store, "a").await, None);
    assert_eq!(store.scan("", None, 10).await.unwrap(), vec![]);
    assert_eq!(swap(&*store, delete("a", 2)).await, Swapped::Conflict(None));
    create(&*store, "a", b"3", None).await;
}

pub(super) async fn a_delete_expects_the_right_version(store: Store) {
    create(&*store, "a", b"1", None).await;
    let there = Document { key: key("a"), version: Version(1), body: b"1".to_vec() };
    assert_eq!(swap(&*store, delete("a", 2)).await, Swapped::Conflict(Some(there.clone())));
    assert_eq!(read(&*store, "a").await, Some(there));
    let blind = Change { expect: Expect::Absent, ..delete("a", 1) };
    assert!(matches!(store.swap(blind).await, Err(StoreError::Refused { .. })));
}

pub(super) async fn of_a_hundred_writers_exactly_one_wins_each_version(store: Store) {
    let mut expect = Expect::Absent;
    for round in 1..=3 {
        let writers = (0..100).map(|writer: u8| {
            let (store, change) = (store.clone(), put("contested", expect, &[writer], None));
            async move { (writer, swap(&*store, change).await) }
        });
        let ends = futures_util::future::join_all(writers).await;
        let winners: Vec<u8> =
            ends.iter().filter(|(_, end)| *end == Swapped::Done(Version(round))).map(|(w, _)| *w).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let there = read(&*store, "contested").await.unwrap();
        assert_eq!((there.version, there.body.as_slice()), (Version(round), winners.as_slice()));
        let lost = Swapped::Conflict(Some(there.clone()));
        assert_eq!(ends.iter().filter(|(_, end)| *end == lost).count(), 99, "round {round}");
        expect = Expect::At(there.version);
    }
}

pub(super) async fn due_entries_come_most_overdue_first_and_tell_the_next(store: Store) {
    assert_eq!(due(&*store, 10).await, (vec![], None));
    let now = now(&*store).await;
    let ago = |seconds| now.minus(Duration::from_secs(seconds));
    let soon = now.plus(Duration::from_secs(3600));
    let later = now.plus(Duration::from_secs(7200));
    for (at, when) in [("b", ago(1)), ("later", later), ("c", ago(5)), ("soon", soon), ("a", ago(9))] {
        create(&*store, at, b"", Some(when)).await;
    }
    let want = [("a", ago(9)), ("c", ago(5)), ("b", ago(1))].map(|(at, when)| (at.to_owned(), when));
    assert_eq!(due(&*store, 10).await, (want.to_vec(), Some(soon)));
    for shard in 0..store.shards() {
        let times: Vec<_> =
            store.due(shard, 0, 10).await.unwrap().value.keys.iter().map(|due| due.1).collect();
        assert!(times.is_sorted());
    }
}

pub(super) async fn a_write_replaces_the_due_entry_and_none_removes_it(store: Store) {
    let now = now(&*store).await;
    let (past, long_past) = (now.minus(Duration::from_secs(1)), now.minus(Duration::from_secs(9)));
    create(&*store, "a", b"", Some(past)).await;
    swap(&*store, put("a", Expect::At(Version(1)), b"", Some(long_past))).await;
    assert_eq!(due(&*store, 10).await, (vec![("a".to_owned(), long_past)], None));
    let future = now.plus(Duration::from_secs(99));
    swap(&*store, put("a", Expect::At(Version(2)), b"", Some(future))).await;
    assert_eq!(due(&*store, 10).await, (vec![], Some(future)));
    swap(&*store, put("a", Expect::At(Version(3)), b"", None)).await;
    assert_eq!(due(&*store, 10).await, (vec![], None));
}

pub(super) async fn a_delete_removes_the_due_entry(store: Store) {
    create(&*store, "a", b"", Some(Timestamp(1))).await;
    swap(&*store, delete("a", 1)).await;
    assert_eq!(due(&*store, 10).await, (vec![], None));
}

pub(super) async fn a_conflict_changes_nothing(store: Store) {
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    create(&*store, "a", b"1", Some(Timestamp(5))).await;
    swap(&*store, put("a", Expect::Absent, b"2", Some(Timestamp(1)))).await;
    swap(&*store, put("b", Expect::At(Version(1)), b"2", Some(Timestamp(1)))).await;
    create(&*store, "z", b"", None).await;
    assert_eq!(due(&*store, 10).await.0, [("a".to_owned(), Timestamp(5))]);
    assert_eq!(store.scan("", None, 10).await.unwrap().len(), 2);
    assert_eq!(heard_of_each(&mut feed, 2).await, [changed("a", 1), changed("z", 1)]);
}

pub(super) async fn a_due_limit_is_kept_and_the_next_is_still_told(store: Store) {
    let later = now(&*store).await.plus(Duration::from_secs(3600));
    for number in 0..200 {
        create(&*store, &format!("k{number:03}"), b"", Some(Timestamp(number))).await;
        create(&*store, &format!("later{number:03}"), b"", Some(later)).await;
    }
    for shard in 0..store.shards() {
        for limit in [0, 1, 3] {
            for skip in [0, 2] {
                let some = store.due(shard, skip, limit).await.unwrap().value;
                assert_eq!((some.keys.len(), some.next), (limit, Some(later)), "shard {shard}");
                let all = store.due(shard, 0, usize::MAX).await.unwrap().value;
                assert_eq!(some.keys[..], all.keys[skip..skip + limit]);
            }
        }
        let behind = store.due(shard, 200, 3).await.unwrap().value;
        assert_eq!((behind.keys, behind.next), (vec![], Some(later)), "shard {shard}");
    }
    assert_eq!(due(&*store, PAGE_MAX).await.0.len(), 200);
}

pub(super) async fn the_end_of_time_is_a_due_time(store: Store) {
    create(&*store, "never", b"", Some(Timestamp::MAX)).await;
    assert_eq!(due(&*store, 10).await, (vec![], Some(Timestamp::MAX)));
}

pub(super) async fn an_unknown_shard_is_refused(store: Store) {
    assert!(store.shards() >= 1);
    assert!(matches!(store.due(store.shards(), 0, 1).await, Err(StoreError::Refused { .. })));
}

pub(super) async fn a_scan_goes_through_all_pages_in_byte_order(store: Store) {
    // Byte order puts `-` and `.` before `/`, capitals before small letters, `~` last.
    let mut want: Vec<String> = (0..600).map(|number| format!("c/{number}")).collect();
    want.extend(["c/-", "c/.", "c//", "c/A", "c/a", "c/a/b", "c/a~", "c/~", "c-", "d"].map(String::from));
    let creates = want.iter().map(|at| create(&*store, at, at.as_bytes(), None));
    futures_util::stream::iter(creates).buffer_unordered(32).collect::<Vec<_>>().await;
    want.sort();
    for page in [7, 100, 400, usize::MAX] {
        let (mut got, mut after) = (Vec::new(), None);
        loop {
            let found = store.scan("", after.as_ref(), page).await.unwrap();
            assert!(found.len() <= page.min(PAGE_MAX));
            let Some(last) = found.last() else { break };
            after = Some(last.key.clone());
            assert!(found.iter().all(|document| document.body == document.key.as_str().as_bytes()));
            got.extend(found.into_iter().map(|document| document.key.to_string()));
        }
        assert_eq!(got, want, "pages of {page}");
    }
    assert_eq!(store.scan("", None, 0).await.unwrap(), vec![]);
}

pub(super) async fn a_scan_stays_inside_its_prefix(store: Store) {
    for at in ["a", "a/", "a/1", "a/2", "a/~", "a0", "b/1"] {
        create(&*store, at, b"", None).await;
    }
    let names = async |prefix: &str, after: Option<&str>| -> Vec<String> {
        let after = after.map(key);
        let found = store.scan(prefix, after.as_ref(), 10).await.unwrap();
        found.into_iter().map(|document| document.key.to_string()).collect()
    };
    assert_eq!(names("a/", None).await, ["a/", "a/1", "a/2", "a/~"]);
    assert_eq!(names("a/", Some("a/1")).await, ["a/2", "a/~"]);
    // A cursor before, behind and between the documents.
    assert_eq!(names("a/", Some("A")).await, ["a/", "a/1", "a/2", "a/~"]);
    assert_eq!(names("a/", Some("a/11")).await, ["a/2", "a/~"]);
    assert_eq!(names("a/", Some("a/~")).await, Vec::<String>::new());
    assert_eq!(names("a/", Some("b")).await, Vec::<String>::new());
    assert_eq!(names("c", None).await, Vec::<String>::new());
    assert_eq!(names("é", None).await, Vec::<String>::new());
    assert_eq!(names("", Some("a0")).await, ["b/1"]);
}

pub(super) async fn bodies_fit_up_to_the_bound_and_are_refused_beyond(store: Store) {
    create(&*store, "empty", b"", None).await;
    assert_eq!(read(&*store, "empty").await.unwrap().body, b"");
    let largest = vec![7; BODY_MAX];
    create(&*store, "largest", &largest, None).await;
    assert_eq!(read(&*store, "largest").await.unwrap().body, largest);
    let beyond = put("beyond", Expect::Absent, &vec![7; BODY_MAX + 1], None);
    assert!(matches!(store.swap(beyond).await, Err(StoreError::Refused { .. })));
    assert_eq!(read(&*store, "beyond").await, None);
}

pub(super) async fn bodies_of_any_bytes_survive(store: Store) {
    let bytes: Vec<u8> = (0..=255).chain([0, 13, 10, 0]).collect();
    create(&*store, "bytes", &bytes, None).await;
    assert_eq!(read(&*store, "bytes").await.unwrap().body, bytes);
    let strange = "~!@#$%^&*()_+|\\\"'`<>?,./;:[]=-";
    create(&*store, strange, b"x", Some(Timestamp(1))).await;
    assert_eq!(due(&*store, 1).await.0[0].0, strange);
    assert_eq!(read(&*store, strange).await.unwrap().body, b"x");
}

pub(super) async fn a_feed_starts_with_a_gap_and_then_tells_every_change_in_order(store: Store) {
    create(&*store, "before", b"", None).await;
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    let mut want: BTreeMap<String, Vec<Notice>> = BTreeMap::new();
    for name in ["a", "b", "c"] {
        create(&*store, name, b"", None).await;
        for version in 1..5 {
            swap(&*store, put(name, Expect::At(Version(version)), b"", None)).await;
        }
        swap(&*store, delete(name, 5)).await;
        create(&*store, name, b"", None).await;
        let mut notices = [1, 2, 3, 4, 5, 1].map(|version| changed(name, version)).to_vec();
        notices.insert(5, Notice::Deleted { key: key(name) });
        want.insert(name.to_owned(), notices);
    }
    let mut got: BTreeMap<String, Vec<Notice>> = BTreeMap::new();
    for _ in 0..21 {
        let notice = heard(&mut feed).await;
        let (Notice::Changed { key, .. } | Notice::Deleted { key }) = &notice else { panic!("{notice:?}") };
        got.entry(key.to_string()).or_default().push(notice);
    }
    assert_eq!(got, want);
}

pub(super) async fn every_feed_hears_everything(store: Store) {
    let (mut one, mut other) = (store.changes().await.unwrap(), store.changes().await.unwrap());
    assert_eq!([heard(&mut one).await, heard(&mut other).await], [Notice::Gap, Notice::Gap]);
    create(&*store, "a", b"", None).await;
    assert_eq!([heard(&mut one).await, heard(&mut other).await], [changed("a", 1), changed("a", 1)]);
}

pub(super) async fn a_dropped_next_loses_no_notice(store: Store) {
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    for version in 1..=30 {
        for _ in 0..3 {
            assert!(tokio::time::timeout(Duration::from_millis(1), feed.next()).await.is_err());
        }
        let expect = if version == 1 { Expect::Absent } else { Expect::At(Version(version - 1)) };
        swap(&*store, put("a", expect, b"", None)).await;
        assert_eq!(heard(&mut feed).await, changed("a", version));
    }
}

pub(super) async fn a_feed_ends_with_its_store(store: Store) {
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    assert!(tokio::time::timeout(Duration::from_millis(10), feed.next()).await.is_err());
    drop(store);
    let end = tokio::time::timeout(AT_MOST, feed.next()).await;
    assert_eq!(end.expect("the feed goes on"), None);
}
