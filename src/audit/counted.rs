//! Releases that are on record and happened again: counted in memory, spread over shards so that callers do not wait for
//! each other, bounded, and never lost but by a crash.

use super::event::{Release, Summary};
use crate::{clock::Timestamp, domain::names::ConnectionName};
use hashbrown::hash_table::{Entry, HashTable};
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use uuid::Uuid;

/// Parts that are locked one by one.
const SHARDS: usize = 64;
/// Tokens by callers that are remembered; a further one takes the place of another.
const TOKENS_MAX: usize = 128 * 1024;
/// Counts of those that had to make place, until they are written.
const CARRIED_MAX: usize = 16 * 1024;

/// Which token to whom.
#[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
pub(super) struct Which<'a> {
    pub(super) caller: &'a str,
    pub(super) connection: &'a ConnectionName,
    pub(super) family: Uuid,
    pub(super) generation: u64,
}

pub(super) struct Counted {
    shards: Box<[Mutex<HashTable<Known>>]>,
    known_max: usize,
    hasher: RandomState,
    carried: Mutex<Vec<Summary>>,
    carried_max: usize,
}

/// One token to one caller, on record.
struct Known {
    connection: ConnectionName,
    release: Release,
    /// Since it was last written down.
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
}

impl Known {
    fn is(&self, which: &Which<'_>) -> bool {
        let Release { caller, family, generation, .. } = &self.release;
        (*family, *generation) == (which.family, which.generation)
            && caller.as_str() == which.caller
            && self.connection == *which.connection
    }

    /// What has to be written down, which then is not counted any more.
    fn taken(&mut self) -> Option<Summary> {
        let count = std::mem::take(&mut self.count);
        let (first_at, last_at) = (self.first_at, self.last_at);
        (count > 0).then(|| Summary { release: self.release.clone(), count, first_at, last_at })
    }
}

impl Counted {
    pub(super) fn new() -> Self {
        Self::bounded(TOKENS_MAX, CARRIED_MAX)
    }

    fn bounded(known_max: usize, carried_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(HashTable::new())).collect(),
            known_max: (known_max / SHARDS).max(1),
            hasher: RandomState::new(),
            carried: Mutex::default(),
            carried_max,
        }
    }

    /// Counts the release if this token went to this caller before, and says whether it did.
    pub(super) fn again(&self, which: &Which<'_>, now: Timestamp) -> bool {
        let hash = self.hasher.hash_one(which);
        let mut shard = self.shard(hash).lock();
        let Some(known) = shard.find_mut(hash, |known| known.is(which)) else { return false };
        if known.count == 0 {
            known.first_at = now;
        }
        known.count += 1;
        known.last_at = now;
        true
    }

    /// Remembers what has just been put on record. Where there is no place for it, its next release gets a line too.
    pub(super) fn recorded(&self, which: &Which<'_>, release: Release, now: Timestamp) {
        let hash = self.hasher.hash_one(which);
        let mut shard = self.shard(hash).lock();
        if shard.len() >= self.known_max && shard.find(hash, |known| known.is(which)).is_none() {
            // The order is by a hash that nobody can foresee: any one will do.
            let Some(count) = shard.iter().next().map(|known| known.count) else { return };
            let mut carried = self.carried.lock();
            if count > 0 && carried.len() >= self.carried_max {
                return;
            }
            carried.extend(shard.extract_if(|_| true).next().and_then(|mut known| known.taken()));
        }
        let hash_of = |known: &Known| self.hasher.hash_one(known.which());
        match shard.entry(hash, |known| known.is(which), hash_of) {
            // Two callers' first releases at the same time: each has its line.
            Entry::Occupied(_) => {}
            Entry::Vacant(free) => {
                let connection = which.connection.clone();
                free.insert(Known { connection, release, count: 0, first_at: now, last_at: now });
            }
        }
    }

    /// Counts that wait already, to be written first; those that cannot be written come [`back`](Self::put_back).
    pub(super) fn carried(&self) -> Vec<Summary> {
        std::mem::take(&mut *self.carried.lock())
    }

    /// All other counts, as [`carried`](Self::carried). Forgets tokens that have expired.
    pub(super) fn drain(&self, now: Timestamp) -> Vec<Summary> {
        let mut drained = Vec::new();
        for shard in &self.shards {
            shard.lock().retain(|known| {
                drained.extend(known.taken());
                now < known.release.expires_at
            });
        }
        drained
    }

    pub(super) fn put_back(&self, summaries: Vec<Summary>) {
        self.carried.lock().extend(summaries);
    }

    /// Whether counts wait for want of place: time to write them.
    pub(super) fn is_pressed(&self) -> bool {
        self.carried.lock().len() > self.carried_max / 2
    }

    fn shard(&self, hash: u64) -> &Mutex<HashTable<Known>> {
        // The low bits choose the bucket within the table.
        let index = usize::try_from(hash >> 48).unwrap_or_default() % self.shards.len();
        &self.shards[index]
    }
}

impl Known {
    fn which(&self) -> Which<'_> {
        let Release { caller, family, generation, .. } = &self.release;
        Which {
            caller: caller.as_str(),
            connection: &self.connection,
            family: *family,
            generation: *generation,
        }
    }
}

#[cfg(test)]
#[path = "counted_tests.rs"]
mod tests;
