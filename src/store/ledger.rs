//! Typed records over documents: load, compare-and-set, list, and the three steps of an exchange. Every record
//! is authenticated when it is loaded and stamped when it is written, whatever the backend.

mod counting;
mod sifting;
mod steps;

pub use counting::Counted;
pub use sifting::Sifted;
pub use steps::Claims;

use super::{
    Change, Dated, Document, Documents, Due, Expect, Feed, Key, Room, StoreError, Swapped, Then, Version,
    claim::Claim,
    codec::{self, CodecError},
    records::{Opened, Record},
    remembered::{Age, Found, Remembered, Since},
};
use crate::{
    clock::{Clock, Timestamp},
    domain::{
        connection::{Connection, State},
        lifecycle::Moment,
        names::Owner,
    },
};
use async_trait::async_trait;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use steps::Counters;

/// How often a decision is made again because somebody else wrote first.
const CONFLICTS_MAX: u32 = 16;
/// Authenticates a record together with its place, under a key of its owner.
#[async_trait]
pub trait Stamper: Send + Sync {
    async fn stamp(&self, place: &Place<'_>, record: &[u8]) -> Result<Stamp, StoreError>;

    /// [`StoreError::Forged`] if the record is not what this deployment wrote in this place.
    async fn check(&self, place: &Place<'_>, record: &[u8], stamp: &Stamp) -> Result<(), StoreError>;
}

/// Where and whose a record is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub owner: &'a Owner,
    pub key: &'a Key,
    pub version: Version,
    pub opened: Opened,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    pub key_version: u32,
    pub tag: Vec<u8>,
}

/// A record as it was loaded, with what a conditional write needs.
#[derive(Debug, Clone)]
pub struct Loaded<R> {
    pub record: R,
    pub version: Version,
    format: u32,
    skew: Skew,
}

/// A store's clock minus ours, in milliseconds. Nodes of a cluster have clocks of their own.
type Skew = i64;

impl<R> Loaded<R> {
    /// What was written over this.
    #[must_use]
    pub fn written<N>(&self, record: N, version: Version) -> Loaded<N> {
        Loaded { record, version, format: codec::FORMAT, skew: self.skew }
    }
}

/// A part of a list.
#[derive(Debug)]
pub struct Listed<R> {
    pub items: Vec<Loaded<R>>,
    /// Where the next part begins; `None` at the end.
    pub next: Option<Key>,
}

/// How a typed conditional write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    Done(Version),
    /// Somebody else wrote first: load again and decide again.
    Conflict,
}

/// How asking for the right to exchange ended.
#[derive(Debug)]
pub enum Claimed {
    Yours(Box<Claim>),
    /// Somebody is at it until then (store's clock).
    Busy {
        until: Timestamp,
    },
    /// There is something newer than was seen.
    Moved(Box<Loaded<Connection>>),
    /// The provider is left alone until then (store's clock).
    Held {
        until: Timestamp,
    },
    /// No exchange in this state.
    Ended(State),
    /// There was nothing left to spend. That has just been written down.
    Over {
        before: State,
        now: Box<Loaded<Connection>>,
    },
}

/// How a commit ended.
#[derive(Debug)]
pub enum Committed {
    Done(Box<Loaded<Connection>>),
    /// Another answer of the same consent came first.
    Superseded(Box<Loaded<Connection>>),
    /// The consent ended meanwhile, or the connection is gone.
    Orphaned,
}

pub struct Ledger {
    documents: Arc<dyn Documents>,
    stamper: Arc<dyn Stamper>,
    clock: Arc<dyn Clock>,
    /// As of the last reply, of whatever node.
    skew: AtomicI64,
    remembered: Remembered,
    claims: Counters,
}

/// For an answer that is to be written down: an owner that was deleted meanwhile may be restored.
const FOR_AN_ANSWER: (Aged, Opened) = (Aged::Taken, Opened::Always);

/// Whether a record may be older than what was seen before.
#[derive(Clone, Copy)]
enum Aged {
    Refused,
    /// An answer to write down is compared with the record itself, and is newer in any case.
    Taken,
}

impl Ledger {
    pub fn new(documents: Arc<dyn Documents>, stamper: Arc<dyn Stamper>, clock: Arc<dyn Clock>) -> Self {
        Self {
            documents,
            stamper,
            clock,
            skew: AtomicI64::new(0),
            remembered: Remembered::default(),
            claims: Counters::default(),
        }
    }

    /// The present by both clocks.
    pub fn now(&self) -> Moment {
        self.moment(self.skew.load(Ordering::Relaxed))
    }

