//! Looks after the keys while the service runs: rotations and what they move, the end of deleted tenants. Every replica has
//! one; who takes up a walk holds a lease on it, and another goes on where one stopped. Serves nobody.
//!
//! A rotation: the new version is made (PREPARED), and after [`Keyring::spread`] every replica knows it and it seals what is
//! written (ACTIVE); after that time again no replica seals with an older one, and the walk over what is there begins.

mod deleting;
mod retiring;
mod rotating;
mod sealed;
mod steps;
mod viewing;
mod walking;

pub use viewing::{ChainView, VersionView};

use super::keys::{Keyring, KeyringError};
use crate::{
    access::Chain,
    audit::{Audit, AuditDown, Event, Name},
    clock::Timestamp,
    domain::{
        names::Owner,
        walk::{Of, Task, Walk, WalkName},
    },
    seal::{KekError, KeyState, SealError},
    store::{
        Key, Room, StoreError,
        ledger::{Ledger, Loaded, Wrote},
        records::WALKS,
    },
};
use parking_lot::Mutex;
use retiring::Retirements;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// Between two looks at what there is to do, unless the spread is so short that they have to come sooner.
const TICK: Duration = Duration::from_secs(2);
/// A walk whose time has not come is looked at this often.
const RESTS_MAX: Duration = Duration::from_mins(1);
/// Walks that one look loads at a time.
const LOADED_AT_ONCE: usize = 100;

