//! A whole broker in three lines: real ledger, keys, refresher, follower, scheduler and administration over a
//! store in memory; only the server is scripted, and the way to the store can be broken. Every replica of a rig
//! has its own way to the same store.

use crate::{server::Server, way::ShakyWay};
use async_trait::async_trait;
use bursar::{
    access::{Access, Action, Asked, Caller, Facts, Identity, Permit, Transport},
    audit::{Audit, AuditDown, Event, Leaving},
    broker::{
        Broker, GetTokenError, Wish,
        admin::{
            Admin, AdminError, clients::NewClient, connections::NewConnection, consent::ConsentRules,
            grants::NewGrant, strangers::Strangers, tenants::TenantPatch,
        },
        bells::Bells,
        custodian::{Custodian, Rules},
        follower::Follower,
        heartbeat::Heartbeat,
        keys::Keyring,
        outage::Outage,
        refresher::{Parts, Refresher},
        scheduler::Scheduler,
        shunned::Shunned,
        slots::Slots,
        tally::Tally,
        warm::WarmCopies,
    },
    clock::{Clock, Timestamp, TokioClock},
    domain::{
        client::Environment,
        connection::{Connection, Narrowing, State},
        lifecycle::Degraded,
        names::{ClientName, ConnectionName},
        profile::GrantKind,
        token::{AccessToken, ClientSecret, RefreshToken, Secret},
    },
    provider::{Provider, catalogue::Catalogue, dpop::proof::Shown},
    seal::{FileKeyset, Place},
    store::{Change, Documents, Expect, Room, Then, embedded::Embedded, ledger::Ledger, records::Record},
    traces::Tracer,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// Within this time every replica knows of a change of keys.
pub(crate) const SPREAD: Duration = Duration::from_secs(60);
/// A deleted tenant can be restored this long.
pub(crate) const UNDO: Duration = Duration::from_hours(2);
pub(crate) const TICK: Duration = Duration::from_secs(5);
/// 25 s for the request, a quarter more for the exchange, and 15 s more.
pub(crate) const LEASE: Duration = Duration::from_millis(46_250);

pub(crate) struct Rig {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) server: Arc<Server>,
    provider: Arc<dyn Provider>,
    pub(crate) documents: Arc<dyn Documents>,
    pub(crate) keyset: Arc<FileKeyset>,
    catalogue: Arc<Catalogue>,
    pub(crate) a: Replica,
}

pub(crate) struct Replica {
    pub(crate) broker: Arc<Broker>,
    pub(crate) admin: Arc<Admin>,
    pub(crate) custodian: Arc<Custodian>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) store: Arc<ShakyWay>,
    pub(crate) trail: Arc<Trail>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What is on record: all but releases. Takes everything, unless it is told not to.
#[derive(Default)]
pub(crate) struct Trail(pub(crate) Mutex<Vec<Event>>);

impl Trail {
    /// Steps of keys: whose, which version, which step.
    pub(crate) fn of_keys(&self) -> Vec<String> {
        let step = |event: &Event| match event {
            Event::Key { owner, version, step } => Some(format!("{owner} {version} {step}")),
            _ => None,
        };
        self.0.lock().iter().filter_map(step).collect()
    }
}

#[async_trait]
impl Audit for Trail {
    async fn release(&self, _: &Permit, _: &Leaving<'_>, _: &AccessToken) -> Result<(), AuditDown> {
        Ok(())
    }

    async fn record(&self, event: Event) -> Result<(), AuditDown> {
        self.0.lock().push(event);
        Ok(())
    }
}

/// What a caller got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) token: String,
    pub(crate) degraded: Option<Degraded>,
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn name() -> ConnectionName {
    numbered(0)
}

pub(crate) fn numbered(n: u128) -> ConnectionName {
    format!("tenants/t/connections/c{n}").parse().unwrap()
}

pub(crate) fn new_client(name: ClientName, provider: &str, secret: ClientSecret) -> NewClient {
    NewClient {
        name,
        provider: provider.parse().unwrap(),
        client_id: "client-1".into(),
        auth: None,
        allowed_grants: vec![],
        allowed_scopes: vec![],
        environment: Environment::Sandbox,
        secret: Some(secret.into()),
    }
}

pub(crate) fn client_name() -> ClientName {
    "tenants/t/clients/app".parse().unwrap()
}

pub(crate) fn served(token: &str) -> Served {
    Served { token: token.to_owned(), degraded: None }
}

impl Rig {
    /// One replica, and one connection that waits for its first exchange.
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With lines for the provider's profile.
    pub(crate) async fn with(lines: &str) -> Self {
        let rig = Self::empty(lines).await;
        rig.seed(0).await;
        rig
    }

