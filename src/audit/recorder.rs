//! The durable trail as the rest of the program sees it: first releases wait for the disk, later ones are counted, all
//! else is written before it is answered.

use super::{
    AuditDown, Leaving,
    chain::{self, Chain, ChainError},
    counted::{Counted, Which},
    event::{Event, Name, Release, Releases, Summary},
    gate::{Gate, Pass, Throttled},
    hex::Bytes,
    line::Head,
    shelf::{Folder, FolderError, Shelf},
    sink::{Courier, Drops, Second, Sink},
    writer::{self, Scribe, Writer},
};
use crate::{clock::Clock, domain::token::AccessToken, seal::AuditKey};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, Notify},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Counts are written down at least this often.
pub const SUMMARY_EVERY: Duration = Duration::from_secs(30);
/// Longest that the end of the process waits for the last lines.
const CLOSE_MAX: Duration = Duration::from_secs(3);
/// Summaries handed in at once: less than the queue holds, so that callers find room.
const BATCH: usize = 1024;

/// What a trail is kept with.
pub struct Settings {
    /// A folder for this replica alone.
    pub folder: PathBuf,
    pub replica: String,
    pub releases: Releases,
    pub rotate_bytes: u64,
    /// Longest that a call waits for its line.
    pub write_timeout: Duration,
    pub second: Option<Second>,
    /// This machine, as syslog's header names it.
    pub host: String,
    /// Puts something around the folder: whoever looks on.
    pub around: Around,
}

pub type Around = Box<dyn FnOnce(Box<dyn Shelf>) -> Box<dyn Shelf> + Send>;

/// The trail cannot be begun, and so nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The first line could not be written; the log says why.
    #[error("the first line could not be written to {folder}")]
    FirstLine { folder: PathBuf },
}

