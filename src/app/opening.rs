//! The store and the root key of a replica that starts. While Redis or the KEK cannot be asked, they are waited for.

use super::waiting::Waiting;
use crate::{
    broker::keys::{Keyring, KeyringError},
    clock::Clock,
    config::{Config, Store},
    monitor::{Standing, readiness::RootKey},
    seal::Kek,
    store::{Documents, StoreError, embedded::Embedded, redis::RedisStore},
};
use anyhow::Context;
use std::{path::Path, sync::Arc, time::Duration};

/// A Redis that fails over, or restarts with the broker, is back in seconds. `None`: told to stop before.
pub(super) async fn store(
    config: &Config,
    clock: &Arc<dyn Clock>,
    standing: &Standing,
    waiting: Waiting<'_>,
) -> anyhow::Result<Option<Arc<dyn Documents>>> {
    let tried = async || match (documents(config, clock.clone()).await, &config.store) {
        (Err(error), Store::Redis(_)) => match error.downcast_ref::<StoreError>() {
            Some(away) if may_pass(away) => {
                not_there(away, standing);
                Ok(None)
            }
            Some(_) | None => Err(error),
        },
        (found, _) => found.map(Some),
    };
    waiting.until(tried).await
}

/// As it is now: nothing is waited for.
pub(super) async fn documents(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Documents>> {
    match &config.store {
        Store::Embedded { file } => {
            create_folder(file.parent())?;
            Ok(Arc::new(Embedded::open(file, clock).await?))
        }
        Store::Redis(redis) => {
            let store = RedisStore::connect(super::redis::options(redis)?).await?;
            Ok(Arc::new(store))
        }
    }
}

fn create_folder(folder: Option<&Path>) -> anyhow::Result<()> {
    let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).with_context(|| format!("folder {} cannot be made", folder.display()))
}

/// Whether waiting mends it: a failover and a full store end, what is configured wrongly does not. What was begun
/// before needs no write to start.
const fn may_pass(error: &StoreError) -> bool {
    error.is_outage() || matches!(error, StoreError::Full)
}

fn not_there(error: &StoreError, standing: &Standing) {
    if matches!(error, StoreError::Unavailable { .. }) {
        tracing::warn!(%error, "this replica is not ready: the store does not answer yet");
    } else {
        tracing::warn!(%error, "this replica is not ready: the store does not take its first records yet");
    }
    standing.no_answer(error);
}

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
    pub(super) async fn opened(&self, waiting: Waiting<'_>) -> anyhow::Result<Option<Arc<Keyring>>> {
        waiting.until(async || self.tried().await).await
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
            Err(KeyringError::Store(error)) if may_pass(&error) => {
                not_there(&error, self.standing);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_waits_for_a_store_that_comes_back_and_for_no_other() {
        let cause = || "as the test says".to_owned();
        for (error, want) in [
            (StoreError::Unavailable { cause: cause() }, true),
            (StoreError::WritesRefused { cause: cause() }, true),
            (StoreError::Full, true),
            (StoreError::Unusable { cause: cause() }, false),
            (StoreError::Forged { key: cause() }, false),
            (StoreError::Broken { key: cause(), cause: cause() }, false),
        ] {
            assert_eq!(may_pass(&error), want, "{error}");
        }
    }
}
