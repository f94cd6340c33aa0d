//! The store that replicas share: Redis 7.0 or newer (or Valkey), one server or a primary with replicas.
//! A document, its due entry, its place in the name index and its change notice lie in one hash-tagged shard
//! and change together in one script. Never retries a write by itself: a lost answer is the caller's to
//! settle by reading again.

mod feed;
mod layout;
mod link;
mod options;
mod script;
mod startup;

pub use self::{options::RedisOptions, startup::DurabilityFinding};

use self::{
    layout::{Layout, Reach},
    link::Link,
    script::{Outcome, SwapScript},
};
use super::{
    Change, Dated, Document, Documents, Due, Feed, Key, PAGE_MAX, Room, StoreError, Swapped, check_shard,
};
use crate::clock::Timestamp;
use async_trait::async_trait;
use redis::Pipeline;
use std::fmt;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Notices that a shard's feed keeps at least; a feed that lags behind further is told of a gap.
const FEED_KEPT: usize = 4096;

/// Documents in Redis.
pub struct RedisStore {
    layout: Layout,
    /// Reads and writes have a connection each: a page of large bodies holds up no commit.
    reads: Link,
    writes: Link,
    needed: SwapScript,
    forced: SwapScript,
    durability: Vec<DurabilityFinding>,
    open: CancellationToken,
    _ends_feeds: DropGuard,
}

impl RedisStore {
    /// Connects, and sees whether this Redis will do: its version, and the number of shards and the format
    /// that the deployment was begun with.
    ///
    /// [`StoreError::Unavailable`] when it is not there (try again), [`StoreError::Unusable`] when trying
    /// again does not help: too old, wrong password, other shard number.
    pub async fn connect(options: RedisOptions) -> Result<Self, StoreError> {
        let layout = Layout::new(&options.namespace, options.shards);
        let link = || Link::new(options.info.clone());
        let (reads, writes) = (link()?, link()?);
        let durability = startup::inspect(&reads, &layout).await?;
        let open = CancellationToken::new();
        Ok(Self {
            layout,
            reads,
            writes,
            needed: SwapScript::new(Room::Needed),
            forced: SwapScript::new(Room::Forced),
            durability,
            _ends_feeds: open.clone().drop_guard(),
            open,
        })
    }

    /// What in the configuration of this Redis could lose acknowledged writes, as of `connect`.
    pub fn durability(&self) -> Vec<DurabilityFinding> {
        self.durability.clone()
    }

    /// The first keys of all shards, at most `limit`, that begin with `prefix` and sort after `after`.
    async fn names(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<(Vec<Key>, Reach), StoreError> {
        let (from, to) = layout::lexical_range(prefix, after);
        let share = layout::share(limit, self.layout.shards());
        let mut pipeline = Pipeline::new();
        for shard in 0..self.layout.shards() {
            let names = pipeline.cmd("ZRANGE").arg(self.layout.names(shard)).arg(&from).arg(&to);
            names.arg("BYLEX").arg("LIMIT").arg(0).arg(share);
        }
        let found: Vec<Vec<String>> = self.reads.ask(&pipeline).await?;
        let found = found.into_iter().map(|names| names.into_iter().map(layout::stored_key).collect());
        Ok(layout::merge(found.collect::<Result<_, _>>()?, share, limit))
    }

    /// Those of the documents that are (still) there, in the order of their keys.
    async fn load(&self, names: &[Key]) -> Result<Vec<Document>, StoreError> {
        let mut of_shard: Vec<Vec<&Key>> = vec![Vec::new(); usize::from(self.layout.shards())];
        for name in names {
            of_shard[usize::from(self.layout.shard_of(name))].push(name);
        }
        of_shard.retain(|names| !names.is_empty());
        let mut pipeline = Pipeline::new();
        for names in &of_shard {
            let documents: Vec<String> = names.iter().map(|name| self.layout.document(name)).collect();
            pipeline.cmd("MGET").arg(documents);
        }
        if of_shard.is_empty() {
            return Ok(Vec::new());
        }
        let values: Vec<Vec<Option<Vec<u8>>>> = self.reads.ask(&pipeline).await?;
        let mut page = Vec::with_capacity(names.len());
        for (name, value) in of_shard.into_iter().flatten().zip(values.into_iter().flatten()) {
            page.extend(value.map(|value| layout::decode(name, value)).transpose()?);
        }
        page.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(page)
    }
}

#[async_trait]
impl Documents for RedisStore {
    async fn read(&self, key: &Key) -> Result<Dated<Option<Document>>, StoreError> {
        let mut pipeline = Pipeline::new();
        // The clock first: an answer may seem older than it is, so that a lease is never cut short.
        pipeline.cmd("TIME").cmd("GET").arg(self.layout.document(key));
        let (time, value): (Time, Option<Vec<u8>>) = self.reads.ask(&pipeline).await?;
        let value = value.map(|value| layout::decode(key, value)).transpose()?;
        Ok(Dated { value, store_now: timestamp(time) })
    }

