//! How new each record was when this process last saw it: what a store gives back may be authentic and yet old, and
//! only a memory outside of it can tell. Never says anything of a record that it has not seen; bounded, and gone with
//! the process.

use super::{Key, Version};
use crate::clock::Timestamp;
use parking_lot::Mutex;
use quick_cache::unsync::Cache;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use uuid::Uuid;

/// Most records that are remembered; some 200 bytes each.
const RECORDS_MAX: usize = 250_000;
/// How far the clocks of replicas may lie apart, when one makes a record anew that another has deleted.
const CLOCKS_APART: Duration = Duration::from_mins(5);

pub(super) struct Remembered {
    marks: Mutex<Cache<Key, Mark>>,
    /// Counts what was remembered.
    count: AtomicU64,
}

/// A point in this process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Since(u64);

/// Which state of which record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age {
    pub(super) uid: Uuid,
    pub(super) created_at: Timestamp,
    pub(super) version: Version,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    newest: Age,
    since: Since,
}

/// What is found, compared with what was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Fits,
    /// Something newer was here before the read began.
    Older,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { marks: Mutex::new(Cache::new(RECORDS_MAX)), count: AtomicU64::new(0) }
    }
}

impl Remembered {
    /// Taken before a read: what is remembered while it is under way is not held against its answer.
    pub(super) fn now(&self) -> Since {
        Since(self.count.load(Ordering::Acquire))
    }

    /// Judges what a read that began at `since` found, and remembers it.
    pub(super) fn seen(&self, key: &Key, found: Age, since: Since) -> Found {
        let mut marks = self.marks.lock();
        let known = marks.get(key).copied();
        let verdict = known.map_or(Found::Fits, |known| judge(known, found, since));
        let newer = |known: Mark| known.newest.uid == found.uid && known.newest.version >= found.version;
        if verdict == Found::Fits && !known.is_some_and(newer) {
            marks.insert(key.clone(), self.mark(found));
        }
        verdict
    }

    /// A write of ours took effect: whatever there was before, this is the newest.
    pub(super) fn wrote(&self, key: &Key, now: Age) {
        let mark = self.mark(now);
        self.marks.lock().insert(key.clone(), mark);
    }

    fn mark(&self, newest: Age) -> Mark {
        Mark { newest, since: Since(self.count.fetch_add(1, Ordering::AcqRel) + 1) }
    }
}

fn judge(known: Mark, found: Age, since: Since) -> Found {
    let newest = known.newest;
    let older = if newest.uid == found.uid {
        found.version < newest.version
    } else {
        // Another record of the same name: made anew, or one that was deleted long ago.
        found.created_at.plus(CLOCKS_APART) < newest.created_at
    };
    if older && known.since <= since { Found::Older } else { Found::Fits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(uid: u128, created_at: u64, version: u64) -> Age {
        Age {
            uid: Uuid::from_u128(uid),
            created_at: Timestamp::from_secs(created_at),
            version: Version(version),
        }
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn what_is_older_than_what_was_seen_is_told() {
        let before = age(1, 10_000, 5);
        let cases = [
            (age(1, 10_000, 4), Found::Older, "a version back"),
            (age(1, 10_000, 1), Found::Older, "the first version"),
            (age(1, 10_000, 5), Found::Fits, "the same"),
            (age(1, 10_000, 6), Found::Fits, "newer"),
            (age(2, 10_001, 1), Found::Fits, "made anew"),
            (age(2, 9_701, 1), Found::Fits, "made anew where the clock is 299 s behind"),
            (age(2, 9_699, 9), Found::Older, "one of the same name that is gone"),
        ];
        for (found, want, what) in cases {
            let memory = Remembered::default();
            assert_eq!(memory.seen(&key("a"), before, memory.now()), Found::Fits);
            assert_eq!(memory.seen(&key("a"), found, memory.now()), want, "{what}");
            assert_eq!(memory.seen(&key("b"), found, memory.now()), Found::Fits, "{what}, elsewhere");
            // What was refused once is refused again.
            assert_eq!(memory.seen(&key("a"), found, memory.now()), want, "{what}, again");
        }
    }

    #[test]
    fn a_slow_read_is_not_blamed_for_what_was_written_meanwhile() {
        let memory = Remembered::default();
        let began = memory.now();
        memory.wrote(&key("a"), age(1, 0, 7));
        assert_eq!(memory.seen(&key("a"), age(1, 0, 6), began), Found::Fits);
        assert_eq!(
            memory.seen(&key("a"), age(1, 0, 6), memory.now()),
            Found::Older,
            "and forgets nothing for it"
        );
    }

    #[test]
    fn an_own_write_counts_whatever_was_seen_before() {
        let memory = Remembered::default();
        assert_eq!(memory.seen(&key("a"), age(1, 0, 9), memory.now()), Found::Fits);
        memory.wrote(&key("a"), age(1, 0, 4));
        assert_eq!(memory.seen(&key("a"), age(1, 0, 4), memory.now()), Found::Fits);
        assert_eq!(memory.seen(&key("a"), age(1, 0, 3), memory.now()), Found::Older);
    }
}
