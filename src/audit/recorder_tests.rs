//! The trail as callers see it: first releases are on the disk, others are counted, and the end writes it all down.

use super::*;
use crate::{
    audit::{
        faulty::{key, trail, verified},
        query::{self, Filter, Kind},
    },
    clock::{SystemClock, Timestamp},
    domain::{names::ConnectionName, token::Secret},
};
use std::{hint::black_box, path::Path};
use tempfile::TempDir;
use uuid::Uuid;

async fn recorder(folder: &Path, releases: Releases) -> Arc<Recorder> {
    let settings = Settings {
        folder: folder.to_owned(),
        replica: "one".to_owned(),
        releases,
        rotate_bytes: 1 << 20,
        write_timeout: Duration::from_secs(20),
        second: None,
        host: String::new(),
        around: Box::new(|shelf| shelf),
    };
    Recorder::open(settings, key(), Arc::new(SystemClock)).await.unwrap()
}

fn token(text: &str) -> AccessToken {
    AccessToken(Secret::new(text))
}

fn leaving(connection: &ConnectionName, generation: u64) -> Leaving<'_> {
    Leaving {
        connection,
        family: Uuid::nil(),
        generation,
        expires_at: Timestamp::MAX.minus(Duration::from_secs(1)),
    }
}

fn name() -> ConnectionName {
    "tenants/acme/connections/a".parse().unwrap()
}

/// Each line's event and what is told of it.
fn told(folder: &Path) -> Vec<String> {
    let hits = query::lines(&[trail(folder)], &Filter::default()).unwrap();
    let told = |hit: &query::Hit| {
        let about = query::About::of(&hit.line.event);
        format!("{} {}", about.word, about.detail)
    };
    hits.iter().map(told).collect()
}

#[tokio::test]
async fn the_first_release_has_a_line_and_others_are_counted_until_the_end() {
    let folder = TempDir::new().unwrap();
    let recorder = recorder(folder.path(), Releases::First).await;
    let name = name();
    let Leaving { expires_at, .. } = leaving(&name, 1);
    assert!(expires_at > Timestamp::default());
    let soon = |generation| Leaving {
        expires_at: Timestamp::from_secs(4_000_000_000),
        ..leaving(&name, generation)
    };
    for _ in 0..5 {
        recorder.release("ann", &soon(1), &token("one")).await.unwrap();
    }
    recorder.release("bob", &soon(1), &token("one")).await.unwrap();
    recorder.release("ann", &soon(2), &token("two")).await.unwrap();
    let start = "start one, version 0.1.0";
    let releases = ["release generation 1", "release generation 1", "release generation 2"];
    let mut want = vec!["file number 1", start];
    want.extend(releases);
    assert_eq!(told(folder.path()), want);
    recorder.close().await;
    want.extend(["release_summary 4 times more", "stop one"]);
    assert_eq!(told(folder.path()), want);
    assert_eq!(verified(folder.path()).findings, []);
    // The same token is the same digest for both callers, and another one is another.
    let found = |text: &str| {
        let token = Some(key().tag(&token(text)).into());
        let filter = Filter { token, kind: Kind::Releases, ..Filter::default() };
        query::holders(&[trail(folder.path())], &filter, None).unwrap().len()
    };
    assert_eq!((found("one"), found("two"), found("three")), (2, 1, 0));
}

#[tokio::test]
async fn every_release_has_a_line_where_that_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let recorder = recorder(folder.path(), Releases::Every).await;
    let name = name();
    let leaving = Leaving { expires_at: Timestamp::from_secs(4_000_000_000), ..leaving(&name, 1) };
    for _ in 0..3 {
        recorder.release("ann", &leaving, &token("one")).await.unwrap();
    }
    recorder.close().await;
    let lines = told(folder.path());
    assert_eq!(lines.iter().filter(|line| line.starts_with("release ")).count(), 3);
    assert_eq!(lines.iter().filter(|line| line.starts_with("release_summary")).count(), 0);
}

#[tokio::test]
async fn strangers_cannot_fill_the_disk() {
    let folder = TempDir::new().unwrap();
    let recorder = recorder(folder.path(), Releases::First).await;
    let call =
        || Event::Unauthenticated { transport: Name::of(&"tls"), reason: Name::of(&"expired"), count: 1 };
    // All at once: on a slow disk one after the other would be no flood.
    for told in futures_util::future::join_all((0..500).map(|_| recorder.record(call()))).await {
        told.unwrap();
    }
    recorder.close().await;
    let hits =
        query::lines(&[trail(folder.path())], &Filter { kind: Kind::Denied, ..Filter::default() }).unwrap();
    let counts: Vec<u64> = hits
        .iter()
        .map(|hit| match hit.line.event {
            Event::Unauthenticated { count, .. } => count,
            _ => 0,
        })
        .collect();
    assert!(counts.len() < 500, "{}", counts.len());
    assert_eq!(counts.iter().sum::<u64>(), 500);
}

#[tokio::test]
async fn throttled_calls_are_counted_and_never_have_a_line_each() {
    let folder = TempDir::new().unwrap();
    let recorder = recorder(folder.path(), Releases::First).await;
    let call = |caller: &str| Event::Throttled {
        caller: Name::of(&caller),
        limit: Name::of(&"limits.serve_per_second"),
        count: 1,
    };
    for _ in 0..300 {
        recorder.record(call("ann")).await.unwrap();
    }
    recorder.record(call("bob")).await.unwrap();
    assert_eq!(told(folder.path()).len(), 2, "before the counts are written");
    recorder.flush().await;
    let mut want = told(folder.path());
    assert_eq!(
        want.split_off(2),
        ["throttled limits.serve_per_second, 300 times", "throttled limits.serve_per_second, 1 times"]
    );
    recorder.record(call("ann")).await.unwrap();
    recorder.close().await;
    assert_eq!(
        told(folder.path())[4..],
        ["throttled limits.serve_per_second, 1 times", "stop one"].map(str::to_owned)
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused_at_once() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let settings = |path: &Path| Settings {
        folder: path.to_owned(),
        replica: "one".to_owned(),
        releases: Releases::First,
        rotate_bytes: 1 << 20,
        write_timeout: Duration::from_secs(20),
        second: None,
        host: String::new(),
        around: Box::new(|shelf| shelf),
    };
    let refused = Recorder::open(settings(&file), key(), Arc::new(SystemClock)).await;
    assert!(matches!(refused, Err(OpenError::Folder(FolderError::Unusable { .. }))));
    let held = recorder(folder.path(), Releases::First).await;
    let refused = Recorder::open(settings(folder.path()), key(), Arc::new(SystemClock)).await;
    assert!(matches!(refused, Err(OpenError::Folder(FolderError::InUse { .. }))));
    held.close().await;
}

#[tokio::test]
async fn a_token_that_is_on_record_leaves_without_the_disk() {
    let folder = TempDir::new().unwrap();
    let recorder = recorder(folder.path(), Releases::First).await;
    let (name, token) = (name(), token("one"));
    let leaving = Leaving { expires_at: Timestamp::from_secs(4_000_000_000), ..leaving(&name, 1) };
    recorder.release("ann", &leaving, &token).await.unwrap();
    let before = recorder.writer.head();
    let begun = Instant::now();
    let rounds = 100_000;
    for _ in 0..rounds {
        black_box(recorder.release(black_box("ann"), &leaving, &token).await).unwrap();
    }
    println!("a release that is on record already: {:?}", begun.elapsed() / rounds);
    assert_eq!(recorder.writer.head(), before);
    recorder.close().await;
    assert!(told(folder.path()).contains(&format!("release_summary {rounds} times more")));
}
