//! The values that labels can have, where they are ours to choose: few, and none of them from outside.

use crate::{
    audit::Name,
    domain::failure::{Class, Stage},
    seal::KekError,
    store::StoreError,
};
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use std::{collections::BTreeSet, fmt};

/// An enum whose values are written as the words beside them.
macro_rules! labels {
    ($($(#[$about:meta])* $name:ident { $($value:ident = $word:literal),* $(,)? })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(super) enum $name { $($value),* }

        impl $name {
            pub(super) const fn word(self) -> &'static str {
                match self { $(Self::$value => $word),* }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                self.word().encode(encoder)
            }
        }
    )*};
}

labels! {
    /// Of the store.
    Operation { Read = "read", Swap = "swap", Due = "due", Scan = "scan", Changes = "changes" }
    /// Why the store did not do it. Nothing where it did.
    StoreFailure {
        Nothing = "",
        Unavailable = "unavailable",
        WritesRefused = "writes_refused",
        Full = "full",
        Unreadable = "unreadable",
        Refused = "refused",
        Unusable = "unusable",
    }
    /// Of the key-encryption key's owner.
    KekOperation { Present = "present", Wrap = "wrap", Unwrap = "unwrap", Probe = "probe" }
    /// Why it did not.
    KekFailure {
        Nothing = "",
        Unavailable = "unavailable",
        Refused = "refused",
        Misbehaved = "misbehaved",
        Unknown = "unknown_key",
        Broken = "broken",
        Keyset = "keyset",
    }
    /// What was spent.
    Grant { Stored = "stored", OneTime = "one_time" }
    /// What an answer was taken for.
    Outcome {
        Ok = "ok",
        NotSent = "not_sent",
        Suspect = "suspect",
        Client = "client",
        Configuration = "configuration",
        Throttled = "throttled",
        Down = "down",
        Ambiguous = "ambiguous",
        Malformed = "malformed",
        Policy = "policy",
        Timeout = "timeout",
    }
    /// Whether the disk did as it was told.
    Synced { Ok = "ok", Failed = "failed" }
    /// What came of looking into memory.
    Look { Current = "current", Doubtful = "doubtful", Missing = "missing" }
    /// What came of a claim.
    ClaimOutcome {
        Won = "won",
        Busy = "busy",
        Moved = "moved",
        Held = "held",
        Ended = "ended",
    }
    /// The point that a token was past.
    Past { Soft = "soft", Hard = "hard" }
}

impl StoreFailure {
    pub(super) fn of(err: &StoreError) -> Self {
        match err {
            StoreError::Unavailable { .. } => Self::Unavailable,
            StoreError::WritesRefused { .. } => Self::WritesRefused,
            StoreError::Full => Self::Full,
            StoreError::Broken { .. }
            | StoreError::Forged { .. }
            | StoreError::RolledBack { .. }
            | StoreError::TooNew { .. } => Self::Unreadable,
            StoreError::Refused { .. }
            | StoreError::NoKeys { .. }
            | StoreError::Deleted { .. }
            | StoreError::KeyAway { .. }
            | StoreError::Contended { .. } => Self::Refused,
            StoreError::Unusable { .. } => Self::Unusable,
        }
    }
}

impl KekFailure {
    pub(super) fn of(err: &KekError) -> Self {
        match err {
            KekError::Unavailable { .. } => Self::Unavailable,
            KekError::Refused { .. } => Self::Refused,
            KekError::Misbehaved { .. } => Self::Misbehaved,
            KekError::Unknown { .. } => Self::Unknown,
            KekError::Broken => Self::Broken,
            KekError::Line { .. } | KekError::Keyset { .. } => Self::Keyset,
        }
    }
}

impl Grant {
    pub(super) const fn of(stage: Stage) -> Self {
        match stage {
            Stage::Steady => Self::Stored,
            Stage::Bootstrap => Self::OneTime,
        }
    }
}

impl Outcome {
    pub(super) const fn of(class: Class) -> Self {
        match class {
            Class::NotSent => Self::NotSent,
            Class::Suspect => Self::Suspect,
            Class::Client => Self::Client,
            Class::Configuration => Self::Configuration,
            Class::Throttled => Self::Throttled,
            Class::Down => Self::Down,
            Class::Ambiguous => Self::Ambiguous,
            Class::Malformed => Self::Malformed,
            Class::Policy => Self::Policy,
        }
    }
}

/// Words of other rooms, of which there are few. Should there be more than there is place for, they become one.
#[derive(Debug, Default)]
pub(super) struct Words(parking_lot::Mutex<BTreeSet<Box<str>>>);

/// Most words of one label.
const WORDS_MAX: usize = 64;
const OTHERS: &str = "_OTHER";

impl Words {
    pub(super) fn known(&self, name: &Name) -> Box<str> {
        self.word(name.as_str())
    }

    pub(super) fn word(&self, word: &str) -> Box<str> {
        let mut words = self.0.lock();
        if !words.contains(word) {
            if words.len() >= WORDS_MAX {
                return OTHERS.into();
            }
            words.insert(word.into());
        }
        word.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_rooms_are_bounded() {
        let words = Words::default();
        for number in 0..1000 {
            let name = Name::of(&number);
            let want = if number < WORDS_MAX { number.to_string() } else { OTHERS.to_owned() };
            assert_eq!(&*words.known(&name), want);
        }
        assert_eq!(&*words.word("7"), "7");
    }
}
