//! Chains of wrapped keys, as they lie in the store, and the steps that a version may take. Plain data and pure
//! rules: no key is in the clear here.

use super::{SealBroken, envelope::frame, keys::DeploymentId, keys::Stamp};
use crate::clock::Timestamp;
use std::fmt;

/// Most versions that one chain holds, the destroyed ones included.
pub const VERSIONS_MAX: usize = 1000;

/// An owner's keys, wrapped by the root key. The stamp is the root's, over all the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChain {
    /// Oldest first; exactly one is active.
    pub versions: Vec<KeyVersion>,
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
        Self { version: 1, state: KeyState::Active, wrapped, created_at: now }
    }
}

/// The bytes that a chain's stamp covers.
pub(super) fn encoded(versions: &[KeyVersion]) -> Vec<u8> {
    let mut out = Vec::with_capacity(versions.len() * 512);
    for held in versions {
        let (version, created_at) = (held.version.to_be_bytes(), held.created_at.0.to_be_bytes());
        frame(&mut out, &[&version, held.state.word().as_bytes(), &held.wrapped, &created_at]);
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
        }
        (KeyState::Prepared | KeyState::DecryptOnly, KeyState::Destroyed) => after[index].wrapped.clear(),
        (KeyState::Prepared, KeyState::Prepared | KeyState::DecryptOnly)
        | (KeyState::DecryptOnly, KeyState::Prepared | KeyState::Active | KeyState::DecryptOnly)
        | (KeyState::Active | KeyState::Destroyed, _) => {
            return Err(StepError::NotFrom { version, from, to });
        }
    }
    after[index].state = to;
    Ok(after)
}

impl fmt::Debug for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, state, wrapped, created_at } = self;
        write!(f, "[version {version}, {state:?}, {} bytes wrapped, made {created_at}]", wrapped.len())
    }
}

#[cfg(test)]
mod tests {
    use super::KeyState::{Active, DecryptOnly, Destroyed, Prepared};
    use super::*;

    fn chain(states: &[KeyState]) -> Vec<KeyVersion> {
        let make = |(version, &state)| KeyVersion {
            version,
            state,
            wrapped: vec![7],
            created_at: Timestamp::default(),
        };
        (1..).zip(states).map(make).collect()
    }

    fn states(versions: &[KeyVersion]) -> Vec<KeyState> {
        versions.iter().map(|held| held.state).collect()
    }

    #[test]
    fn a_version_takes_only_the_steps_of_its_life() {
        let all = [Prepared, Active, DecryptOnly, Destroyed];
        let allowed = [(Prepared, Active), (Prepared, Destroyed), (DecryptOnly, Destroyed)];
        for (from, to) in all.into_iter().flat_map(|from| all.map(|to| (from, to))) {
            let after = advanced(&chain(&[Active, from]), 2, to);
            if allowed.contains(&(from, to)) {
                assert_eq!(after.unwrap()[1].state, to);
            } else {
                assert_eq!(after, Err(StepError::NotFrom { version: 2, from, to }));
            }
        }
        assert_eq!(advanced(&chain(&[Active]), 2, Active), Err(StepError::Unknown { version: 2 }));
    }

    #[test]
    fn activating_a_version_leaves_exactly_one_active() {
        let after = advanced(&chain(&[Destroyed, DecryptOnly, Active, Prepared]), 4, Active).unwrap();
        assert_eq!(states(&after), [Destroyed, DecryptOnly, DecryptOnly, Active]);
        assert_eq!(active(&after), Ok(4));
    }

    #[test]
    fn a_destroyed_version_keeps_no_bytes_and_its_number_is_not_used_again() {
        let after = advanced(&chain(&[Active, Prepared]), 2, Destroyed).unwrap();
        assert!(after[1].wrapped.is_empty());
        assert_eq!(next_version(&after), Ok(3));
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
