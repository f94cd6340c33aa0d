//! The store for one process: a single file (or memory, for tests), synced to disk with every commit.
//! Runs all of it on the blocking pool; never shares its file with another process, never answers a write
//! before it is durable. There is no time limit on its calls: a local disk is trusted to answer, and a write
//! that was begun is always seen through, whether or not its caller stays.

mod looking;
mod tables;
mod writers;

pub use looking::{Looked, Looking};

use self::{tables::Tables, writers::Writers};
use super::{
    Change, Dated, Document, Documents, Due, Feed, Key, Notice, PAGE_MAX, StoreError, Swapped, check_shard,
};
use crate::clock::Clock;
use async_trait::async_trait;
use std::{path::Path, sync::Arc};
use tokio::sync::broadcast;

/// How many notices a feed may lag behind before the oldest are dropped and it is told [`Notice::Gap`].
const FEED_BUFFER: usize = 1024;

/// Documents in one file of this machine.
pub struct Embedded {
    tables: Arc<Tables>,
    writers: Writers,
    notices: broadcast::Sender<Notice>,
    clock: Arc<dyn Clock>,
}

impl Embedded {
    /// Opens the file, or makes it (readable by its owner only). The folder must exist.
    ///
    /// The whole file is checked first. [`StoreError::Unusable`] when another process holds it, when it is
    /// damaged, when it is something else, or was written by a newer format.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let tables = off_thread(move || Tables::on_disk(path)).await?;
        Ok(Self::over(tables, clock))
    }

    /// A store that is gone with its process.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Ok(Self::over(Tables::in_memory()?, clock))
    }

    fn over(tables: Tables, clock: Arc<dyn Clock>) -> Self {
        let (tables, notices) = (Arc::new(tables), broadcast::Sender::new(FEED_BUFFER));
        let writers = Writers::new(tables.clone(), clock.clone(), notices.clone());
        Self { tables, writers, notices, clock }
    }

    fn dated<T>(&self, value: T) -> Dated<T> {
        Dated { value, store_now: self.clock.now() }
    }
}

#[async_trait]
impl Documents for Embedded {
    async fn read(&self, key: &Key) -> Result<Dated<Option<Document>>, StoreError> {
        let (tables, key) = (self.tables.clone(), key.clone());
        let found = off_thread(move || tables.read(&key)).await?;
        Ok(self.dated(found))
    }

    async fn swap(&self, change: Change) -> Result<Dated<Swapped>, StoreError> {
        change.check()?;
        self.writers.write(change).await
    }

    fn shards(&self) -> u16 {
        1
    }

    async fn due(&self, shard: u16, skip: usize, limit: usize) -> Result<Dated<Due>, StoreError> {
        check_shard(shard, self.shards())?;
        let (tables, now) = (self.tables.clone(), self.clock.now());
        let value = off_thread(move || tables.due(now, skip, limit.min(PAGE_MAX))).await?;
        Ok(Dated { value, store_now: now })
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let (tables, prefix, after) = (self.tables.clone(), prefix.to_owned(), after.cloned());
        off_thread(move || tables.scan(&prefix, after.as_ref(), limit.min(PAGE_MAX))).await
    }

    async fn changes(&self) -> Result<Box<dyn Feed>, StoreError> {
        Ok(Box::new(LocalFeed { first: Some(Notice::Gap), notices: self.notices.subscribe() }))
    }
}

/// Ends when the store and the writes it still finishes are gone.
struct LocalFeed {
    first: Option<Notice>,
    notices: broadcast::Receiver<Notice>,
}

#[async_trait]
impl Feed for LocalFeed {
    async fn next(&mut self) -> Option<Notice> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.notices.recv().await {
            Ok(notice) => Some(notice),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Notice::Gap),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Runs blocking work where it holds up no other task. While it runs, a paused clock stands still.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(move || tables::contained(work)).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Unavailable { cause: "the process is stopping".to_owned() }),
    }
}

#[cfg(test)]
mod tests;
