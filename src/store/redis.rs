//! The store that replicas share: Redis 7.0 or newer (or Valkey): one server, a primary that sentinels watch over, or a
//! cluster. A document, its due entry, its place in the name index and its change notice lie in one hash-tagged shard
//! and change together in one script. Never retries a write that may have happened: a lost answer is the caller's to
//! settle by reading again.

mod dialing;
mod durability;
mod feed;
mod layout;
mod link;
mod looking;
mod nodes;
mod options;
mod refusals;
mod resolving;
mod script;
mod slots;
mod startup;
mod watch;

pub use self::{
    durability::{DurabilityFinding, Risk, Weight},
    looking::{Denied, NodeNow, Tried},
    options::{Confirm, Durability, Fresh, RedisOptions, Topology},
    resolving::{Sees, SentinelNow},
};

use self::{
    layout::{Layout, Reach},
    nodes::{Lane, Nodes},
    script::{Confirming, Outcome, SwapScript},
    slots::slot_of,
    startup::Beginning,
    watch::Watch,
};
use super::{
    Change, Dated, Document, Documents, Due, Feed, Key, PAGE_MAX, Room, StoreError, Swapped, check_shard,
};
use crate::clock::Timestamp;
use async_trait::async_trait;
use futures_util::future::try_join_all;
use redis::Pipeline;
use std::{fmt, sync::Arc};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Notices that a shard's feed keeps at least; a feed that lags behind further is told of a gap.
const FEED_KEPT: usize = 4096;

/// Documents in Redis.
pub struct RedisStore {
    layout: Layout,
    nodes: Arc<Nodes>,
    needed: SwapScript,
    forced: SwapScript,
    confirming: Confirming,
    watch: Arc<Watch>,
    open: CancellationToken,
    _ends_feeds: DropGuard,
    /// Ends with the store: what it does has not to be waited for.
    _tasks: JoinSet<()>,
}

impl RedisStore {
    /// Connects, and sees whether this Redis will do: its version, the number of shards and the format that the
    /// deployment was begun with, and how well it keeps what it is given.
    ///
    /// [`StoreError::Unavailable`] when it is not there (try again), [`StoreError::Unusable`] when trying
    /// again does not help: too old, wrong password, other shard number.
    pub async fn connect(options: RedisOptions) -> Result<Self, StoreError> {
        Self::opened(options, Beginning::Begins).await
    }

    /// The same for somebody who only looks: where no deployment was begun, none is. Nothing keeps such a store from
    /// being written to but its user.
    pub async fn look(options: RedisOptions) -> Result<Self, StoreError> {
        Self::opened(options.durability(Durability::Warn), Beginning::Leaves).await
    }

