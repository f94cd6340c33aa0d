//! What is remembered, and how it changes: versioned documents with compare-and-set, a queue of what is due,
//! a feed of changes, ordered scans. A store decides nothing and never sees plaintext: decisions are made in
//! Rust on the loaded document and written back on condition that nobody else wrote first.

pub mod claim;
pub mod codec;
pub mod embedded;
pub mod ledger;
pub mod record;
pub mod records;
pub mod redis;
mod remembered;

use crate::clock::Timestamp;
use async_trait::async_trait;
use std::{fmt, time::Duration};

/// Largest body of a document, in bytes.
pub const BODY_MAX: usize = 256 * 1024;
/// Longest key, in bytes.
pub const KEY_MAX: usize = 256;
/// Most documents or due entries that one call returns.
pub const PAGE_MAX: usize = 1000;

/// Where a document lies: slash-separated words, the kind first, as `connection/acme/concur`.
/// Visible ASCII only. Scans go by prefix, in byte order.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

/// Counts the writes of a document. 1 is the first; no document has 0. A document that is made anew after
/// a delete counts from 1 again: what tells two such apart has to stand in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A document as it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub key: Key,
    pub version: Version,
    pub body: Vec<u8>,
}

/// An answer, with the store's clock at the moment it was given. Leases and due times are judged by this
/// clock, so that a replica whose own clock is wrong does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated<T> {
    pub value: T,
    pub store_now: Timestamp,
}

/// One conditional write: the document, its due entry and its change event together, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: Key,
    pub expect: Expect,
    pub then: Then,
    pub room: Room,
}

/// What must be there for the write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Absent,
    At(Version),
}

/// What is there afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// The new body. `due` replaces the document's entry in the due queue; `None` takes it out.
    /// The version becomes one more than the expected one (1 where it was absent).
    Put { body: Vec<u8>, due: Option<Timestamp> },
    /// Document and due entry are gone. Needs [`Expect::At`]: nothing cannot be deleted.
    Delete,
}

/// Whether a store that is at its memory limit may refuse the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Refused with [`StoreError::Full`] when the store is full: a claim must prove that there is room for its answer.
    Needed,
    /// Written even then: the answer of an exchange must never be lost for want of memory.
    Forced,
}

/// How a conditional write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// Written, with this version (for a delete: the version that was deleted).
    Done(Version),
    /// Somebody else wrote first; what is there now (`None`: nothing).
    Conflict(Option<Document>),
}

/// What is due, most overdue first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    pub keys: Vec<(Key, Timestamp)>,
    /// When the first entry that is not due yet will be; `None` if there is none in this shard.
    pub next: Option<Timestamp>,
}

/// What the change feed tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// This document was written at this version. Notices of one document come in the order of its writes;
    /// those of different documents in any.
    Changed { key: Key, version: Version },
    /// This document is gone. Made anew, it counts from 1 again, so no version could say it.
    Deleted { key: Key },
    /// Nothing is heard for now, as the connection is broken: nothing remembered can be trusted until the next
    /// `Gap` says that the feed hears again.
    Deaf,
    /// Notices may have been lost: everything remembered must be looked at again before it is trusted.
    /// Always the first notice of a feed, and again after each reconnect.
    Gap,
}

/// A subscription. Dropping it ends it.
#[async_trait]
pub trait Feed: Send {
    /// The next notice; waits for it. A feed heals itself: it reconnects with back-off and says `Gap`; it
    /// ends (`None`) only when its store is dropped.
    async fn next(&mut self) -> Option<Notice>;
}

/// The narrow waist: everything that a store has to be able to do.
#[async_trait]
pub trait Documents: Send + Sync {
    async fn read(&self, key: &Key) -> Result<Dated<Option<Document>>, StoreError>;

    /// Writes on condition. An error of kind [`StoreError::Unavailable`] leaves open whether it was written:
    /// read again to know.
    async fn swap(&self, change: Change) -> Result<Dated<Swapped>, StoreError>;

    /// How many due queues there are; at least 1, and fixed for the life of a deployment.
    fn shards(&self) -> u16;

    /// What is due in one shard at the store's own present, without the first `skip` entries, at most `limit`.
    /// Never more than [`PAGE_MAX`]; a shard that does not exist is [`StoreError::Refused`].
    async fn due(&self, shard: u16, skip: usize, limit: usize) -> Result<Dated<Due>, StoreError>;

    /// Documents whose key begins with `prefix` and sorts after `after`, in byte order, at most `limit`
    /// and [`PAGE_MAX`]. Fewer than that means that there are no more.
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;

