//! Chains of wrapped keys, as they lie in the store, and the steps that a version may take. Plain data and pure
//! rules: no key is in the clear here.

use super::{SealBroken, envelope::frame, keys::DeploymentId, keys::Stamp};
use crate::clock::Timestamp;
use aws_lc_rs::digest;
use std::fmt::{self, Write as _};

/// Most versions that one chain holds, the destroyed ones included.
pub const VERSIONS_MAX: usize = 1000;

/// An owner's keys, wrapped by the root key. The stamp is the root's, over all the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChain {
    /// Oldest first; exactly one is active, unless all are destroyed.
    pub versions: Vec<KeyVersion>,
    /// Since when nothing of the owner is served: it was deleted, and may be restored until its keys are destroyed.
    pub shut_at: Option<Timestamp>,
    /// Counts the changes of the chain: an older state of it is known by that.
    pub revision: u64,
    pub stamp: Stamp,
}

/// The deployment's root keys, wrapped by the KEK and stamped by the root key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootChain {
    pub deployment: DeploymentId,
    pub chain: KeyChain,
}

#[derive(Clone, PartialEq, Eq)]
pub struct KeyVersion {
    /// Counts from 1 and is never used again.
    pub version: u32,
    pub state: KeyState,
    /// The key as its parent wrapped it; empty once destroyed.
    pub wrapped: Vec<u8>,
    pub created_at: Timestamp,
    /// `None`: it was not, or it was active from the beginning.
    pub activated_at: Option<Timestamp>,
    pub destroyed_at: Option<Timestamp>,
}

/// What a version may be used for. Steps: `Prepared` → `Active` → `DecryptOnly` → `Destroyed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Made known, so that every replica can open with it before one seals with it.
    Prepared,
    /// Seals and opens; one of a chain is.
    Active,
    /// Opens what it sealed; nothing new is sealed with it.
    DecryptOnly,
    /// Gone: what it sealed is lost for good.
    Destroyed,
}

/// A step that the chain does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The version is in a state from which this one is not reached; load the chain again and look.
    #[error("key version {version} is {from:?}, from which {to:?} is not reached")]
    NotFrom { version: u32, from: KeyState, to: KeyState },
    #[error("the chain has no key version {version}")]
    Unknown { version: u32 },
    #[error("the chain holds {VERSIONS_MAX} key versions and takes no more")]
    Full,
}

impl std::str::FromStr for KeyState {
    type Err = SealBroken;

    fn from_str(word: &str) -> Result<Self, SealBroken> {
        [Self::Prepared, Self::Active, Self::DecryptOnly, Self::Destroyed]
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or(SealBroken)
    }
}

impl KeyState {
    /// How the state is written wherever it is authenticated.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::DecryptOnly => "decrypt_only",
            Self::Destroyed => "destroyed",
        }
    }

    /// Whether there are still bytes to unwrap.
    pub const fn is_held(self) -> bool {
        match self {
            Self::Prepared | Self::Active | Self::DecryptOnly => true,
            Self::Destroyed => false,
        }
    }
}

impl KeyVersion {
    pub(super) fn first(wrapped: Vec<u8>, now: Timestamp) -> Self {
        Self::new(1, KeyState::Active, wrapped, now)
    }

    pub(super) fn prepared(version: u32, wrapped: Vec<u8>, now: Timestamp) -> Self {
        Self::new(version, KeyState::Prepared, wrapped, now)
    }

    fn new(version: u32, state: KeyState, wrapped: Vec<u8>, now: Timestamp) -> Self {
        Self { version, state, wrapped, created_at: now, activated_at: None, destroyed_at: None }
    }

    /// Since when it has been the one that seals, or was; `None`: it never was.
    pub fn active_since(&self) -> Option<Timestamp> {
        match (self.activated_at, self.version, self.state) {
            (Some(at), _, _) => Some(at),
            (None, 1, KeyState::Active | KeyState::DecryptOnly | KeyState::Destroyed) => {
                Some(self.created_at)
            }
            (None, _, _) => None,
        }
    }
}

impl KeyChain {
    pub fn version(&self, version: u32) -> Option<&KeyVersion> {
        self.versions.iter().find(|held| held.version == version)
    }

    /// The one that seals; `None` where all are destroyed.
    pub fn active(&self) -> Option<&KeyVersion> {
        self.versions.iter().find(|held| held.state == KeyState::Active)
    }

