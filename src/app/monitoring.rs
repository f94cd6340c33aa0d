//! Probes and metrics by the configuration: answered from the first moment of the process to its last.

use crate::{
    clock::Clock,
    config::Config,
    monitor::{Site, Standing, Watched},
    store::Documents,
};
use anyhow::Context;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// What looks on. Ends with its value.
pub(super) struct Monitoring {
    pub(super) standing: Arc<Standing>,
    /// Where it is listened.
    pub(super) address: Option<SocketAddr>,
    tasks: TaskTracker,
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
        let (tasks, open) = (TaskTracker::new(), CancellationToken::new());
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
        Ok(Self { standing, address, tasks, open, _closes: closes })
    }

    /// The store, watched.
    pub(super) fn watched(&self, documents: Arc<dyn Documents>) -> Arc<dyn Documents> {
        let watched: Arc<dyn Documents> = Arc::new(Watched::new(documents, self.standing.clone()));
        self.tasks.spawn(self.standing.clone().keep_fresh(watched.clone(), self.open.clone()));
        watched
    }
}