    pub(crate) async fn empty(lines: &str) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(START));
        let server = Arc::new(Server::new(clock.clone()));
        let lines = format!("token_endpoint = \"https://idp.example/token\"\n{lines}");
        let secret = ClientSecret(Secret::new("secret-1"));
        Self::over(server.clone(), server, clock, &lines, secret).await
    }

    /// With a real way out, to the provider that these lines describe.
    pub(crate) async fn facing(
        provider: Arc<dyn Provider>,
        clock: Arc<dyn Clock>,
        lines: &str,
        secret: ClientSecret,
    ) -> Self {
        Self::over(provider, Arc::new(Server::new(clock.clone())), clock, lines, secret).await
    }

    async fn over(
        provider: Arc<dyn Provider>,
        server: Arc<Server>,
        clock: Arc<dyn Clock>,
        lines: &str,
        secret: ClientSecret,
    ) -> Self {
        let documents: Arc<dyn Documents> = Arc::new(Embedded::in_memory(clock.clone()).unwrap());
        let (keyset, catalogue) = (Arc::new(FileKeyset::generate()), Arc::new(catalogue(lines)));
        let a = Replica::over("a", &clock, &documents, &keyset, &provider, &catalogue).await;
        let rig = Self { clock, server, provider, documents, keyset, catalogue, a };
        rig.a.admin.create_tenant("tenants/t".parse().unwrap(), TenantPatch::default()).await.unwrap();
        rig.a.admin.create_client(new_client(client_name(), "providers/under-test", secret)).await.unwrap();
        rig
    }

    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.clone()
    }

    /// Another replica over the same store.
    pub(crate) async fn replica(&self, name: &str) -> Replica {
        Replica::over(name, &self.clock, &self.documents, &self.keyset, &self.provider, &self.catalogue).await
    }

    /// A connection as an import leaves it, with ids that are the same in every run: jitter comes from them.
    pub(crate) async fn seed(&self, n: u128) {
        self.seed_as(n, "rt0", |_| {}).await;
    }

    /// With this refresh token, and changed so.
    pub(crate) async fn seed_as(&self, n: u128, token: &str, change: impl FnOnce(&mut Connection)) {
        let (now, name) = (self.clock.now(), numbered(n));
        let family = Uuid::from_u128(1000 + n);
        let keys = self.a.broker.keys.keys(&name.owner()).await.unwrap();
        let resource = name.to_string();
        let place = Place { resource: &resource, family, generation: 0 };
        let token = keys.seal(&place, &RefreshToken(Secret::new(token))).unwrap();
        let mut connection = Connection {
            uid: Uuid::from_u128(n),
            revision: 1,
            created_at: now,
            updated_at: now,
            provider: "providers/under-test".parse().unwrap(),
            client: client_name(),
            grant: GrantKind::RefreshToken,
            principal: None,
            subject: None,
            labels: BTreeMap::new(),
            requested_scopes: vec![],
            requested_resources: vec![],
            scopes: vec![],
            narrowing: Narrowing::Refuse,
            api_base_url: None,
            state: State::Pending,
            reason: None,
            before: None,
            family,
            generation: 0,
            dpop: None,
            refresh_token: Some(token),
            previous_refresh_token: None,
            refresh_expires_at: None,
            token: None,
            attempt: None,
            settled: None,
            suspicion: None,
            ambiguous: None,
            due: Some(now),
            failures: 0,
            last_success_at: None,
            last_failure: None,
            authorization: None,
            name,
        };
        change(&mut connection);
        self.a.ledger.create(&connection).await.unwrap();
    }

    pub(crate) async fn record(&self) -> Connection {
        self.record_at(&self.a).await
    }

    pub(crate) async fn record_at(&self, replica: &Replica) -> Connection {
        replica.admin.connection(&name()).await.unwrap().record
    }

    /// Changes bytes of the record behind everybody's back.
    pub(crate) async fn tamper(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let key = Connection::key_of(&name()).unwrap();
        let found = self.documents.read(&key).await.unwrap().value.unwrap();
        let mut body = found.body;
        change(&mut body);
        let change = Change {
            key,
            expect: Expect::At(found.version),
            then: Then::Put { body, due: None },
            room: Room::Forced,
        };
        self.documents.swap(change).await.unwrap();
    }
}

fn catalogue(lines: &str) -> Catalogue {
    let text = format!("extends = \"generic-oauth2\"\nname = \"under-test\"\n{lines}");
    Catalogue::built_in().unwrap().with(&[("under-test.toml".to_owned(), text)]).unwrap()
}