    async fn opened(options: RedisOptions, beginning: Beginning) -> Result<Self, StoreError> {
        let layout = Layout::new(&options.namespace, options.shards);
        let mut slots: Vec<_> = (0..layout.shards()).map(|shard| slot_of(&layout.due(shard))).collect();
        slots.push(slot_of(&layout.meta()));
        let nodes = Arc::new(Nodes::find(&options, slots).await?);
        startup::inspect(&nodes, &layout, beginning).await?;
        let watch = Arc::new(Watch::begin(nodes.clone(), options.durability).await?);
        let open = CancellationToken::new();
        let (looking, watching) = (nodes.clone(), watch.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            tokio::join!(looking.keep_looking(), watching.keep_looking(), watching.keep_to_primaries());
        });
        Ok(Self {
            layout,
            nodes,
            needed: SwapScript::new(Room::Needed),
            forced: SwapScript::new(Room::Forced),
            confirming: Confirming::new(options.confirm),
            watch,
            _tasks: tasks,
            _ends_feeds: open.clone().drop_guard(),
            open,
        })
    }

    /// What in the nodes' configuration and state could lose acknowledged writes, as it was last looked at.
    pub fn durability(&self) -> Vec<DurabilityFinding> {
        self.watch.found()
    }

    /// Asks one shard.
    async fn read_of<T: redis::FromRedisValue>(
        &self,
        shard: u16,
        question: &Pipeline,
    ) -> Result<T, StoreError> {
        let slot = slot_of(&self.layout.due(shard));
        Ok(self.nodes.ask(slot, Lane::Reads, question).await?)
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
        let found = try_join_all((0..self.layout.shards()).map(|shard| {
            let mut pipeline = Pipeline::with_capacity(1);
            let names = pipeline.cmd("ZRANGE").arg(self.layout.names(shard)).arg(&from).arg(&to);
            names.arg("BYLEX").arg("LIMIT").arg(0).arg(share);
            async move {
                let (names,): (Vec<String>,) = self.read_of(shard, &pipeline).await?;
                Ok::<_, StoreError>(names)
            }
        }))
        .await?;
        let found = found.into_iter().map(|names| names.into_iter().map(layout::stored_key).collect());
        Ok(layout::merge(found.collect::<Result<_, _>>()?, share, limit))
    }

    /// Those of the documents that are (still) there, in the order of their keys.
    async fn load(&self, names: &[Key]) -> Result<Vec<Document>, StoreError> {
        let mut of_shard: Vec<Vec<&Key>> = vec![Vec::new(); usize::from(self.layout.shards())];
        for name in names {
            of_shard[usize::from(self.layout.shard_of(name))].push(name);
        }
        let shards = (0..).zip(of_shard).filter(|(_, names)| !names.is_empty());
        let found = try_join_all(shards.map(|(shard, names)| {
            let mut pipeline = Pipeline::with_capacity(1);
            pipeline.cmd("MGET").arg(names.iter().map(|name| self.layout.document(name)).collect::<Vec<_>>());
            async move {
                let (values,): (Vec<Option<Vec<u8>>>,) = self.read_of(shard, &pipeline).await?;
                Ok::<_, StoreError>(names.into_iter().zip(values))
            }
        }))
        .await?;
        let mut page = Vec::with_capacity(names.len());
        for (name, value) in found.into_iter().flatten() {
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
        let (time, value): (Time, Option<Vec<u8>>) =
            self.read_of(self.layout.shard_of(key), &pipeline).await?;
        let value = value.map(|value| layout::decode(key, value)).transpose()?;
        Ok(Dated { value, store_now: timestamp(time) })
    }

    async fn swap(&self, change: Change) -> Result<Dated<Swapped>, StoreError> {
        change.check()?;
        let script = match change.room {
            Room::Needed => &self.needed,
            Room::Forced => &self.forced,
        };
        if let (Room::Needed, Some(cause)) = (change.room, self.watch.objection()) {
            return Err(StoreError::WritesRefused { cause });
        }
        let run = script.run(&self.nodes, &self.layout, &change, &self.confirming).await;
        let run = run.map_err(StoreError::from);
        if matches!(run, Err(StoreError::Unavailable { .. }))
            && let Ok(node) = self.nodes.node(slot_of(&self.layout.document(&change.key)))
        {
            // A primary that became a replica would go on to answer reads, from an ever older past.
            node.link(Lane::Reads).forget();
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

    async fn due(&self, shard: u16, skip: usize, limit: usize) -> Result<Dated<Due>, StoreError> {
        check_shard(shard, self.shards())?;
        let limit = limit.min(PAGE_MAX);
        let queue = self.layout.due(shard);
        let mut pipeline = Pipeline::new();
        let last = skip.saturating_add(limit);
        pipeline.cmd("TIME").cmd("ZRANGE").arg(&queue).arg(skip).arg(last).arg("WITHSCORES");
        let (time, first): (Time, Vec<(String, f64)>) = self.read_of(shard, &pipeline).await?;
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
        // Where entries were skipped, these need not be the first that are not due yet.
        if due.keys.len() > limit || skip > 0 {
            due.keys.truncate(limit);
            due.next = self.next_after(shard, store_now).await?;
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
        let feeds: Vec<_> = (0..self.layout.shards()).map(|shard| self.layout.feed(shard)).collect();
        let groups = match self.nodes.topology() {
            Topology::Standalone(_) | Topology::Sentinel { .. } => vec![feeds],
            Topology::Cluster { .. } => feeds.into_iter().map(|feed| vec![feed]).collect(),
        };
        Ok(feed::open(&self.nodes, groups, self.open.clone()))
    }
}

impl RedisStore {
    /// The first due time after `now`: asked for only when that was not seen on the way.
    async fn next_after(&self, shard: u16, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let mut pipeline = Pipeline::new();
        let next = pipeline
            .cmd("ZRANGE")
            .arg(self.layout.due(shard))
            .arg(format!("({}", now.0))
            .arg("+inf")
            .arg("BYSCORE");
        next.arg("LIMIT").arg(0).arg(1).arg("WITHSCORES");
        let (next,): (Vec<(String, f64)>,) = self.read_of(shard, &pipeline).await?;
        Ok(next.first().map(|(_, score)| layout::due_time(*score)))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("at", &self.nodes.topology().to_string()).finish_non_exhaustive()
    }
}

/// Seconds and microseconds, as `TIME` answers.
type Time = (u64, u64);

fn timestamp((seconds, micros): Time) -> Timestamp {
    Timestamp(seconds.saturating_mul(1000).saturating_add(micros / 1000))
}
