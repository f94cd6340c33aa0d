//! The keys in use: finds an owner's wrapped keys in the store, unlocks them, remembers them for a while; and
//! stamps and checks records with them. What a key does is the seal's; where it lies is decided here.
//!
//! Who opens may do so with keys that were looked up an hour ago: a version that is not among them is looked up when it is
//! met. Who seals may not: what is sealed by a version that is destroyed meanwhile would be lost. A rotation takes
//! [`Keyring::spread`] before each of its steps, and whoever seals has looked within half of it.

mod chains;
mod changing;
mod rooted;

pub use changing::{ChainNow, Changed, Next};
pub use rooted::{KeyringError, RootNow};

use crate::{
    clock::Clock,
    domain::{names::Owner, token::Sealed},
    seal::{Kek, KeyChain, OwnerKeys, SealBroken, Stamp as Tag, Stamps},
    store::{
        Change, Documents, Expect, Key, Room, StoreError, Swapped, Then,
        ledger::{Place, Stamp, Stamper},
        records::{Opened, key_chain_key, owner_of_chain},
    },
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use rooted::Rooted;
use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::MutexGuard, time::Instant};

/// Most owners whose keys are held unlocked.
const OWNERS_MAX: usize = 100_000;
/// Unlocked keys are looked up again after this long.
const KEPT_FOR: Duration = Duration::from_hours(1);
/// Keys that do not fit a record are looked up again, at most this often: the owner may have been deleted
/// and made anew, or another replica may have rotated.
const RELOADED_EVERY: Duration = Duration::from_secs(1);
/// After a look that failed, keys that were looked up before are used this long without another.
const SPARED_FOR: Duration = Duration::from_secs(5);
/// Over how many locks the owners are spread, so that each owner's keys are fetched once at a time.
const STRIPES: usize = 64;

pub struct Keyring {
    documents: Arc<dyn Documents>,
    clock: Arc<dyn Clock>,
    /// Asked at start and at rotations only.
    kek: Arc<dyn Kek>,
    root: ArcSwap<Rooted>,
    /// One look at the root chain at a time.
    root_look: tokio::sync::Mutex<()>,
    unlocked: Cache<Owner, Arc<Unlocked>>,
    looks: Vec<tokio::sync::Mutex<()>>,
    hasher: RandomState,
    spread: Duration,
    /// Raised whenever a change may have been missed: what was looked up before is in doubt.
    epoch: AtomicU64,
    /// No news comes in at all.
    deaf: AtomicBool,
}

struct Unlocked {
    keys: OwnerKeys,
    chain: KeyChain,
    /// When the store was asked: this was true then.
    looked: Instant,
    epoch: u64,
    doubted: AtomicBool,
    spared_until: Mutex<Option<Instant>>,
}

impl Keyring {
    /// The key-encryption key, for rotations.
    pub fn kek(&self) -> &Arc<dyn Kek> {
        &self.kek
    }

    /// Within this time every replica knows of a change of keys.
    pub fn spread(&self) -> Duration {
        self.spread
    }

    /// Gives an owner its first key; one that it has already is kept.
    pub async fn create(&self, owner: &Owner) -> Result<(), StoreError> {
        let root = self.rooted(self.spread / 2).await?;
        let chain = root.root.new_chain(owner, self.clock.now());
        put_new(&*self.documents, key_chain_key(owner)?, chains::encode_chain(&chain)).await?;
        Ok(())
    }

    /// The owner's keys, to open with. Local once they were looked up; while the store is away, the ones that were.
    pub async fn keys(&self, owner: &Owner) -> Result<OwnerKeys, StoreError> {
        self.opening(owner, Opened::InUse).await
    }

