//! Probes and metrics by the configuration: answered from the first moment of the process to its last.

use crate::{
    audit::{Around, Audit, Recorder},
    broker::Broker,
    clock::Clock,
    config::{Config, Store},
    monitor::{
        Census, Certificate, Measuring, Metrics, Site, Sources, Standing, Watched, WatchedAudit, WatchedKek,
        WatchedProvider, WatchedShelf,
    },
    provider::Provider,
    seal::Kek,
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

/// What looks on, and puts itself around what others meet at. Ends with its value.
pub(super) struct Monitoring {
    pub(super) standing: Arc<Standing>,
    metrics: Arc<Metrics>,
    /// Where it is listened.
    pub(super) address: Option<SocketAddr>,
    tasks: TaskTracker,
    /// Those that hold the store.
    watching: TaskTracker,
    open: CancellationToken,
    _closes: DropGuard,
}

/// What the server tells, and what tells of it.
pub(super) struct Watching {
    pub(super) standing: Arc<Standing>,
    pub(super) calls: Measuring,
}

impl Monitoring {
    /// Answers from now on. `stop`: cancelled when the process is to end.
    pub(super) async fn open(
        config: &Config,
        clock: &Arc<dyn Clock>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let standing = Standing::new(clock.clone(), config.monitoring.outage, stop.clone());
        let store = match config.store {
            Store::Embedded { .. } => "redb",
            Store::Redis(_) => "redis",
        };
        let metrics = Metrics::new(standing.clone(), store);
        let (tasks, watching, open) = (TaskTracker::new(), TaskTracker::new(), CancellationToken::new());
        let mut address = None;
        if let Some(listen) = config.monitoring.listen {
            let listener = TcpListener::bind(listen).await.with_context(|| {
                format!("monitoring.listen: {listen} cannot be bound; is another process there?")
            })?;
            let bound = listener.local_addr()?;
            tracing::info!(address = %bound, "listening for probes");
            address = Some(bound);
            let site = Site { standing: standing.clone(), metrics: metrics.clone() };
            tasks.spawn(site.serve(listener, open.clone()));
        }
        let closes = open.clone().drop_guard();
        Ok(Self { standing, metrics, address, tasks, watching, open, _closes: closes })
    }

    /// The store, watched.
    pub(super) fn watched(&self, documents: Arc<dyn Documents>) -> Arc<dyn Documents> {
        let watched: Arc<dyn Documents> =
            Arc::new(Watched::new(documents, self.standing.clone(), self.metrics.clone()));
        self.watching.spawn(self.standing.clone().keep_fresh(watched.clone(), self.open.clone()));
        watched
    }

    pub(super) fn kek(&self, inner: Arc<dyn Kek>) -> Arc<dyn Kek> {
        Arc::new(WatchedKek { inner, metrics: self.metrics.clone() })
    }

    pub(super) fn provider(&self, inner: Arc<dyn Provider>) -> Arc<dyn Provider> {
        Arc::new(WatchedProvider { inner, metrics: self.metrics.clone() })
    }

    pub(super) fn audit(&self, inner: Arc<dyn Audit>) -> Arc<dyn Audit> {
        Arc::new(WatchedAudit::new(inner, self.metrics.clone()))
    }

    /// Around the trail's folder.
    pub(super) fn shelf(&self) -> Around {
        let metrics = self.metrics.clone();
        Box::new(|inner| Box::new(WatchedShelf { inner, metrics }))
    }

    pub(super) fn watching(&self) -> Watching {
        Watching { standing: self.standing.clone(), calls: self.metrics.calls() }
    }

    /// From now on there is a broker to look at, whose connections are counted where somebody can ask for it.
    pub(super) fn look_at(&self, broker: &Arc<Broker>, recorder: &Arc<Recorder>, certificate: Certificate) {
        let census = Arc::new(Census::default());
        if self.address.is_some() {
            let counting = census.clone().keep_counting(broker.ledger.clone(), self.open.clone());
            self.watching.spawn(counting);
        }
        self.metrics.look_at(Sources {
            broker: Arc::downgrade(broker),
            recorder: Arc::downgrade(recorder),
            metrics: Arc::downgrade(&self.metrics),
            census,
            certificate,
        });
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
