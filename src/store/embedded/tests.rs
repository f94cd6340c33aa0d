//! What is seen only from inside: how often the disk is synced, and how a full or failing disk is survived.

use super::*;
use crate::{
    clock::{SystemClock, Timestamp},
    store::{Expect, Room, Then, Version},
};
use redb::{Database, StorageBackend, backends::FileBackend};
use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

/// A disk that can be made to fail, and counts.
#[derive(Debug, Default)]
struct Disk {
    syncs: AtomicUsize,
    fails_with: parking_lot::Mutex<Option<io::ErrorKind>>,
    /// What the database itself does when it opens the file can be done, and no more.
    full: parking_lot::Mutex<bool>,
}

#[derive(Debug)]
struct Fallible(FileBackend, Arc<Disk>);

impl Fallible {
    fn works(&self) -> io::Result<()> {
        self.1.fails_with.lock().map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl StorageBackend for Fallible {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.works()?;
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, SeqCst);
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.works()?;
        self.0.write(offset, data)
    }
}

fn on(disk: &Arc<Disk>, file: PathBuf) -> Embedded {
    let disk = disk.clone();
    let open = move || {
        let file =
            std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file)?;
        let full = *disk.full.lock();
        if full {
            *disk.fails_with.lock() = None;
        }
        let backend = Fallible(FileBackend::new(file)?, disk.clone());
        let database = Database::builder().create_with_backend(backend)?;
        if full {
            *disk.fails_with.lock() = Some(io::ErrorKind::StorageFull);
        }
        Ok(database)
    };
    let tables = Tables::with_opener("test.redb".to_owned(), Box::new(open)).unwrap();
    Embedded::over(tables, Arc::new(SystemClock))
}

fn create(name: &str) -> Change {
    let then = Then::Put { body: vec![1; 10_000], due: Some(Timestamp(1)) };
    Change { key: Key::new(name).unwrap(), expect: Expect::Absent, then, room: Room::Forced }
}

#[tokio::test]
async fn many_writers_share_few_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let store = on(&disk, folder.path().join("test.redb"));
    let before = disk.syncs.load(SeqCst);
    store.swap(create("alone")).await.unwrap();
    let alone = disk.syncs.load(SeqCst) - before;
    assert!(alone >= 1, "a commit without a sync");
    let names: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    let ends = futures_util::future::join_all(names.iter().map(|name| store.swap(create(name)))).await;
    assert!(ends.iter().all(|end| end.as_ref().unwrap().value == Swapped::Done(Version(1))));
    let together = disk.syncs.load(SeqCst) - before - alone;
    // How many batches it takes depends on how fast the first sync is; one each would be a hundred.
    assert!(together <= 25 * alone, "{together} syncs for a hundred writers, {alone} for one");
}

#[tokio::test]
async fn a_full_disk_is_told_and_survived() {
    let cases = [
        (io::ErrorKind::StorageFull, StoreError::Full),
        (io::ErrorKind::QuotaExceeded, StoreError::Full),
        (io::ErrorKind::TimedOut, StoreError::Unavailable { cause: "test.redb: timed out".to_owned() }),
    ];
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let store = on(&disk, folder.path().join("test.redb"));
    store.swap(create("before")).await.unwrap();
    for (number, (kind, want)) in cases.into_iter().enumerate() {
        *disk.fails_with.lock() = Some(kind);
        let during = create(&format!("during{number}"));
        assert_eq!(store.swap(during.clone()).await, Err(want), "{kind}");
        *disk.fails_with.lock() = None;
        assert_eq!(store.read(&during.key).await.unwrap().value, None, "{kind}");
        assert_eq!(store.swap(during).await.unwrap().value, Swapped::Done(Version(1)), "{kind}");
    }
    assert_eq!(store.scan("", None, 10).await.unwrap().len(), 4);
}

#[tokio::test]
async fn what_is_there_can_be_read_while_the_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let store = on(&disk, folder.path().join("test.redb"));
    store.swap(create("before")).await.unwrap();
    *disk.full.lock() = true;
    *disk.fails_with.lock() = Some(io::ErrorKind::StorageFull);
    let before = create("before").key;
    for number in 0..3 {
        let change = create(&format!("during{number}"));
        assert_eq!(store.swap(change).await, Err(StoreError::Full));
        // After an error the file is opened anew.
        assert!(store.read(&before).await.unwrap().value.is_some(), "{number}");
    }
    *disk.full.lock() = false;
    *disk.fails_with.lock() = None;
    assert_eq!(store.swap(create("after")).await.unwrap().value, Swapped::Done(Version(1)));
}

#[tokio::test]
async fn a_panic_below_is_an_error_of_the_call() {
    let error = off_thread(|| -> Result<(), StoreError> { panic!("page out of range") }).await.unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
}