    /// The one that will seal next.
    pub fn prepared(&self) -> Option<&KeyVersion> {
        self.versions.iter().find(|held| held.state == KeyState::Prepared)
    }

    /// When a version stopped being the one that seals: when the one after it began. `None`: it seals, or is yet to.
    pub fn left_at(&self, version: u32) -> Option<Timestamp> {
        let later = self.versions.iter().filter(|held| held.version > version);
        later.filter_map(|held| held.activated_at).min()
    }

    /// Whether there is a key left that opens anything.
    pub fn is_held(&self) -> bool {
        self.versions.iter().any(|held| held.state.is_held())
    }

    /// The number that the next version gets.
    pub fn next_version(&self) -> Result<u32, StepError> {
        next_version(&self.versions)
    }

    /// Whether this is an older state of the same chain.
    pub fn is_behind(&self, known: &Self) -> bool {
        let birth = |chain: &Self| chain.versions.first().map(|first| (first.version, first.created_at));
        birth(self) == birth(known) && self.revision < known.revision
    }

    /// Changes with every change of the versions, and with nothing else.
    pub fn etag(&self) -> String {
        let mut framed = Vec::with_capacity(self.versions.len() * 64);
        for held in &self.versions {
            let (version, created_at) = (held.version.to_be_bytes(), held.created_at.0.to_be_bytes());
            frame(&mut framed, &[&version, held.state.word().as_bytes(), &created_at]);
        }
        let digest = digest::digest(&digest::SHA256, &framed);
        digest.as_ref()[..8].iter().fold(String::with_capacity(16), |mut text, byte| {
            // Writing into a text does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The bytes that a chain's stamp covers. What was added later is framed only where it is set, so that older chains keep
/// their stamps; each addition begins with a word of another length than a version's number.
pub(super) fn encoded(versions: &[KeyVersion], shut_at: Option<Timestamp>, revision: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(versions.len() * 512);
    for held in versions {
        let (version, created_at) = (held.version.to_be_bytes(), held.created_at.0.to_be_bytes());
        frame(&mut out, &[&version, held.state.word().as_bytes(), &held.wrapped, &created_at]);
        for (word, at) in [(&b"activated"[..], held.activated_at), (b"destroyed", held.destroyed_at)] {
            if let Some(at) = at {
                frame(&mut out, &[word, &at.0.to_be_bytes()]);
            }
        }
    }
    if let Some(at) = shut_at {
        frame(&mut out, &[b"shut at", &at.0.to_be_bytes()]);
    }
    if revision > 0 {
        frame(&mut out, &[b"revision", &revision.to_be_bytes()]);
    }
    out
}

/// The one active version; a chain with none or several is broken.
pub(super) fn active(versions: &[KeyVersion]) -> Result<u32, SealBroken> {
    let mut active = versions.iter().filter(|held| held.state == KeyState::Active);
    match (active.next(), active.next()) {
        (Some(held), None) => Ok(held.version),
        (None, _) | (Some(_), Some(_)) => Err(SealBroken),
    }
}

/// The number that the next version gets.
pub(super) fn next_version(versions: &[KeyVersion]) -> Result<u32, StepError> {
    if versions.len() >= VERSIONS_MAX {
        return Err(StepError::Full);
    }
    let last = versions.iter().map(|held| held.version).max().unwrap_or(0);
    last.checked_add(1).ok_or(StepError::Full)
}

/// The versions after one of them has taken the step to `to`. Whatever was active makes room for the new
/// active one, so that there is always exactly one.
pub(super) fn advanced(
    versions: &[KeyVersion],
    version: u32,
    to: KeyState,
    now: Timestamp,
) -> Result<Vec<KeyVersion>, StepError> {
    let mut after = versions.to_vec();
    let index = after.iter().position(|held| held.version == version);
    let index = index.ok_or(StepError::Unknown { version })?;
    let from = after[index].state;
    match (from, to) {
        (KeyState::Prepared, KeyState::Active) => {
            for held in after.iter_mut().filter(|held| held.state == KeyState::Active) {
                held.state = KeyState::DecryptOnly;
            }
            after[index].activated_at = Some(now);
        }
        (KeyState::Prepared | KeyState::DecryptOnly, KeyState::Destroyed) => after[index].destroy(now),
        (KeyState::Prepared, KeyState::Prepared | KeyState::DecryptOnly)
        | (KeyState::DecryptOnly, KeyState::Prepared | KeyState::Active | KeyState::DecryptOnly)
        | (KeyState::Active | KeyState::Destroyed, _) => {
            return Err(StepError::NotFrom { version, from, to });
        }
    }
    after[index].state = to;
    Ok(after)
}

/// The versions after all of them were destroyed, the active one too: of an owner that is gone.
pub(super) fn shredded(versions: &[KeyVersion], now: Timestamp) -> Vec<KeyVersion> {
    let mut after = versions.to_vec();
    for held in after.iter_mut().filter(|held| held.state.is_held()) {
        held.destroy(now);
    }
    after
}

impl KeyVersion {
    fn destroy(&mut self, now: Timestamp) {
        self.wrapped.clear();
        self.state = KeyState::Destroyed;
        self.destroyed_at = Some(now);
    }
}

impl fmt::Debug for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, state, wrapped, created_at, .. } = self;
        write!(f, "[version {version}, {state:?}, {} bytes wrapped, made {created_at}]", wrapped.len())
    }
}

#[cfg(test)]
mod tests {
    use super::KeyState::{Active, DecryptOnly, Destroyed, Prepared};
    use super::*;

