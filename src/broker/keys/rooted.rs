//! The root key in use: unlocked at start, looked up again now and then, so that a new version is known here before it is
//! used anywhere. A running process asks the KEK for versions that are new to it only.

use super::{Keyring, Next, STRIPES, chains, put_new};
use crate::{
    clock::{Clock, Timestamp},
    domain::names::Owner,
    seal::{Kek, KekError, Outlook, Root, RootChain, SealError},
    store::{
        Change, Document, Documents, Expect, Key, Room, StoreError, Swapped, Then, Version,
        records::key_chain_key,
    },
};
use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use std::{
    hash::RandomState,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Where the root chain lies.
const ROOT: &str = "root";
/// How often a change is tried again because somebody else wrote first.
const CONFLICTS_MAX: u32 = 16;

pub struct Rooted {
    pub root: Root,
    pub chain: RootChain,
    version: Version,
    /// When the store was asked: this was true then.
    looked: Instant,
}

/// The root chain as it was read, with the keys unlocked.
pub struct RootNow {
    pub rooted: Arc<Rooted>,
    /// The store's clock.
    pub at: Timestamp,
}

/// The deployment's keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key-encryption key did not unlock the store's root key: it is another one than the store was made with.
    #[error(
        "the store's root key does not open with the configured KEK: name the one that the store was made with in \
         [keys], or add it as the previous one"
    )]
    WrongKek(#[source] KekError),
    /// The root key, or what is around it, is not what this deployment wrote.
    #[error("the store's root key chain does not hold: it was altered, or belongs to another deployment")]
    Forged,
    /// There are records, and no root key that they could be opened with: a new one would only hide that.
    #[error(
        "the store has records but no root key: restore the record `root` from a backup, or name an empty store"
    )]
    NoRoot,
    /// The KEK cannot be asked now. Asking again may help.
    #[error(transparent)]
    Kek(KekError),
}

impl Keyring {
    /// Unlocks the deployment's root key; in an empty store, makes one. `spread` is the time within which every replica
    /// knows of a change of keys, and the same for all.
    pub async fn open(
        documents: Arc<dyn Documents>,
        kek: Arc<dyn Kek>,
        clock: Arc<dyn Clock>,
        spread: Duration,
    ) -> Result<Self, KeyringError> {
        let key = Key::new(ROOT)?;
        let rooted = loop {
            let looked = Instant::now();
            if let Some(rooted) = unlocked(&*documents, &*kek).await? {
                break rooted;
            }
            // Another replica may have begun a moment ago: then its root is there by now.
            if !documents.scan("", None, 1).await?.is_empty() {
                if documents.read(&key).await?.value.is_some() {
                    continue;
                }
                return Err(KeyringError::NoRoot);
            }
            let (chain, root) = Root::create(&*kek, clock.now()).await.map_err(KeyringError::Kek)?;
            if let Swapped::Done(version) =
                put_new(&*documents, key.clone(), chains::encode_root(&chain)).await?
            {
                break Rooted { root, chain, version, looked };
            }
            // Another replica made one first.
        };
        let ring = Self::over((documents, kek, clock), spread, rooted);
        // Read first: a store that takes no writes just now refuses even one that would change nothing.
        if ring.documents.read(&key_chain_key(&Owner::Platform)?).await?.value.is_none() {
            ring.create(&Owner::Platform).await?;
        }
        Ok(ring)
    }

    /// The same for somebody who only looks: nothing is made. `None`: the store is empty.
    pub async fn look(
        documents: Arc<dyn Documents>,
        kek: Arc<dyn Kek>,
        clock: Arc<dyn Clock>,
        spread: Duration,
    ) -> Result<Option<Self>, KeyringError> {
        match unlocked(&*documents, &*kek).await? {
            Some(rooted) => Ok(Some(Self::over((documents, kek, clock), spread, rooted))),
            None if documents.scan("", None, 1).await?.is_empty() => Ok(None),
            None => Err(KeyringError::NoRoot),
        }
    }

    fn over(
        (documents, kek, clock): (Arc<dyn Documents>, Arc<dyn Kek>, Arc<dyn Clock>),
        spread: Duration,
        rooted: Rooted,
    ) -> Self {
        Self {
            documents,
            clock,
            kek,
            root: ArcSwap::from_pointee(rooted),
            root_look: tokio::sync::Mutex::default(),
            unlocked: Cache::new(super::OWNERS_MAX),
            looks: (0..STRIPES).map(|_| tokio::sync::Mutex::default()).collect(),
            hasher: RandomState::new(),
            spread,
            epoch: AtomicU64::new(0),
            deaf: AtomicBool::new(false),
        }
    }