pub struct Custodian {
    pub ledger: Arc<Ledger>,
    pub keys: Arc<Keyring>,
    pub audit: Arc<dyn Audit>,
    /// Who this process is among its replicas.
    pub replica: String,
    pub rules: Rules,
    retirements: Mutex<Retirements>,
    /// Walks that need not be looked at before then, by their uid.
    resting: Mutex<HashMap<Uuid, Instant>>,
    tasks: TaskTracker,
}

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Most records that this replica seals anew in a second.
    pub records_per_second: u32,
    /// How long a deleted tenant can be restored.
    pub undo_window: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { records_per_second: 500, undo_window: Duration::from_hours(7 * 24) }
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum KeysError {
    /// Nobody has such keys.
    #[error("{chain} does not exist")]
    NoChain { chain: String },
    #[error("{chain} has no version {version}")]
    NoVersion { chain: String, version: u32 },
    #[error("{chain} was changed since this etag was read")]
    EtagMismatch { chain: String },
    /// A rotation, or what follows it, has not come far enough.
    #[error("{chain} is being rotated: {stage}")]
    InProgress { chain: String, stage: &'static str },
    #[error("version {version} of {chain} is the one in use: rotate first")]
    Active { chain: String, version: u32 },
    /// Something needs the version; `broken` of it cannot be read.
    #[error("cannot retire version {version}: {records} records left")]
    InUse { chain: String, version: u32, records: u64, broken: u64 },
    #[error(transparent)]
    Audit(#[from] AuditDown),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The task ended without an outcome.
    #[error("the scan ended without an outcome; see the log")]
    Lost,
}

impl From<KekError> for KeysError {
    fn from(err: KekError) -> Self {
        Self::Seal(SealError::Kek(err))
    }
}

/// What one step of a walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is not time yet, or another replica is at it.
    Nothing,
    Taken,
}

impl Custodian {
    pub fn new(
        ledger: Arc<Ledger>,
        keys: Arc<Keyring>,
        audit: Arc<dyn Audit>,
        replica: String,
        rules: Rules,
    ) -> Self {
        let (retirements, resting) = (Mutex::default(), Mutex::default());
        Self { ledger, keys, audit, replica, rules, retirements, resting, tasks: TaskTracker::new() }
    }

    /// Works until it is told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut told: Option<String> = None;
        while !stop.is_cancelled() {
            let (came, trouble) = match self.round(&stop).await {
                Ok(came) => (came, None),
                Err(err) => (Step::Nothing, Some(err.to_string())),
            };
            if let Some(trouble) = trouble.as_ref().filter(|trouble| told.as_ref() != Some(trouble)) {
                tracing::warn!(trouble, "work on keys waits, and is tried again");
            }
            told = trouble;
            let pause = match came {
                Step::Taken => Duration::ZERO,
                Step::Nothing => self.tick(),
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.tasks.close();
    }

    fn tick(&self) -> Duration {
        TICK.min(self.keys.spread() / 4)
    }

    /// One look at all that there is to do: each walk is brought as far as it can come in a moment.
    async fn round(&self, stop: &CancellationToken) -> Result<Step, KeysError> {
        self.keys.keep_up().await?;
        self.resting.lock().retain(|_, until| Instant::now() < *until);
        let (mut after, mut came, mut trouble): (Option<Key>, _, _) = (None, Step::Nothing, None);
        loop {
            let found =
                self.ledger.sift::<Walk>(&format!("{WALKS}/"), after.as_ref(), LOADED_AT_ONCE).await?;
            let more = found.len() == LOADED_AT_ONCE;
            after = found.last().map(|last| last.key.clone());
            for sifted in found {
                if stop.is_cancelled() {
                    return Ok(Step::Nothing);
                }
                let advanced = match sifted.found {
                    Ok(walk) => self.advance(walk, stop).await,
                    Err(err) => Err(err.into()),
                };
                match advanced {
                    Ok(Step::Taken) => came = Step::Taken,
                    Ok(Step::Nothing) => {}
                    // One that cannot be done must not hide the others.
                    Err(err) => trouble = Some(err),
                }
            }
            if !more {
                return trouble.map_or(Ok(came), Err);
            }
        }
    }

    async fn advance(&self, walk: Loaded<Walk>, stop: &CancellationToken) -> Result<Step, KeysError> {
        let rests = self.resting.lock().contains_key(&walk.record.uid);
        if rests || !walk.record.is_free_for(&self.replica, self.ledger.now().store) {
            return Ok(Step::Nothing);
        }
        match (walk.record.name.task, walk.record.name.of.clone()) {
            (Task::Reseal | Task::Rewrap, of) => self.rotation_step(walk, &of, stop).await,
            (Task::Restore, Of::Owner(owner)) => self.restore_step(walk, &owner, stop).await,
            (Task::Purge, Of::Owner(owner)) => self.purge_step(walk, &owner).await,
            (Task::Restore | Task::Purge, Of::Root) => Ok(Step::Nothing),
        }
    }

    /// Leaves a walk alone until there can be something to do, and looks at it now and then all the same.
    fn rest(&self, walk: &Walk, now: Timestamp, until: Timestamp) {
        let span = now.until(until).min(RESTS_MAX);
        self.resting.lock().insert(walk.uid, Instant::now() + span);
    }

    /// Takes a walk up; `None`: another replica was quicker.
    async fn taken(&self, walk: Loaded<Walk>) -> Result<Option<Loaded<Walk>>, KeysError> {
        let mut record = walk.record.clone();
        record.taken_by(&self.replica, self.ledger.now().store);
        self.wrote(&walk, record).await
    }

    async fn wrote(&self, loaded: &Loaded<Walk>, record: Walk) -> Result<Option<Loaded<Walk>>, KeysError> {
        match self.ledger.update(loaded, &record, Room::Needed).await? {
            Wrote::Done(version) => Ok(Some(loaded.written(record, version))),
            Wrote::Conflict => Ok(None),
        }
    }

    /// Writes a walk down, unless one of its name is under way.
    async fn begun(&self, walk: &Walk) -> Result<Wrote, StoreError> {
        self.ledger.create(walk).await
    }

    async fn under_way(&self, task: Task, of: Of) -> Result<Option<Loaded<Walk>>, StoreError> {
        self.ledger.read::<Walk>(&WalkName::open(task, of)).await
    }

    /// Puts steps of a key's life on record, before they are taken.
    async fn note_all(&self, chain: &Chain, steps: &[(u32, KeyState)]) -> Result<(), AuditDown> {
        for (version, to) in steps {
            self.note(chain, *version, *to).await?;
        }
        Ok(())
    }

    async fn note(&self, chain: &Chain, version: u32, to: KeyState) -> Result<(), AuditDown> {
        let owner = match chain {
            Chain::Kek => "kek".to_owned(),
            Chain::Root => "root".to_owned(),
            Chain::Of(owner) => owner.to_string(),
        };
        let (owner, step) = (Name::of(&owner), Name::of(&to.word()));
        self.audit.record(Event::Key { owner, version, step }).await
    }
}

/// Which task a rotation of this chain is; `None` for the KEK, which takes no time.
fn task_of(chain: &Chain) -> Option<(Task, Of)> {
    match chain {
        Chain::Kek => None,
        Chain::Root => Some((Task::Rewrap, Of::Root)),
        Chain::Of(owner) => Some((Task::Reseal, Of::Owner(owner.clone()))),
    }
}

fn chain_of(of: &Of) -> Chain {
    match of {
        Of::Root => Chain::Root,
        Of::Owner(owner) => Chain::Of(owner.clone()),
    }
}

fn no_chain(owner: &Owner) -> KeysError {
    KeysError::NoChain { chain: Chain::Of(owner.clone()).to_string() }
}

impl From<KeyringError> for KeysError {
    fn from(err: KeyringError) -> Self {
        match err {
            KeyringError::Store(err) => err.into(),
            KeyringError::WrongKek(err) | KeyringError::Kek(err) => err.into(),
            KeyringError::Forged | KeyringError::NoRoot => {
                StoreError::Forged { key: "root".to_owned() }.into()
            }
        }
    }
}
