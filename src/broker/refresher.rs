//! One exchange per connection: claim, exchange, commit, in a task of its own that is finished even if nobody
//! waits for it. Decides nothing about tokens: transitions do.

mod claiming;
mod consenting;
mod error;
mod exchange;
mod failing;
mod landing;
mod renewing;
mod states;
mod told;
mod traced;

pub use consenting::OneTime;
pub use error::RefreshError;
use landing::Landing;
use traced::landed;

use super::{
    bells::Bells,
    keys::Keyring,
    shunned::Shunned,
    slots::{InLine, Slot, Slots},
    warm::{WarmCopies, Watch},
};
use crate::{
    audit::Audit,
    clock::Timestamp,
    domain::{
        attempt::{Ask, Seen},
        client::Client,
        connection::Connection,
        names::{ConnectionName, ProviderName},
    },
    provider::{ClientIdentity, Grant, Provider, catalogue::Catalogue},
    store::{
        StoreError,
        ledger::{Claimed, Ledger, Loaded},
    },
    traces::{self, Mark, Tracer},
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often a flight asks again for the claim, after waiting for others or losing a race.
const TURNS_MAX: u32 = 8;
/// The first pause between tries to write to a store that does not answer; it doubles from there.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct Refresher {
    parts: Arc<Parts>,
}

pub struct Parts {
    pub ledger: Arc<Ledger>,
    pub keys: Arc<Keyring>,
    pub provider: Arc<dyn Provider>,
    /// Where it is put on record that a connection went into another state by itself.
    pub audit: Arc<dyn Audit>,
    pub catalogue: Arc<Catalogue>,
    pub warm: Arc<WarmCopies>,
    pub bells: Arc<Bells>,
    pub tasks: TaskTracker,
    pub board: Board,
    /// Exchanges at once in this process.
    pub slots: Slots,
    /// What this replica cannot refresh.
    pub shunned: Shunned,
    /// Cancelled when no exchange may be started any more.
    pub stopping: CancellationToken,
    /// Names this process in attempts, so that the log of another replica can say who is at it.
    pub replica: String,
    /// How much longer than the exchange's own deadline a lease lasts.
    pub lease_extra: Duration,
    pub tracer: Tracer,
}

/// The exchanges under way in this process.
pub type Board = Mutex<HashMap<ConnectionName, Flight>>;

/// One of them: for whom, and what it comes to.
#[derive(Clone)]
pub struct Flight {
    ask: Ask,
    outcome: Shared<BoxFuture<'static, Outcome>>,
    /// Where traces tell of it.
    mark: Option<Mark>,
}

pub type Outcome = Result<Arc<Loaded<Connection>>, RefreshError>;

/// Where the scheduler found a connection, and whom it is to be refreshed with.
pub struct Found {
    /// The queue that it was due in.
    pub shard: u16,
    pub provider: ProviderName,
}

/// What a flight is for.
struct Trip {
    seen: Seen,
    ask: Ask,
    /// Since when it has been due, by our clock.
    due: Option<Timestamp>,
    brought: Option<OneTime>,
    /// The queue that it was found in, and the place that it has taken until it has a slot.
    found: Option<(u16, InLine)>,
}

impl Trip {
    fn of(seen: Seen, ask: Ask) -> Self {
        Self { seen, ask, due: None, brought: None, found: None }
    }
}

impl Refresher {
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Makes sure a refresh is under way, and does not wait for it.
    pub fn start(&self, name: &ConnectionName, seen: Seen, ask: Ask) {
        drop(self.flight(name, Trip::of(seen, ask)));
    }

    /// The same for what has been due since then, by our clock.
    pub fn start_due(&self, name: &ConnectionName, seen: Seen, due: Timestamp, found: &Found) {
        let found = Some(self.in_line(found));
        drop(self.flight(name, Trip { due: Some(due), found, ..Trip::of(seen, Ask::Scheduler) }));
    }

    fn in_line(&self, found: &Found) -> (u16, InLine) {
        (found.shard, self.parts.slots.stand_in_line(&found.provider))
    }

