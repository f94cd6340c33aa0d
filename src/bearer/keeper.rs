//! Keeps the keys of one issuer: fetches them anew by a schedule and, within limits, when a token is signed with a key
//! that is not there; goes on with the old ones, for a bounded time, while the issuer is away. One fetch at a time,
//! which ends whether or not its caller waits for it.

use super::{
    key_set::{Found, Key, KeySet},
    pace::{Fetched, Pace, Turn},
    refusal::Refusal,
};
use crate::{
    audit::{
        Audit, Event,
        event::{Outcome, Reloaded},
    },
    domain::issuer::{Issuer, KeySource},
};
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Most times that one token waits for a fetch: one that had begun before, and one of its own.
const WAITS: usize = 2;
/// Calls that wait for one issuer's keys at once: strangers must not fill the server with calls that wait.
pub(super) const WAITING_MAX: usize = 256;

/// Where an issuer publishes its keys.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The text of a key set. Bounded in time.
    async fn fetch(&self) -> Result<Vec<u8>, NotFetched>;
}

/// Why keys did not come. In words of our own, with the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotFetched(pub String);

/// What keepers share.
#[derive(Clone)]
pub struct Surroundings {
    pub audit: Arc<dyn Audit>,
    pub tasks: TaskTracker,
    /// Ends all of them.
    pub stop: CancellationToken,
}

pub(super) struct Keeper {
    pub(super) issuer: Arc<Issuer>,
    /// `None`: keys from a file, which whoever reads files replaces.
    server: Option<Server>,
    held: ArcSwapOption<Held>,
    pace: Mutex<Pace>,
    waiting: Semaphore,
    /// Counts fetches that ended.
    ended: watch::Sender<u64>,
    /// What was warned of last.
    told: Mutex<Option<String>>,
    around: Surroundings,
    /// Ends this one.
    retired: CancellationToken,
    /// The same, for the path of every call.
    is_retired: AtomicBool,
}

struct Server {
    fetch: Arc<dyn Fetch>,
    refresh: Duration,
    max_age: Duration,
}

struct Held {
    keys: Arc<KeySet>,
    /// When the issuer last said so.
    at: Instant,
}

/// Why there is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    Refused(Refusal),
    /// The issuer could not be asked for its keys, or not for too long.
    Away,
}

impl Keeper {
    /// `keys` are those that the same server gave to another keeper, or those of a file.
    pub(super) fn new(
        issuer: Arc<Issuer>,
        fetch: Option<Arc<dyn Fetch>>,
        keys: Option<(Arc<KeySet>, Instant)>,
        around: Surroundings,
    ) -> Arc<Self> {
        let server = match (&issuer.keys, fetch) {
            (KeySource::Server(server), Some(fetch)) => {
                Some(Server { fetch, refresh: server.refresh, max_age: server.max_age })
            }
            (KeySource::Server(_) | KeySource::Text(_), _) => None,
        };
        let retired = around.stop.child_token();
        let held = keys.map(|(keys, at)| Arc::new(Held { keys, at }));
        Arc::new(Self {
            issuer,
            server,
            held: ArcSwapOption::new(held),
            pace: Mutex::default(),
            waiting: Semaphore::new(WAITING_MAX),
            ended: watch::Sender::new(0),
            told: Mutex::default(),
            around,
            retired,
            is_retired: AtomicBool::new(false),
        })
    }

