//! The whole broker, put together: reliability is read from the order in which the parts are wrapped.

use crate::{
    access::Access,
    audit::LogAudit,
    broker::{
        Broker,
        admin::Admin,
        bells::Bells,
        follower::Follower,
        keys::Keyring,
        outage::Outage,
        refresher::{Board, Parts, Refresher},
        scheduler::Scheduler,
        shunned::Shunned,
        slots::Slots,
        warm::WarmCopies,
    },
    clock::Clock,
    config::{Addresses, Config, Scheduling, Store},
    grpc::{self, Limits, Services},
    provider::{
        Provider, Providers,
        catalogue::Catalogue,
        egress::{AddressPolicy, Egress},
    },
    seal::{self, FileKeyset, Kek},
    store::{
        Documents,
        embedded::Embedded,
        ledger::Ledger,
        redis::{RedisOptions, RedisStore},
    },
};
use anyhow::{Context, anyhow};
use std::{path::Path, process, sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What is left of the grace period when calls have been answered, for answers that the store has not taken yet.
const LAST_RESERVE: Duration = Duration::from_secs(5);
/// What is left of it when nothing is waited for any more, for the process to end by itself.
const END_RESERVE: Duration = Duration::from_millis(500);

/// Everything that serves, not yet serving.
pub struct House {
    pub admin: Arc<Admin>,
    broker: Arc<Broker>,
    catalogue: Arc<Catalogue>,
    refresher: Refresher,
    follower: Follower,
    scheduler: Option<Scheduler>,
    limits: Limits,
    grace: Duration,
}

impl House {
    pub async fn build(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        seal::warm_up();
        let catalogue = Arc::new(catalogue(config)?);
        for profile in
            catalogue.iter().filter(|p| p.exchange_deadline() + LAST_RESERVE > config.shutdown.grace)
        {
            tracing::warn!(provider = %profile.name, exchange_s = profile.exchange_deadline().as_secs(),
                grace_s = config.shutdown.grace.as_secs(),
                "an exchange with this provider can outlast shutdown.grace: raise it, or a stop may lose an answer");
        }
        let kek = FileKeyset::parse(config.keys.keyset.expose()).context("keyset file is not readable")?;
        let documents = documents(config, clock.clone()).await?;
        Self::over(config, documents, &kek, catalogue, clock).await
    }

    async fn over(
        config: &Config,
        documents: Arc<dyn Documents>,
        kek: &dyn Kek,
        catalogue: Arc<Catalogue>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let keys = Arc::new(Keyring::open(documents.clone(), kek, clock.clone()).await?);
        let ledger = Arc::new(Ledger::new(documents, keys.clone(), clock.clone()));
        let (warm, bells) = (Arc::new(WarmCopies::default()), Arc::new(Bells::default()));
        let policy = match config.egress.addresses {
            Addresses::Public => AddressPolicy::Public,
            Addresses::Loopback => AddressPolicy::LoopbackOnly,
        };
        let provider: Arc<dyn Provider> = Arc::new(Providers::new(Egress::new(policy)?, clock.clone()));
        let refresher = Refresher::new(Parts {
            ledger: ledger.clone(),
            keys: keys.clone(),
            provider: provider.clone(),
            catalogue: catalogue.clone(),
            warm: warm.clone(),
            bells: bells.clone(),
            tasks: TaskTracker::new(),
            board: Board::default(),
            slots: Slots::new(config.refresh.concurrency),
            shunned: Shunned::default(),
            stopping: CancellationToken::new(),
            replica: replica(config),
            lease_extra: config.refresh.lease_extra,
        });
        let scheduler = match config.refresh.scheduling {
            Scheduling::On => Some(Scheduler {
                ledger: ledger.clone(),
                refresher: refresher.clone(),
                tick: config.refresh.tick,
                first_shard: u16::try_from(process::id() % u32::from(ledger.shards())).unwrap_or(0),
            }),
            Scheduling::Off => None,
        };
        let admin = Arc::new(Admin {
            ledger: ledger.clone(),
            keys: keys.clone(),
            refresher: refresher.clone(),
            warm: warm.clone(),
            bells: bells.clone(),
            provider,
            catalogue: catalogue.clone(),
            clock: clock.clone(),
        });
        let broker = Arc::new(Broker {
            ledger,
            keys,
            warm: warm.clone(),
            refresher: refresher.clone(),
            audit: Arc::new(LogAudit),
            clock,
            outage: Outage::default(),
        });
        Ok(Self {
            admin,
            broker,
            catalogue,
            refresher,
            follower: Follower { warm, bells },
            scheduler,
            limits: limits(config),
            grace: config.shutdown.grace,
        })
    }

    /// Serves until `shutdown`, then drains: no new work, calls answered, answers of providers stored.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
        ready: impl FnOnce(),
    ) -> anyhow::Result<()> {
        let (background, tasks) = (CancellationToken::new(), TaskTracker::new());
        let feed = self.broker.ledger.changes().await.context("the store's change feed did not start")?;
        tasks.spawn(self.follower.run(feed, background.clone()));
        if let Some(scheduler) = self.scheduler {
            tasks.spawn(scheduler.run(shutdown.clone()));
        }
        tasks.close();
        let services = Services {
            broker: self.broker,
            admin: self.admin,
            catalogue: self.catalogue,
            access: Arc::new(Access),
        };
        let serving = grpc::serve(listener, services, self.limits, shutdown.clone().cancelled_owned());
        ready();
        let mut serving = std::pin::pin!(serving);
        let mut deadline = None;
        let served = tokio::select! {
            served = serving.as_mut() => served,
            () = async {
                shutdown.cancelled().await;
                deadline = Some(Instant::now() + self.grace);
                tokio::time::sleep(self.grace.saturating_sub(LAST_RESERVE)).await;
            } => {
                tracing::warn!("calls still open after the grace period were cut off");
                Ok(())
            }
        };
        // Without callers the calls end at once: exchanges may take all of the grace period that is left.
        let deadline = deadline.unwrap_or_else(|| Instant::now() + self.grace);
        drain(&self.refresher, deadline - END_RESERVE).await;
        // Also when the server ended by itself: nothing is refreshed by a process that serves nobody.
        shutdown.cancel();
        background.cancel();
        tasks.wait().await;
        tracing::info!("stopped");
        served.context("the server ended")
    }
}

