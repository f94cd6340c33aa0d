//! The keys in use: finds an owner's wrapped keys in the store, unlocks them, remembers them for a while; and
//! stamps and checks records with them. What a key does is the seal's; where it lies is decided here.

use crate::{
    clock::{Clock, Timestamp},
    domain::names::Owner,
    seal::{
        DeploymentId, Kek, KekError, KeyChain, KeyVersion, OwnerKeys, Root, RootChain, SealBroken, SealError,
        Stamp as Tag, Stamps,
    },
    store::{
        Change, Document, Documents, Expect, Key, Room, StoreError, Swapped, Then,
        ledger::{Place, Stamp, Stamper},
        record as pb,
        records::key_chain_key,
    },
};
use async_trait::async_trait;
use prost::Message;
use quick_cache::sync::Cache;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Most owners whose keys are held unlocked.
const OWNERS_MAX: usize = 100_000;
/// Unlocked keys are looked up again after this long.
const KEPT_FOR: Duration = Duration::from_hours(1);
/// Keys that do not fit a record are looked up again, at most this often: the owner may have been deleted
/// and made anew, or another replica may have rotated.
const RELOADED_EVERY: Duration = Duration::from_secs(1);
/// Where the root chain lies.
const ROOT: &str = "root";

pub struct Keyring {
    documents: Arc<dyn Documents>,
    clock: Arc<dyn Clock>,
    root: Root,
    unlocked: Cache<Owner, Unlocked>,
}

#[derive(Clone)]
struct Unlocked {
    keys: OwnerKeys,
    at: Timestamp,
}

/// The deployment's keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key-encryption key did not unlock the store's root key: it is another one than the store was made with.
    #[error(
        "the store's root key does not open with the keyset of keys.keyset_file: name the keyset that the store was made with"
    )]
    WrongKeyset,
    #[error(transparent)]
    Kek(KekError),
}

impl Keyring {
    /// Unlocks the deployment's root key; in an empty store, makes one.
    pub async fn open(
        documents: Arc<dyn Documents>,
        kek: &dyn Kek,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyringError> {
        let key = Key::new(ROOT)?;
        let root = loop {
            if let Some(document) = documents.read(&key).await?.value {
                let chain = decode_root(&document)?;
                break Root::unlock(kek, &chain).await.map_err(|err| match err {
                    SealError::Kek(KekError::Unknown { .. } | KekError::Broken) => KeyringError::WrongKeyset,
                    SealError::Kek(err) => KeyringError::Kek(err),
                    SealError::Broken(_) | SealError::TooLarge { .. } | SealError::Step(_) => {
                        KeyringError::WrongKeyset
                    }
                })?;
            }
            let (chain, root) = Root::create(kek, clock.now()).await.map_err(KeyringError::Kek)?;
            if let Swapped::Done(_) = put_new(&*documents, key.clone(), encode_root(&chain)).await? {
                break root;
            }
            // Another replica made one first.
        };
        let ring = Self { documents, clock, root, unlocked: Cache::new(OWNERS_MAX) };
        ring.create(&Owner::Platform).await?;
        Ok(ring)
    }

    /// Gives an owner its first key; one that it has already is kept.
    pub async fn create(&self, owner: &Owner) -> Result<(), StoreError> {
        let chain = self.root.new_chain(owner, self.clock.now());
        put_new(&*self.documents, key_chain_key(owner)?, encode_chain(&chain).encode_to_vec()).await?;
        Ok(())
    }

    /// Forgets an owner's keys: nothing that was sealed with them opens again, in any copy of the store.
    pub async fn destroy(&self, owner: &Owner) -> Result<(), StoreError> {
        let key = key_chain_key(owner)?;
        if let Some(document) = self.documents.read(&key).await?.value {
            let expect = Expect::At(document.version);
            self.documents.swap(Change { key, expect, then: Then::Delete, room: Room::Forced }).await?;
        }
        self.unlocked.remove(owner);
        Ok(())
    }

    /// The owner's keys. Local once they were looked up; while the store is away, the ones that were.
    pub async fn keys(&self, owner: &Owner) -> Result<OwnerKeys, StoreError> {
        let now = self.clock.now();
        match self.unlocked.get(owner) {
            Some(found) if now < found.at.plus(KEPT_FOR) => Ok(found.keys),
            Some(found) => match self.load(owner).await {
                Err(StoreError::Unavailable { .. }) => Ok(found.keys),
                loaded => loaded,
            },
            None => self.load(owner).await,
        }
    }

    async fn load(&self, owner: &Owner) -> Result<OwnerKeys, StoreError> {
        let key = key_chain_key(owner)?;
        let Some(document) = self.documents.read(&key).await?.value else {
            self.unlocked.remove(owner);
            return Err(StoreError::NoKeys { owner: owner.to_string() });
        };
        let forged = |_: SealBroken| StoreError::Forged { key: key.to_string() };
        let chain = decode_chain(&document)?;
        let keys = self.root.unlock_chain(owner, &chain).map_err(forged)?;
        self.unlocked.insert(owner.clone(), Unlocked { keys: keys.clone(), at: self.clock.now() });
        Ok(keys)
    }

    /// Newer keys than those that did not fit; `None` when they were looked up a moment ago.
    async fn reloaded(&self, owner: &Owner) -> Result<Option<OwnerKeys>, StoreError> {
        let now = self.clock.now();
        match self.unlocked.peek(owner) {
            Some(found) if now < found.at.plus(RELOADED_EVERY) => Ok(None),
            _ => self.load(owner).await.map(Some),
        }
    }
}

#[async_trait]
impl Stamper for Keyring {
    async fn stamp(&self, place: &Place<'_>, record: &[u8]) -> Result<Stamp, StoreError> {
        let tag = self.keys(place.owner).await?.stamp(place.key.as_str(), place.version.0, record);
        Ok(Stamp { key_version: tag.key_version, tag: tag.tag.to_vec() })
    }

