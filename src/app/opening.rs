//! The root key of a replica that starts while the KEK cannot be asked: it is waited for, and meanwhile whoever comes
//! is told that this replica is not ready. What no waiting mends ends the start at once.

use crate::{
    broker::keys::{Keyring, KeyringError},
    clock::Clock,
    grpc::{
        listening::{Bounds, Door},
        waiting,
    },
    monitor::{Standing, readiness::RootKey},
    seal::Kek,
    store::Documents,
};
use anyhow::Context;
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Between two tries: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

pub(super) struct Opening<'a> {
    pub(super) documents: &'a Arc<dyn Documents>,
    pub(super) kek: &'a Arc<dyn Kek>,
    pub(super) clock: &'a Arc<dyn Clock>,
    /// See [`Keyring::spread`].
    pub(super) spread: Duration,
    /// Is told how far it is.
    pub(super) standing: &'a Standing,
}

impl Opening<'_> {
    /// `None`: told to stop before.
    pub(super) async fn opened(
        &self,
        doors: &[Door],
        bounds: Bounds,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Arc<Keyring>>> {
        let Some(first) = self.tried().await? else {
            // The first try failed for something that may pass.
            let doors = doors.iter().map(Door::another).collect::<Result<_, _>>();
            let doors = doors.context("the listening sockets cannot be shared")?;
            let (told, tasks) = (CancellationToken::new(), TaskTracker::new());
            tasks.spawn(waiting::serve(doors, bounds, told.clone().cancelled_owned()));
            tasks.close();
            let kept = self.waited_for(stop).await;
            told.cancel();
            tasks.wait().await;
            return kept;
        };
        Ok(Some(first))
    }

    async fn waited_for(&self, stop: &CancellationToken) -> anyhow::Result<Option<Arc<Keyring>>> {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(pause) => {}
            }
            let opened = tokio::select! {
                () = stop.cancelled() => return Ok(None),
                opened = self.tried() => opened?,
            };
            if let Some(keys) = opened {
                tracing::info!("the key service answers: this replica is getting ready");
                return Ok(Some(keys));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// `None`: the KEK cannot be used now, which is logged.
    async fn tried(&self) -> anyhow::Result<Option<Arc<Keyring>>> {
        match Keyring::open(self.documents.clone(), self.kek.clone(), self.clock.clone(), self.spread).await {
            Ok(keys) => {
                self.standing.root_key(RootKey::Unlocked);
                Ok(Some(Arc::new(keys)))
            }
            Err(KeyringError::Kek(error)) => {
                tracing::warn!(%error, "this replica is not ready: the root key cannot be unlocked yet");
                self.standing.root_key(RootKey::Waits(error.to_string()));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
