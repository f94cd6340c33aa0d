//! The walk behind a rotation: looks at everything that an owner's keys seal, and seals anew what an older version sealed.
//! One batch after the other, at a bounded pace; where it is lies in the store, so that another replica can go on.

use super::{
    Custodian, KeysError,
    sealed::{Holds, needed, sealed_anew},
    steps::Act,
};
use crate::{
    access::Chain,
    domain::{
        audit::KeptAuditKey,
        client::{Client, Tenant},
        connection::Connection,
        kek_log::KekLog,
        names::Owner,
        walk::{Of, Stage, Walk},
    },
    seal::{KeyChain, Root},
    store::{
        Key, Room, StoreError,
        ledger::{Loaded, Sifted, Wrote},
        records::{Holding, Record, holdings, owner_of_chain},
    },
};
use futures_util::{StreamExt, stream};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long one replica is at one walk before it looks at the others.
const SLICE: Duration = Duration::from_secs(5);
/// How often it writes down where it is.
const WRITTEN_EVERY: Duration = Duration::from_secs(1);
/// Records that are looked at in one go: counted, and sealed anew.
const COUNTED_AT_ONCE: usize = 500;
const SEALED_AT_ONCE: usize = 64;
/// Writes under way at the same time.
const WRITES_AT_ONCE: usize = 8;
/// Counting reads only, and goes so much faster than sealing.
const COUNTING_FASTER: u32 = 20;
/// How often one record is tried again because somebody else wrote first.
const CONFLICTS_MAX: u32 = 16;

/// What became of one record.
enum Fate {
    /// It needs nothing but the target now; these it needed before.
    Moved(BTreeSet<u32>),
    Broken,
    /// Somebody deleted it.
    Gone,
}

/// A part of what there is to look at.
enum Part {
    Holding(Holding),
    Chains,
}

/// What one batch came to.
struct Batch {
    looked: usize,
    /// Key of the last one; `None`: there was none.
    last: Option<Key>,
    more: bool,
}

impl Part {
    fn prefix(&self) -> String {
        match self {
            Self::Holding(holding) => holding.prefix().to_owned(),
            Self::Chains => format!("{}/", crate::store::records::KEYS),
        }
    }
}

fn parts(of: &Of) -> Vec<Part> {
    match of {
        Of::Root => vec![Part::Chains],
        Of::Owner(owner) => holdings(owner).into_iter().map(Part::Holding).collect(),
    }
}

impl Custodian {
    /// Goes on with a walk for a while.
    pub(super) async fn slice(
        &self,
        mut walk: Loaded<Walk>,
        of: &Of,
        stop: &CancellationToken,
    ) -> Result<(), KeysError> {
        let (began, parts) = (Instant::now(), parts(of));
        let mut written = Instant::now();
        let mut record = walk.record.clone();
        if record.stage == Stage::Waiting {
            record.at(Stage::Counting);
        }
        let after = |record: &Walk| record.cursor.as_deref().and_then(|cursor| Key::new(cursor).ok());
        let under = |part: &Part, key: &Key| key.as_str().starts_with(&part.prefix());
        let mut at =
            after(&record).and_then(|key| parts.iter().position(|part| under(part, &key))).unwrap_or(0);
        loop {
            let Some(part) = parts.get(at) else {
                match record.stage {
                    Stage::Waiting | Stage::Counting => {
                        record.at(Stage::Walking);
                        at = 0;
                        continue;
                    }
                    Stage::Walking => return self.ended(walk, record).await,
                }
            };
            let from = after(&record).filter(|key| under(part, key));
            let started = Instant::now();
            let batch = self.batch(&mut record, part, from.as_ref()).await?;
            if let Some(last) = &batch.last {
                record.cursor = Some(last.to_string());
            }
            if !batch.more {
                at += 1;
            }
            let out_of_time = began.elapsed() >= SLICE || stop.is_cancelled();
            if out_of_time || written.elapsed() >= WRITTEN_EVERY {
                record.taken_by(&self.replica, self.ledger.now().store);
                if stop.is_cancelled() {
                    // Another replica need not wait for the end of the lease.
                    record.lease = None;
                }
                let Some(next) = self.wrote(&walk, record.clone()).await? else { return Ok(()) };
                (walk, written) = (next, Instant::now());
                if out_of_time {
                    return Ok(());
                }
            }
            let faster = if record.stage == Stage::Walking { 1 } else { COUNTING_FASTER };
            self.pause(batch.looked, faster, started, stop).await;
        }
    }