    async fn check(&self, place: &Place<'_>, record: &[u8], stamp: &Stamp) -> Result<(), StoreError> {
        let forged = || StoreError::Forged { key: place.key.to_string() };
        let tag = Tag {
            key_version: stamp.key_version,
            tag: stamp.tag.as_slice().try_into().map_err(|_| forged())?,
        };
        let fits = |keys: &OwnerKeys| keys.check(place.key.as_str(), place.version.0, record, &tag);
        if fits(&self.keys(place.owner).await?).is_ok() {
            return Ok(());
        }
        match self.reloaded(place.owner).await? {
            Some(keys) => fits(&keys).map_err(|_| forged()),
            None => Err(forged()),
        }
    }
}

async fn put_new(documents: &dyn Documents, key: Key, body: Vec<u8>) -> Result<Swapped, StoreError> {
    let then = Then::Put { body, due: None };
    let change = Change { key, expect: Expect::Absent, then, room: Room::Needed };
    Ok(documents.swap(change).await?.value)
}

fn broken(key: &Key, cause: &str) -> StoreError {
    StoreError::Broken { key: key.to_string(), cause: cause.to_owned() }
}

fn encode_chain(chain: &KeyChain) -> pb::KeyChain {
    let version = |held: &KeyVersion| pb::KeyVersion {
        version: held.version,
        state: held.state.word().to_owned(),
        wrapped: held.wrapped.clone(),
        created_at: held.created_at.0,
    };
    pb::KeyChain {
        versions: chain.versions.iter().map(version).collect(),
        stamp_key_version: chain.stamp.key_version,
        stamp: chain.stamp.tag.to_vec(),
    }
}

fn chain_of(key: &Key, chain: pb::KeyChain) -> Result<KeyChain, StoreError> {
    let versions = chain.versions.into_iter().map(|held| {
        Ok(KeyVersion {
            version: held.version,
            state: held
                .state
                .parse()
                .map_err(|_| broken(key, "has a key state that this program does not know"))?,
            wrapped: held.wrapped,
            created_at: Timestamp(held.created_at),
        })
    });
    let tag = chain.stamp.as_slice().try_into().map_err(|_| broken(key, "has a stamp of a wrong length"))?;
    Ok(KeyChain {
        versions: versions.collect::<Result<_, StoreError>>()?,
        stamp: Tag { key_version: chain.stamp_key_version, tag },
    })
}

fn decode_chain(document: &Document) -> Result<KeyChain, StoreError> {
    let chain =
        pb::KeyChain::decode(&*document.body).map_err(|_| broken(&document.key, "is no key chain"))?;
    chain_of(&document.key, chain)
}

fn encode_root(root: &RootChain) -> Vec<u8> {
    pb::RootChain {
        deployment: root.deployment.0.as_bytes().to_vec(),
        chain: Some(encode_chain(&root.chain)),
    }
    .encode_to_vec()
}

fn decode_root(document: &Document) -> Result<RootChain, StoreError> {
    let wrong = || broken(&document.key, "is no root chain");
    let root = pb::RootChain::decode(&*document.body).map_err(|_| wrong())?;
    Ok(RootChain {
        deployment: DeploymentId(Uuid::from_slice(&root.deployment).map_err(|_| wrong())?),
        chain: chain_of(&document.key, root.chain.ok_or_else(wrong)?)?,
    })
}