    fn chain(states: &[KeyState]) -> Vec<KeyVersion> {
        let make = |(version, &state)| KeyVersion::new(version, state, vec![7], Timestamp::default());
        (1..).zip(states).map(make).collect()
    }

    const NOW: Timestamp = Timestamp(5000);

    fn whole(versions: Vec<KeyVersion>) -> KeyChain {
        let stamp = Stamp { key_version: 1, tag: [0; 32] };
        KeyChain { versions, shut_at: None, revision: 0, stamp }
    }

    fn states(versions: &[KeyVersion]) -> Vec<KeyState> {
        versions.iter().map(|held| held.state).collect()
    }

    #[test]
    fn each_state_is_read_from_the_word_that_it_is_written_as() {
        for state in [Prepared, Active, DecryptOnly, Destroyed] {
            assert_eq!(state.word().parse(), Ok(state));
        }
        assert_eq!("gone".parse::<KeyState>(), Err(SealBroken));
    }

    #[test]
    fn versions_are_found_by_their_number_and_by_what_they_are_for() {
        let numbers = |states: &[KeyState]| {
            let chain = whole(chain(states));
            let number = |found: Option<&KeyVersion>| found.map(|held| held.version);
            assert_eq!(number(chain.version(0)), None);
            assert_eq!(number(chain.version(2)), Some(2));
            (number(chain.active()), number(chain.prepared()), chain.is_held())
        };
        assert_eq!(numbers(&[DecryptOnly, Active, Prepared]), (Some(2), Some(3), true));
        assert_eq!(numbers(&[Active, Prepared]), (Some(1), Some(2), true));
        assert_eq!(numbers(&[Destroyed, Active]), (Some(2), None, true));
        assert_eq!(numbers(&[Destroyed, Destroyed]), (None, None, false));
    }

    #[test]
    fn a_version_is_shown_without_what_is_wrapped() {
        let shown = format!("{:?}", chain(&[Active])[0]);
        assert_eq!(shown, "[version 1, Active, 1 bytes wrapped, made 1970-01-01T00:00:00.000Z]");
    }

    #[test]
    fn a_version_takes_only_the_steps_of_its_life() {
        let all = [Prepared, Active, DecryptOnly, Destroyed];
        let allowed = [(Prepared, Active), (Prepared, Destroyed), (DecryptOnly, Destroyed)];
        for (from, to) in all.into_iter().flat_map(|from| all.map(|to| (from, to))) {
            let after = advanced(&chain(&[Active, from]), 2, to, NOW);
            if allowed.contains(&(from, to)) {
                assert_eq!(after.unwrap()[1].state, to);
            } else {
                assert_eq!(after, Err(StepError::NotFrom { version: 2, from, to }));
            }
        }
        assert_eq!(advanced(&chain(&[Active]), 2, Active, NOW), Err(StepError::Unknown { version: 2 }));
    }

    #[test]
    fn activating_a_version_leaves_exactly_one_active() {
        let after = advanced(&chain(&[Destroyed, DecryptOnly, Active, Prepared]), 4, Active, NOW).unwrap();
        assert_eq!(states(&after), [Destroyed, DecryptOnly, DecryptOnly, Active]);
        assert_eq!(active(&after), Ok(4));
    }