    /// Starts telling what changes, everywhere in this store, by whatever replica.
    async fn changes(&self) -> Result<Box<dyn Feed>, StoreError>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store did not answer in time, or the connection broke. A write may or may not have happened.
    /// Check that Redis runs and is reachable, or that the data directory's disk works.
    #[error("store did not answer: {cause}")]
    Unavailable { cause: String },
    /// The store can be read and takes no writes at present: it misses replicas, or cannot save. Nothing was written.
    #[error("store takes no writes: {cause}")]
    WritesRefused { cause: String },
    /// The store is at its memory or disk limit. Nothing was written.
    #[error("store was full: raise its memory or disk limit")]
    Full,
    /// What came back is not what was written by any version of this program.
    #[error("stored document `{key}` is not readable: {cause}")]
    Broken { key: String, cause: String },
    /// The record is not what this deployment wrote in this place: somebody changed or moved it, or it is of
    /// another deployment. It is not used. Compare with a back-up; look at who may write to the store.
    #[error("stored document `{key}` is not authentic and is not used")]
    Forged { key: String },
    /// The record is authentic, and older than what this process has seen in its place: a back-up was restored, a
    /// replica of the store took over without the last writes, or somebody put it back. It is not used.
    #[error(
        "stored document `{key}` is older than it was before and is not used: after restoring a back-up start the brokers again, else look at who may write to the store"
    )]
    RolledBack { key: String },
    /// A newer version of the program wrote the record. Leave it to the newer replicas, or upgrade this one.
    #[error("stored document `{key}` has format {format}, which is newer than this program: upgrade it")]
    TooNew { key: String, format: u32 },
    /// The owner has no keys: its tenant does not exist, or was deleted.
    #[error("{owner} has no keys")]
    NoKeys { owner: String },
    /// The owner's tenant was deleted, and can be restored for now: nothing of it is used.
    #[error("{owner} was deleted")]
    Deleted { owner: String },
    /// A key is wrapped by a root key that this process has not unlocked yet, and the key-encryption key cannot be asked.
    #[error("a key cannot be unlocked now: {cause}")]
    KeyAway { cause: String },
    /// Others kept writing the same record first. Nothing was written.
    #[error("`{name}` was changed by others all the time: try again")]
    Contended { name: String },
    /// A key or body beyond the bounds of this module: a mistake of the caller.
    #[error("document `{key}` is refused: {cause}")]
    Refused { key: String, cause: String },
    /// The store cannot be used as it is configured; starting again does not help.
    #[error("store cannot be used: {cause}")]
    Unusable { cause: String },
}

impl StoreError {
    /// Whether the store is not to be had at present, for this: the same goes through once it is back.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::WritesRefused { .. })
    }

    /// Whether the same read by the same process fails the same way, until somebody does something about it.
    pub const fn lasts(&self) -> bool {
        match self {
            Self::Forged { .. }
            | Self::RolledBack { .. }
            | Self::Broken { .. }
            | Self::TooNew { .. }
            | Self::NoKeys { .. }
            | Self::Refused { .. }
            | Self::Unusable { .. } => true,
            Self::Unavailable { .. }
            | Self::WritesRefused { .. }
            | Self::Full
            | Self::Deleted { .. }
            | Self::KeyAway { .. }
            | Self::Contended { .. } => false,
        }
    }
}

impl Key {
    pub fn new(key: impl Into<Box<str>>) -> Result<Self, StoreError> {
        let key = key.into();
        let well_formed = (1..=KEY_MAX).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_graphic() && b != b'{' && b != b'}');
        if well_formed {
            Ok(Self(key))
        } else {
            Err(StoreError::Refused {
                key: key.chars().filter(char::is_ascii_graphic).take(KEY_MAX).collect(),
                cause: format!("keys are 1 to {KEY_MAX} visible ASCII characters without braces"),
            })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Change {
    /// Refuses what no store takes: a body beyond [`BODY_MAX`], a delete that expects nothing. Every store
    /// asks this before it writes.
    pub fn check(&self) -> Result<(), StoreError> {
        let cause = match (&self.then, self.expect) {
            (Then::Put { body, .. }, _) if body.len() > BODY_MAX => {
                format!("its body has {} bytes, the bound is {BODY_MAX}", body.len())
            }
            (Then::Delete, Expect::Absent) => "a delete has to name the version it deletes".to_owned(),
            (Then::Put { .. }, Expect::Absent | Expect::At(_)) | (Then::Delete, Expect::At(_)) => {
                return Ok(());
            }
        };
        Err(StoreError::Refused { key: self.key.to_string(), cause })
    }
}

/// Refuses a shard that a store does not have.
fn check_shard(shard: u16, shards: u16) -> Result<(), StoreError> {
    if shard < shards {
        return Ok(());
    }
    Err(StoreError::Refused {
        key: format!("due/{shard}"),
        cause: format!("shards are numbered 0 to {}", shards.saturating_sub(1)),
    })
}

impl Version {
    pub const FIRST: Self = Self(1);

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Expect {
    /// The version that a [`Then::Put`] under this condition gets.
    pub const fn writes(self) -> Version {
        match self {
            Self::Absent => Version::FIRST,
            Self::At(version) => version.next(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a store call may take before it is given up as [`StoreError::Unavailable`].
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);