    /// The owner's keys, to seal with: the store was asked for them within half of [`spread`](Self::spread).
    pub async fn sealing(&self, owner: &Owner) -> Result<OwnerKeys, StoreError> {
        let fresh = |found: &Unlocked| found.looked.elapsed() <= self.spread / 2 && self.holds_good(found);
        if let Some(found) = self.unlocked.get(owner)
            && fresh(&found)
        {
            return Ok(found.keys.clone());
        }
        let looking = self.looking(owner).await;
        match self.unlocked.get(owner).filter(|found| fresh(found)) {
            Some(found) => Ok(found.keys.clone()),
            None => self.load(owner, &looking).await.map(|found| found.keys.clone()),
        }
    }

    /// The owner's keys, among them the one that this was sealed by, if there is such a one by now.
    pub async fn keys_for<T>(&self, owner: &Owner, sealed: &Sealed<T>) -> Result<OwnerKeys, StoreError> {
        let holds = |keys: &OwnerKeys| keys.holds_that_of(sealed);
        match self.fitting(owner, Opened::InUse, holds).await? {
            Some(keys) => Ok(keys),
            None => self.keys(owner).await,
        }
    }

    /// Keys of the owner that fit something: those at hand or, where they do not, those that the store has by now.
    /// `None`: neither do.
    async fn fitting(
        &self,
        owner: &Owner,
        opened: Opened,
        fit: impl Fn(&OwnerKeys) -> bool + Send + Sync,
    ) -> Result<Option<OwnerKeys>, StoreError> {
        let at_hand = self.opening(owner, opened).await?;
        if fit(&at_hand) {
            return Ok(Some(at_hand));
        }
        let newer = match self.reloaded(owner, opened).await? {
            Some(newer) => newer,
            // What was looked up a moment ago may have come after those that were at hand here.
            None => self.opening(owner, opened).await?,
        };
        Ok(Some(newer).filter(|newer| fit(newer)))
    }

    /// Whether the owner is deleted, asked of the store now.
    pub async fn is_shut(&self, owner: &Owner) -> Result<bool, StoreError> {
        let looking = self.looking(owner).await;
        Ok(self.load(owner, &looking).await?.chain.shut_at.is_some())
    }

    async fn opening(&self, owner: &Owner, opened: Opened) -> Result<OwnerKeys, StoreError> {
        let Some(found) = self.unlocked.get(owner) else {
            let looking = self.looking(owner).await;
            return match self.unlocked.get(owner) {
                Some(found) => found.usable(owner, opened),
                None => self.load(owner, &looking).await?.usable(owner, opened),
            };
        };
        let now = Instant::now();
        let spared = || found.spared_until.lock().is_some_and(|until| now < until);
        if (now < found.looked + KEPT_FOR && self.holds_good(&found)) || spared() {
            return found.usable(owner, opened);
        }
        // Whoever comes while one looks is served with what there is.
        let Ok(looking) = self.stripe(owner).try_lock() else { return found.usable(owner, opened) };
        match self.load(owner, &looking).await {
            Ok(loaded) => loaded.usable(owner, opened),
            Err(StoreError::Unavailable { .. } | StoreError::KeyAway { .. } | StoreError::Full) => {
                *found.spared_until.lock() = Some(Instant::now() + SPARED_FOR);
                found.usable(owner, opened)
            }
            Err(err) => Err(err),
        }
    }

    /// Newer keys than those that did not fit; `None` when they were looked up a moment ago.
    async fn reloaded(&self, owner: &Owner, opened: Opened) -> Result<Option<OwnerKeys>, StoreError> {
        let lately = |found: &Unlocked| found.looked.elapsed() < RELOADED_EVERY;
        let began = Instant::now();
        if self.unlocked.peek(owner).is_some_and(|found| lately(&found)) {
            return Ok(None);
        }
        let looking = self.looking(owner).await;
        // Somebody may have looked while this one waited.
        match self.unlocked.get(owner).filter(|found| found.looked >= began) {
            Some(found) => found.usable(owner, opened).map(Some),
            None => self.load(owner, &looking).await?.usable(owner, opened).map(Some),
        }
    }

