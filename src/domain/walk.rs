//! Work on keys that takes longer than a call: which it is, how far it is, and who is at it. Several replicas can take it
//! up, one after the other; what it does to a record is done by compare-and-set, so that two at once do no harm.

use super::names::Owner;
use crate::clock::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};
use uuid::Uuid;

/// Whoever is at a walk says so again within this time; after it another replica goes on.
pub const LEASE: Duration = Duration::from_secs(15);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// Records of one owner are sealed and stamped by a new version of its key.
    Reseal,
    /// Keys of all owners are wrapped by a new version of the root key.
    Rewrap,
    /// Connections of a tenant that was restored go back into the queue of what is due.
    Restore,
    /// A deleted tenant waits for the end of the time in which it can be restored, and goes.
    Purge,
}

/// Whose keys or records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Of {
    Root,
    Owner(Owner),
}

/// Whether it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shelf {
    Open,
    /// How the last one of its kind ended.
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WalkName {
    pub shelf: Shelf,
    pub task: Task,
    pub of: Of,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// For its time, or for every replica to know of it.
    Waiting,
    /// What there is to look at is being counted.
    Counting,
    Walking,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    pub name: WalkName,
    pub uid: Uuid,
    pub created_at: Timestamp,
    /// Key version that it moves to; 0 where it moves to none.
    pub target: u32,
    /// By the store's clock, as all that follow.
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// For work that has a time.
    pub due_at: Timestamp,
    pub stage: Stage,
    /// Key of the last document that was looked at.
    pub cursor: Option<String>,
    pub scanned: u64,
    /// Of those, how many are sealed by the target version now, whoever did it.
    pub resealed: u64,
    /// Of those, how many could not be opened.
    pub broken: u64,
    /// How many there were when they were counted.
    pub total: u64,
    /// How many records need each key version.
    pub records: BTreeMap<u32, u64>,
    pub lease: Option<WalkLease>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkLease {
    pub replica: String,
    pub until: Timestamp,
}

impl Task {
    pub const ALL: [Self; 4] = [Self::Reseal, Self::Rewrap, Self::Restore, Self::Purge];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Reseal => "reseal",
            Self::Rewrap => "rewrap",
            Self::Restore => "restore",
            Self::Purge => "purge",
        }
    }
}

impl Stage {
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Counting, Self::Walking];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Counting => "counting",
            Self::Walking => "walking",
        }
    }
}

impl WalkName {
    pub const fn open(task: Task, of: Of) -> Self {
        Self { shelf: Shelf::Open, task, of }
    }

    /// The same work on the other shelf.
    #[must_use]
    pub fn ended(&self) -> Self {
        Self { shelf: Shelf::Ended, ..self.clone() }
    }
}

impl Walk {
    pub fn new(task: Task, of: Of, target: u32, now: (Timestamp, Timestamp)) -> Self {
        let (here, store) = now;
        Self {
            name: WalkName::open(task, of),
            uid: here.uuid(),
            created_at: here,
            target,
            started_at: store,
            ended_at: None,
            due_at: store,
            stage: Stage::Waiting,
            cursor: None,
            scanned: 0,
            resealed: 0,
            broken: 0,
            total: 0,
            records: BTreeMap::new(),
            lease: None,
        }
    }

    /// Whether nobody else is at it.
    pub fn is_free_for(&self, replica: &str, now: Timestamp) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.replica == replica || lease.until <= now)
    }

    pub fn taken_by(&mut self, replica: &str, now: Timestamp) {
        self.lease = Some(WalkLease { replica: replica.to_owned(), until: now.plus(LEASE) });
    }

    /// From the beginning, with nothing looked at.
    pub fn at(&mut self, stage: Stage) {
        (self.stage, self.cursor) = (stage, None);
        (self.scanned, self.resealed, self.broken) = (0, 0, 0);
    }

    /// A record was found that needs these versions.
    pub fn counted(&mut self, needed: &BTreeSet<u32>) {
        self.total += 1;
        for version in needed {
            *self.records.entry(*version).or_default() += 1;
        }
    }

    /// All was looked at: what was moved needs the target, and only what is broken can need anything older. Says so
    /// whatever others wrote since it was counted.
    pub fn settled(&mut self) {
        for (version, left) in &mut self.records {
            *left = if *version == self.target { self.resealed } else { (*left).min(self.broken) };
        }
    }

    /// A record that needed these versions needs the target alone.
    pub fn moved(&mut self, needed: &BTreeSet<u32>) {
        (self.scanned, self.resealed) = (self.scanned + 1, self.resealed + 1);
        for version in needed.iter().filter(|version| **version != self.target) {
            let left = self.records.entry(*version).or_default();
            *left = left.saturating_sub(1);
        }
        if !needed.contains(&self.target) {
            *self.records.entry(self.target).or_default() += 1;
        }
    }
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Owner(owner) => owner.fmt(f),
        }
    }
}

impl fmt::Display for WalkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.task.word(), self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn walk() -> Walk {
        Walk::new(Task::Reseal, Of::Owner(Owner::Platform), 2, (Timestamp(1), NOW))
    }

    #[test]
    fn a_walk_is_one_replicas_until_its_lease_ends() {
        let mut walk = walk();
        assert!(walk.is_free_for("a", NOW) && walk.is_free_for("b", NOW));
        walk.taken_by("a", NOW);
        let end = NOW.plus(LEASE);
        for (replica, at, free) in [
            ("a", NOW, true),
            ("b", NOW, false),
            ("b", Timestamp(end.0 - 1), false),
            ("b", end, true),
            ("a", end, true),
        ] {
            assert_eq!(walk.is_free_for(replica, at), free, "{replica} {at}");
        }
    }

    #[test]
    fn what_is_moved_is_counted_where_it_goes() {
        let mut walk = walk();
        let records: [&[u32]; 4] = [&[1], &[1, 2], &[2], &[1, 7]];
        let needed = records.map(|needed| needed.iter().copied().collect::<BTreeSet<u32>>());
        for needed in &needed {
            walk.counted(needed);
        }
        assert_eq!((walk.total, &walk.records), (4, &[(1, 3), (2, 2), (7, 1)].into()));
        for needed in &needed {
            walk.moved(needed);
        }
        assert_eq!((walk.scanned, walk.resealed), (4, 4));
        assert_eq!(walk.records, [(1, 0), (2, 4), (7, 0)].into());
        // One that was made since.
        walk.moved(&[1].into());
        assert_eq!(walk.records, [(1, 0), (2, 5), (7, 0)].into(), "never below nothing");
    }

    #[test]
    fn what_others_moved_meanwhile_is_not_left_at_the_end() {
        for (broken, left) in [(0, 0), (1, 1), (5, 2)] {
            let mut walk = walk();
            for needed in [&[1], &[1], &[2]] {
                walk.counted(&needed.iter().copied().collect());
            }
            // Both were written under the target before the walk came to them.
            for _ in 0..3 {
                walk.moved(&[2].into());
            }
            walk.broken = broken;
            walk.settled();
            assert_eq!(walk.records, [(1, left), (2, 3)].into(), "{broken} broken");
        }
    }

    #[test]
    fn a_stage_begins_with_nothing_looked_at() {
        let mut walk =
            Walk { cursor: Some("x".into()), scanned: 3, resealed: 2, broken: 1, total: 9, ..walk() };
        walk.at(Stage::Walking);
        assert_eq!((walk.cursor, walk.scanned, walk.resealed, walk.broken), (None, 0, 0, 0));
        assert_eq!(walk.total, 9);
    }
}
