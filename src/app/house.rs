//! The whole broker, put together: reliability is read from the order in which the parts are wrapped.

use super::{
    callers::Callers,
    doors::Doors,
    keks::{Chosen, keks},
    keyset::{Around, KeysetFile},
    opening::Opening,
    policies::{self, Rights},
    trail,
    upkeep::{custodian, scheduler},
};
use crate::{
    audit::{self, Outcome, Recorder, Reloaded},
    broker::{
        Broker,
        admin::{
            Admin,
            consent::{ConsentRules, RedirectUris},
        },
        bells::Bells,
        custodian::Custodian,
        follower::Follower,
        heartbeat::Heartbeat,
        keys::Keyring,
        outage::Outage,
        refresher::{Board, Parts, Refresher},
        scheduler::Scheduler,
        shunned::Shunned,
        slots::Slots,
        warm::WarmCopies,
    },
    clock::Clock,
    config::{self, Addresses, Callback, Config, Store},
    egress::{AddressPolicy, Egress},
    grpc::{
        self, Limits, Services,
        listening::{Bounds, Door},
    },
    limits::{Rates, Rules},
    provider::{Provider, Providers, catalogue::Catalogue, dpop::proof::Shown},
    seal::{self, Kek},
    store::{Documents, embedded::Embedded, ledger::Ledger, redis::RedisStore},
    tls, web,
};
use anyhow::{Context, anyhow};
use std::{path::Path, process, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What is left of the grace period when calls have been answered, for answers that the store has not taken yet.
const LAST_RESERVE: Duration = Duration::from_secs(5);
/// What is left of it when nothing is waited for any more, for the process to end by itself.
const END_RESERVE: Duration = Duration::from_millis(500);

/// Longest wait for the first byte of a connection without TLS.
const FIRST_BYTE: Duration = Duration::from_secs(5);

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
    callback: Option<Callback>,
    heartbeat: Arc<Heartbeat>,
    custodian: Arc<Custodian>,
    /// Files that are looked at, and how often.
    keysets: Option<(Vec<KeysetFile>, Around, Duration)>,
    audit: Arc<Recorder>,
    callers: Callers,
    /// Ends what runs beside the calls.
    background: CancellationToken,
    rights: Rights,
}

impl House {
    /// Until the root key is unlocked, whoever comes to the doors is told why nothing is served. `None`: it was told
    /// to stop before.
    pub async fn build(
        config: &Config,
        clock: Arc<dyn Clock>,
        doors: &[Door],
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        seal::warm_up();
        let catalogue = Arc::new(catalogue(config)?);
        for profile in
            catalogue.iter().filter(|p| p.exchange_deadline() + LAST_RESERVE > config.shutdown.grace)
        {
            tracing::warn!(provider = %profile.name, exchange_s = profile.exchange_deadline().as_secs(),
                grace_s = config.shutdown.grace.as_secs(),
                "an exchange with this provider can outlast shutdown.grace: raise it, or a stop may lose an answer");
        }
        let rights = policies::rights(config)?;
        let Chosen { keks, files } = keks(config)?;
        let kek: Arc<dyn Kek> = keks.clone();
        let documents = documents(config, clock.clone()).await?;
        let spread = config.keys.upkeep.propagation;
        let opening = Opening { documents: &documents, kek: &kek, clock: &clock, spread };
        let Some(keys) = opening.opened(doors, bounds(config), stop).await? else { return Ok(None) };
        let heartbeat = Arc::new(Heartbeat::new(kek, clock.clone()));
        let parts = (documents, keys.clone(), heartbeat, catalogue);
        let mut house = Self::over(config, parts, rights, clock).await?;
        let (heartbeat, audit) = (house.heartbeat.clone(), house.audit.clone());
        house.keysets = Some((files, Around { keks, keys, heartbeat, audit }, config.keys.upkeep.reload));
        Ok(Some(house))
    }

