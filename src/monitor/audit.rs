//! The audit trail as it is looked at from outside: what is handed to it, what of that could not be put on record, and how
//! long its disk takes. Most of what callers are refused for passes here, and is counted here.

use super::{
    catalogue,
    labels::{Synced, Words},
    metrics::{Durations, FAST, Making, Metrics},
};
use crate::{
    access::Permit,
    audit::{
        Audit, AuditDown, Event, Leaving,
        query::About,
        shelf::{Sheet, Shelf},
    },
    domain::token::AccessToken,
};
use async_trait::async_trait;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use std::{io, sync::Arc};
use tokio::time::Instant;

/// A trail that is watched.
pub struct WatchedAudit {
    inner: Arc<dyn Audit>,
    metrics: Arc<Metrics>,
    /// Kept, as it is on the path of every token.
    releases: Counter,
}

/// A folder of a trail that is watched.
pub struct WatchedShelf {
    pub inner: Box<dyn Shelf>,
    pub metrics: Arc<Metrics>,
}

struct WatchedSheet {
    inner: Box<dyn Sheet>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEvent {
    event: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLimit {
    limit: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAction {
    action: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStranger {
    transport: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSync {
    outcome: Synced,
}

/// What is counted of a trail.
#[derive(Debug)]
pub(super) struct Trail {
    events: Family<OfEvent, Counter>,
    failures: Counter,
    lines: Counter,
    sync: Durations<OfSync>,
    limited: Family<OfLimit, Counter>,
    denied: Family<OfAction, Counter>,
    strangers: Family<OfStranger, Counter>,
    states: Family<OfState, Counter>,
    words: Words,
}

impl Trail {
    pub(super) fn new(making: &mut Making<'_>) -> Self {
        Self {
            events: making.counters(&catalogue::AUDIT_EVENTS),
            failures: making.counter(&catalogue::AUDIT_FAILURES),
            lines: making.counter(&catalogue::AUDIT_LINES),
            sync: making.durations(&catalogue::AUDIT_SYNC, FAST),
            limited: making.counters(&catalogue::LIMITED),
            denied: making.counters(&catalogue::DENIED),
            strangers: making.counters(&catalogue::STRANGERS),
            states: making.counters(&catalogue::STATE_CHANGES),
            words: Words::default(),
        }
    }

    fn of(&self, event: &'static str) -> Counter {
        self.events.get_or_create_owned(&OfEvent { event })
    }

    fn note(&self, event: &Event) {
        self.of(About::of(event).word).inc();
        let known = |name| self.words.known(name).into_string();
        match event {
            Event::Denied { action, .. } => {
                self.denied.get_or_create(&OfAction { action: known(action) }).inc();
            }
            Event::Throttled { limit, count, .. } => {
                self.limited.get_or_create(&OfLimit { limit: known(limit) }).inc_by(*count);
            }
            Event::Unauthenticated { transport, reason, count } => {
                let of = OfStranger { transport: known(transport), reason: known(reason) };
                self.strangers.get_or_create(&of).inc_by(*count);
            }
            Event::State { to, .. } => {
                self.states.get_or_create(&OfState { state: known(to) }).inc();
            }
            Event::File(_)
            | Event::Start { .. }
            | Event::Stop { .. }
            | Event::Reload { .. }
            | Event::Release(_)
            | Event::ReleaseSummary(_)
            | Event::Change { .. }
            | Event::Key { .. }
            | Event::Dropped { .. } => {}
        }
    }

    fn judged(&self, outcome: Result<(), AuditDown>) -> Result<(), AuditDown> {
        outcome.inspect_err(|AuditDown| {
            self.failures.inc();
        })
    }
}

impl WatchedAudit {
    pub fn new(inner: Arc<dyn Audit>, metrics: Arc<Metrics>) -> Self {
        let releases = metrics.trail.of("release");
        Self { inner, metrics, releases }
    }
}

#[async_trait]
impl Audit for WatchedAudit {
    async fn release(
        &self,
        permit: &Permit,
        leaving: &Leaving<'_>,
        token: &AccessToken,
    ) -> Result<(), AuditDown> {
        self.releases.inc();
        self.metrics.trail.judged(self.inner.release(permit, leaving, token).await)
    }

    async fn record(&self, event: Event) -> Result<(), AuditDown> {
        self.metrics.trail.note(&event);
        self.metrics.trail.judged(self.inner.record(event).await)
    }
}

impl Shelf for WatchedShelf {
    fn names(&self) -> io::Result<Vec<String>> {
        self.inner.names()
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.inner.size(name)
    }

    fn head(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        self.inner.head(name, most)
    }

    fn tail(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        self.inner.tail(name, most)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Sheet>> {
        let inner = self.inner.create(name)?;
        Ok(Box::new(WatchedSheet { inner, metrics: self.metrics.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}

impl Sheet for WatchedSheet {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.append(bytes)?;
        let lines = bytes.split(|byte| *byte == b'\n').count().saturating_sub(1);
        self.metrics.trail.lines.inc_by(lines as u64);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        let synced = self.inner.sync();
        let outcome = if synced.is_ok() { Synced::Ok } else { Synced::Failed };
        let sync = &self.metrics.trail.sync;
        sync.get_or_create(&OfSync { outcome }).observe(begun.elapsed().as_secs_f64());
        synced
    }
}