/// Lets exchanges end and their answers be stored: what is cut off here may cost a customer a new consent.
async fn drain(refresher: &Refresher, deadline: Instant) {
    let open = refresher.under_way();
    if open > 0 {
        tracing::info!(open, "waiting for exchanges under way");
    }
    if tokio::time::timeout_at(deadline, refresher.drain()).await.is_err() {
        let open = refresher.under_way();
        tracing::error!(open, "exchanges were still under way at the end; their leases end by themselves");
    }
}

pub fn catalogue(config: &Config) -> anyhow::Result<Catalogue> {
    let files: Vec<_> = config.providers.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
    Catalogue::built_in()?.with(&files).map_err(|errors| {
        let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
        anyhow!("provider profiles have mistakes:\n{}", all.join("\n"))
    })
}

async fn documents(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Documents>> {
    match &config.store {
        Store::Embedded { file } => {
            create_folder(file.parent())?;
            Ok(Arc::new(Embedded::open(file, clock).await?))
        }
        Store::Redis(redis) => {
            let mut url = redis.url.clone();
            if let Some(password) = &redis.password {
                let refused = || anyhow!("store.redis.url takes no credentials");
                url.set_username(redis.username.as_deref().unwrap_or_default()).map_err(|()| refused())?;
                url.set_password(Some(password.expose())).map_err(|()| refused())?;
            }
            let options =
                RedisOptions::new(url.as_str())?.namespace(redis.namespace.as_str())?.shards(redis.shards)?;
            let store = RedisStore::connect(options).await?;
            for finding in store.durability() {
                tracing::warn!(finding = %finding, "redis is not set up to keep what it is given");
            }
            Ok(Arc::new(store))
        }
    }
}

fn create_folder(folder: Option<&Path>) -> anyhow::Result<()> {
    let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).with_context(|| format!("folder {} cannot be made", folder.display()))
}

/// Who this process is in the eyes of the others.
fn replica(config: &Config) -> String {
    config.replica.clone().unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        format!("{}-{}", if host.is_empty() { "bursar" } else { host }, process::id())
    })
}

fn limits(config: &Config) -> Limits {
    Limits {
        concurrent_requests: config.limits.concurrent_requests,
        concurrent_requests_per_connection: config.limits.concurrent_requests_per_connection,
        message_bytes: config.limits.message_bytes,
        request_timeout: config.limits.request_timeout,
        connection_age: config.limits.connection_age,
    }
}
