//! The store as it is looked at from outside: how every operation ends and how long it takes, and what the due queues
//! showed. Changes nothing of what goes through.

use super::{
    catalogue,
    feed::WatchedFeed,
    labels::{Operation, StoreFailure},
    metrics::{Durations, FAST, Making, Metrics},
    standing::Standing,
};
use crate::store::{Change, Dated, Document, Documents, Due, Feed, Key, Room, StoreError, Swapped};
use async_trait::async_trait;
use parking_lot::Mutex;
use prometheus_client::{encoding::EncodeLabelSet, metrics::counter::Counter};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// A store that is watched.
pub struct Watched {
    inner: Arc<dyn Documents>,
    standing: Arc<Standing>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    db_system_name: &'static str,
    db_operation_name: Operation,
    error_type: StoreFailure,
}

/// What is counted of the store.
#[derive(Debug)]
pub(super) struct Operations {
    system: &'static str,
    durations: Durations<Labels>,
    conflicts: Counter,
    due: Mutex<BTreeMap<u16, Seen>>,
}

/// What a due queue showed.
#[derive(Debug, Clone, Copy)]
struct Seen {
    count: usize,
    /// How long its oldest entry had waited then.
    lag: Duration,
    at: Instant,
}

/// What all due queues showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    pub(super) count: usize,
    pub(super) lag: Duration,
}

impl Operations {
    pub(super) fn new(making: &mut Making<'_>, system: &'static str) -> Self {
        Self {
            system,
            durations: making.durations(&catalogue::STORE, FAST),
            conflicts: making.counter(&catalogue::CONFLICTS),
            due: Mutex::default(),
        }
    }

    fn took<T>(&self, operation: Operation, begun: Instant, outcome: &Result<T, StoreError>) {
        let error_type = outcome.as_ref().err().map_or(StoreFailure::Nothing, StoreFailure::of);
        let labels = Labels { db_system_name: self.system, db_operation_name: operation, error_type };
        self.durations.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
    }

    fn seen(&self, shard: u16, dated: &Dated<Due>) {
        let lag = dated.value.keys.first().map_or(Duration::ZERO, |(_, due)| due.until(dated.store_now));
        let seen = Seen { count: dated.value.keys.len(), lag, at: Instant::now() };
        self.due.lock().insert(shard, seen);
    }

    /// What was due when it was last looked, and how long the oldest of that has waited by now.
    pub(super) fn backlog(&self) -> Backlog {
        let due = self.due.lock();
        let waiting = due.values().filter(|seen| seen.count > 0);
        waiting.fold(Backlog::default(), |all, seen| Backlog {
            count: all.count + seen.count,
            lag: all.lag.max(seen.lag + seen.at.elapsed()),
        })
    }
}

impl Watched {
    pub fn new(inner: Arc<dyn Documents>, standing: Arc<Standing>, metrics: Arc<Metrics>) -> Self {
        Self { inner, standing, metrics }
    }

    async fn noted<T>(
        &self,
        operation: Operation,
        asked: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let outcome = asked.await;
        self.standing.asked(&outcome);
        self.metrics.store.took(operation, begun, &outcome);
        outcome
    }
}

#[async_trait]
impl Documents for Watched {
    async fn read(&self, key: &Key) -> Result<Dated<Option<Document>>, StoreError> {
        self.noted(Operation::Read, self.inner.read(key)).await
    }

    async fn swap(&self, change: Change) -> Result<Dated<Swapped>, StoreError> {
        let room = change.room;
        let swapped = self.noted(Operation::Swap, self.inner.swap(change)).await;
        match (&swapped, room) {
            // Nothing was written, so that nothing is known of room.
            (Ok(Dated { value: Swapped::Conflict(_), .. }), _) => {
                self.metrics.store.conflicts.inc();
            }
            (Ok(Dated { value: Swapped::Done(_), .. }) | Err(_), Room::Needed) => {
                self.standing.wrote(&swapped);
            }
            (Ok(_) | Err(_), Room::Forced) => {}
        }
        swapped
    }

    fn shards(&self) -> u16 {
        self.inner.shards()
    }

    async fn due(&self, shard: u16, skip: usize, limit: usize) -> Result<Dated<Due>, StoreError> {
        let due = self.noted(Operation::Due, self.inner.due(shard, skip, limit)).await?;
        if skip == 0 {
            self.metrics.store.seen(shard, &due);
        }
        Ok(due)
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.noted(Operation::Scan, self.inner.scan(prefix, after, limit)).await
    }

    async fn changes(&self) -> Result<Box<dyn Feed>, StoreError> {
        let feed = self.noted(Operation::Changes, self.inner.changes()).await?;
        Ok(Box::new(WatchedFeed::new(feed, self.standing.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Timestamp, TokioClock},
        store::embedded::Embedded,
    };
    use tokio_util::sync::CancellationToken;

    #[tokio::test(start_paused = true)]
    async fn the_backlog_is_what_the_queues_last_showed_and_its_lag_goes_on() {
        let now = Timestamp::from_secs(1_000);
        let clock = Arc::new(TokioClock::starting_at(now));
        let standing = Standing::new(clock, Duration::ZERO, CancellationToken::new());
        let metrics = Metrics::new(standing, "redb");
        let due = |waited: &[u64]| {
            let key = |n: usize| Key::new(format!("connection/a/{n}")).unwrap();
            let at = |waited: u64| now.minus(Duration::from_secs(waited));
            let keys = waited.iter().enumerate().map(|(n, waited)| (key(n), at(*waited))).collect();
            Dated { value: Due { keys, next: None }, store_now: now }
        };
        assert_eq!(metrics.store.backlog(), Backlog::default());
        metrics.store.seen(0, &due(&[9, 3, 1]));
        metrics.store.seen(1, &due(&[4]));
        metrics.store.seen(2, &due(&[]));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(metrics.store.backlog(), Backlog { count: 4, lag: Duration::from_secs(14) });
        metrics.store.seen(0, &due(&[]));
        assert_eq!(metrics.store.backlog(), Backlog { count: 1, lag: Duration::from_secs(9) });
    }

    #[tokio::test]
    async fn a_store_that_is_watched_answers_as_the_one_inside() {
        let clock = Arc::new(TokioClock::starting_at(Timestamp::from_secs(1_000)));
        let standing = Standing::new(clock.clone(), Duration::ZERO, CancellationToken::new());
        let metrics = Metrics::new(standing.clone(), "redb");
        let inner = Arc::new(Embedded::in_memory(clock).unwrap());
        let watched = Watched::new(inner, standing, metrics.clone());
        let key = Key::new("a").unwrap();
        assert_eq!(watched.read(&key).await.unwrap().value, None);
        assert!(watched.due(999, 0, 1).await.is_err());
        let text = metrics.text().unwrap();
        for (operation, error) in [("read", ""), ("due", "refused")] {
            let series = format!(
                "db_client_operation_duration_seconds_count{{db_system_name=\"redb\",db_operation_name=\"{operation}\",error_type=\"{error}\"}} 1\n"
            );
            assert!(text.contains(&series), "{series}{text}");
        }
    }
}