    /// The keys that are believed now.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        let held = self.held.load();
        let held = held.as_ref()?;
        let in_time = self.server.as_ref().is_none_or(|server| held.at.elapsed() < server.max_age);
        let believed = in_time && !self.is_retired.load(Ordering::Acquire);
        believed.then(|| held.keys.clone())
    }

    /// With the time at which the issuer said so.
    pub(super) fn held(&self) -> Option<(Arc<KeySet>, Instant)> {
        self.held.load().as_ref().map(|held| (held.keys.clone(), held.at))
    }

    /// Nothing that was verified with its keys counts any more.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
        self.retired.cancel();
    }

    /// Looks `choose` up in the keys that are there and, if it is not among them, in what the issuer says now, as far
    /// as it may be asked.
    pub(super) async fn find<T>(
        self: &Arc<Self>,
        choose: impl Fn(&KeySet) -> Result<T, Refusal>,
    ) -> Result<(Arc<KeySet>, T), NoKey> {
        let look = || match self.keys() {
            Some(keys) => choose(&keys).map(|found| (keys, found)).map_err(NoKey::Refused),
            None => Err(NoKey::Away),
        };
        let mut looked = look();
        for _ in 0..WAITS {
            match &looked {
                Err(NoKey::Away | NoKey::Refused(Refusal::UnknownKey)) => {}
                Ok(_) | Err(NoKey::Refused(_)) => return looked,
            }
            let Ok(_place) = self.waiting.try_acquire() else { return Err(NoKey::Away) };
            let turn = self.asked().await;
            looked = look();
            match turn {
                Turn::Join => {}
                Turn::Begin | Turn::TooSoon => break,
            }
        }
        looked
    }

    /// Asks for a caller, and waits for what comes of it.
    async fn asked(self: &Arc<Self>) -> Turn {
        let mut ended = self.ended.subscribe();
        if self.server.is_none() || self.retired.is_cancelled() {
            return Turn::TooSoon;
        }
        let turn = self.pace.lock().caller(Instant::now());
        match turn {
            Turn::Begin => self.begin(),
            Turn::Join => {}
            Turn::TooSoon => return turn,
        }
        self.wait(&mut ended).await;
        turn
    }

    async fn wait(&self, ended: &mut watch::Receiver<u64>) {
        tokio::select! {
            // Fails if this is gone, which the borrow forbids.
            _ = ended.changed() => {}
            () = self.retired.cancelled() => {}
        }
    }

    /// By the schedule.
    async fn renewed(self: &Arc<Self>) {
        let mut ended = self.ended.subscribe();
        let turn = self.pace.lock().schedule();
        if turn == Turn::Begin {
            self.begin();
        }
        self.wait(&mut ended).await;
    }

    fn begin(self: &Arc<Self>) {
        let keeper = self.clone();
        self.around.tasks.spawn(async move {
            let fetched = tokio::select! {
                fetched = keeper.fetch() => fetched,
                () = keeper.retired.cancelled() => Fetched::Badly,
            };
            keeper.pace.lock().ended(fetched);
            keeper.ended.send_modify(|count| *count += 1);
        });
    }

    async fn fetch(&self) -> Fetched {
        let Some(server) = &self.server else { return Fetched::Badly };
        let text = match server.fetch.fetch().await {
            Ok(text) => text,
            Err(NotFetched(trouble)) => {
                self.tell(&trouble);
                return Fetched::Badly;
            }
        };
        match KeySet::parse(&text) {
            Ok(keys) => self.take(keys).await,
            Err(wrong) => {
                if self.tell(&format!("what its server calls its keys is no key set: {wrong}")) {
                    self.record(Outcome::Refused).await;
                }
                return Fetched::Badly;
            }
        }
        *self.told.lock() = None;
        Fetched::Well
    }

    async fn take(&self, keys: KeySet) {
        let (before, at) = (self.held(), Instant::now());
        match before {
            Some((same, _)) if *same == keys => self.hold(same, at),
            Some(_) => {
                tracing::info!(issuer = %self.issuer.name, keys = keys.count(), "keys of an issuer of tokens have changed");
                self.hold(Arc::new(keys), at);
                self.record(Outcome::Done).await;
            }
            None => {
                tracing::info!(issuer = %self.issuer.name, keys = keys.count(), "keys of an issuer of tokens are here");
                self.hold(Arc::new(keys), at);
            }
        }
    }

    fn hold(&self, keys: Arc<KeySet>, at: Instant) {
        self.held.store(Some(Arc::new(Held { keys, at })));
    }

    /// Warns, once of the same thing. Whether it was said.
    fn tell(&self, trouble: &str) -> bool {
        let mut told = self.told.lock();
        if told.as_deref() == Some(trouble) {
            return false;
        }
        let left = match (self.held(), &self.server) {
            (Some((_, at)), Some(server)) => server.max_age.saturating_sub(at.elapsed()).as_secs(),
            (Some(_) | None, _) => 0,
        };
        tracing::warn!(issuer = %self.issuer.name, trouble, good_for_s = left,
            "keys of an issuer of tokens could not be fetched; those before stay in use for a while");
        *told = Some(trouble.to_owned());
        true
    }

    async fn record(&self, outcome: Outcome) {
        // That it could not be written is in the log.
        let _ = self.around.audit.record(Event::Reload { what: Reloaded::Jwks, outcome }).await;
    }

    /// Fetches keys, at once if there are none, and then again and again.
    pub(super) async fn keep(self: Arc<Self>) {
        let Some(server) = &self.server else { return };
        let mut pause =
            self.held().map_or(Duration::ZERO, |(_, at)| server.refresh.saturating_sub(at.elapsed()));
        loop {
            tokio::select! {
                () = self.retired.cancelled() => return,
                () = sleep(pause) => {}
            }
            self.renewed().await;
            pause = self.pace.lock().pause(server.refresh);
        }
    }

    /// Waits for the first keys.
    pub(super) async fn prepared(&self) {
        let mut ended = self.ended.subscribe();
        while self.server.is_some() && self.held.load().is_none() && *ended.borrow() == 0 {
            self.wait(&mut ended).await;
            if self.retired.is_cancelled() {
                return;
            }
        }
    }
}

/// The key of this id, as a choice for [`Keeper::find`].
pub(super) fn key_for(
    keys: &KeySet,
    kid: Option<&str>,
    algorithm: crate::domain::issuer::Algorithm,
) -> Result<Key, Refusal> {
    match keys.find(kid, algorithm) {
        Found::One(key) => Ok(key.clone()),
        Found::Many => Err(Refusal::AmbiguousKey),
        Found::Nothing => Err(Refusal::UnknownKey),
    }
}