    /// So long that a second's records take a second.
    pub(super) async fn pause(&self, looked: usize, faster: u32, started: Instant, stop: &CancellationToken) {
        let per_second = f64::from(self.rules.records_per_second.max(1).saturating_mul(faster));
        #[expect(clippy::cast_precision_loss, reason = "a batch has some hundred records")]
        let takes = Duration::from_secs_f64(looked as f64 / per_second);
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(started + takes) => {}
        }
    }

    async fn batch(&self, walk: &mut Walk, part: &Part, after: Option<&Key>) -> Result<Batch, KeysError> {
        match part {
            Part::Chains => self.chains(walk, after).await,
            Part::Holding(Holding::Connections(prefix)) => self.of::<Connection>(walk, prefix, after).await,
            Part::Holding(Holding::Clients(prefix)) => self.of::<Client>(walk, prefix, after).await,
            Part::Holding(Holding::AuditKey(prefix)) => self.of::<KeptAuditKey>(walk, prefix, after).await,
            Part::Holding(Holding::KekLog(prefix)) => self.of::<KekLog>(walk, prefix, after).await,
            Part::Holding(Holding::Walks(prefix)) => self.of::<Walk>(walk, prefix, after).await,
            Part::Holding(Holding::Tenant(key)) => {
                // The one record of this name, and none whose name begins alike.
                // After a crash the walk may go on from here: it has been looked at then.
                let found = match after {
                    None => self.ledger.sifted::<Tenant>(&Key::new(key.as_str())?).await?,
                    Some(_) => None,
                };
                let last = found.as_ref().map(|found| found.key.clone());
                self.taken_in(walk, found.into_iter().collect()).await?;
                Ok(Batch { looked: 1, last, more: false })
            }
        }
    }

    async fn of<R: Holds>(
        &self,
        walk: &mut Walk,
        prefix: &str,
        after: Option<&Key>,
    ) -> Result<Batch, KeysError> {
        let limit = match walk.stage {
            Stage::Waiting | Stage::Counting => COUNTED_AT_ONCE,
            Stage::Walking => SEALED_AT_ONCE,
        };
        let found = self.ledger.sift::<R>(prefix, after, limit).await?;
        let last = found.last().map(|last| last.key.clone());
        let batch = Batch { looked: found.len(), last, more: found.len() == limit };
        // Its own record is written anew by every step.
        let own = Walk::key_of(&walk.name)?;
        self.taken_in(walk, found.into_iter().filter(|sifted| sifted.key != own).collect()).await?;
        Ok(batch)
    }

    async fn taken_in<R: Holds>(&self, walk: &mut Walk, found: Vec<Sifted<R>>) -> Result<(), KeysError> {
        match walk.stage {
            Stage::Waiting | Stage::Counting => {
                for sifted in &found {
                    walk.counted(&needed(sifted));
                }
            }
            Stage::Walking => {
                let target = walk.target;
                let mut fates = stream::iter(found)
                    .map(|sifted| self.seal_anew(sifted, target))
                    .buffer_unordered(WRITES_AT_ONCE);
                while let Some(fate) = fates.next().await {
                    note(walk, &fate?);
                }
            }
        }
        Ok(())
    }

    /// Writes a record anew under the target version, as it is. Whatever others write meanwhile stays.
    async fn seal_anew<R: Holds>(&self, mut sifted: Sifted<R>, target: u32) -> Result<Fate, KeysError> {
        let key = sifted.key.clone();
        let broken = |err: &dyn std::fmt::Display| {
            tracing::error!(record = %key, cause = %err,
                "stored record cannot be sealed anew and stays as it is: restore it from a back-up, or delete it");
            Ok(Fate::Broken)
        };
        for _ in 0..CONFLICTS_MAX {
            let needs = needed(&sifted);
            let loaded = match sifted.found {
                Ok(loaded) => loaded,
                Err(err) => return broken(&err),
            };
            if needs == BTreeSet::from([target]) {
                return Ok(Fate::Moved(needs));
            }
            let owner = R::owner_of(loaded.record.name());
            let keys = self.keys.sealing(&owner).await?;
            if keys.active_version() != target {
                let chain = Chain::Of(owner).to_string();
                return Err(KeysError::InProgress { chain, stage: "another version is in use by now" });
            }
            let anew = match sealed_anew(&loaded.record, &keys) {
                Ok(anew) => anew,
                Err(err) => return broken(&err),
            };
            match self.ledger.update(&loaded, &anew, Room::Needed).await {
                Ok(Wrote::Done(_)) => return Ok(Fate::Moved(needs)),
                Ok(Wrote::Conflict) => {}
                Err(err @ StoreError::TooNew { .. }) => return broken(&err),
                Err(err) => return Err(err.into()),
            }
            match self.ledger.sifted::<R>(&key).await? {
                Some(again) => sifted = again,
                None => return Ok(Fate::Gone),
            }
        }
        Err(StoreError::Contended { name: key.to_string() }.into())
    }

    /// The keys of all owners, under the new root key.
    async fn chains(&self, walk: &mut Walk, after: Option<&Key>) -> Result<Batch, KeysError> {
        let limit = match walk.stage {
            Stage::Waiting | Stage::Counting => COUNTED_AT_ONCE,
            Stage::Walking => SEALED_AT_ONCE,
        };
        let found = self.keys.chains(after, limit).await?;
        let last = found.last().map(|(key, _)| key.clone());
        let batch = Batch { looked: found.len(), last, more: found.len() == limit };
        match walk.stage {
            Stage::Waiting | Stage::Counting => {
                let needs = |chain: &Option<(Owner, KeyChain)>| {
                    chain.as_ref().map_or_else(BTreeSet::new, |(_, chain)| Root::wrapped_by(chain))
                };
                for (_, chain) in &found {
                    walk.counted(&needs(chain));
                }
            }
            Stage::Walking => {
                let mut fates = stream::iter(found)
                    .map(|(key, found)| self.wrap_anew(key, found.map(|(_, chain)| chain)))
                    .buffer_unordered(WRITES_AT_ONCE);
                while let Some(fate) = fates.next().await {
                    note(walk, &fate?);
                }
            }
        }
        Ok(batch)
    }

    async fn wrap_anew(&self, key: Key, found: Option<KeyChain>) -> Result<Fate, KeysError> {
        let (Some(owner), Some(found)) = (owner_of_chain(&key), found) else {
            tracing::error!(record = %key, "stored key chain cannot be read: restore it from a back-up");
            return Ok(Fate::Broken);
        };
        match self.step_of(&owner, Act::Rewrap).await {
            Ok(_) => Ok(Fate::Moved(Root::wrapped_by(&found))),
            Err(KeysError::Store(StoreError::NoKeys { .. })) => Ok(Fate::Gone),
            Err(
                err @ KeysError::Store(
                    StoreError::Unavailable { .. }
                    | StoreError::WritesRefused { .. }
                    | StoreError::KeyAway { .. },
                ),
            ) => Err(err),
            Err(err) => {
                tracing::error!(record = %key, cause = %err,
                    "stored key chain cannot be wrapped anew and stays as it is: restore it from a back-up");
                Ok(Fate::Broken)
            }
        }
    }

    /// All was looked at.
    async fn ended(&self, walk: Loaded<Walk>, mut record: Walk) -> Result<(), KeysError> {
        let now = self.ledger.now().store;
        (record.lease, record.cursor) = (None, None);
        record.ended_at = Some(now);
        record.settled();
        let ended = Walk { name: record.name.ended(), ..record.clone() };
        let wrote = match self.ledger.read::<Walk>(&ended.name).await? {
            Some(before) => self.ledger.update(&before, &ended, Room::Needed).await?,
            None => self.ledger.create(&ended).await?,
        };
        if let Wrote::Done(_) = wrote {
            self.ledger.delete(&walk).await?;
            let Walk { target, scanned, resealed, broken, .. } = ended;
            tracing::info!(walk = %ended.name, target, scanned, resealed, broken,
                "everything is sealed by the new key version: older ones can be retired");
        }
        Ok(())
    }
}

fn note(walk: &mut Walk, fate: &Fate) {
    match fate {
        Fate::Moved(needs) => walk.moved(needs),
        Fate::Broken => {
            walk.scanned += 1;
            walk.broken += 1;
        }
        Fate::Gone => walk.scanned += 1,
    }
}
