//! Typed records over documents: load, compare-and-set, list, and the three steps of an exchange. Every record
//! is authenticated when it is loaded and stamped when it is written, whatever the backend.

use super::{
    Change, Dated, Document, Documents, Due, Expect, Feed, Key, Room, StoreError, Swapped, Then, Version,
    claim::Claim,
    codec::{self, CodecError},
    records::Record,
};
use crate::{
    clock::{Clock, Timestamp},
    domain::{
        attempt::{self, Ask, Claiming, Committing, Failing, Renewal, Seen},
        connection::{Attempt, Connection, State},
        failure::Failure,
        lifecycle::Moment,
        names::{ConnectionName, Owner},
        profile::Profile,
    },
};
use async_trait::async_trait;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

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
    /// No exchange in this state; or there was nothing left to spend, which was written down.
    Ended(State),
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
    /// Store's clock minus ours, in milliseconds, as of the last reply.
    skew: AtomicI64,
}

impl Ledger {
    pub fn new(documents: Arc<dyn Documents>, stamper: Arc<dyn Stamper>, clock: Arc<dyn Clock>) -> Self {
        Self { documents, stamper, clock, skew: AtomicI64::new(0) }
    }

    /// The present by both clocks.
    pub fn now(&self) -> Moment {
        let here = self.clock.now();
        Moment { here, store: Timestamp(here.0.saturating_add_signed(self.skew.load(Ordering::Relaxed))) }
    }

    fn dated<T>(&self, dated: Dated<T>) -> T {
        let skew = dated.store_now.0.cast_signed().wrapping_sub(self.clock.now().0.cast_signed());
        self.skew.store(skew, Ordering::Relaxed);
        dated.value
    }

    pub async fn read<R: Record>(&self, name: &R::Name) -> Result<Option<Loaded<R>>, StoreError> {
        let key = R::key_of(name)?;
        match self.dated(self.documents.read(&key).await?) {
            Some(document) => self.open(name, &document).await.map(Some),
            None => Ok(None),
        }
    }

    async fn open<R: Record>(&self, name: &R::Name, document: &Document) -> Result<Loaded<R>, StoreError> {
        let broken =
            |err: CodecError| StoreError::Broken { key: document.key.to_string(), cause: err.to_string() };
        let envelope = codec::unwrap(&document.body).map_err(broken)?;
        let owner = R::owner_of(name);
        let place = Place { owner: &owner, key: &document.key, version: document.version };
        let stamp = Stamp { key_version: envelope.stamp_key_version, tag: envelope.stamp };
        self.stamper.check(&place, &envelope.record, &stamp).await?;
        let record = R::decode(name, &envelope.record).map_err(|err| {
            if envelope.format > codec::FORMAT {
                StoreError::TooNew { key: document.key.to_string(), format: envelope.format }
            } else {
                broken(err)
            }
        })?;
        Ok(Loaded { record, version: document.version, format: envelope.format })
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
        let key = R::key_of(record.name())?;
        let owner = R::owner_of(record.name());
        let place = Place { owner: &owner, key: &key, version: expect.writes() };
        let bytes = record.encode();
        let stamp = self.stamper.stamp(&place, &bytes).await?;
        let body = codec::wrap(bytes, stamp.key_version, stamp.tag);
        self.swap(Change { key, expect, then: Then::Put { body, due: record.due() }, room }).await
    }