    /// Waits for the refresh under way, starting one if there is none. What becomes of somebody's consent is no answer
    /// to that: it is waited for, and then the connection is looked at again.
    pub async fn refreshed(&self, name: &ConnectionName, seen: Seen, ask: Ask) -> Outcome {
        loop {
            let flight = self.flight(name, Trip::of(seen, ask));
            traces::joined(flight.mark.as_ref());
            if !flight.ask.is_consent() {
                break flight.outcome;
            }
            drop(flight.outcome.await);
        }
        .await
    }

    /// Spends a one-time credential that is not stored anywhere. Joins nobody: another flight has not got it.
    pub async fn bootstrap(&self, name: &ConnectionName, seen: Seen, grant: Grant) -> Outcome {
        loop {
            let other = {
                let mut board = self.parts.board.lock();
                if let Some(other) = board.get(name) {
                    other.clone()
                } else {
                    let brought = Some(OneTime::plain(grant));
                    let trip = Trip { brought, ..Trip::of(seen, Ask::Bootstrap) };
                    break self.take_off(&mut board, name, trip);
                }
            };
            drop(other.outcome.await);
        }
        .outcome
        .await
    }

    /// Finishes `work` in a task of its own, even if the caller goes away: half of it would leave a mess.
    pub async fn finished<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, RefreshError> {
        self.parts.tasks.spawn(traces::carried(work)).await.map_err(|_| RefreshError::Lost)
    }

    /// Waits until no exchange is under way, and starts none.
    pub async fn drain(&self) {
        self.parts.stopping.cancel();
        self.parts.tasks.close();
        self.parts.tasks.wait().await;
    }

    /// How many exchanges are under way in this process.
    pub fn under_way(&self) -> usize {
        self.parts.board.lock().len()
    }

    /// The client as the provider is to see it, its secrets opened.
    pub async fn identity(&self, client: &Client) -> Result<ClientIdentity, RefreshError> {
        self.parts.identity(client).await
    }

    /// What this replica cannot refresh.
    pub fn shunned(&self) -> &Shunned {
        &self.parts.shunned
    }

    /// How many more exchanges with this provider could be started now.
    pub fn free_slots(&self, provider: &ProviderName) -> usize {
        self.parts.slots.free(provider)
    }

    /// Whether a connection's tenant is deleted, asked of the store now.
    pub async fn is_deleted(&self, name: &ConnectionName) -> Result<bool, StoreError> {
        self.parts.keys.is_shut(&name.owner()).await
    }

    pub fn is_under_way(&self, name: &ConnectionName) -> bool {
        self.parts.board.lock().contains_key(name)
    }

    /// The exchange runs in its own task: a caller that hangs up must not take the only copy of a new refresh
    /// token with it.
    fn flight(&self, name: &ConnectionName, trip: Trip) -> Flight {
        let mut board = self.parts.board.lock();
        match board.get(name) {
            Some(flight) => flight.clone(),
            None => self.take_off(&mut board, name, trip),
        }
    }

    fn take_off(
        &self,
        board: &mut HashMap<ConnectionName, Flight>,
        name: &ConnectionName,
        trip: Trip,
    ) -> Flight {
        let landing = Landing { parts: self.parts.clone(), name: name.clone() };
        let ask = trip.ask;
        let span = self.parts.flying(name, ask, trip.due);
        let mark = span.mark();
        let task = self.parts.tasks.spawn(async move {
            // On the heap: an exchange is large.
            let flown = span.around(Box::pin(landing.parts.watched(&landing.name, trip))).await;
            landed(&span, &flown);
            flown
        });
        let outcome = async move { task.await.unwrap_or(Err(RefreshError::Lost)) }.boxed().shared();
        let flight = Flight { ask, outcome, mark };
        board.insert(name.clone(), flight.clone());
        flight
    }
}