    /// Asks the store. Where it gives an older chain than it did before, or none that this deployment wrote, what was
    /// there before is used on: nobody else can have changed it.
    async fn load(&self, owner: &Owner, _: &MutexGuard<'_, ()>) -> Result<Arc<Unlocked>, StoreError> {
        let (looked, epoch) = (Instant::now(), self.epoch.load(Ordering::Acquire));
        let known = self.unlocked.peek(owner);
        let (chain, keys) = match (self.found(owner, known.as_deref()).await, &known) {
            (Ok(Some(found)), _) => found,
            (Ok(None), Some(known)) if known.chain.shut_at.is_none() => {
                // A tenant is deleted in steps, and every replica hears of the first before the last.
                suspicious(owner, "is gone");
                (known.chain.clone(), known.keys.clone())
            }
            (Err(StoreError::NoKeys { .. }) | Ok(None), _) => {
                self.unlocked.remove(owner);
                return Err(StoreError::NoKeys { owner: owner.to_string() });
            }
            (Err(StoreError::Forged { .. } | StoreError::Broken { .. }), Some(known)) => {
                suspicious(owner, "is not authentic");
                (known.chain.clone(), known.keys.clone())
            }
            (Err(StoreError::RolledBack { .. }), Some(known)) => {
                suspicious(owner, "is older than it was before");
                (known.chain.clone(), known.keys.clone())
            }
            (Err(err), _) => return Err(err),
        };
        let spared_until = Mutex::new(None);
        let found = Unlocked { keys, chain, looked, epoch, doubted: AtomicBool::new(false), spared_until };
        let found = Arc::new(found);
        self.unlocked.insert(owner.clone(), found.clone());
        Ok(found)
    }

    async fn found(
        &self,
        owner: &Owner,
        known: Option<&Unlocked>,
    ) -> Result<Option<(KeyChain, OwnerKeys)>, StoreError> {
        let Some(now) = self.chain(owner).await? else { return Ok(None) };
        if !now.chain.is_held() {
            return Err(StoreError::NoKeys { owner: owner.to_string() });
        }
        match known {
            Some(known) if now.chain.is_behind(&known.chain) => {
                Err(StoreError::RolledBack { key: key_chain_key(owner)?.to_string() })
            }
            Some(known) if now.chain == known.chain => Ok(Some((now.chain, known.keys.clone()))),
            Some(_) | None => {
                let keys = self.root.load().root.unlock_chain(owner, &now.chain);
                Ok(Some((now.chain, keys.map_err(|SealBroken| forged(owner))?)))
            }
        }
    }

    /// Whether nothing was heard that speaks against it.
    fn holds_good(&self, found: &Unlocked) -> bool {
        !found.doubted.load(Ordering::Acquire) && found.epoch == self.epoch.load(Ordering::Acquire)
    }

    async fn looking(&self, owner: &Owner) -> MutexGuard<'_, ()> {
        self.stripe(owner).lock().await
    }

    fn stripe(&self, owner: &Owner) -> &tokio::sync::Mutex<()> {
        let at = self.hasher.hash_one(owner) % STRIPES as u64;
        &self.looks[usize::try_from(at).unwrap_or(0)]
    }

    /// The change feed told of a document: if it is an owner's chain, it is looked up before it is used again.
    pub fn told(&self, key: &Key) {
        if let Some(found) = owner_of_chain(key).and_then(|owner| self.unlocked.peek(&owner)) {
            found.doubted.store(true, Ordering::Release);
        }
    }

    /// Nothing is heard until the next [`doubt_all`](Self::doubt_all).
    pub fn deaf(&self) {
        self.deaf.store(true, Ordering::Release);
    }

    /// News comes in, and some may have been missed.
    pub fn doubt_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.deaf.store(false, Ordering::Release);
    }
}

impl Unlocked {
    fn usable(&self, owner: &Owner, opened: Opened) -> Result<OwnerKeys, StoreError> {
        match (opened, self.chain.shut_at) {
            (Opened::InUse, Some(_)) => Err(StoreError::Deleted { owner: owner.to_string() }),
            (Opened::InUse, None) | (Opened::Always, _) => Ok(self.keys.clone()),
        }
    }
}