    /// The root key, if the store was asked for it within `age`; else it is.
    pub(super) async fn rooted(&self, age: Duration) -> Result<Arc<Rooted>, StoreError> {
        let rooted = self.root.load_full();
        if rooted.looked.elapsed() <= age { Ok(rooted) } else { self.look_at_root().await }
    }

    /// To be called several times within [`spread`](Keyring::spread): what is new is unlocked before it is needed.
    pub async fn keep_up(&self) -> Result<(), StoreError> {
        self.rooted(self.spread / 4).await.map(drop)
    }

    pub(super) async fn look_at_root(&self) -> Result<Arc<Rooted>, StoreError> {
        self.root_now().await.map(|now| now.rooted)
    }

    /// The root chain as it lies in the store now.
    pub async fn root_now(&self) -> Result<RootNow, StoreError> {
        let _one = self.root_look.lock().await;
        let looked = Instant::now();
        let read = self.documents.read(&Key::new(ROOT)?).await?;
        let (at, known) = (read.store_now, self.root.load_full());
        let forged = || StoreError::Forged { key: ROOT.to_owned() };
        let document: Document = read.value.ok_or_else(forged)?;
        let chain = chains::decode_root(&document)?;
        if chain.deployment != known.chain.deployment {
            return Err(forged());
        }
        if chain.chain.is_behind(&known.chain.chain) {
            tracing::error!(
                known = known.chain.chain.revision,
                found = chain.chain.revision,
                "stored root key chain is older than it was before and is not used: after restoring a back-up start the \
                 brokers again, else look at who may write to the store"
            );
            return Err(StoreError::RolledBack { key: ROOT.to_owned() });
        }
        let root =
            Root::unlock_beside(&*self.kek, &chain, Some(&known.root)).await.map_err(|err| match err {
                SealError::Kek(err) => StoreError::KeyAway { cause: err.to_string() },
                SealError::Broken(_) | SealError::TooLarge { .. } | SealError::Step(_) => forged(),
            })?;
        let rooted = Arc::new(Rooted { root, chain, version: document.version, looked });
        self.root.store(rooted.clone());
        Ok(RootNow { rooted, at })
    }

    /// Whether a replica could start with these KEKs: asks them for all of the root key.
    pub async fn would_unlock(&self, kek: &dyn Kek) -> Result<(), KeyringError> {
        let now = self.root_now().await?;
        Root::unlock(kek, &now.rooted.chain).await.map(drop).map_err(|err| match err {
            SealError::Kek(err) => KeyringError::Kek(err),
            other => other.into(),
        })
    }

    /// Changes the root chain. Where `next` gives nothing, nothing is written.
    pub async fn change_root<N: Next<RootChain>>(&self, next: &N) -> Result<RootNow, N::Error> {
        let key = Key::new(ROOT)?;
        for _ in 0..CONFLICTS_MAX {
            let now = self.root_now().await?;
            let Some(next) = next.next(&now.rooted.root, &now.rooted.chain, now.at).await? else {
                return Ok(now);
            };
            let then = Then::Put { body: chains::encode_root(&next), due: None };
            let expect = Expect::At(now.rooted.version);
            let written = self.documents.swap(Change { key: key.clone(), expect, then, room: Room::Needed });
            match written.await?.value {
                Swapped::Done(_) => return Ok(self.root_now().await?),
                Swapped::Conflict(_) => {}
            }
        }
        Err(StoreError::Contended { name: ROOT.to_owned() }.into())
    }
}

/// The root key as it lies in the store; `None`: there is none.
async fn unlocked(documents: &dyn Documents, kek: &dyn Kek) -> Result<Option<Rooted>, KeyringError> {
    let looked = Instant::now();
    let Some(document) = documents.read(&Key::new(ROOT)?).await?.value else { return Ok(None) };
    let chain = chains::decode_root(&document)?;
    let root = Root::unlock(kek, &chain).await?;
    Ok(Some(Rooted { root, chain, version: document.version, looked }))
}

impl From<SealError> for KeyringError {
    fn from(err: SealError) -> Self {
        match err {
            SealError::Kek(err) => match err.outlook() {
                Outlook::Final => Self::WrongKek(err),
                Outlook::MayPass => Self::Kek(err),
            },
            SealError::Broken(_) | SealError::TooLarge { .. } | SealError::Step(_) => Self::Forged,
        }
    }
}
