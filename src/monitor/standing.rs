//! What is known of this replica at present, as it was last told. Judged anew whenever somebody asks.

use super::readiness::{
    Facts, Hearing, Listening, Reach, Readiness, Report, RootKey, Stopping, Writes, judge,
};
use crate::{
    clock::{Clock, Timestamp},
    store::StoreError,
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub struct Standing {
    clock: Arc<dyn Clock>,
    outage: Duration,
    stop: CancellationToken,
    known: Mutex<Known>,
    told: watch::Sender<Readiness>,
}

struct Known {
    facts: Facts,
    /// When the last operation of the store ended, well or not.
    asked: Option<Timestamp>,
}

impl Standing {
    /// Nothing is ready yet. `outage`: how long the store may be away; `stop`: cancelled when the process is to end.
    pub fn new(clock: Arc<dyn Clock>, outage: Duration, stop: CancellationToken) -> Arc<Self> {
        let facts = Facts {
            root_key: RootKey::Opening,
            listening: Listening::NotYet,
            stopping: Stopping::No,
            store: Reach::Unknown,
            writes: Writes::Taken,
            feed: Hearing::NotYet,
        };
        let known = Mutex::new(Known { facts, asked: None });
        Arc::new(Self { clock, outage, stop, known, told: watch::Sender::new(Readiness::NotReady) })
    }

    /// As of now.
    pub fn report(&self) -> Report {
        judge(&self.facts(), self.clock.now(), self.outage)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn facts(&self) -> Facts {
        let mut facts = self.known.lock().facts.clone();
        if self.stop.is_cancelled() {
            facts.stopping = Stopping::Yes;
        }
        facts
    }

    /// Tells of changes, within a second of them.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.told.subscribe()
    }

    /// Judges anew, for those who are told of changes.
    pub(super) fn tell(&self) {
        let readiness = self.report().readiness();
        self.told.send_if_modified(|told| std::mem::replace(told, readiness) != readiness);
    }

    pub fn root_key(&self, root_key: RootKey) {
        self.known.lock().facts.root_key = root_key;
    }

    /// Calls are taken from now on.
    pub fn listening(&self) {
        self.known.lock().facts.listening = Listening::Yes;
        self.tell();
    }

    /// The store was asked in vain before there was anybody to watch it.
    pub fn no_answer(&self, error: &StoreError) {
        self.asked(&Err::<(), _>(error.clone()));
    }

    /// How an operation of the store ended.
    pub(super) fn asked<T>(&self, outcome: &Result<T, StoreError>) {
        let now = self.clock.now();
        let mut known = self.known.lock();
        known.asked = Some(now);
        known.facts.store = reach(known.facts.store, outcome.as_ref().err(), now);
    }

    /// How a write ended that the store may refuse for want of room.
    pub(super) fn wrote<T>(&self, outcome: &Result<T, StoreError>) {
        let now = self.clock.now();
        let mut known = self.known.lock();
        // What another node of a cluster takes says nothing of the one that refused: a refusal ends by itself.
        if let Err(err @ (StoreError::WritesRefused { .. } | StoreError::Full)) = outcome {
            let since = known.facts.writes.refused(now).map_or(now, |(since, _)| since);
            known.facts.writes = Writes::Refused { since, last: now, why: err.to_string() };
        }
    }

    /// How long the store was not asked; `None`: never.
    pub(super) fn silence(&self) -> Option<Duration> {
        let asked = self.known.lock().asked;
        asked.map(|asked| asked.until(self.clock.now()))
    }

    pub(super) fn deaf(&self) {
        let now = self.clock.now();
        let mut known = self.known.lock();
        if !matches!(known.facts.feed, Hearing::Deaf(_)) {
            known.facts.feed = Hearing::Deaf(now);
        }
    }

    pub(super) fn hears(&self) {
        self.known.lock().facts.feed = Hearing::Hears;
    }
}

/// Any answer is one; also that the store is full, or that what it gave is not believed.
fn reach(before: Reach, failure: Option<&StoreError>, now: Timestamp) -> Reach {
    match (failure, before) {
        (Some(StoreError::Unavailable { .. }), Reach::Away(since)) => Reach::Away(since),
        (Some(StoreError::Unavailable { .. }), Reach::Unknown | Reach::Answers) => Reach::Away(now),
        (Some(_) | None, _) => Reach::Answers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TokioClock;

    fn away() -> Result<(), StoreError> {
        Err(StoreError::Unavailable { cause: "refused".into() })
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_counts_from_its_first_failure_and_ends_with_any_answer() {
        let clock = Arc::new(TokioClock::starting_at(Timestamp::from_secs(1_000)));
        let stop = CancellationToken::new();
        let standing = Standing::new(clock, Duration::from_secs(60), stop.clone());
        assert_eq!(standing.silence(), None);
        standing.root_key(RootKey::Unlocked);
        standing.listening();
        let told = standing.readiness();
        assert_eq!(*told.borrow(), Readiness::NotReady, "the store was never asked");
        standing.asked(&Ok(()));
        standing.tell();
        assert_eq!(*told.borrow(), Readiness::Ready);
        for _ in 0..3 {
            standing.asked(&away());
            standing.tell();
            assert_eq!(*told.borrow(), Readiness::Ready);
            tokio::time::advance(Duration::from_secs(20)).await;
        }
        assert_eq!(standing.silence(), Some(Duration::from_secs(20)));
        standing.tell();
        assert_eq!(*told.borrow(), Readiness::NotReady);
        standing.asked::<()>(&Err(StoreError::Full));
        standing.tell();
        assert_eq!(*told.borrow(), Readiness::Ready);
        stop.cancel();
        assert_eq!(standing.report().readiness(), Readiness::NotReady);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_takes_nothing_is_said_to_until_nothing_was_refused_for_a_while() {
        let clock = Arc::new(TokioClock::starting_at(Timestamp::from_secs(1_000)));
        let standing = Standing::new(clock, Duration::from_secs(60), CancellationToken::new());
        let refused = Err::<(), _>(StoreError::WritesRefused { cause: "no replicas".into() });
        for outcome in [refused, Err(StoreError::Full)] {
            standing.wrote(&outcome);
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        standing.wrote::<()>(&Err(StoreError::Contended { name: "n".into() }));
        standing.wrote(&away());
        let [since, last] = [1_000, 1_005].map(Timestamp::from_secs);
        let want = Writes::Refused { since, last, why: StoreError::Full.to_string() };
        assert_eq!(standing.facts().writes, want, "since the first refusal, for the reason of the last");
        standing.wrote(&Ok(()));
        assert_eq!(standing.facts().writes, want, "another node took it");
        assert!(want.refused(last.plus(Duration::from_secs(29))).is_some());
        assert!(want.refused(last.plus(Duration::from_secs(30))).is_none());
    }
}
