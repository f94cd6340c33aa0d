//! Groups, disks that fail, and disks that come back.

use super::*;
use crate::{
    audit::{
        chain,
        faulty::{self, Disk, Fault, release, releases, verified},
        verify::What,
    },
    clock::SystemClock,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Longer than a sound disk stands still, and shorter than anybody likes to wait for a test.
const PATIENCE: Duration = Duration::from_secs(3);

struct Rig {
    folder: TempDir,
    disk: Disk,
    writer: Writer,
    tasks: JoinSet<()>,
}

fn rig() -> Rig {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let chain = faulty::chain(disk.shelf(folder.path()), 1 << 30).unwrap();
    let (writer, scribe) = open(chain, Sink::none(), Arc::new(SystemClock), PATIENCE);
    let mut tasks = JoinSet::new();
    tasks.spawn(scribe.run());
    Rig { folder, disk, writer, tasks }
}

impl Rig {
    async fn write(&self, number: u64) -> Result<(), AuditDown> {
        self.writer.record(Event::Release(release(number))).await
    }

    /// Until it is writable again, as callers who ask again find it.
    async fn back(&self, number: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.write(number).await.is_err() {
            assert!(Instant::now() < deadline, "the trail does not come back");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn ended(self) -> TempDir {
        let Self { folder, writer, tasks, .. } = self;
        drop(writer);
        tasks.join_all().await;
        folder
    }
}

#[tokio::test]
async fn what_was_told_to_be_on_record_is_and_groups_share_the_disk() {
    let rig = rig();
    let mut callers = JoinSet::new();
    for number in 0..200 {
        let writer = rig.writer.clone();
        callers.spawn(async move { writer.record(Event::Release(release(number))).await });
    }
    assert!(callers.join_all().await.into_iter().all(|outcome| outcome.is_ok()));
    assert_eq!(rig.writer.head().seq, 201);
    let folder = rig.ended().await;
    let mut found = releases(folder.path());
    found.sort_unstable();
    assert_eq!(found, (0..200).collect::<Vec<_>>());
    assert_eq!(verified(folder.path()).findings, []);
}

#[tokio::test]
async fn a_disk_that_fails_fails_calls_and_one_that_is_back_serves_them() {
    for fault in [Fault::Full, Fault::NoSync, Fault::ReadOnly] {
        let rig = rig();
        rig.write(0).await.unwrap();
        let head = rig.writer.head();
        rig.disk.is(fault);
        for number in 100..110 {
            assert_eq!(rig.write(number).await, Err(AuditDown), "{fault:?}");
        }
        assert_eq!(rig.writer.head(), head);
        rig.disk.is(Fault::Sound);
        rig.back(1).await;
        let folder = rig.ended().await;
        assert_eq!(releases(folder.path()), [0, 1], "{fault:?}");
        assert_eq!(verified(folder.path()).problems(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_disk_that_is_stuck_holds_calls_as_long_as_they_wait_and_the_chain_goes_on() {
    let rig = rig();
    rig.write(0).await.unwrap();
    rig.disk.is(Fault::Stuck);
    let begun = Instant::now();
    let (one, two) = tokio::join!(rig.write(1), rig.write(2));
    assert_eq!((one, two), (Err(AuditDown), Err(AuditDown)));
    assert!(begun.elapsed() >= PATIENCE);
    // The queue takes no more than its measure, and says so at once.
    let mut full = 0;
    for _ in 0..QUEUE_MAX + 10 {
        full += u64::from(
            rig.writer.hand_in(Event::Stop { replica: crate::audit::event::Name::of(&"x") }).is_err(),
        );
    }
    assert!(full >= 10, "{full}");
    rig.disk.is(Fault::Sound);
    rig.back(3).await;
    let folder = rig.ended().await;
    // Those that had given up are on record too: more than happened, never less. So may be a try of the last one.
    let mut found = releases(folder.path());
    found.dedup();
    assert_eq!(found, [0, 1, 2, 3]);
    assert_eq!(verified(folder.path()).findings, []);
}

#[tokio::test]
async fn who_hangs_up_takes_nothing_with_it() {
    let rig = rig();
    drop(rig.writer.hand_in(Event::Release(release(5))).unwrap());
    rig.write(6).await.unwrap();
    let folder = rig.ended().await;
    assert_eq!(releases(folder.path()), [5, 6]);
}

#[tokio::test]
async fn a_trail_that_was_not_closed_is_found_by_the_next_process() {
    let rig = rig();
    rig.write(0).await.unwrap();
    let Rig { folder, writer, mut tasks, .. } = rig;
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    assert_eq!(writer.record(Event::Release(release(1))).await, Err(AuditDown));
    let torn = folder.path().join(chain::file_name(1));
    let mut bytes = std::fs::read(&torn).unwrap();
    bytes.extend_from_slice(b"{\"v\":1,\"se");
    std::fs::write(&torn, bytes).unwrap();
    let chain = faulty::opened(folder.path(), 1 << 30);
    let (writer, scribe) = open(chain, Sink::none(), Arc::new(SystemClock), PATIENCE);
    tasks.spawn(scribe.run());
    writer.record(Event::Release(release(2))).await.unwrap();
    assert_eq!(releases(folder.path()), [0, 2]);
    let found: Vec<_> = verified(folder.path()).findings.iter().map(|found| found.what).collect();
    assert_eq!(found, [What::Torn { bytes: 10 }]);
}