    async fn over(
        config: &Config,
        (documents, keys, heartbeat, catalogue): (
            Arc<dyn Documents>,
            Arc<Keyring>,
            Arc<Heartbeat>,
            Arc<Catalogue>,
        ),
        rights: Rights,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let ledger = Arc::new(Ledger::new(documents, keys.clone(), clock.clone()));
        let audit = trail::open(config, replica(config), &ledger, &keys, clock.clone()).await?;
        let background = CancellationToken::new();
        let callers = Callers::of(config, clock.clone(), audit.clone(), &background).await?;
        let (warm, bells) = (Arc::new(WarmCopies::default()), Arc::new(Bells::default()));
        let provider: Arc<dyn Provider> = Arc::new(Providers::new(way_out(config)?, clock.clone()));
        let refresher = Refresher::new(Parts {
            ledger: ledger.clone(),
            keys: keys.clone(),
            provider: provider.clone(),
            audit: audit.clone(),
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
        let scheduler = scheduler(config, &ledger, &refresher);
        let custodian = Arc::new(custodian(config, &ledger, &keys, &audit, replica(config)));
        let admin = Arc::new(Admin {
            ledger: ledger.clone(),
            keys: keys.clone(),
            refresher: refresher.clone(),
            warm: warm.clone(),
            bells: bells.clone(),
            provider,
            catalogue: catalogue.clone(),
            clock: clock.clone(),
            consent: consent_rules(config),
            custodian: custodian.clone(),
        });
        let broker = Arc::new(Broker {
            ledger,
            keys: keys.clone(),
            warm: warm.clone(),
            refresher: refresher.clone(),
            audit: audit.clone(),
            clock,
            shown: Shown::default(),
            outage: Outage::default(),
        });
        Ok(Self {
            admin,
            broker,
            catalogue,
            refresher,
            follower: Follower { warm, bells, keys },
            scheduler,
            limits: limits(config),
            grace: config.shutdown.grace,
            callback: config.authorization.callback.clone(),
            heartbeat,
            custodian,
            keysets: None,
            audit,
            callers,
            background,
            rights,
        })
    }

    /// Serves until `shutdown`, then drains: no new work, calls answered, answers of providers stored.
    pub async fn serve(
        self,
        doors: Doors,
        shutdown: CancellationToken,
        ready: impl FnOnce(),
    ) -> anyhow::Result<()> {
        let (background, tasks) = (self.background, TaskTracker::new());
        let feed = self.broker.ledger.changes().await.context("the store's change feed did not start")?;
        tasks.spawn(self.follower.run(feed, background.clone()));
        tasks.spawn(self.heartbeat.clone().run(background.clone()));
        tasks.spawn(self.custodian.clone().run(shutdown.clone()));
        if let Some((files, around, every)) = self.keysets {
            for file in files {
                tasks.spawn(file.follow(around.clone(), every, background.clone()));
            }
        }
        if let Some(scheduler) = self.scheduler {
            tasks.spawn(scheduler.run(shutdown.clone()));
        }
        for task in doors.tasks {
            tasks.spawn(task);
        }
        if let Some(news) = doors.news {
            tasks.spawn(recorded(news, self.audit.clone(), background.clone()));
        }
        if let Some(callback) = self.callback {
            let listener = TcpListener::bind(callback.listen).await.with_context(|| {
                format!(
                    "authorization.listen: {} cannot be bound; is another process there?",
                    callback.listen
                )
            })?;
            tracing::info!(address = %listener.local_addr()?, "listening for browsers");
            let site = web::Site { admin: self.admin.clone(), public_url: callback.public_url };
            tasks.spawn(web::serve(listener, site, shutdown.clone()));
        }
        let access = self.rights.access.clone();
        self.rights.follow(&self.audit, &background).into_iter().for_each(|task| drop(tasks.spawn(task)));
        tasks.close();
        let services = Services {
            broker: self.broker,
            admin: self.admin,
            custodian: self.custodian,
            heartbeat: self.heartbeat,
            stopping: shutdown.clone(),
            catalogue: self.catalogue,
            access,
            authenticate: self.callers.authenticate,
        };
        let serving = grpc::serve(doors.open, services, self.limits, shutdown.clone().cancelled_owned());
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
        self.callers.tasks.wait().await;
        self.audit.close().await;
        tracing::info!("stopped");
        served.context("the server ended")
    }
}

/// To providers.
pub(super) fn way_out(config: &Config) -> anyhow::Result<Egress> {
    let policy = match config.egress.addresses {
        Addresses::Public => AddressPolicy::Public,
        Addresses::Private => AddressPolicy::Private,
        Addresses::Loopback => AddressPolicy::LoopbackOnly,
    };
    Ok(Egress::through(policy, config.egress.proxy.clone())?)
}

/// Puts on record what became of new certificates.
async fn recorded(mut news: mpsc::Receiver<tls::News>, audit: Arc<Recorder>, stop: CancellationToken) {
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            told = news.recv() => match told {
                Some(tls::News::InUse) => Outcome::Done,
                Some(tls::News::Refused) => Outcome::Refused,
                None => return,
            },
        };
        audit::reloaded(&*audit, Reloaded::Certificates, outcome).await;
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

/// Who this process is in the eyes of the others.
fn replica(config: &Config) -> String {
    config.replica.clone().unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        format!("{}-{}", if host.is_empty() { "bursar" } else { host }, process::id())
    })
}

fn consent_rules(config: &Config) -> ConsentRules {
    let given = &config.authorization;
    ConsentRules {
        public_url: given.callback.as_ref().map(|callback| callback.public_url.clone()),
        redirect: match given.redirect {
            config::RedirectUris::PerConnection => RedirectUris::PerConnection,
            config::RedirectUris::Shared => RedirectUris::Shared,
        },
        redirect_uris: given.redirect_uris.clone(),
        return_uris: given.return_uris.clone(),
        open_for: given.open_for,
    }
}

fn limits(config: &Config) -> Limits {
    let given = &config.limits;
    Limits {
        rules: Rules {
            calls: given.concurrent_requests,
            calls_per_caller: given.concurrent_requests_per_caller,
            waiting: given.waiting_requests,
            waiting_per_caller: given.waiting_requests_per_caller,
            waiting_per_tenant: given.waiting_requests_per_tenant,
            streams_per_caller: given.streams_per_caller,
            strangers: given.strangers_per_second,
            rates: Rates {
                serve: given.serve_per_second,
                read: given.read_per_second,
                write: given.write_per_second,
                exchange: given.exchange_per_second,
            },
            burst: given.burst,
        },
        concurrent_requests_per_connection: config.limits.concurrent_requests_per_connection,
        message_bytes: config.limits.message_bytes,
        request_timeout: config.limits.request_timeout,
        connection_age: config.limits.connection_age,
        listening: bounds(config),
    }
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        handshake: config.tls.as_ref().map_or(FIRST_BYTE, |tls| tls.handshake_timeout),
        handshakes: config.limits.handshakes,
        connections: config.limits.connections,
    }
}
