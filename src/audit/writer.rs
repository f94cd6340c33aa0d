//! Group commit: whatever was asked while the disk was busy is written and made durable together, and everybody is
//! told. A disk that is full, broken or stuck makes callers fail in time; when it is back, so is the trail, without being
//! told.

use super::{
    chain::{Chain, GROUP_MAX},
    event::Event,
    line::Head,
    sink::Sink,
};
use crate::clock::{Clock, Timestamp};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use uuid::Uuid;

/// Events that wait for the disk at most; more are refused at once.
pub const QUEUE_MAX: usize = 8 * 1024;
/// After a failure the disk is left alone for this long.
const PAUSE: Duration = Duration::from_millis(100);

/// It is not on record: nothing may be released or changed. Try again; check the audit trail's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("audit trail was not writable")]
pub struct AuditDown;

/// Where events are handed in.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Entry>,
    head: watch::Receiver<Head>,
    clock: Arc<dyn Clock>,
    chain: Uuid,
    /// Longest that a call waits for its record.
    patience: Duration,
}

struct Entry {
    at: Timestamp,
    event: Event,
    done: Done,
}

type Done = oneshot::Sender<Result<(), AuditDown>>;

/// The writing end, to be run as a task of its own until every [`Writer`] is gone.
pub struct Scribe {
    chain: Chain,
    queue: mpsc::Receiver<Entry>,
    head: watch::Sender<Head>,
    clock: Arc<dyn Clock>,
    sink: Sink,
    patience: Duration,
}

/// The two ends of a chain's queue. No call waits longer than `patience` for its record.
pub fn open(chain: Chain, sink: Sink, clock: Arc<dyn Clock>, patience: Duration) -> (Writer, Scribe) {
    let (into, queue) = mpsc::channel(QUEUE_MAX);
    let (head, seen) = watch::channel(chain.head());
    let writer = Writer { queue: into, head: seen, clock: clock.clone(), chain: chain.id(), patience };
    (writer, Scribe { chain, queue, head, clock, sink, patience })
}

impl Writer {
    /// Returns when the event is on the disk; fails in time if it is not by then. What failed by time may
    /// come to be on record later: more can be on record than happened, never less.
    pub async fn record(&self, event: Event) -> Result<(), AuditDown> {
        let told = self.hand_in(event)?;
        match timeout(self.patience, told).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(AuditDown),
        }
    }

    /// As [`record`](Self::record), for as long as it takes: the outcome is final.
    pub(super) async fn record_surely(&self, event: Event) -> Result<(), AuditDown> {
        self.hand_in(event)?.await.unwrap_or(Err(AuditDown))
    }

    /// Into the queue, if there is room; the outcome comes later.
    pub(super) fn hand_in(
        &self,
        event: Event,
    ) -> Result<oneshot::Receiver<Result<(), AuditDown>>, AuditDown> {
        let (done, told) = oneshot::channel();
        let entry = Entry { at: self.clock.now(), event, done };
        self.queue.try_send(entry).map_err(|_| AuditDown)?;
        Ok(told)
    }

    /// The last line on the disk.
    pub fn head(&self) -> Head {
        *self.head.borrow()
    }

    pub fn chain(&self) -> Uuid {
        self.chain
    }
}

impl Scribe {
    pub async fn run(mut self) {
        let mut down: Option<Instant> = None;
        loop {
            let mut group = Vec::new();
            if self.queue.recv_many(&mut group, GROUP_MAX).await == 0 {
                return;
            }
            if down.is_some_and(|since| since.elapsed() < PAUSE) {
                tell(group.into_iter().map(|entry| entry.done), Err(AuditDown));
                continue;
            }
            let (events, waiting): (Vec<_>, Vec<_>) =
                group.into_iter().map(|entry| ((entry.at, entry.event), entry.done)).unzip();
            let (mut chain, now) = (self.chain, self.clock.now());
            // A disk that is stuck holds this thread of the pool, and nothing else.
            let mut written = tokio::task::spawn_blocking(move || {
                let written = chain.append(now, &events);
                (chain, written)
            });
            let in_time = timeout(self.patience, &mut written).await;
            let written = if let Ok(written) = in_time {
                written
            } else {
                tracing::error!("audit trail's disk does not answer: nothing is released meanwhile");
                written.await
            };
            let Ok((chain, written)) = written else {
                tracing::error!("the audit trail's writer ended; nothing is released any more");
                return;
            };
            self.chain = chain;
            match written {
                Ok(lines) => {
                    if down.take().is_some() {
                        tracing::warn!("audit trail is writable again");
                    }
                    self.head.send_replace(self.chain.head());
                    tell(waiting, Ok(()));
                    self.sink.offer(lines);
                }
                Err(err) => {
                    told_down(down.replace(Instant::now()), &err);
                    tell(waiting, Err(AuditDown));
                }
            }
        }
    }
}

fn tell(waiting: impl IntoIterator<Item = Done>, outcome: Result<(), AuditDown>) {
    for done in waiting {
        // Who does not wait any more does not want to know.
        let _ = done.send(outcome);
    }
}

/// Loud once; the same trouble again is for who looks closer.
fn told_down(before: Option<Instant>, err: &io::Error) {
    let kind = err.kind();
    match before {
        None => tracing::error!(error = ?kind, os = err.raw_os_error(),
            "audit trail cannot be written: nothing is released and nothing changed until it can"),
        Some(_) => {
            tracing::debug!(error = ?kind, os = err.raw_os_error(), "audit trail still cannot be written");
        }
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
