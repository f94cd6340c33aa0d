//! Starts the exchanges that nobody asked for. Every replica looks at every due queue; the claim decides who
//! gets which, and a queue shows a claimed connection again only when its lease is over. No leader.

use super::refresher::Refresher;
use crate::{
    domain::{authorization::Chore, connection::Connection, names::ConnectionName},
    store::{Key, PAGE_MAX, StoreError, ledger::Ledger, records::Record},
};
use futures_util::stream::{self, TryStreamExt};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Most connections that one look at one queue starts.
const BATCH: usize = 64;
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
    /// A queue gave as much as was asked for: there may be more at once.
    full: Fullness,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fullness {
    Drained,
    More,
}

impl Scheduler {
    pub async fn run(self, shutdown: CancellationToken) {
        let mut failing = false;
        loop {
            let round = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                round = self.start_due() => round,
            };
            let pause = match round {
                // What was started leaves the queue by its claim; a moment is enough for that.
                Ok(Round { full: Fullness::More }) => self.tick / 4,
                Ok(Round { full: Fullness::Drained }) => self.tick,
                Err(_) => self.tick * 2,
            };
            match (&round, failing) {
                (Err(err), false) => {
                    tracing::warn!(cause = %err, "due connections could not be read; trying again");
                }
                (Ok(_), true) => tracing::info!("due connections can be read again"),
                (Err(_), true) | (Ok(_), false) => {}
            }
            failing = round.is_err();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn start_due(&self) -> Result<Round, StoreError> {
        let mut full = Fullness::Drained;
        let shards = self.ledger.shards();
        // Looks past what cannot be refreshed: it must not hide what can.
        let limit = (BATCH + self.refresher.shunned().count()).min(PAGE_MAX);
        for turn in 0..shards {
            let shard = (self.first_shard + turn) % shards;
            let due = self.ledger.due(shard, limit).await?;
            if due.keys.len() == limit {
                full = Fullness::More;
            }
            // One after the other, the way to the store and back would be the limit of what can be renewed.
            stream::iter(due.keys.iter().map(Ok))
                .try_for_each_concurrent(LOOKS_AT_ONCE, |(key, _)| self.start(key))
                .await?;
        }
        Ok(Round { full })
    }

    /// Records are authenticated one by one: one that is broken is said and passed over.
    async fn start(&self, key: &Key) -> Result<(), StoreError> {
        let Some(name) = Connection::name_of(key) else { return Ok(()) };
        if self.refresher.is_under_way(&name) || self.refresher.shunned().contains(&name) {
            return Ok(());
        }
        match self.ledger.read::<Connection>(&name).await {
            Ok(Some(loaded)) => {
                let now = self.ledger.now();
                match loaded.record.chore(now) {
                    Chore::Poll(id) => self.refresher.poll(&name, id),
                    Chore::Close => self.close(&name).await?,
                    Chore::Nothing => {}
                }
                if let Some(due) = loaded.record.due.filter(|due| *due <= now.store) {
                    let since = now.here.minus(due.until(now.store));
                    self.refresher.start_due(&name, loaded.record.seen(), since);
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
            Err(lost) if lost.is_outage() => Err(lost),
            Ok(()) => Ok(()),
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
            Err(lost) if lost.is_outage() => Err(lost),
            Err(err) => {
                tracing::debug!(connection = %name, cause = %err, "authorization could not be closed yet");
                Ok(())
            }
        }
    }
}