    /// The same, by the clock of the node that gave this record a moment ago: its lease and due times are of that clock,
    /// and another node may have answered since.
    pub fn now_of<R>(&self, loaded: &Loaded<R>) -> Moment {
        self.moment(loaded.skew)
    }

    fn moment(&self, skew: Skew) -> Moment {
        let here = self.clock.now();
        Moment { here, store: Timestamp(here.0.saturating_add_signed(skew)) }
    }

    fn dated<T>(&self, dated: Dated<T>) -> T {
        self.told(&dated);
        dated.value
    }

    fn told<T>(&self, dated: &Dated<T>) -> Skew {
        let skew = dated.store_now.0.cast_signed().wrapping_sub(self.clock.now().0.cast_signed());
        self.skew.store(skew, Ordering::Relaxed);
        skew
    }

    pub async fn read<R: Record>(&self, name: &R::Name) -> Result<Option<Loaded<R>>, StoreError> {
        self.read_as(name, (Aged::Refused, R::OPENED)).await
    }

    /// The same, also while its owner is deleted and can be restored.
    pub async fn read_always<R: Record>(&self, name: &R::Name) -> Result<Option<Loaded<R>>, StoreError> {
        self.read_as(name, (Aged::Refused, Opened::Always)).await
    }

    async fn read_as<R: Record>(
        &self,
        name: &R::Name,
        how: (Aged, Opened),
    ) -> Result<Option<Loaded<R>>, StoreError> {
        let (key, since) = (R::key_of(name)?, self.remembered.now());
        let dated = self.documents.read(&key).await?;
        let skew = self.told(&dated);
        let Some(document) = dated.value else { return Ok(None) };
        let loaded = self.open(name, &document, since, how).await?;
        Ok(Some(Loaded { skew, ..loaded }))
    }

    async fn open<R: Record>(
        &self,
        name: &R::Name,
        document: &Document,
        since: Since,
        (aged, opened): (Aged, Opened),
    ) -> Result<Loaded<R>, StoreError> {
        let broken =
            |err: CodecError| StoreError::Broken { key: document.key.to_string(), cause: err.to_string() };
        let envelope = codec::unwrap(&document.body).map_err(broken)?;
        let owner = R::owner_of(name);
        let place = Place { owner: &owner, key: &document.key, version: document.version, opened };
        let stamp = Stamp { key_version: envelope.stamp_key_version, tag: envelope.stamp };
        self.stamper.check(&place, &envelope.record, &stamp).await?;
        let record = R::decode(name, &envelope.record).map_err(|err| {
            if envelope.format > codec::FORMAT {
                StoreError::TooNew { key: document.key.to_string(), format: envelope.format }
            } else {
                broken(err)
            }
        })?;
        match (self.remembered.seen(&document.key, age(&record, document.version), since), aged) {
            (Found::Fits, _) | (Found::Older, Aged::Taken) => {}
            (Found::Older, Aged::Refused) => {
                return Err(StoreError::RolledBack { key: document.key.to_string() });
            }
        }
        let skew = self.skew.load(Ordering::Relaxed);
        Ok(Loaded { record, version: document.version, format: envelope.format, skew })
    }

    /// Writes a record that must not exist yet.
    pub async fn create<R: Record>(&self, record: &R) -> Result<Wrote, StoreError> {
        self.put(record, Expect::Absent, Room::Needed).await
    }

    /// Writes over what was loaded, unless somebody else did.
    pub async fn update<R: Record>(
        &self,
        loaded: &Loaded<R>,
        record: &R,
        room: Room,
    ) -> Result<Wrote, StoreError> {
        if loaded.format > codec::FORMAT {
            // Writing would drop what the newer program knows.
            let key = R::key_of(record.name())?.to_string();
            return Err(StoreError::TooNew { key, format: loaded.format });
        }
        self.put(record, Expect::At(loaded.version), room).await
    }

    async fn put<R: Record>(&self, record: &R, expect: Expect, room: Room) -> Result<Wrote, StoreError> {
        self.put_due(record, expect, room, record.due()).await
    }

    async fn put_due<R: Record>(
        &self,
        record: &R,
        expect: Expect,
        room: Room,
        due: Option<Timestamp>,
    ) -> Result<Wrote, StoreError> {
        let key = R::key_of(record.name())?;
        let owner = R::owner_of(record.name());
        let place = Place { owner: &owner, key: &key, version: expect.writes(), opened: Opened::Always };
        let bytes = record.encode();
        let stamp = self.stamper.stamp(&place, &bytes).await?;
        let body = codec::wrap(bytes, stamp.key_version, stamp.tag);
        let then = Then::Put { body, due };
        let wrote = self.swap(Change { key: key.clone(), expect, then, room }).await?;
        if let Wrote::Done(version) = wrote {
            self.remembered.wrote(&key, age(record, version));
        }
        Ok(wrote)
    }

