//! Connections that were asked for lately, as they were last loaded. The change feed tells which copies are
//! out of date; who asks for one of those gets it read again. Never decides whether a token may be served.

use crate::{
    domain::{connection::Connection, names::ConnectionName},
    store::{Version, ledger::Loaded},
};
use quick_cache::sync::Cache;
use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Most connections that are kept warm; some 2 KiB each.
const COPIES_MAX: usize = 250_000;
/// Over how many counters the news of all connections is spread.
const STRIPES: usize = 1024;

pub struct WarmCopies {
    copies: Cache<ConnectionName, Arc<Copy>>,
    /// Raised whenever changes may have been missed. Copies of an older epoch are in doubt.
    epoch: AtomicU64,
    /// No news comes in at all: every copy is in doubt, whatever its epoch.
    deaf: AtomicBool,
    /// Counts the news of each stripe of names: what was loaded while there was news is not kept.
    news: Box<[AtomicU64]>,
    hasher: RandomState,
    looks: [AtomicU64; 3],
}

/// How often somebody looked for a copy, by what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looks {
    pub current: u64,
    pub doubtful: u64,
    pub missing: u64,
}

struct Copy {
    loaded: Arc<Loaded<Connection>>,
    epoch: u64,
    /// The newest version that the feed has told of.
    told: AtomicU64,
}

/// A copy, and what it is worth.
pub enum Found {
    /// As new as the change feed knows.
    Current(Arc<Loaded<Connection>>),
    /// There is, or may be, something newer: read again, and use this only if that cannot be done.
    Doubtful(Arc<Loaded<Connection>>),
    Nothing,
}

/// Taken before a read or write whose result is to be kept: a change that is told meanwhile is not overlooked.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    epoch: u64,
    news: u64,
}

impl Default for WarmCopies {
    fn default() -> Self {
        Self {
            copies: Cache::new(COPIES_MAX),
            epoch: AtomicU64::new(0),
            deaf: AtomicBool::new(false),
            news: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            looks: Default::default(),
        }
    }
}

impl WarmCopies {
    pub fn get(&self, name: &ConnectionName) -> Found {
        let found = self.find(name);
        let of = match &found {
            Found::Current(_) => 0,
            Found::Doubtful(_) => 1,
            Found::Nothing => 2,
        };
        self.looks[of].fetch_add(1, Ordering::Relaxed);
        found
    }

    pub fn looks(&self) -> Looks {
        let [current, doubtful, missing] = self.looks.each_ref().map(|looks| looks.load(Ordering::Relaxed));
        Looks { current, doubtful, missing }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.copies.len()
    }

    fn find(&self, name: &ConnectionName) -> Found {
        let Some(copy) = self.copies.get(name) else { return Found::Nothing };
        let current = !self.deaf.load(Ordering::Acquire)
            && copy.epoch == self.epoch.load(Ordering::Acquire)
            && copy.told.load(Ordering::Acquire) <= copy.loaded.version.0;
        if current { Found::Current(copy.loaded.clone()) } else { Found::Doubtful(copy.loaded.clone()) }
    }

    pub fn watch(&self, name: &ConnectionName) -> Watch {
        Watch { epoch: self.epoch.load(Ordering::Acquire), news: self.stripe(name).load(Ordering::Acquire) }
    }

    /// Keeps what came of a read or write that began after `watch` was taken; nothing, if there was news of it
    /// meanwhile or something newer is here already.
    pub fn keep(&self, watch: Watch, loaded: &Arc<Loaded<Connection>>) {
        let name = &loaded.record.name;
        let newer = |copy: Arc<Copy>| {
            copy.loaded.record.uid == loaded.record.uid && copy.loaded.version > loaded.version
        };
        if self.copies.peek(name).is_some_and(newer) {
            return;
        }
        let copy = Copy { epoch: watch.epoch, told: AtomicU64::new(0), loaded: loaded.clone() };
        self.copies.insert(name.clone(), Arc::new(copy));
        // Looked at after the copy is in place: news that comes from here on finds the copy.
        if self.stripe(name).load(Ordering::Acquire) != watch.news {
            self.doubt(name);
        }
    }

    /// The feed told of a write.
    pub fn told(&self, name: &ConnectionName, version: Version) {
        self.stripe(name).fetch_add(1, Ordering::AcqRel);
        if let Some(copy) = self.copies.peek(name) {
            copy.told.fetch_max(version.0, Ordering::AcqRel);
        }
    }

    /// It is gone from the store.
    pub fn forget(&self, name: &ConnectionName) {
        self.stripe(name).fetch_add(1, Ordering::AcqRel);
        self.copies.remove(name);
    }

    /// Nothing is heard until the next [`doubt_all`](Self::doubt_all).
    pub fn deaf(&self) {
        self.deaf.store(true, Ordering::Release);
    }

    /// News comes in, and some may have been missed: every copy from before is in doubt.
    pub fn doubt_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.deaf.store(false, Ordering::Release);
    }

    fn doubt(&self, name: &ConnectionName) {
        if let Some(copy) = self.copies.peek(name) {
            copy.told.store(u64::MAX, Ordering::Release);
        }
    }

    fn stripe(&self, name: &ConnectionName) -> &AtomicU64 {
        let at = self.hasher.hash_one(name) % STRIPES as u64;
        &self.news[usize::try_from(at).unwrap_or(0)]
    }
}