    #[test]
    fn a_destroyed_version_keeps_no_bytes_and_its_number_is_not_used_again() {
        let after = advanced(&chain(&[Active, Prepared]), 2, Destroyed, NOW).unwrap();
        assert!(after[1].wrapped.is_empty());
        assert_eq!(next_version(&after), Ok(3));
    }

    #[test]
    fn a_chain_remembers_when_its_versions_began_and_ended() {
        let mut after = whole(advanced(&chain(&[Active, Prepared]), 2, Active, NOW).unwrap());
        assert_eq!((after.left_at(1), after.left_at(2)), (Some(NOW), None));
        assert_eq!(after.versions[0].active_since(), Some(Timestamp::default()));
        assert_eq!(after.versions[1].active_since(), Some(NOW));
        after.versions = advanced(&after.versions, 1, Destroyed, Timestamp(6000)).unwrap();
        assert_eq!(after.versions[0].destroyed_at, Some(Timestamp(6000)));
        assert_eq!(whole(chain(&[Active, Prepared])).left_at(1), None);
        assert_eq!(whole(chain(&[Active, Prepared])).versions[1].active_since(), None);
    }

    #[test]
    fn shredding_leaves_no_bytes_of_any_version() {
        let before = advanced(&chain(&[DecryptOnly, Active, Prepared]), 1, Destroyed, NOW).unwrap();
        let after = whole(shredded(&before, Timestamp(6000)));
        assert_eq!(states(&after.versions), [Destroyed; 3]);
        assert!(after.versions.iter().all(|held| held.wrapped.is_empty()) && !after.is_held());
        let ends: Vec<_> = after.versions.iter().filter_map(|held| held.destroyed_at).collect();
        assert_eq!(ends, [NOW, Timestamp(6000), Timestamp(6000)], "what was destroyed before keeps its time");
        assert!(after.active().is_none());
    }

    #[test]
    fn every_field_is_in_what_is_stamped() {
        let plain = chain(&[Active, Prepared]);
        let mut seen = vec![encoded(&plain, None, 0)];
        let with = |change: fn(&mut KeyVersion)| {
            let mut versions = plain.clone();
            change(&mut versions[0]);
            encoded(&versions, None, 0)
        };
        seen.extend([
            encoded(&plain, Some(NOW), 0),
            encoded(&plain, None, 1),
            encoded(&plain, Some(NOW), 1),
            with(|held| held.version = 9),
            with(|held| held.state = DecryptOnly),
            with(|held| held.wrapped = vec![8]),
            with(|held| held.created_at = NOW),
            with(|held| held.activated_at = Some(NOW)),
            with(|held| held.destroyed_at = Some(NOW)),
        ]);
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn an_older_state_of_a_chain_is_known_and_another_chain_is_not_one() {
        let now = KeyChain { revision: 3, ..whole(chain(&[Active])) };
        let behind = |revision| KeyChain { revision, ..now.clone() }.is_behind(&now);
        assert_eq!([0, 2, 3, 4].map(behind), [true, true, false, false]);
        let mut anew = KeyChain { revision: 0, ..now.clone() };
        anew.versions[0].created_at = NOW;
        assert!(!anew.is_behind(&now));
    }

    #[test]
    fn an_etag_changes_with_the_versions_alone() {
        let etag = |versions: &[KeyVersion]| whole(versions.to_vec()).etag();
        let before = chain(&[Active, Prepared]);
        let mut wrapped_anew = before.clone();
        wrapped_anew[0].wrapped = vec![9];
        assert_eq!(etag(&before), etag(&wrapped_anew));
        assert_ne!(etag(&before), etag(&advanced(&before, 2, Active, NOW).unwrap()));
        assert_ne!(etag(&before), etag(&before[..1]));
        assert_eq!(etag(&before).len(), 16);
    }

    #[test]
    fn a_chain_without_exactly_one_active_version_is_broken() {
        for states in [&[][..], &[Prepared], &[Active, Active]] {
            assert_eq!(active(&chain(states)), Err(SealBroken));
        }
    }

    #[test]
    fn a_full_chain_takes_no_more_versions() {
        assert_eq!(next_version(&chain(&[Destroyed; VERSIONS_MAX])), Err(StepError::Full));
        assert_eq!(next_version(&chain(&[Destroyed; VERSIONS_MAX - 1])), Ok(1000));
    }
}