    async fn swap(&self, change: Change) -> Result<Dated<Swapped>, StoreError> {
        change.check()?;
        let script = match change.room {
            Room::Needed => &self.needed,
            Room::Forced => &self.forced,
        };
        let run = script.run(&self.writes, &self.layout, &change).await;
        if let Err(StoreError::Unavailable { .. }) = run {
            // A primary that became a replica would go on to answer reads, from an ever older past.
            self.reads.forget();
        }
        let (outcome, time) = run?;
        let value = match outcome {
            Outcome::Written => Swapped::Done(script::written_version(&change)),
            Outcome::Conflict(found) => {
                Swapped::Conflict(found.map(|found| layout::decode(&change.key, found)).transpose()?)
            }
        };
        Ok(Dated { value, store_now: timestamp(time) })
    }

    fn shards(&self) -> u16 {
        self.layout.shards()
    }

    async fn due(&self, shard: u16, limit: usize) -> Result<Dated<Due>, StoreError> {
        check_shard(shard, self.shards())?;
        let limit = limit.min(PAGE_MAX);
        let queue = self.layout.due(shard);
        let mut pipeline = Pipeline::new();
        pipeline.cmd("TIME").cmd("ZRANGE").arg(&queue).arg(0).arg(limit).arg("WITHSCORES");
        let (time, first): (Time, Vec<(String, f64)>) = self.reads.ask(&pipeline).await?;
        let store_now = timestamp(time);
        let mut due = Due::default();
        for (key, score) in first {
            let (key, at) = (layout::stored_key(key)?, layout::due_time(score));
            if at > store_now {
                due.next = Some(at);
                break;
            }
            due.keys.push((key, at));
        }
        if due.keys.len() > limit {
            due.keys.truncate(limit);
            due.next = self.next_after(&queue, store_now).await?;
        }
        Ok(Dated { value: due, store_now })
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let limit = limit.min(PAGE_MAX);
        let (mut page, mut after) = (Vec::new(), after.cloned());
        // Documents that go away between the two steps leave places to fill: a short page means the end.
        while page.len() < limit {
            let (names, reach) = self.names(prefix, after.as_ref(), limit - page.len()).await?;
            page.extend(self.load(&names).await?);
            match reach {
                Reach::End => break,
                Reach::More => after = names.last().cloned(),
            }
        }
        Ok(page)
    }

    async fn changes(&self) -> Result<Box<dyn Feed>, StoreError> {
        let feeds = (0..self.layout.shards()).map(|shard| self.layout.feed(shard)).collect();
        Ok(feed::open(self.reads.dialer().clone(), feeds, self.open.clone()))
    }
}

impl RedisStore {
    /// The first due time after `now`: asked for only when everything within the limit was due.
    async fn next_after(&self, queue: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let mut pipeline = Pipeline::new();
        let next = pipeline.cmd("ZRANGE").arg(queue).arg(format!("({}", now.0)).arg("+inf").arg("BYSCORE");
        next.arg("LIMIT").arg(0).arg(1).arg("WITHSCORES");
        let (next,): (Vec<(String, f64)>,) = self.reads.ask(&pipeline).await?;
        Ok(next.first().map(|(_, score)| layout::due_time(*score)))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("address", &self.reads.dialer().address()).finish_non_exhaustive()
    }
}

/// Seconds and microseconds, as `TIME` answers.
type Time = (u64, u64);

fn timestamp((seconds, micros): Time) -> Timestamp {
    Timestamp(seconds.saturating_mul(1000).saturating_add(micros / 1000))
}
