//! Whether the KEK would serve if it were asked now. Nothing that runs needs it: this is so that its outage is known
//! before a replica starts or a key is rotated. Never touches the root key.

use crate::{
    clock::{Clock, Timestamp},
    seal::{Kek, KekError, KekKey, KekKind},
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Between two probes.
pub const EVERY: Duration = Duration::from_secs(30);

/// What is known of the KEK, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekHealth {
    pub kind: KekKind,
    /// The key that wrapped last; `None` before it first did.
    pub key: Option<KekKey>,
    pub last_success: Option<Timestamp>,
    /// `None`: it does not fail.
    pub failing_since: Option<Timestamp>,
}

pub struct Heartbeat {
    kek: Arc<dyn Kek>,
    clock: Arc<dyn Clock>,
    health: Mutex<KekHealth>,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
enum News {
    Failing(KekError),
    /// Since when it failed.
    Back(Timestamp),
    /// Its owner wraps with another key now.
    Changed(KekKey),
}

impl Heartbeat {
    pub fn new(kek: Arc<dyn Kek>, clock: Arc<dyn Clock>) -> Self {
        let health = KekHealth { kind: kek.kind(), key: None, last_success: None, failing_since: None };
        Self { kek, clock, health: Mutex::new(health) }
    }

    pub fn health(&self) -> KekHealth {
        self.health.lock().clone()
    }

    /// Probes until it is told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.beat() => {}
            }
        }
    }

    /// One probe.
    pub async fn beat(&self) {
        let probed = self.kek.probe().await;
        let news = self.health.lock().learn(probed, self.clock.now());
        for news in news {
            tell(self.kek.kind(), &news);
        }
    }
}

impl KekHealth {
    /// Takes in how a probe ended; an outage is news when it begins and when it is over.
    fn learn(&mut self, probed: Result<KekKey, KekError>, now: Timestamp) -> Vec<News> {
        let mut news = Vec::new();
        match probed {
            Ok(key) => {
                news.extend(self.failing_since.take().map(News::Back));
                self.last_success = Some(now);
                if self.key.as_ref() != Some(&key) {
                    let before = self.key.replace(key.clone());
                    news.extend(before.map(|_| News::Changed(key)));
                }
            }
            Err(_) if self.failing_since.is_some() => {}
            Err(error) => {
                self.failing_since = Some(now);
                news.push(News::Failing(error));
            }
        }
        news
    }
}

fn tell(kind: KekKind, news: &News) {
    let kek = kind.word();
    match news {
        News::Failing(error) => tracing::error!(kek, %error,
            "the key service cannot be used: tokens are served and refreshed as before, but no replica can start and \
             no key be rotated until it is back"),
        News::Back(since) => tracing::info!(kek, %since, "the key service can be used again"),
        News::Changed(key) => tracing::info!(kek, %key,
            "the KEK was changed at its owner: rotate it here too, and keep the old version there until then"),
    }
}

#[cfg(test)]
#[path = "heartbeat_tests.rs"]
mod tests;
