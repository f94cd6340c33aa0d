//! Probes and metrics by the configuration: answered from the first moment of the process to its last.

use crate::{
    clock::Clock,
    config::Config,
    monitor::{Site, Standing, Watched},
    store::Documents,
};
use anyhow::Context;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Longest wait for answers under way when the process ends: within what the grace period leaves for that.
const ANSWERED_MAX: Duration = Duration::from_millis(200);

/// What looks on. Ends with its value.
pub(super) struct Monitoring {
    pub(super) standing: Arc<Standing>,
    /// Where it is listened.
    pub(super) address: Option<SocketAddr>,
    tasks: TaskTracker,
    /// Those that hold the store.
    watching: TaskTracker,
    open: CancellationToken,
    _closes: DropGuard,
}

impl Monitoring {
    /// Answers from now on. `stop`: cancelled when the process is to end.
    pub(super) async fn open(
        config: &Config,
        clock: &Arc<dyn Clock>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let standing = Standing::new(clock.clone(), config.monitoring.outage, stop.clone());
        let (tasks, watching, open) = (TaskTracker::new(), TaskTracker::new(), CancellationToken::new());
        let mut address = None;
        if let Some(listen) = config.monitoring.listen {
            let listener = TcpListener::bind(listen).await.with_context(|| {
                format!("monitoring.listen: {listen} cannot be bound; is another process there?")
            })?;
            let bound = listener.local_addr()?;
            tracing::info!(address = %bound, "listening for probes");
            address = Some(bound);
            tasks.spawn(Site { standing: standing.clone() }.serve(listener, open.clone()));
        }
        let closes = open.clone().drop_guard();
        Ok(Self { standing, address, tasks, watching, open, _closes: closes })
    }

    /// The store, watched.
    pub(super) fn watched(&self, documents: Arc<dyn Documents>) -> Arc<dyn Documents> {
        let watched: Arc<dyn Documents> = Arc::new(Watched::new(documents, self.standing.clone()));
        self.watching.spawn(self.standing.clone().keep_fresh(watched.clone(), self.open.clone()));
        watched
    }

    /// At the end. Nothing of the store is held any more then: a file of its own is closed as it should be.
    pub(super) async fn close(self) {
        self.open.cancel();
        self.watching.close();
        self.watching.wait().await;
        self.tasks.close();
        // Who still asks is not waited for.
        let _ = tokio::time::timeout(ANSWERED_MAX, self.tasks.wait()).await;
    }
}
