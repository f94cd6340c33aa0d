//! A replica's way to the store: it loses replies, is slow or breaks, as the test says. What arrives is kept by the
//! store behind it; the way itself remembers nothing.

use async_trait::async_trait;
use bursar::store::{Change, Dated, Document, Documents, Due, Feed, Key, Notice, Room, StoreError, Swapped};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::sync::broadcast;

/// What goes wrong on the way to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The next write of this kind is done, and its reply is lost.
    ReplyLost(Room),
    /// As `ReplyLost`, and the store is away from then on.
    ReplyLostThenAway(Room),
    /// The next read of a connection's record takes so long on its way back.
    SlowRead(Duration),
    /// The next write under this prefix takes so long on its way to the store.
    LateWrite(&'static str, Duration),
}

/// What becomes of writes that are not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shut {
    /// Nothing is heard of them.
    Silent,
    Refused,
}

/// A replica's way to the store.
pub(crate) struct ShakyWay {
    inner: Arc<dyn Documents>,
    faults: Mutex<Vec<Fault>>,
    away: Mutex<bool>,
    /// Reads are answered, and no write is done.
    shut: Mutex<Option<Shut>>,
    gaps: broadcast::Sender<()>,
}

impl ShakyWay {
    pub(crate) fn to(inner: Arc<dyn Documents>) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
            away: Mutex::default(),
            shut: Mutex::default(),
            gaps: broadcast::Sender::new(8),
        }
    }

    pub(crate) fn then(&self, fault: Fault) {
        self.faults.lock().push(fault);
    }

    pub(crate) fn go_away(&self) {
        *self.away.lock() = true;
        drop(self.gaps.send(()));
    }

    pub(crate) fn come_back(&self) {
        *self.away.lock() = false;
        drop(self.gaps.send(()));
    }

    /// `None`: writes are done.
    pub(crate) fn shut(&self, shut: Option<Shut>) {
        *self.shut.lock() = shut;
    }

    fn check(&self) -> Result<(), StoreError> {
        if *self.away.lock() { Err(lost()) } else { Ok(()) }
    }

    fn take(&self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut faults = self.faults.lock();
        let found = faults.iter().position(wanted)?;
        Some(faults.remove(found))
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable { cause: "as the test says".to_owned() }
}

#[async_trait]
impl Documents for ShakyWay {
    async fn read(&self, key: &Key) -> Result<Dated<Option<Document>>, StoreError> {
        self.check()?;
        let found = self.inner.read(key).await;
        if key.as_str().starts_with("connection/")
            && let Some(Fault::SlowRead(slow)) = self.take(|fault| matches!(fault, Fault::SlowRead(_)))
        {
            tokio::time::sleep(slow).await;
        }
        found
    }

    async fn swap(&self, change: Change) -> Result<Dated<Swapped>, StoreError> {
        self.check()?;
        match *self.shut.lock() {
            Some(Shut::Silent) => return Err(lost()),
            Some(Shut::Refused) => {
                return Err(StoreError::WritesRefused { cause: "as the test says".to_owned() });
            }
            None => {}
        }
        let late = |fault: &Fault| matches!(fault, Fault::LateWrite(under, _) if change.key.as_str().starts_with(under));
        if let Some(Fault::LateWrite(_, late)) = self.take(late) {
            tokio::time::sleep(late).await;
        }
        let room = change.room;
        let done = self.inner.swap(change).await;
        match self.take(|fault| [Fault::ReplyLost(room), Fault::ReplyLostThenAway(room)].contains(fault)) {
            Some(Fault::ReplyLostThenAway(_)) => {
                self.go_away();
                Err(lost())
            }
            Some(_) => Err(lost()),
            None => done,
        }
    }

    fn shards(&self) -> u16 {
        self.inner.shards()
    }

    async fn due(&self, shard: u16, limit: usize) -> Result<Dated<Due>, StoreError> {
        self.check()?;
        self.inner.due(shard, limit).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.check()?;
        self.inner.scan(prefix, after, limit).await
    }

    async fn changes(&self) -> Result<Box<dyn Feed>, StoreError> {
        Ok(Box::new(ShakyFeed { inner: self.inner.changes().await?, gaps: self.gaps.subscribe() }))
    }
}

struct ShakyFeed {
    inner: Box<dyn Feed>,
    gaps: broadcast::Receiver<()>,
}

#[async_trait]
impl Feed for ShakyFeed {
    async fn next(&mut self) -> Option<Notice> {
        tokio::select! {
            biased;
            Ok(()) = self.gaps.recv() => Some(Notice::Gap),
            notice = self.inner.next() => notice,
        }
    }
}
