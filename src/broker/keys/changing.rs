//! Chains as they are in the store now, and their changes by compare-and-set. Asks no KEK but through the root.

use super::{Keyring, chains, forged};
use crate::{
    clock::Timestamp,
    domain::names::Owner,
    seal::{KeyChain, Root, SealBroken, SealError},
    store::{Change, Expect, Room, StoreError, Swapped, Then, Version, records::key_chain_key},
};
use async_trait::async_trait;

/// How often a change is tried again because somebody else wrote first.
const CONFLICTS_MAX: u32 = 16;

/// A chain as it was read, and found authentic.
#[derive(Debug, Clone)]
pub struct ChainNow {
    pub chain: KeyChain,
    pub version: Version,
    /// The store's clock.
    pub at: Timestamp,
}

/// What a change came to.
#[derive(Debug, Clone)]
pub enum Changed {
    Done(KeyChain),
    /// There was nothing to change.
    Same(KeyChain),
}

/// A change of a chain. It is asked again, with the chain as it is then, where somebody else wrote first.
#[async_trait]
pub trait Next<C>: Send + Sync {
    type Error: From<StoreError> + From<SealError> + Send;

    /// What comes after; `None`: nothing is to be changed.
    async fn next(&self, root: &Root, now: &C, at: Timestamp) -> Result<Option<C>, Self::Error>;
}

impl Changed {
    pub fn into_chain(self) -> KeyChain {
        match self {
            Self::Done(chain) | Self::Same(chain) => chain,
        }
    }
}

impl Keyring {
    /// The owner's chain as it lies in the store; `None`: there is none.
    pub async fn chain(&self, owner: &Owner) -> Result<Option<ChainNow>, StoreError> {
        let read = self.documents.read(&key_chain_key(owner)?).await?;
        let at = read.store_now;
        let Some(document) = read.value else { return Ok(None) };
        let chain = chains::decode_chain(&document)?;
        let mut root = self.root.load_full();
        if !root.root.holds_those_of(&chain) {
            // Another replica has rotated the root key.
            root = self.look_at_root().await?;
        }
        root.root.check_chain(owner, &chain).map_err(|SealBroken| forged(owner))?;
        Ok(Some(ChainNow { chain, version: document.version, at }))
    }

    /// Changes the owner's chain. `next` is given the root key in use, the chain and the store's clock; where it gives
    /// nothing, nothing is written.
    pub async fn change<N: Next<KeyChain>>(&self, owner: &Owner, next: &N) -> Result<Changed, N::Error> {
        let key = key_chain_key(owner)?;
        for _ in 0..CONFLICTS_MAX {
            let root = self.rooted(self.spread / 2).await?;
            let now = self.chain(owner).await?;
            let now = now.ok_or_else(|| StoreError::NoKeys { owner: owner.to_string() })?;
            let Some(next) = next.next(&root.root, &now.chain, now.at).await? else {
                return Ok(Changed::Same(now.chain));
            };
            let then = Then::Put { body: chains::encode_chain(&next), due: None };
            let expect = Expect::At(now.version);
            let written = self.documents.swap(Change { key: key.clone(), expect, then, room: Room::Needed });
            match written.await?.value {
                Swapped::Done(_) => {
                    self.told(&key);
                    return Ok(Changed::Done(next));
                }
                Swapped::Conflict(_) => {}
            }
        }
        Err(StoreError::Contended { name: key.to_string() }.into())
    }

    /// Takes the owner's chain away: a name that is free again.
    pub async fn forget(&self, owner: &Owner) -> Result<(), StoreError> {
        let key = key_chain_key(owner)?;
        if let Some(document) = self.documents.read(&key).await?.value {
            let expect = Expect::At(document.version);
            self.documents.swap(Change { key, expect, then: Then::Delete, room: Room::Forced }).await?;
        }
        self.unlocked.remove(owner);
        Ok(())
    }

    /// Chains that sort after an owner's, at most `limit`, each with its owner; what is no chain is left out.
    pub async fn chains(
        &self,
        after: Option<&crate::store::Key>,
        limit: usize,
    ) -> Result<Vec<(crate::store::Key, Option<(Owner, KeyChain)>)>, StoreError> {
        let prefix = format!("{}/", crate::store::records::KEYS);
        let documents = self.documents.scan(&prefix, after, limit).await?;
        let read = |document: crate::store::Document| {
            let owner = crate::store::records::owner_of_chain(&document.key);
            let chain = chains::decode_chain(&document).ok();
            (document.key, owner.zip(chain))
        };
        Ok(documents.into_iter().map(read).collect())
    }
}
