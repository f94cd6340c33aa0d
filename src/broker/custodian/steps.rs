//! The steps that a chain can take: what each makes of it, and what is on record before it is written.

use super::{Custodian, KeysError};
use crate::{
    access::Chain,
    broker::keys::{Changed, Next, RootNow},
    clock::Timestamp,
    domain::{kek_log::KekLog, names::Owner},
    seal::{KekKey, KeyChain, KeyState, Root, RootChain, SealError},
};
use async_trait::async_trait;

/// A step of an owner's chain, or of the root key's.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Prepare(u32),
    Activate(u32),
    Destroy(u32),
    /// Of an owner that is deleted, or served again.
    Shut(Option<Timestamp>),
    /// Of an owner that is gone.
    Shred,
    /// By the root key in use.
    Rewrap,
}

/// Root keys, wrapped by this key of the KEK.
pub(super) struct Rewrapping<'a> {
    pub(super) by: &'a KekKey,
    pub(super) log: &'a KekLog,
}

struct OfOwner<'a>(&'a Custodian, &'a Owner, Act);

struct OfRoot<'a>(&'a Custodian, Act);

struct OfKek<'a>(&'a Custodian, Rewrapping<'a>);

impl Custodian {
    pub(super) async fn step_of(&self, owner: &Owner, act: Act) -> Result<Changed, KeysError> {
        self.keys.change(owner, &OfOwner(self, owner, act)).await
    }

    pub(super) async fn step_of_root(&self, act: Act) -> Result<RootNow, KeysError> {
        self.keys.change_root(&OfRoot(self, act)).await
    }

    pub(super) async fn step_of_kek(&self, rewrapping: Rewrapping<'_>) -> Result<RootNow, KeysError> {
        self.keys.change_root(&OfKek(self, rewrapping)).await
    }
}

/// Whether a version is where a step begins; what was taken already is not taken again.
fn begins(now: &KeyChain, act: &Act) -> bool {
    let state = |version| now.version(version).map(|held| held.state);
    match *act {
        Act::Prepare(version) => state(version).is_none(),
        Act::Activate(version) => state(version) == Some(KeyState::Prepared),
        Act::Destroy(version) => state(version) == Some(KeyState::DecryptOnly),
        Act::Shut(at) => now.is_held() && now.shut_at.is_some() != at.is_some(),
        Act::Shred | Act::Rewrap => now.is_held(),
    }
}

/// What is to be on record of a step.
fn told(now: &KeyChain, act: &Act) -> Vec<(u32, KeyState)> {
    match *act {
        Act::Prepare(version) => vec![(version, KeyState::Prepared)],
        Act::Activate(version) => {
            let before = now.active().map(|active| (active.version, KeyState::DecryptOnly));
            before.into_iter().chain([(version, KeyState::Active)]).collect()
        }
        Act::Destroy(version) => vec![(version, KeyState::Destroyed)],
        Act::Shut(_) | Act::Rewrap => Vec::new(),
        Act::Shred => {
            let held = now.versions.iter().filter(|held| held.state.is_held());
            held.map(|held| (held.version, KeyState::Destroyed)).collect()
        }
    }
}

#[async_trait]
impl Next<KeyChain> for OfOwner<'_> {
    type Error = KeysError;

    async fn next(&self, root: &Root, now: &KeyChain, at: Timestamp) -> Result<Option<KeyChain>, KeysError> {
        let Self(custodian, owner, act) = self;
        if !begins(now, act) {
            return Ok(None);
        }
        let next = match *act {
            Act::Prepare(_) => root.prepare(owner, now, at)?,
            Act::Activate(version) => root.advance(owner, now, version, KeyState::Active, at)?,
            Act::Destroy(version) => root.advance(owner, now, version, KeyState::Destroyed, at)?,
            Act::Shut(shut_at) => root.shut(owner, now, shut_at).map_err(SealError::from)?,
            Act::Shred => root.shred(owner, now, at).map_err(SealError::from)?,
            Act::Rewrap => match root.rewrap_chain(owner, now).map_err(SealError::from)? {
                Some(next) => next,
                None => return Ok(None),
            },
        };
        custodian.note_all(&Chain::Of((*owner).clone()), &told(now, act)).await?;
        Ok(Some(next))
    }
}