pub struct Recorder {
    writer: Writer,
    key: Arc<AuditKey>,
    releases: Releases,
    counted: Counted,
    clock: Arc<dyn Clock>,
    replica: Name,
    second: Name,
    drops: Drops,
    strangers: parking_lot::Mutex<Gate>,
    throttled: parking_lot::Mutex<Throttled>,
    /// One at a time writes counts down.
    flushing: Mutex<()>,
    pressed: Notify,
    /// Lines of counts that were written.
    summaries: AtomicU64,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Recorder {
    /// Opens the trail and writes its first line: what cannot be written is known before anything is served.
    pub async fn open(
        settings: Settings,
        key: Arc<AuditKey>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, OpenError> {
        let Settings { folder, replica, releases, rotate_bytes, write_timeout, second, host, around } =
            settings;
        let replica = Name::of(&replica);
        let options = chain::Options {
            key: key.clone(),
            replica: replica.clone(),
            rotate_bytes,
            new_chain: clock.now().uuid(),
        };
        let shelf = around(Box::new(Folder::open(&folder)?));
        let chain = Chain::open(shelf, options)?;
        let word = second.as_ref().map_or("none", Second::word);
        let (sink, courier) = match second {
            Some(second) => {
                let (sink, courier) = Sink::to(second, host);
                (sink, Some(courier))
            }
            None => (Sink::none(), None),
        };
        let drops = sink.drops();
        let (writer, scribe) = writer::open(chain, sink, clock.clone(), write_timeout);
        let recorder = Arc::new(Self {
            writer,
            key,
            releases,
            counted: Counted::new(),
            clock,
            replica,
            second: Name::of(&word),
            drops,
            strangers: parking_lot::Mutex::default(),
            throttled: parking_lot::Mutex::default(),
            flushing: Mutex::default(),
            pressed: Notify::new(),
            summaries: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        });
        recorder.clone().start(scribe, courier);
        let begun = recorder.writer.record_surely(recorder.first_line()).await;
        begun.map_err(|AuditDown| OpenError::FirstLine { folder })?;
        recorder.tell_head();
        Ok(recorder)
    }

    fn start(self: Arc<Self>, scribe: Scribe, courier: Option<Courier>) {
        self.tasks.spawn(scribe.run());
        if let Some(courier) = courier {
            self.tasks.spawn(courier.run());
        }
        let tasks = self.tasks.clone();
        tasks.spawn(self.summarize());
    }

    fn first_line(&self) -> Event {
        Event::Start {
            replica: self.replica.clone(),
            version: Name::of(&env!("CARGO_PKG_VERSION")),
            releases: self.releases,
            key: Name::of(&Bytes(self.key.id())),
        }
    }

    /// Writes counts down every [`SUMMARY_EVERY`], or sooner when they need place, until the end.
    async fn summarize(self: Arc<Self>) {
        let mut tick = interval_at(Instant::now() + SUMMARY_EVERY, SUMMARY_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = self.writer.head();
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = self.pressed.notified() => {}
                _ = tick.tick() => {}
            }
            self.flush().await;
            let head = self.writer.head();
            if head != told {
                told = head;
                self.tell_head();
            }
        }
    }

    /// Writes all counts down. What cannot be written is kept and counted on.
    pub async fn flush(&self) {
        let _one = self.flushing.lock().await;
        let dropped = self.drops.take();
        let tell = Event::Dropped { sink: self.second.clone(), count: dropped };
        if dropped > 0 && self.writer.record_surely(tell).await.is_err() {
            self.drops.give_back(dropped);
        }
        let strangers = self.strangers.lock().drain();
        for event in strangers {
            if self.writer.record_surely(event.clone()).await.is_err()
                && let Event::Unauthenticated { transport, reason, count } = event
            {
                self.strangers.lock().count(&transport, &reason, count);
            }
        }
        let throttled = self.throttled.lock().drain();
        for event in throttled {
            if self.writer.record_surely(event.clone()).await.is_err()
                && let Event::Throttled { caller, limit, count } = event
            {
                self.throttled.lock().count(&caller, &limit, count);
            }
        }
        // What is left from before goes first: while the disk is away, it does not grow.
        if self.write(self.counted.carried()).await.is_ok() {
            let _ = self.write(self.counted.drain(self.clock.now())).await;
        }
    }

    async fn write(&self, mut summaries: Vec<Summary>) -> Result<(), AuditDown> {
        while !summaries.is_empty() {
            let rest = summaries.split_off(summaries.len().min(BATCH));
            let told: Vec<_> = summaries
                .into_iter()
                .map(|summary| (self.writer.hand_in(Event::ReleaseSummary(summary.clone())), summary))
                .collect();
            let mut failed = Vec::new();
            for (told, summary) in told {
                let outcome = match told {
                    Ok(told) => told.await.unwrap_or(Err(AuditDown)),
                    Err(AuditDown) => Err(AuditDown),
                };
                match outcome {
                    Ok(()) => drop(self.summaries.fetch_add(1, Ordering::Relaxed)),
                    Err(AuditDown) => failed.push(summary),
                }
            }
            if !failed.is_empty() {
                failed.extend(rest);
                self.counted.put_back(failed);
                return Err(AuditDown);
            }
            summaries = rest;
        }
        Ok(())
    }

    /// How many lines of counts were written.
    pub fn summaries(&self) -> u64 {
        self.summaries.load(Ordering::Relaxed)
    }

    /// The last lines of the process: all counts, then that it ends.
    pub async fn close(&self) {
        self.closing.cancel();
        let last = async {
            self.flush().await;
            let stop = Event::Stop { replica: self.replica.clone() };
            self.writer.record_surely(stop).await
        };
        match timeout(CLOSE_MAX, last).await {
            Ok(Ok(())) => self.tell_head(),
            Ok(Err(AuditDown)) | Err(_) => {
                tracing::error!(
                    "the audit trail's last lines could not be written: counts of releases are lost"
                );
            }
        }
    }

    /// The log is another place than the trail: a head that stands there cannot be cut off here unseen.
    fn tell_head(&self) {
        let Head { seq, hash } = self.writer.head();
        tracing::info!(chain = %self.writer.chain(), seq, head = %hash, "audit trail's head");
    }

    /// On record when this returns, if it was not before: no token leaves earlier. Fails within
    /// [`write_timeout`](Settings::write_timeout).
    pub async fn release(
        &self,
        caller: &str,
        leaving: &Leaving<'_>,
        token: &AccessToken,
    ) -> Result<(), AuditDown> {
        let &Leaving { connection, family, generation, expires_at } = leaving;
        let which = Which { caller, connection, family, generation };
        if self.releases == Releases::First && self.counted.again(&which, self.clock.now()) {
            return Ok(());
        }
        let release = Release {
            caller: Name::of(&caller),
            connection: Name::of(connection),
            family,
            generation,
            token: self.key.tag(token).into(),
            expires_at,
        };
        self.writer.record(Event::Release(release.clone())).await?;
        tracing::debug!(caller, %connection, generation, "token released");
        if self.releases == Releases::First {
            self.counted.recorded(&which, release, self.clock.now());
            if self.counted.is_pressed() {
                self.pressed.notify_one();
            }
        }
        Ok(())
    }

    /// On record when this returns. What strangers cause beyond a measure is counted instead, and what throttled callers
    /// do always is.
    pub async fn record(&self, event: Event) -> Result<(), AuditDown> {
        if let Event::Throttled { caller, limit, count } = &event {
            self.throttled.lock().count(caller, limit, *count);
            return Ok(());
        }
        if let Event::Unauthenticated { transport, reason, .. } = &event
            && self.strangers.lock().pass(self.clock.now(), transport, reason) == Pass::Counted
        {
            return Ok(());
        }
        self.writer.record(event).await
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