impl Replica {
    async fn over(
        name: &str,
        clock: &Arc<dyn Clock>,
        documents: &Arc<dyn Documents>,
        keyset: &Arc<FileKeyset>,
        provider: &Arc<dyn Provider>,
        catalogue: &Arc<Catalogue>,
    ) -> Self {
        let store = Arc::new(ShakyWay::to(documents.clone()));
        let keys =
            Arc::new(Keyring::open(store.clone(), keyset.clone(), clock.clone(), SPREAD).await.unwrap());
        let ledger = Arc::new(Ledger::new(store.clone(), keys.clone(), clock.clone()));
        let (warm, bells) = (Arc::new(WarmCopies::default()), Arc::new(Bells::default()));
        let trail = Arc::new(Trail::default());
        let refresher = Refresher::new(Parts {
            ledger: ledger.clone(),
            keys: keys.clone(),
            provider: provider.clone(),
            audit: trail.clone(),
            catalogue: catalogue.clone(),
            warm: warm.clone(),
            bells: bells.clone(),
            tasks: TaskTracker::new(),
            board: Mutex::default(),
            slots: Slots::new(64),
            shunned: Shunned::default(),
            stopping: CancellationToken::new(),
            replica: name.to_owned(),
            lease_extra: secs(15),
            tracer: Tracer::default(),
        });
        let rules = Rules { records_per_second: 100, undo_window: UNDO };
        let custodian = Custodian::new(ledger.clone(), keys.clone(), trail.clone(), name.to_owned(), rules);
        let custodian = Arc::new(custodian);
        let admin = Arc::new(Admin {
            strangers: Strangers::default(),
            custodian: custodian.clone(),
            ledger: ledger.clone(),
            keys: keys.clone(),
            refresher: refresher.clone(),
            warm: warm.clone(),
            bells: bells.clone(),
            provider: provider.clone(),
            catalogue: catalogue.clone(),
            clock: clock.clone(),
            consent: ConsentRules {
                public_url: Some("https://broker.example/oauth".parse().unwrap()),
                redirect_uris: vec!["https://app.example/back".to_owned()],
                return_uris: vec!["https://app.example/done".to_owned()],
                ..ConsentRules::default()
            },
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let feed = ledger.changes().await.unwrap();
        tasks.spawn(Follower { warm: warm.clone(), bells, keys: keys.clone() }.run(feed, stop.clone()));
        let broker = Arc::new(Broker {
            ledger: ledger.clone(),
            keys,
            warm,
            refresher,
            audit: trail.clone(),
            clock: clock.clone(),
            outage: Outage::default(),
            tally: Tally::default(),
            shown: Shown::default(),
        });
        Self { broker, admin, custodian, ledger, store, trail, stop, tasks }
    }

    pub(crate) fn schedule(&self) {
        let scheduler = Scheduler {
            ledger: self.ledger.clone(),
            refresher: self.broker.refresher.clone(),
            tick: TICK,
            first_shard: 0,
        };
        self.tasks.spawn(scheduler.run(self.stop.clone()));
    }

    /// What is known of the KEK.
    pub(crate) fn heartbeat(&self) -> Arc<Heartbeat> {
        Arc::new(Heartbeat::new(self.admin.keys.kek().clone(), self.broker.clock.clone()))
    }

    /// Looks after the keys from now on. Cut off, it leaves everything as a crash would.
    pub(crate) fn keep_keys(&self) -> tokio::task::JoinHandle<()> {
        self.tasks.spawn(self.custodian.clone().run(self.stop.clone()))
    }

    /// Ends the scheduler and the follower.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn ask(&self) -> Result<Served, GetTokenError> {
        self.ask_of(&name(), Wish::default()).await
    }

    /// For a token that lasts at least so long.
    pub(crate) async fn ask_for(&self, min_lifetime: Duration) -> Result<Served, GetTokenError> {
        self.ask_of(&name(), Wish { min_lifetime: Some(min_lifetime), ..Wish::default() }).await
    }

    pub(crate) async fn ask_of(&self, name: &ConnectionName, wish: Wish) -> Result<Served, GetTokenError> {
        let permit = permit(name.clone());
        let handed = self.broker.get_token(&permit, &wish).await?;
        let token = handed.released.into_token().0.expose().to_owned();
        Ok(Served { token, degraded: handed.degraded })
    }

    /// Asks in a task of its own.
    pub(crate) fn asking(&self) -> tokio::task::JoinHandle<Result<Served, GetTokenError>> {
        let broker = self.broker.clone();
        self.tasks.spawn(async move {
            let permit = permit(name());
            let handed = broker.get_token(&permit, &Wish::default()).await?;
            let token = handed.released.into_token().0.expose().to_owned();
            Ok(Served { token, degraded: handed.degraded })
        })
    }

    pub(crate) async fn import(&self, token: &str) -> Result<Connection, AdminError> {
        let token = RefreshToken(Secret::new(token));
        self.create(NewGrant::RefreshToken { token, api_base_url: None, expires_at: None }).await
    }

    pub(crate) async fn create(&self, grant: NewGrant) -> Result<Connection, AdminError> {
        self.create_bound(grant, None).await
    }

    /// With a key, in PEM, to bind the tokens to.
    pub(crate) async fn create_bound(
        &self,
        grant: NewGrant,
        dpop_key: Option<Secret>,
    ) -> Result<Connection, AdminError> {
        let new = NewConnection {
            name: name(),
            client: client_name(),
            requested_scopes: vec![],
            requested_resources: vec![],
            narrowing: Narrowing::Refuse,
            labels: BTreeMap::new(),
            dpop_key,
            grant,
        };
        self.admin.create_connection(new).await
    }
}

/// What a process on this machine may without policies.
pub(crate) fn permit(name: ConnectionName) -> Permit {
    let caller = Caller::new(Identity::Local, Transport::Loopback, BTreeSet::new());
    let asked = Asked::default();
    Access::default().permit(&caller, Action::GetToken, name, &Facts::Nothing, &asked).unwrap()
}
