//! Keyset files that are replaced under the running process: what is new is used once it was the same twice and opens the
//! root key that is in the store; until then, and whenever it does not, the old stays. Never logs what a file holds.

use crate::{
    audit::{
        Audit, Event,
        event::{Outcome, Reloaded},
    },
    broker::{heartbeat::Heartbeat, keys::Keyring},
    config::SecretFile,
    domain::token::Secret,
    seal::{FileKeyset, Kek, KekError, KekKey, KekKind, Keks, KeyBytes},
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// A keyset that can be replaced.
pub(super) struct ReplacedKeyset(ArcSwap<FileKeyset>);

/// Which of two KEKs it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Present,
    Previous,
}

/// A file, and the keyset that was read from it.
pub(super) struct KeysetFile {
    pub(super) kek: Arc<ReplacedKeyset>,
    pub(super) file: SecretFile,
    pub(super) turn: Turn,
    /// What is in use.
    pub(super) used: Secret,
}

/// Whom a change concerns.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) keks: Arc<Keks>,
    pub(super) keys: Arc<Keyring>,
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) audit: Arc<dyn Audit>,
}

/// What one look came to.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Same,
    /// New, and perhaps not whole yet.
    Wait,
    New,
}

/// Decides when a change is used.
struct Watch {
    used: Secret,
    seen: Option<Secret>,
}

impl Watch {
    fn look(&mut self, now: &Secret) -> Look {
        if now.expose() == self.used.expose() {
            self.seen = None;
            return Look::Same;
        }
        if self.seen.as_ref().is_none_or(|seen| seen.expose() != now.expose()) {
            self.seen = Some(now.clone());
            return Look::Wait;
        }
        Look::New
    }
}

impl KeysetFile {
    /// Looks at the file until `stop`.
    pub(super) async fn follow(self, around: Around, every: Duration, stop: CancellationToken) {
        let Self { kek, file, turn, used } = self;
        let mut watch = Watch { used, seen: None };
        let mut told: Option<String> = None;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let reading = file.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || reading.read()).await else { continue };
            let trouble = match read {
                Ok(text) => match watch.look(&text) {
                    Look::Same => None,
                    Look::Wait => continue,
                    Look::New => match around.fits(&text, turn).await {
                        Ok(keyset) => {
                            kek.0.store(Arc::new(keyset));
                            watch = Watch { used: text, seen: None };
                            around.changed(&file).await;
                            None
                        }
                        Err(trouble) => Some(trouble),
                    },
                },
                Err(trouble) => Some(trouble),
            };
            if let Some(trouble) = trouble.as_ref().filter(|trouble| told.as_ref() != Some(trouble)) {
                tracing::warn!(file = %file.path.display(), trouble,
                    "keyset file cannot be used; the keys that were read before stay in use");
                around.record(Outcome::Refused).await;
            }
            told = trouble;
        }
    }
}

impl Around {
    /// A keyset with which a replica could start now.
    async fn fits(&self, text: &Secret, turn: Turn) -> Result<FileKeyset, String> {
        let parsed = || FileKeyset::parse(text.expose()).map_err(|err| err.to_string());
        let candidate: Arc<dyn Kek> = Arc::new(parsed()?);
        let keks = match turn {
            Turn::Present => Keks { present: candidate, previous: self.keks.previous.clone() },
            Turn::Previous => Keks { present: self.keks.present.clone(), previous: Some(candidate) },
        };
        self.keys.would_unlock(&keks).await.map_err(|err| {
            format!("{err}: keep that key in the file until `bursar keys rotate kek` has moved the root keys")
        })?;
        parsed()
    }

    async fn changed(&self, file: &SecretFile) {
        tracing::info!(file = %file.path.display(), "keyset file has changed and is in use");
        self.record(Outcome::Done).await;
        // So that the page of the KEK tells of its new key at once.
        self.heartbeat.beat().await;
    }

    async fn record(&self, outcome: Outcome) {
        // That it could not be written is in the log.
        let _ = self.audit.record(Event::Reload { what: Reloaded::Keyset, outcome }).await;
    }
}

impl ReplacedKeyset {
    pub(super) fn new(keyset: FileKeyset) -> Self {
        Self(ArcSwap::from_pointee(keyset))
    }
}

#[async_trait]
impl Kek for ReplacedKeyset {
    fn kind(&self) -> KekKind {
        KekKind::File
    }

    async fn present(&self) -> Result<KekKey, KekError> {
        self.0.load_full().present().await
    }

    async fn wrap(&self, context: &[u8], key: &KeyBytes) -> Result<Vec<u8>, KekError> {
        self.0.load_full().wrap(context, key).await
    }

    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<KeyBytes, KekError> {
        self.0.load_full().unwrap(context, wrapped).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_used_when_it_was_the_same_twice() {
        let text = |text: &str| Secret::new(text);
        let mut watch = Watch { used: text("a"), seen: None };
        let looks = [
            ("a", Look::Same),
            ("half", Look::Wait),
            ("b", Look::Wait),
            ("b", Look::New),
            ("b", Look::New),
            ("a", Look::Same),
            ("b", Look::Wait),
        ];
        for (now, want) in looks {
            assert_eq!(watch.look(&text(now)), want, "{now}");
        }
    }
}
