//! Connections that were asked for lately, as they were last loaded. The change feed tells which copies are
//! out of date; who asks for one of those gets it read again. Never decides whether a token may be served.

use crate::{
    domain::{connection::Connection, names::ConnectionName},
    store::{Version, ledger::Loaded},
};
use quick_cache::sync::Cache;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Most connections that are kept warm; some 2 KiB each.
const COPIES_MAX: usize = 250_000;

pub struct WarmCopies {
    copies: Cache<ConnectionName, Arc<Copy>>,
    /// Raised whenever changes may have been missed. Copies of an older epoch are in doubt.
    epoch: AtomicU64,
    /// Changes that the feed has told, of whatever connection: who reads a connection that has no copy yet
    /// sees by it whether one may have been told meanwhile.
    tellings: AtomicU64,
}

struct Copy {
    loaded: Arc<Loaded<Connection>>,
    epoch: u64,
    /// The newest version that the feed has told of; handed on from copy to copy, so that none is overlooked.
    told: Arc<AtomicU64>,
}

/// A copy, and what it is worth.
pub enum Found {
    /// As new as the change feed knows.
    Current(Arc<Loaded<Connection>>),
    /// There is, or may be, something newer: read again, and use this only if that cannot be done.
    Doubtful(Arc<Loaded<Connection>>),
    Nothing,
}

/// Taken before a read, so that a change told during the read is not overlooked.
#[derive(Debug, Clone, Copy)]
pub struct Epoch {
    gaps: u64,
    tellings: u64,
}

impl Default for WarmCopies {
    fn default() -> Self {
        Self { copies: Cache::new(COPIES_MAX), epoch: AtomicU64::new(0), tellings: AtomicU64::new(0) }
    }
}

impl WarmCopies {
    pub fn get(&self, name: &ConnectionName) -> Found {
        let Some(copy) = self.copies.get(name) else { return Found::Nothing };
        let current = copy.epoch == self.epoch.load(Ordering::Acquire)
            && copy.told.load(Ordering::Acquire) <= copy.loaded.version.0;
        if current { Found::Current(copy.loaded.clone()) } else { Found::Doubtful(copy.loaded.clone()) }
    }

    pub fn epoch(&self) -> Epoch {
        Epoch { gaps: self.epoch.load(Ordering::Acquire), tellings: self.tellings.load(Ordering::SeqCst) }
    }

    /// Keeps what was read since `epoch` was taken, unless something newer is here already.
    pub fn keep(&self, epoch: Epoch, loaded: &Arc<Loaded<Connection>>) {
        let name = &loaded.record.name;
        let copy = |gaps, told| Arc::new(Copy { epoch: gaps, told, loaded: loaded.clone() });
        if let Some(present) = self.copies.peek(name) {
            if present.loaded.record.uid == loaded.record.uid && present.loaded.version > loaded.version {
                return;
            }
            self.copies.insert(name.clone(), copy(epoch.gaps, present.told.clone()));
            return;
        }
        let told = Arc::new(AtomicU64::new(0));
        self.copies.insert(name.clone(), copy(epoch.gaps, told.clone()));
        if self.tellings.load(Ordering::SeqCst) != epoch.tellings {
            // Told before there was a copy to note it on, perhaps of this one: it is read once more.
            self.copies.insert(name.clone(), copy(epoch.gaps.wrapping_sub(1), told));
        }
    }

    /// The feed told of a write.
    pub fn told(&self, name: &ConnectionName, version: Version) {
        self.tellings.fetch_add(1, Ordering::SeqCst);
        if let Some(copy) = self.copies.peek(name) {
            copy.told.fetch_max(version.0, Ordering::AcqRel);
        }
    }

    /// It is gone from the store.
    pub fn forget(&self, name: &ConnectionName) {
        self.copies.remove(name);
    }

    /// Changes may have been missed: every copy is in doubt.
    pub fn doubt_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}