#[async_trait]
impl Next<RootChain> for OfRoot<'_> {
    type Error = KeysError;

    async fn next(
        &self,
        root: &Root,
        now: &RootChain,
        at: Timestamp,
    ) -> Result<Option<RootChain>, KeysError> {
        let Self(custodian, act) = self;
        let kek = custodian.keys.kek();
        if !begins(&now.chain, act) {
            return Ok(None);
        }
        let next = match *act {
            Act::Prepare(_) => {
                let next = root.prepare_root(&**kek, now, at).await?;
                // What the KEK could not give back would be lost with this process.
                Root::unlock(&**kek, &next).await?;
                next
            }
            Act::Activate(version) => root.advance_root(now, version, KeyState::Active, at)?,
            Act::Destroy(version) => root.advance_root(now, version, KeyState::Destroyed, at)?,
            Act::Shut(_) | Act::Shred | Act::Rewrap => return Ok(None),
        };
        custodian.note_all(&Chain::Root, &told(&now.chain, act)).await?;
        Ok(Some(next))
    }
}

#[async_trait]
impl Next<RootChain> for OfKek<'_> {
    type Error = KeysError;

    async fn next(&self, root: &Root, now: &RootChain, _: Timestamp) -> Result<Option<RootChain>, KeysError> {
        let Self(custodian, Rewrapping { by, log }) = self;
        let old: Vec<_> = now.keks().into_keys().filter(|key| key != *by).collect();
        if old.is_empty() {
            return Ok(None);
        }
        let kek = custodian.keys.kek();
        let next = root.rewrap(&**kek, now).await?;
        // Nothing is given up before it is known that the new key gives back what it wrapped.
        Root::unlock(&**kek, &next).await?;
        let number = |key: &KekKey| log.find(key.kind.word(), &key.id).map_or(0, |seen| seen.version);
        let steps: Vec<_> = old.iter().map(|key| (number(key), KeyState::DecryptOnly)).collect();
        custodian.note_all(&Chain::Kek, &steps).await?;
        custodian.note_all(&Chain::Kek, &[(number(by), KeyState::Active)]).await?;
        Ok(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{KeyVersion, Stamp};

    fn chain(states: &[KeyState]) -> KeyChain {
        let version = |(version, &state)| KeyVersion {
            version,
            state,
            wrapped: vec![7],
            created_at: Timestamp(1),
            activated_at: None,
            destroyed_at: None,
        };
        let versions = (1..).zip(states).map(version).collect();
        KeyChain { versions, shut_at: None, revision: 0, stamp: Stamp { key_version: 1, tag: [0; 32] } }
    }

    #[test]
    fn a_step_that_was_taken_is_not_taken_again() {
        use KeyState::{Active, DecryptOnly, Destroyed, Prepared};
        let shut = KeyChain { shut_at: Some(Timestamp(2)), ..chain(&[Active]) };
        for (now, act, want) in [
            (chain(&[Active]), Act::Prepare(2), true),
            (chain(&[Active, Prepared]), Act::Prepare(2), false),
            (chain(&[Active, Prepared]), Act::Activate(2), true),
            (chain(&[DecryptOnly, Active]), Act::Activate(2), false),
            (chain(&[DecryptOnly, Active]), Act::Destroy(1), true),
            (chain(&[DecryptOnly, Active]), Act::Destroy(2), false),
            (chain(&[Destroyed, Active]), Act::Destroy(1), false),
            (chain(&[Active]), Act::Shut(Some(Timestamp(2))), true),
            (chain(&[Active]), Act::Shut(None), false),
            (shut.clone(), Act::Shut(Some(Timestamp(3))), false),
            (shut, Act::Shut(None), true),
            (chain(&[Destroyed]), Act::Shut(None), false),
            (chain(&[Active]), Act::Shred, true),
            (chain(&[Destroyed]), Act::Shred, false),
        ] {
            assert_eq!(begins(&now, &act), want, "{now:?} {act:?}");
        }
    }

    #[test]
    fn each_version_that_takes_a_step_is_on_record() {
        use KeyState::{Active, DecryptOnly, Destroyed, Prepared};
        let now = chain(&[Destroyed, DecryptOnly, Active, Prepared]);
        assert_eq!(told(&now, &Act::Activate(4)), [(3, DecryptOnly), (4, Active)]);
        assert_eq!(told(&now, &Act::Shred), [(2, Destroyed), (3, Destroyed), (4, Destroyed)]);
        assert_eq!(told(&now, &Act::Prepare(5)), [(5, Prepared)]);
        assert!(told(&now, &Act::Rewrap).is_empty(), "the key is the same");
    }
}