    pub async fn delete<R: Record>(&self, loaded: &Loaded<R>) -> Result<Wrote, StoreError> {
        let key = R::key_of(loaded.record.name())?;
        let expect = Expect::At(loaded.version);
        let wrote =
            self.swap(Change { key: key.clone(), expect, then: Then::Delete, room: Room::Forced }).await?;
        if let Wrote::Done(version) = wrote {
            // What comes back from the dead is older than its end.
            self.remembered.wrote(&key, age(&loaded.record, version.next()));
        }
        Ok(wrote)
    }

    async fn swap(&self, change: Change) -> Result<Wrote, StoreError> {
        Ok(match self.dated(self.documents.swap(change).await?) {
            Swapped::Done(version) => Wrote::Done(version),
            Swapped::Conflict(_) => Wrote::Conflict,
        })
    }

    /// Loads, lets `change` decide, writes; again from the start when somebody else wrote first. `change`
    /// answers `Err` to end without writing.
    pub async fn amend<R: Record, E: From<StoreError>>(
        &self,
        name: &R::Name,
        missing: impl Fn() -> E,
        mut change: impl FnMut(&mut R, Moment) -> Result<(), E>,
    ) -> Result<Loaded<R>, E> {
        for _ in 0..CONFLICTS_MAX {
            let loaded = self.read::<R>(name).await?.ok_or_else(&missing)?;
            let mut record = loaded.record.clone();
            change(&mut record, self.now_of(&loaded))?;
            if let Wrote::Done(version) = self.update(&loaded, &record, Room::Needed).await? {
                return Ok(loaded.written(record, version));
            }
        }
        Err(contended::<R>(name).into())
    }

    /// Records whose key begins with `prefix`, after a key, in the order of their keys. What cannot be read is said in
    /// the log and passed over: one broken record must not hide all others.
    pub async fn list<R: Record>(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Listed<R>, StoreError> {
        let since = self.remembered.now();
        let documents = self.documents.scan(prefix, after, limit).await?;
        let next = documents.last().filter(|_| documents.len() == limit).map(|last| last.key.clone());
        let mut items = Vec::with_capacity(documents.len());
        for document in &documents {
            match self.open_found(document, since).await {
                Ok(loaded) => items.push(loaded),
                Err(lost @ StoreError::Unavailable { .. }) => return Err(lost),
                Err(StoreError::Deleted { .. }) => {}
                Err(err) => tracing::error!(cause = %err, "stored record is left out of a list"),
            }
        }
        Ok(Listed { items, next })
    }

    async fn open_found<R: Record>(
        &self,
        document: &Document,
        since: Since,
    ) -> Result<Loaded<R>, StoreError> {
        let name = R::name_of(&document.key).ok_or_else(|| StoreError::Broken {
            key: document.key.to_string(),
            cause: "key is not a name of its kind".into(),
        })?;
        self.open(&name, document, since, (Aged::Refused, R::OPENED)).await
    }

    /// The first key that begins with `prefix`, whether or not its record can be read.
    pub async fn first(&self, prefix: &str) -> Result<Option<Key>, StoreError> {
        Ok(self.documents.scan(prefix, None, 1).await?.pop().map(|document| document.key))
    }

    /// Removes a record that cannot be read, at whatever version it is.
    pub async fn purge<R: Record>(&self, name: &R::Name) -> Result<(), StoreError> {
        let key = R::key_of(name)?;
        if let Some(document) = self.dated(self.documents.read(&key).await?) {
            let expect = Expect::At(document.version);
            self.swap(Change { key, expect, then: Then::Delete, room: Room::Forced }).await?;
        }
        Ok(())
    }

    pub fn shards(&self) -> u16 {
        self.documents.shards()
    }

    pub async fn due(&self, shard: u16, skip: usize, limit: usize) -> Result<Due, StoreError> {
        Ok(self.dated(self.documents.due(shard, skip, limit).await?))
    }

    pub async fn changes(&self) -> Result<Box<dyn Feed>, StoreError> {
        self.documents.changes().await
    }
}

fn age<R: Record>(record: &R, version: Version) -> Age {
    let (uid, created_at) = record.born();
    Age { uid, created_at, version }
}

fn contended<R: Record>(name: &R::Name) -> StoreError {
    StoreError::Contended { name: name.to_string() }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