impl Parts {
    /// Passes over for a while what this replica cannot refresh, and says so where nobody waits for the answer.
    async fn watched(&self, name: &ConnectionName, trip: Trip) -> Outcome {
        let shard = trip.found.as_ref().map(|(shard, _)| *shard);
        let outcome = self.refresh(name, trip).await;
        if let Some(shard) = shard {
            match &outcome {
                Ok(_) => self.shunned.written(shard),
                Err(err) if err.is_refused_write() => self.shunned.refused(shard),
                // No word of the store's.
                Err(_) => {}
            }
        }
        if let Err(err) = &outcome
            && err.is_hopeless_here()
        {
            if !self.shunned.contains(name) {
                tracing::error!(connection = %name, cause = %err, "connection cannot be refreshed by this replica");
            }
            self.shunned.shun(name);
        }
        outcome
    }

    async fn waited_slot(&self, provider: &ProviderName) -> Option<Slot> {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            slot = self.slots.acquire(provider) => slot,
        }
    }

    async fn refresh(&self, name: &ConnectionName, trip: Trip) -> Outcome {
        let Trip { seen, ask, brought: mut grant, mut found, due: _ } = trip;
        let mut probed = None;
        for _ in 0..TURNS_MAX {
            let bell = self.bells.listen(name);
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable();

            let watch = self.warm.watch(name);
            let mut prepared = self.prepare(name, ask, probed).await?;
            let slot = if let Some(slot) = self.slots.try_acquire(&prepared.profile.name) {
                Some(slot)
            } else {
                let slot = self.waited_slot(&prepared.profile.name).await;
                // Much may have happened while this one stood in line.
                prepared = self.prepare(name, ask, prepared.probed).await?;
                slot
            };
            drop(found.take());
            probed = prepared.probed;
            if self.stopping.is_cancelled() {
                return Err(RefreshError::Stopping);
            }
            match self.claim(name, seen, ask, &prepared.profile).await? {
                Claimed::Yours(claim) => {
                    return self.exchange(*claim, prepared, ask, grant.take()).await;
                }
                Claimed::Moved(_) if ask.is_consent() => return Err(RefreshError::Replaced),
                Claimed::Moved(loaded) => return Ok(self.kept(watch, *loaded)),
                Claimed::Held { until } => return Err(self.held(name, until).await),
                Claimed::Ended(state) => return Err(RefreshError::Ended(state)),
                Claimed::Over { before, now } => {
                    self.entered(before, &now.record).await;
                    return Err(RefreshError::Ended(now.record.state));
                }
                Claimed::Busy { until } => {
                    // Waiting for somebody else takes no exchange's place.
                    drop(slot);
                    let left = self.ledger.now().store.until(until);
                    // Either the other replica's result is told, or its lease ends; then look again.
                    tokio::select! {
                        biased;
                        () = self.stopping.cancelled() => return Err(RefreshError::Stopping),
                        _ = tokio::time::timeout(left, rung) => {}
                    }
                    if !ask.is_consent()
                        && let Some(outcome) = self.others_result(name, seen).await?
                    {
                        return outcome;
                    }
                }
            }
        }
        Err(RefreshError::Busy)
    }

    /// What somebody else's attempt came to; `None` while it is still open, or ended without a word.
    async fn others_result(
        &self,
        name: &ConnectionName,
        seen: Seen,
    ) -> Result<Option<Outcome>, RefreshError> {
        let watch = self.warm.watch(name);
        let loaded = self.ledger.read::<Connection>(name).await?.ok_or(RefreshError::Gone)?;
        let (record, now) = (&loaded.record, self.ledger.now_of(&loaded));
        if record.seen() != seen {
            return Ok(Some(Ok(self.kept(watch, loaded))));
        }
        if record.live_attempt(now.store).is_some() {
            return Ok(None);
        }
        Ok(record
            .held_until(now.store)
            .map(|until| Err(RefreshError::Held { at: now, until, failure: record.last_failure.clone() })))
    }

    async fn held(&self, name: &ConnectionName, until: Timestamp) -> RefreshError {
        let failure = match self.ledger.read::<Connection>(name).await {
            Ok(found) => found.and_then(|loaded| loaded.record.last_failure),
            Err(err) => return err.into(),
        };
        RefreshError::Held { at: self.ledger.now(), until, failure }
    }

    fn kept(&self, watch: Watch, loaded: Loaded<Connection>) -> Arc<Loaded<Connection>> {
        let loaded = Arc::new(loaded);
        self.warm.keep(watch, &loaded);
        loaded
    }
}
