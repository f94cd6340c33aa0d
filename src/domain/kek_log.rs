//! The keys of the KEK that root keys were wrapped by, numbered in the order in which they were met: their owner has names
//! for them, and no numbers.

use crate::clock::Timestamp;
use std::fmt;
use uuid::Uuid;

/// There is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KekLogName;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekLog {
    pub uid: Uuid,
    pub created_at: Timestamp,
    /// Oldest first, versions from 1.
    pub keys: Vec<SeenKek>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenKek {
    pub version: u32,
    /// What owns it, as configuration spells it.
    pub kind: String,
    /// The owner's own id.
    pub id: String,
    pub seen_at: Timestamp,
    /// When root keys were first wrapped by it.
    pub activated_at: Option<Timestamp>,
    /// When it was noted that nothing needs it any more.
    pub retired_at: Option<Timestamp>,
}

impl KekLog {
    pub fn find(&self, kind: &str, id: &str) -> Option<&SeenKek> {
        self.keys.iter().find(|key| key.kind == kind && key.id == id)
    }

    /// The number of the next key that is met.
    pub fn next_version(&self) -> u32 {
        self.keys.last().map_or(1, |last| last.version.saturating_add(1))
    }

    /// Notes that root keys are wrapped by this key. One that was retired and is used again is in use.
    pub fn used(&mut self, kind: &str, id: &str, now: Timestamp) {
        let known = self.keys.iter_mut().find(|key| key.kind == kind && key.id == id);
        if let Some(known) = known {
            known.activated_at = known.activated_at.or(Some(now));
            known.retired_at = None;
            return;
        }
        self.keys.push(SeenKek {
            version: self.next_version(),
            kind: kind.to_owned(),
            id: id.to_owned(),
            seen_at: now,
            activated_at: Some(now),
            retired_at: None,
        });
    }
}

impl fmt::Display for KekLogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keyChains/kek")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_as_they_are_met_and_keep_their_number() {
        let mut log = KekLog { uid: Uuid::nil(), created_at: Timestamp(0), keys: Vec::new() };
        log.used("file", "a", Timestamp(1));
        log.used("transit", "a", Timestamp(2));
        log.keys[0].retired_at = Some(Timestamp(3));
        log.used("file", "a", Timestamp(4));
        let told: Vec<_> = log.keys.iter().map(|key| (key.version, key.kind.as_str())).collect();
        assert_eq!(told, [(1, "file"), (2, "transit")]);
        assert_eq!(log.keys[0].retired_at, None, "it is in use again");
        assert_eq!(log.keys[0].activated_at, Some(Timestamp(1)));
        assert_eq!(log.next_version(), 3);
    }
}
