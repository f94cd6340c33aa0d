//! A replica's way to the store: it loses replies, is slow or breaks, as the test says. What arrives is kept by the
//! store behind it; the way itself remembers nothing.

use async_trait::async_trait;
use bursar::store::{
    Change, Dated, Document, Documents, Due, Feed, Key, Notice, PAGE_MAX, Room, StoreError, Swapped,
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
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
    /// The next write under this prefix is done at once, and its reply takes so long.
    LateReply(&'static str, Duration),
    /// The next write under this prefix is refused.
    RefusedWrite(&'static str),
}

/// What becomes of writes that are not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shut {
    /// Nothing is heard of them.
    Silent,
    Refused,
    /// Nor is anything read, as of a file on a full disk.
    Full,
}

/// A replica's way to the store.
pub(crate) struct ShakyWay {
    inner: Arc<dyn Documents>,
    faults: Mutex<Vec<Fault>>,
    away: Mutex<bool>,
    /// How long it takes to find out that it is away.
    hangs: Mutex<Duration>,
    /// Reads are answered, and no write is done.
    shut: Mutex<Option<Shut>>,
    refused: AtomicUsize,
    /// How many due queues there are for this replica, and which of them gives no answer.
    queues: Mutex<(u16, Option<u16>)>,
    gaps: broadcast::Sender<()>,
}

impl ShakyWay {
    pub(crate) fn to(inner: Arc<dyn Documents>) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
            away: Mutex::default(),
            hangs: Mutex::default(),
            shut: Mutex::default(),
            refused: AtomicUsize::default(),
            queues: Mutex::new((1, None)),
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

    /// Every call goes unheard, and is given up after this long.
    pub(crate) fn hang(&self, until_given_up: Duration) {
        *self.hangs.lock() = until_given_up;
        *self.away.lock() = true;
    }

    pub(crate) fn come_back(&self) {
        *self.away.lock() = false;
        drop(self.gaps.send(()));
    }

    /// `None`: writes are done.
    pub(crate) fn shut(&self, shut: Option<Shut>) {
        *self.shut.lock() = shut;
    }

    /// How many writes were refused.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// So many due queues, by the last letter of the connection's name, and one of them away.
    pub(crate) fn queues(&self, count: u16, away: Option<u16>) {
        *self.queues.lock() = (count, away);
    }

    async fn check(&self) -> Result<(), StoreError> {
        if *self.shut.lock() == Some(Shut::Full) {
            return Err(StoreError::Full);
        }
        if !*self.away.lock() {
            return Ok(());
        }
        let hangs = *self.hangs.lock();
        if !hangs.is_zero() {
            tokio::time::sleep(hangs).await;
        }
        Err(lost())
    }

    /// Whether something is still to go wrong.
    pub(crate) fn has_faults(&self) -> bool {
        !self.faults.lock().is_empty()
    }

    fn take(&self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut faults = self.faults.lock();
        let found = faults.iter().position(wanted)?;
        Some(faults.remove(found))
    }
}

fn refused() -> StoreError {
    StoreError::WritesRefused { cause: "as the test says".to_owned() }
}

fn lost() -> StoreError {
    StoreError::Unavailable { cause: "as the test says".to_owned() }
}

#[async_trait]
impl Documents for ShakyWay {
    async fn read(&self, key: &Key) -> Result<Dated<Option<Document>>, StoreError> {
        self.check().await?;
        let found = self.inner.read(key).await;
        if key.as_str().starts_with("connection/")
            && let Some(Fault::SlowRead(slow)) = self.take(|fault| matches!(fault, Fault::SlowRead(_)))
        {
            tokio::time::sleep(slow).await;
        }
        found
    }

    async fn swap(&self, change: Change) -> Result<Dated<Swapped>, StoreError> {
        self.check().await?;
        match *self.shut.lock() {
            Some(Shut::Silent) => return Err(lost()),
            Some(Shut::Refused) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(refused());
            }
            Some(Shut::Full) | None => {}
        }
        let key = change.key.clone();
        let turned =
            |fault: &Fault| matches!(fault, Fault::RefusedWrite(under) if key.as_str().starts_with(under));
        if self.take(turned).is_some() {
            return Err(refused());
        }
        let late = |fault: &Fault| matches!(fault, Fault::LateWrite(under, _) if change.key.as_str().starts_with(under));
        if let Some(Fault::LateWrite(_, late)) = self.take(late) {
            tokio::time::sleep(late).await;
        }
        let room = change.room;
        let done = self.inner.swap(change).await;
        let late =
            |fault: &Fault| matches!(fault, Fault::LateReply(under, _) if key.as_str().starts_with(under));
        if let Some(Fault::LateReply(_, late)) = self.take(late) {
            tokio::time::sleep(late).await;
        }
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
        self.queues.lock().0
    }

    async fn due(&self, shard: u16, skip: usize, limit: usize) -> Result<Dated<Due>, StoreError> {
        self.check().await?;
        let (count, away) = *self.queues.lock();
        if away == Some(shard) {
            return Err(lost());
        }
        if count == 1 {
            return self.inner.due(shard, skip, limit).await;
        }
        let mut due = self.inner.due(0, 0, PAGE_MAX).await?;
        let is_of =
            |key: &Key| key.as_str().bytes().last().is_some_and(|last| u16::from(last) % count == shard);
        due.value.keys.retain(|(key, _)| is_of(key));
        due.value.keys = due.value.keys.into_iter().skip(skip).take(limit).collect();
        Ok(due)
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.check().await?;
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