#[async_trait]
impl Stamper for Keyring {
    async fn stamp(&self, place: &Place<'_>, record: &[u8]) -> Result<Stamp, StoreError> {
        let tag = self.sealing(place.owner).await?.stamp(place.key.as_str(), place.version.0, record);
        Ok(Stamp { key_version: tag.key_version, tag: tag.tag.to_vec() })
    }

    async fn check(&self, place: &Place<'_>, record: &[u8], stamp: &Stamp) -> Result<(), StoreError> {
        let forged = || StoreError::Forged { key: place.key.to_string() };
        let tag = Tag {
            key_version: stamp.key_version,
            tag: stamp.tag.as_slice().try_into().map_err(|_| forged())?,
        };
        let fit = |keys: &OwnerKeys| keys.check(place.key.as_str(), place.version.0, record, &tag).is_ok();
        // Without news, who was deleted is not heard of: the store, which answered a moment ago, is asked.
        let deaf = self.deaf.load(Ordering::Acquire);
        if deaf && let Some(keys) = self.reloaded(place.owner, place.opened).await? {
            return if fit(&keys) { Ok(()) } else { Err(forged()) };
        }
        let fitting = self.fitting(place.owner, place.opened, fit).await?;
        fitting.map(drop).ok_or_else(forged)
    }
}

fn suspicious(owner: &Owner, problem: &'static str) {
    tracing::error!(%owner, problem,
        "stored key chain is not what this process has seen before; what it has seen is used on: after restoring a \
         back-up start the brokers again, else look at who may write to the store");
}

fn forged(owner: &Owner) -> StoreError {
    match key_chain_key(owner) {
        Ok(key) => StoreError::Forged { key: key.to_string() },
        Err(err) => err,
    }
}

async fn put_new(documents: &dyn Documents, key: Key, body: Vec<u8>) -> Result<Swapped, StoreError> {
    let then = Then::Put { body, due: None };
    let change = Change { key, expect: Expect::Absent, then, room: Room::Needed };
    Ok(documents.swap(change).await?.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broker::custodian::KeysError,
        clock::{Timestamp, TokioClock},
        seal::{FileKeyset, Root},
        store::embedded::Embedded,
    };

    struct Prepare;

    #[async_trait]
    impl Next<KeyChain> for Prepare {
        type Error = KeysError;

        async fn next(
            &self,
            root: &Root,
            now: &KeyChain,
            at: Timestamp,
        ) -> Result<Option<KeyChain>, KeysError> {
            Ok(Some(root.prepare(&Owner::Platform, now, at)?))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_another_look_brought_meanwhile_are_tried_before_something_is_called_forged() {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(Timestamp::from_secs(1_800_000_000)));
        let documents: Arc<dyn Documents> = Arc::new(Embedded::in_memory(clock.clone()).unwrap());
        let kek = Arc::new(FileKeyset::generate());
        let spread = Duration::from_secs(60);
        let open = || Keyring::open(documents.clone(), kek.clone(), clock.clone(), spread);
        let (ours, other) = (open().await.unwrap(), open().await.unwrap());
        ours.keys(&Owner::Platform).await.unwrap();
        tokio::time::advance(RELOADED_EVERY).await;
        other.change(&Owner::Platform, &Prepare).await.unwrap();
        other.keys(&Owner::Platform).await.unwrap();
        let newer = other.unlocked.peek(&Owner::Platform).unwrap();

        let tries = AtomicU64::new(0);
        let fit = |_: &OwnerKeys| {
            // The keys at hand do not fit, and just then the look of somebody else comes to its end.
            ours.unlocked.insert(Owner::Platform, newer.clone());
            tries.fetch_add(1, Ordering::Relaxed) == 1
        };
        assert!(ours.fitting(&Owner::Platform, Opened::InUse, fit).await.unwrap().is_some());
        assert_eq!(tries.load(Ordering::Relaxed), 2);
    }
}
