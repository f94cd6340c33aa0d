//! Group commit: writers queue up, one of them drains the queue into one transaction after the other, all
//! are told. One sync to disk thereby serves many writers. Never has two transactions open at once.

use super::{
    super::{Change, Dated, Notice, StoreError, Swapped},
    tables,
};
use crate::clock::{Clock, Timestamp};
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};
use tables::Tables;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, oneshot};

/// Most writes that wait in the queue; further writers wait for a place.
const QUEUE_MAX: usize = 1024;
/// Most writes in one transaction.
const BATCH_MAX: usize = 128;

pub(super) struct Writers {
    places: Arc<Semaphore>,
    desk: Arc<Desk>,
}

struct Desk {
    tables: Arc<Tables>,
    clock: Arc<dyn Clock>,
    notices: broadcast::Sender<Notice>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    drain: Drain,
}

#[derive(Default, PartialEq, Eq)]
enum Drain {
    #[default]
    Idle,
    Running,
}

struct Job {
    change: Change,
    writer: Writer,
}

/// Who waits for the answer, and the place in the queue that is free again afterwards.
struct Writer {
    reply: oneshot::Sender<Result<Dated<Swapped>, StoreError>>,
    _place: OwnedSemaphorePermit,
}

impl Writers {
    pub(super) fn new(
        tables: Arc<Tables>,
        clock: Arc<dyn Clock>,
        notices: broadcast::Sender<Notice>,
    ) -> Self {
        let desk = Arc::new(Desk { tables, clock, notices, queue: Mutex::default() });
        Self { places: Arc::new(Semaphore::new(QUEUE_MAX)), desk }
    }

    /// Once queued, the write happens even if this future is dropped.
    pub(super) async fn write(&self, change: Change) -> Result<Dated<Swapped>, StoreError> {
        let stopping = || StoreError::Unavailable { cause: "the process is stopping".to_owned() };
        let place = self.places.clone().acquire_owned().await.map_err(|_| stopping())?;
        let (reply, answer) = oneshot::channel();
        let before = {
            let mut queue = self.desk.queue.lock();
            queue.waiting.push_back(Job { change, writer: Writer { reply, _place: place } });
            std::mem::replace(&mut queue.drain, Drain::Running)
        };
        if before == Drain::Idle {
            let desk = self.desk.clone();
            // Not awaited: it ends when the queue is empty, and every job carries its own way back.
            drop(tokio::task::spawn_blocking(move || desk.drain()));
        }
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

impl Desk {
    /// Writes batch after batch until the queue is empty. Lets go of the store before it gives the last
    /// answers: who drops the store after its last answer finds the file free at once.
    fn drain(self: Arc<Self>) {
        let mut batch = self.take();
        while !batch.is_empty() {
            let (changes, writers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|job| (job.change, job.writer)).unzip();
            let written = tables::contained(|| self.tables.write(&changes));
            // Feeds hear in the order of the commits: nobody else writes before this returns.
            for (change, swapped) in changes.iter().zip(written.iter().flatten()) {
                if let Swapped::Done(_) = swapped {
                    let version = change.expect.writes();
                    let notice = Notice::Changed { key: change.key.clone(), version };
                    // An error means that nobody listens.
                    let _ = self.notices.send(notice);
                }
            }
            let store_now = self.clock.now();
            batch = self.take();
            if batch.is_empty() {
                drop(self);
                return answer(writers, written, store_now);
            }
            answer(writers, written, store_now);
        }
    }

    /// The next batch. On an empty queue the drain is over, decided under the same lock that writers queue
    /// under, so that no job is left behind.
    fn take(&self) -> Vec<Job> {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() {
            queue.drain = Drain::Idle;
        }
        let count = queue.waiting.len().min(BATCH_MAX);
        queue.waiting.drain(..count).collect()
    }
}

fn answer(writers: Vec<Writer>, written: Result<Vec<Swapped>, StoreError>, store_now: Timestamp) {
    let answers: Vec<Result<Swapped, StoreError>> = match written {
        Ok(all) => all.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error); writers.len()],
    };
    for (writer, answer) in writers.into_iter().zip(answers) {
        // An error means that the writer went away; its write stands.
        let _ = writer.reply.send(answer.map(|value| Dated { value, store_now }));
    }
}
