//! The store as it is looked at from outside: how every operation ends. Changes nothing of what goes through.

use super::{feed::WatchedFeed, standing::Standing};
use crate::store::{Change, Dated, Document, Documents, Due, Feed, Key, StoreError, Swapped};
use async_trait::async_trait;
use std::sync::Arc;

/// A store that is watched.
pub struct Watched {
    inner: Arc<dyn Documents>,
    standing: Arc<Standing>,
}

impl Watched {
    pub fn new(inner: Arc<dyn Documents>, standing: Arc<Standing>) -> Self {
        Self { inner, standing }
    }

    async fn noted<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let outcome = asked.await;
        self.standing.asked(&outcome);
        outcome
    }
}

#[async_trait]
impl Documents for Watched {
    async fn read(&self, key: &Key) -> Result<Dated<Option<Document>>, StoreError> {
        self.noted(self.inner.read(key)).await
    }

    async fn swap(&self, change: Change) -> Result<Dated<Swapped>, StoreError> {
        self.noted(self.inner.swap(change)).await
    }

    fn shards(&self) -> u16 {
        self.inner.shards()
    }

    async fn due(&self, shard: u16, limit: usize) -> Result<Dated<Due>, StoreError> {
        self.noted(self.inner.due(shard, limit)).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.noted(self.inner.scan(prefix, after, limit)).await
    }

    async fn changes(&self) -> Result<Box<dyn Feed>, StoreError> {
        let feed = self.inner.changes().await?;
        Ok(Box::new(WatchedFeed::new(feed, self.standing.clone())))
    }
}
