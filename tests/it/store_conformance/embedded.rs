//! What only the store in one file promises.

use super::*;
use futures_util::FutureExt as _;
use std::path::Path;

async fn open(path: &Path) -> Result<Embedded, StoreError> {
    Embedded::open(path, Arc::new(SystemClock)).await
}

#[tokio::test]
async fn everything_survives_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bursar.redb");
    let store = open(&file).await.unwrap();
    for number in 0..50_u64 {
        create(&store, &format!("k{number:02}"), &number.to_be_bytes(), Some(Timestamp(number))).await;
    }
    swap(&store, put("k00", Expect::At(Version(1)), b"second", Some(Timestamp::MAX))).await;
    let before = (store.scan("", None, 100).await.unwrap(), due(&store, 100).await);
    assert_eq!((before.0.len(), before.1.0.len()), (50, 49));
    drop(store);
    let store = open(&file).await.unwrap();
    assert_eq!((store.scan("", None, 100).await.unwrap(), due(&store, 100).await), before);
    let end = swap(&store, put("k00", Expect::At(Version(2)), b"third", None)).await;
    assert_eq!(end, Swapped::Done(Version(3)));
}

#[tokio::test]
async fn a_second_opener_is_refused_and_told_who_holds_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bursar.redb");
    let first = open(&file).await.unwrap();
    let error = open(&file).await.err().unwrap();
    let StoreError::Unusable { cause } = error else { panic!("{error:?}") };
    assert!(cause.contains(file.to_str().unwrap()) && cause.contains("held by another process"), "{cause}");
    create(&first, "a", b"", None).await;
    drop(first);
    assert!(read(&open(&file).await.unwrap(), "a").await.is_some());
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    let text = "not a database ".repeat(1000);
    std::fs::write(&file, &text).unwrap();
    let error = open(&file).await.err().unwrap();
    assert!(matches!(&error, StoreError::Unusable { cause } if cause.contains("notes.txt")), "{error:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bursar.redb");
    let store = open(&file).await.unwrap();
    for number in 0..200 {
        create(&store, &format!("k{number}"), &[7; 500], None).await;
    }
    drop(store);
    let sound = std::fs::read(&file).unwrap();
    // Whole pages everywhere, and single bytes inside of bodies.
    let pages = (0..16).map(|part| (sound.len() / 16 * part, 4096));
    let bodies = sound.chunks(4096).enumerate().filter_map(|(page, bytes)| {
        Some((page * 4096 + bytes.windows(400).position(|window| window == [7; 400])?, 1))
    });
    let mut noticed = 0;
    for (start, length) in pages.chain(bodies.step_by(5)) {
        let mut damaged = sound.clone();
        damaged[start..start + length].fill(0xA5);
        std::fs::write(&file, &damaged).unwrap();
        match open(&file).await {
            Err(StoreError::Unusable { cause }) => {
                assert!(cause.contains("bursar.redb") || cause.contains("damaged"), "{cause}");
                noticed += 1;
            }
            Err(other) => panic!("{other:?}"),
            // The damage lies in pages that are free.
            Ok(store) => {
                let found = store.scan("k", None, 1000).await.unwrap();
                assert!(found.len() == 200 && found.iter().all(|document| document.body == [7; 500]));
            }
        }
    }
    assert!(noticed > 0);
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&folder.path().join("absent/bursar.redb")).await.err().unwrap();
    let StoreError::Unusable { cause } = error else { panic!("{error:?}") };
    assert!(cause.contains("absent/bursar.redb") && cause.contains("folder must exist"), "{cause}");
}

#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bursar.redb");
    let _store = open(&file).await.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_feed_that_lags_too_far_is_told_of_a_gap() {
    let store = Embedded::in_memory(Arc::new(SystemClock)).unwrap();
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    let names: Vec<String> = (0..3000).map(|number| format!("k{number:04}")).collect();
    futures_util::future::join_all(names.iter().map(|name| create(&store, name, b"", None))).await;
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    // What it still hears is of the last writes, in whatever order they went through, and each once.
    let mut after = Vec::new();
    for _ in 0..1024 {
        let next = heard(&mut feed).await;
        assert!(!after.contains(&next), "{next:?} twice");
        after.push(next);
    }
    create(&store, "last", b"", None).await;
    assert_eq!(heard(&mut feed).await, changed("last", 1));
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_stands_still_while_the_store_works() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(bursar::clock::TokioClock::starting_at(Timestamp(1_000_000)));
    let store = Embedded::open(&folder.path().join("bursar.redb"), clock).await.unwrap();
    for number in 0..20 {
        let write = put(&format!("k{number}"), Expect::Absent, b"", Some(Timestamp(number)));
        // Would run out at once if waiting for the disk let time jump.
        let end = tokio::time::timeout(Duration::from_millis(1), store.swap(write)).await;
        assert_eq!(end.expect("time jumped").unwrap().store_now, Timestamp(1_000_000));
    }
    assert_eq!(due(&store, 100).await.0.len(), 20);
    assert_eq!(store.scan("", None, 100).await.unwrap().len(), 20);
    assert_eq!(now(&store).await, Timestamp(1_000_000));
}

#[tokio::test]
async fn a_write_whose_caller_went_away_still_happens() {
    let store = Embedded::in_memory(Arc::new(SystemClock)).unwrap();
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    // The write may be through at its first poll; of twenty some are not.
    for number in 0..20 {
        let name = format!("a{number}");
        let _went_away = store.swap(put(&name, Expect::Absent, b"", None)).now_or_never();
        assert_eq!(heard(&mut feed).await, changed(&name, 1));
    }
}
