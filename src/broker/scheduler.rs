//! Starts the exchanges that nobody asked for. Every replica looks at every due queue; the claim decides who
//! gets which, and a queue shows a claimed connection again only when its lease is over. No leader.

mod crowd;

use super::refresher::{Found, Refresher};
use crate::{
    clock::Timestamp,
    domain::{authorization::Chore, connection::Connection, names::ConnectionName},
    store::{Key, PAGE_MAX, StoreError, ledger::Ledger, records::Record},
};
use crowd::{Crowd, Free};
use futures_util::stream::{self, TryStreamExt};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Most connections that one look at one queue reads, and starts.
const BATCH: usize = 64;
/// How many entries of a queue a look goes past, at most, that are not to be started by it: they hide what is behind them.
const DEPTH_MAX: usize = 4 * PAGE_MAX;
/// Most due records that are read at the same time.
const LOOKS_AT_ONCE: usize = 16;

pub struct Scheduler {
    pub ledger: Arc<Ledger>,
    pub refresher: Refresher,
    pub tick: Duration,
    /// Where this replica begins its round of the queues, so that replicas get in each other's way less.
    pub first_shard: u16,
}

/// What one round of the queues found.
struct Round {
    /// A queue had more than was taken up: there may be something to do at once.
    full: Fullness,
    /// The first outage that it met. Queues lie on different nodes: what one cannot give does not hold up the others.
    lost: Option<StoreError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fullness {
    Drained,
    More,
}

impl Scheduler {
    pub async fn run(self, shutdown: CancellationToken) {
        let (mut failing, crowd) = (false, Crowd::default());
        loop {
            let round = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                round = self.start_due(&crowd) => round,
            };
            let pause = match (round.full, &round.lost) {
                // What was started leaves the queue by its claim; a moment is enough for that.
                (Fullness::More, _) => self.tick / 4,
                (Fullness::Drained, None) => self.tick,
                (Fullness::Drained, Some(_)) => self.tick * 2,
            };
            match (&round.lost, failing) {
                (Some(err), false) => {
                    tracing::warn!(cause = %err, "due connections could not be read; trying again");
                }
                (None, true) => tracing::info!("due connections can be read again"),
                (Some(_), true) | (None, false) => {}
            }
            failing = round.lost.is_some();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn start_due(&self, crowd: &Crowd) -> Round {
        crowd.forget_who_left();
        let mut round = Round { full: Fullness::Drained, lost: None };
        let shards = self.ledger.shards();
        for turn in 0..shards {
            match self.look((self.first_shard + turn) % shards, crowd).await {
                Ok(Fullness::More) => round.full = Fullness::More,
                Ok(Fullness::Drained) => {}
                Err(lost) => round.lost = round.lost.or(Some(lost)),
            }
        }
        round
    }

    /// Goes past what is not to be started, page by page: it must not hide what is. What leaves the queue meanwhile makes
    /// others move up, and a few of them are seen by the next look only.
    async fn look(&self, shard: u16, crowd: &Crowd) -> Result<Fullness, StoreError> {
        // Where no claim was written a moment ago, one finds out whether any can be by now.
        let batch = if self.refresher.shunned().refuses(shard) { 1 } else { BATCH };
        let (mut seen, mut read, mut free) = (0, 0, Free::new());
        let mut limit = (BATCH + self.refresher.shunned().count()).min(PAGE_MAX);
        loop {
            let due = self.ledger.due(shard, seen, limit).await?;
            let ready = due.keys.iter().filter(|(key, at)| self.is_ready(key, *at, crowd, &mut free));
            let ready: Vec<_> = ready.take(batch - read).collect();
            // One after the other, the way to the store and back would be the limit of what can be renewed.
            stream::iter(ready.iter().map(Ok))
                .try_for_each_concurrent(LOOKS_AT_ONCE, |(key, at)| self.start(shard, key, *at, crowd))
                .await?;
            seen += due.keys.len();
            read += ready.len();
            if read == batch {
                return Ok(Fullness::More);
            }
            if due.keys.len() < limit || seen >= DEPTH_MAX {
                break;
            }
            limit = PAGE_MAX;
        }
        // Slots are given back all the time where exchanges go well.
        Ok(if read > 0 && !crowd.is_empty() { Fullness::More } else { Fullness::Drained })
    }

    fn is_ready(&self, key: &Key, due: Timestamp, crowd: &Crowd, free: &mut Free) -> bool {
        let Some(name) = Connection::name_of(key) else { return false };
        !self.refresher.is_under_way(&name)
            && !self.refresher.shunned().contains(&name)
            && crowd.lets_through(key, due, free, |provider| self.refresher.free_slots(provider))
    }

    /// Records are authenticated one by one: one that is broken is said and passed over. One whose provider has no free
    /// slot stays where it is: in line it would stand in the way of callers, and of what is due at other providers.
    async fn start(&self, shard: u16, key: &Key, due: Timestamp, crowd: &Crowd) -> Result<(), StoreError> {
        let Some(name) = Connection::name_of(key) else { return Ok(()) };
        match self.ledger.read::<Connection>(&name).await {
            Ok(Some(loaded)) => {
                let (record, now) = (&loaded.record, self.ledger.now_of(&loaded));
                let chore = record.chore(now);
                if chore == Chore::Close {
                    self.close(&name).await?;
                }
                if self.refresher.free_slots(&record.provider) == 0 {
                    crowd.join(key, due, &record.provider);
                    return Ok(());
                }
                let found = Found { shard, provider: record.provider.clone() };
                match chore {
                    Chore::Poll(id) => self.refresher.poll(&name, id, &found),
                    Chore::Close | Chore::Nothing => {}
                }
                if let Some(due) = record.due.filter(|due| *due <= now.store) {
                    let since = now.here.minus(due.until(now.store));
                    self.refresher.start_due(&name, record.seen(), since, &found);
                }
            }
            Ok(None) => {}
            Err(lost) if lost.is_outage() => return Err(lost),
            Err(StoreError::Deleted { .. }) => self.park(&name).await?,
            Err(err) => {
                tracing::error!(connection = %name, cause = %err, "due connection cannot be refreshed");
                self.refresher.shunned().shun(&name);
            }
        }
        Ok(())
    }

    /// Nothing of a deleted tenant is refreshed: out of the queue, it does not stand in anybody's way. Restoring the
    /// tenant puts it back; so what is taken out is a version that was there before the tenant was looked at, and not what
    /// restoring has written since.
    async fn park(&self, name: &ConnectionName) -> Result<(), StoreError> {
        let parked = match self.ledger.read_always::<Connection>(name).await {
            Ok(Some(loaded)) => match self.refresher.is_deleted(name).await {
                Ok(true) => self.ledger.park(&loaded).await.map(drop),
                Ok(false) => Ok(()),
                Err(err) => Err(err),
            },
            Ok(None) => Ok(()),
            Err(err) => Err(err),
        };
        match parked {
            Ok(()) => Ok(()),
            Err(StoreError::WritesRefused { cause }) => {
                tracing::debug!(connection = %name, cause, "connection of a deleted tenant could not be put aside yet");
                Ok(())
            }
            Err(lost) if lost.is_outage() => Err(lost),
            Err(err) => {
                tracing::error!(connection = %name, cause = %err, "connection of a deleted tenant cannot be put aside");
                self.refresher.shunned().shun(name);
                Ok(())
            }
        }
    }

    /// Writes down that an authorization ran out of time, or left no word.
    async fn close(&self, name: &ConnectionName) -> Result<(), StoreError> {
        let gone = || StoreError::Contended { name: name.to_string() };
        let closed = self.ledger.amend(name, gone, |record: &mut Connection, now| {
            record.close_authorization(now);
            Ok(())
        });
        match closed.await {
            Ok(_) => Ok(()),
            Err(lost @ StoreError::Unavailable { .. }) => Err(lost),
            Err(err) => {
                tracing::debug!(connection = %name, cause = %err, "authorization could not be closed yet");
                Ok(())
            }
        }
    }
}
