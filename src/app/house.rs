//! The whole broker, put together: reliability is read from the order in which the parts are wrapped.

use super::{
    callers::Callers,
    collector,
    doors::{self, Doors},
    keks::{Chosen, keks},
    keyset::{Around, KeysetFile},
    monitoring::{Monitoring, Watching},
    opening::{self, Opening},
    policies::{self, Rights},
    trail,
    upkeep::{custodian, scheduler},
    waiting::Waiting,
    worded::{bounds, consent_rules, limits, replica, way_out},
};
use crate::{
    audit::{self, Audit, Outcome, Recorder, Reloaded},
    broker::{
        Broker,
        admin::{Admin, strangers::Strangers},
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
        tally::Tally,
        warm::WarmCopies,
    },
    clock::Clock,
    config::{Callback, Config},
    grpc::{self, Limits, Services, listening::Door},
    provider::{Provider, Providers, Traced, catalogue::Catalogue, dpop::proof::Shown},
    seal,
    store::{Documents, ledger::Ledger},
    tls,
    traces::Tracer,
    web,
};
use anyhow::{Context, anyhow};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};
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
    callback: Option<Callback>,
    heartbeat: Arc<Heartbeat>,
    custodian: Arc<Custodian>,
    /// Files that are looked at, and how often.
    keysets: Option<(Vec<KeysetFile>, Around, Duration)>,
    audit: Arc<dyn Audit>,
    recorder: Arc<Recorder>,
    callers: Callers,
    /// Ends what runs beside the calls.
    background: CancellationToken,
    rights: Rights,
    watching: Watching,
    tracer: Tracer,
}

impl House {
    /// Until the store answers and the root key is unlocked, whoever comes to the doors is told why nothing is served.
    /// `None`: it was told to stop before.
    pub(super) async fn build(
        config: &Config,
        clock: Arc<dyn Clock>,
        doors: &[Door],
        monitoring: &Monitoring,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        seal::warm_up();
        let catalogue = Arc::new(catalogue(config)?);
        warn_of_short_grace(&catalogue, config.shutdown.grace);
        let rights = policies::rights(config)?;
        let Chosen { keks, files } = keks(config)?;
        let kek = monitoring.kek(keks.clone());
        let waiting = Waiting { doors, bounds: bounds(config), stop };
        let found = opening::store(config, &clock, &monitoring.standing, waiting).await?;
        let Some(documents) = found else { return Ok(None) };
        let documents = monitoring.watched(documents);
        let (spread, standing) = (config.keys.upkeep.propagation, monitoring.standing.clone());
        let opening =
            Opening { documents: &documents, kek: &kek, clock: &clock, spread, standing: &standing };
        let Some(keys) = opening.opened(waiting).await? else { return Ok(None) };
        let heartbeat = Arc::new(Heartbeat::new(kek, clock.clone()));
        let parts = (documents, keys.clone(), heartbeat, catalogue);
        let provider = monitoring.provider(provider(config, clock.clone())?);
        let outwards = (provider, collector::tracer(config, replica(config))?);
        let mut house = Self::over(config, parts, (rights, monitoring), outwards, clock).await?;
        let (heartbeat, audit) = (house.heartbeat.clone(), house.audit.clone());
        monitoring.look_at(&house.broker, &house.recorder, doors::certificate(doors));
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
        (rights, monitoring): (Rights, &Monitoring),
        (provider, tracer): (Arc<dyn Provider>, Tracer),
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let ledger = Arc::new(Ledger::new(documents, keys.clone(), clock.clone()));
        let recorder = trail::open(config, &ledger, &keys, clock.clone(), monitoring.shelf()).await?;
        let (audit, background) = (monitoring.audit(recorder.clone()), CancellationToken::new());
        let callers = Callers::of(config, clock.clone(), audit.clone(), &background).await?;
        let (warm, bells) = (Arc::new(WarmCopies::default()), Arc::new(Bells::default()));
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
            tracer: tracer.clone(),
        });
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
            strangers: Strangers::default(),
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
            tally: Tally::default(),
        });
        Ok(Self {
            admin,
            scheduler: scheduler(config, &broker.ledger, &refresher),
            broker,
            catalogue,
            refresher,
            follower: Follower { warm, bells, keys },
            limits: limits(config),
            grace: config.shutdown.grace,
            callback: config.authorization.callback.clone(),
            heartbeat,
            custodian,
            keysets: None,
            audit,
            recorder,
            callers,
            background,
            rights,
            watching: monitoring.watching(),
            tracer,
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
            tasks.spawn(browsers(callback, self.admin.clone(), shutdown.clone()).await?);
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
            readiness: self.watching.standing.readiness(),
            measuring: self.watching.calls,
            tracer: self.tracer.clone(),
        };
        self.watching.standing.listening();
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
        tokio::join!(self.recorder.close(), self.tracer.close(deadline));
        tracing::info!("stopped");
        served.context("the server ended")
    }
}

/// Where people's browsers come; to be run until `shutdown`.
async fn browsers(
    callback: Callback,
    admin: Arc<Admin>,
    shutdown: CancellationToken,
) -> anyhow::Result<impl Future<Output = ()>> {
    let listener = TcpListener::bind(callback.listen).await.with_context(|| {
        format!("authorization.listen: {} cannot be bound; is another process there?", callback.listen)
    })?;
    tracing::info!(address = %listener.local_addr()?, "listening for browsers");
    Ok(web::serve(listener, web::Site { admin, public_url: callback.public_url }, shutdown))
}

fn provider(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Provider>> {
    Ok(Arc::new(Traced(Providers::new(way_out(config)?, clock))))
}

/// Puts on record what became of new certificates.
async fn recorded(mut news: mpsc::Receiver<tls::News>, audit: Arc<dyn Audit>, stop: CancellationToken) {
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

/// One line for all providers: each is a profile of the catalogue, and nobody reads fifty lines at a start.
fn warn_of_short_grace(catalogue: &Catalogue, grace: Duration) {
    let longer: Vec<_> = catalogue.iter().filter(|p| p.exchange_deadline() + LAST_RESERVE > grace).collect();
    let Some(longest) = longer.iter().max_by_key(|p| p.exchange_deadline()) else { return };
    let needed = longest.exchange_deadline() + LAST_RESERVE;
    tracing::warn!(providers = longer.len(), longest = %longest.name, grace_s = grace.as_secs_f64(),
        needed_s = needed.as_secs_f64(),
        "an exchange can outlast shutdown.grace: raise it to `needed_s`, or a stop may lose an answer");
}