    pub async fn delete<R: Record>(&self, loaded: &Loaded<R>) -> Result<Wrote, StoreError> {
        let key = R::key_of(loaded.record.name())?;
        let expect = Expect::At(loaded.version);
        self.swap(Change { key, expect, then: Then::Delete, room: Room::Forced }).await
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
            change(&mut record, self.now())?;
            if let Wrote::Done(version) = self.update(&loaded, &record, Room::Needed).await? {
                return Ok(Loaded { record, version, format: codec::FORMAT });
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
        let documents = self.documents.scan(prefix, after, limit).await?;
        let next = documents.last().filter(|_| documents.len() == limit).map(|last| last.key.clone());
        let mut items = Vec::with_capacity(documents.len());
        for document in &documents {
            match self.open_found(document).await {
                Ok(loaded) => items.push(loaded),
                Err(lost @ StoreError::Unavailable { .. }) => return Err(lost),
                Err(err) => tracing::error!(cause = %err, "stored record is left out of a list"),
            }
        }
        Ok(Listed { items, next })
    }

    async fn open_found<R: Record>(&self, document: &Document) -> Result<Loaded<R>, StoreError> {
        let name = R::name_of(&document.key).ok_or_else(|| StoreError::Broken {
            key: document.key.to_string(),
            cause: "key is not a name of its kind".into(),
        })?;
        self.open(&name, document).await
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

    /// Asks for the right to spend a connection's grant. `attempt` becomes the open one if it is granted.
    pub async fn claim(
        &self,
        name: &ConnectionName,
        seen: Seen,
        ask: Ask,
        profile: &Profile,
        open: impl Fn(Moment) -> Attempt + Send + Sync,
    ) -> Result<Claimed, StoreError> {
        for _ in 0..CONFLICTS_MAX {
            let Some(loaded) = self.read::<Connection>(name).await? else {
                return Ok(Claimed::Ended(State::Revoked));
            };
            let now = self.now();
            let attempt = open(now);
            match attempt::claim(&loaded.record, seen, attempt.clone(), ask, profile, now) {
                Claiming::Claim(next) => {
                    if let Wrote::Done(version) = self.update_attempt(&loaded, &next, &attempt).await? {
                        let claim = Claim { connection: *next, attempt, version };
                        return Ok(Claimed::Yours(Box::new(claim)));
                    }
                }
                Claiming::Busy { until } => return Ok(Claimed::Busy { until }),
                Claiming::Moved => return Ok(Claimed::Moved(Box::new(loaded))),
                Claiming::Held { until } => return Ok(Claimed::Held { until }),
                Claiming::Ended(state) => return Ok(Claimed::Ended(state)),
                Claiming::PutOff(next) => {
                    if let Wrote::Done(_) = self.update(&loaded, &*next, Room::Forced).await? {
                        let until = next.due.unwrap_or(self.now().store);
                        return Ok(Claimed::Held { until });
                    }
                }
                Claiming::Nothing(next) => {
                    if let Wrote::Done(_) = self.update(&loaded, &*next, Room::Forced).await? {
                        return Ok(Claimed::Ended(next.state));
                    }
                }
            }
        }
        Err(contended::<Connection>(name))
    }

    /// Writes a claim. A reply that never came is settled by reading again: the attempt's id says whether
    /// the write happened.
    async fn update_attempt(
        &self,
        loaded: &Loaded<Connection>,
        next: &Connection,
        attempt: &Attempt,
    ) -> Result<Wrote, StoreError> {
        let lost = match self.update(loaded, next, Room::Needed).await {
            Err(lost @ StoreError::Unavailable { .. }) => lost,
            other => return other,
        };
        match self.read::<Connection>(&next.name).await {
            Ok(Some(found)) if found.record.attempt.as_ref().is_some_and(|open| open.id == attempt.id) => {
                Ok(Wrote::Done(found.version))
            }
            Ok(_) => Ok(Wrote::Conflict),
            Err(_) => Err(lost),
        }
    }

    /// Makes an answer the connection's present. Safe to call again after [`StoreError::Unavailable`]: an
    /// answer that was written is recognised. Never refused for want of memory.
    pub async fn commit(&self, claim: &Claim, renewal: &Renewal) -> Result<Committed, StoreError> {
        let name = &claim.connection.name;
        for _ in 0..CONFLICTS_MAX {
            let Some(loaded) = self.read::<Connection>(name).await? else { return Ok(Committed::Orphaned) };
            match attempt::commit(&loaded.record, renewal, self.now()) {
                Committing::Commit(next) => {
                    if let Wrote::Done(version) = self.update(&loaded, &*next, Room::Forced).await? {
                        let done = Loaded { record: *next, version, format: codec::FORMAT };
                        return Ok(Committed::Done(Box::new(done)));
                    }
                }
                Committing::Settled => return Ok(Committed::Done(Box::new(loaded))),
                Committing::Superseded => return Ok(Committed::Superseded(Box::new(loaded))),
                Committing::Orphaned => return Ok(Committed::Orphaned),
            }
        }
        Err(contended::<Connection>(name))
    }

    /// Closes the attempt without an answer. `None` when somebody took over or the connection is gone.
    pub async fn fail(
        &self,
        claim: &Claim,
        failure: &Failure,
        profile: &Profile,
    ) -> Result<Option<Loaded<Connection>>, StoreError> {
        let name = &claim.connection.name;
        for _ in 0..CONFLICTS_MAX {
            let Some(loaded) = self.read::<Connection>(name).await? else { return Ok(None) };
            match attempt::fail(&loaded.record, claim.attempt.id, failure, profile, self.now()) {
                Failing::Write(next) => {
                    if let Wrote::Done(version) = self.update(&loaded, &*next, Room::Forced).await? {
                        return Ok(Some(Loaded { record: *next, version, format: codec::FORMAT }));
                    }
                }
                Failing::Overtaken => return Ok(None),
            }
        }
        Err(contended::<Connection>(name))
    }

    pub fn shards(&self) -> u16 {
        self.documents.shards()
    }

    pub async fn due(&self, shard: u16, limit: usize) -> Result<Due, StoreError> {
        Ok(self.dated(self.documents.due(shard, limit).await?))
    }

    pub async fn changes(&self) -> Result<Box<dyn Feed>, StoreError> {
        self.documents.changes().await
    }
}

fn contended<R: Record>(name: &R::Name) -> StoreError {
    StoreError::Contended { name: name.to_string() }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
