//! Two tenants with something of each environment, a platform, somebody of every kind and role, a server before them,
//! and what each may: said without policies.

use super::calling::{self, Answer};
use crate::{rig::Rig, way::ShakyWay};
use async_trait::async_trait;
use bursar::{
    access::{
        Access, AuditClass, Authenticate, Caller, Identity, Peer, Permit, Unauthenticated,
        policies::{Policies, PolicyFile, naming},
        rpcs,
    },
    audit::{Audit, AuditDown, Event, Leaving},
    broker::{
        Broker,
        admin::{
            Admin,
            clients::NewClient,
            connections::{ConnectionPatch, NewConnection},
            consent::ConsentRules,
            grants::NewGrant,
            strangers::Strangers,
            tenants::TenantPatch,
        },
        outage::Outage,
        tally::Tally,
    },
    domain::{
        client::Environment,
        connection::Narrowing,
        labels::LabelPatch,
        token::{AccessToken, ClientSecret, RefreshToken, Secret},
    },
    grpc::{
        self, Limits, Services,
        listening::{Bounds, Door},
    },
    limits::{Rates, Rules},
    monitor::{Measuring, Readiness},
    provider::dpop::proof::Shown,
    store::Document,
    traces::Tracer,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel;

const ORDINARY: &str = r#"
@id("admins") @across("environments")
permit (principal in Group::"admins", action, resource);
@id("tenant-admins")
permit (principal in Group::"tenant-admins", action, resource);
@id("services")
permit (principal in Group::"services", action in [Action::"use", Action::"GetConnection"], resource);
"#;
const HOSTILE: &str = "permit (principal, action, resource);";

/// Which policies are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Ordinary,
    /// Everything to everybody.
    Hostile,
    /// The same, with the one door open that policies can open.
    HostileAcross,
}

/// What is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    Nothing,
    /// Places of tenants to wait in.
    Places,
    /// The trail cannot be written.
    Trail,
    /// There is one place to wait in, for all.
    Place,
    /// The store, once the test says so.
    Store,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Admin,
    TenantAdmin,
    ServiceA,
    ServiceB,
    /// A service of tenant A that is bound to the sandbox.
    Sandbox,
    Nobody,
}

#[derive(Clone)]
pub(crate) struct Principal {
    pub(crate) caller: Caller,
    pub(crate) role: Role,
    /// Whether its groups come with it instead of standing in a file.
    brings_groups: bool,
}

/// An object, there or not. All ids have four letters, and all tenants three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    kind: &'static str,
    pub(crate) name: String,
    pub(crate) exists: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) method: &'static str,
    pub(crate) spot: Spot,
}

impl Role {
    pub(crate) const ALL: [Self; 6] =
        [Self::Admin, Self::TenantAdmin, Self::ServiceA, Self::ServiceB, Self::Sandbox, Self::Nobody];

    const fn group(self) -> Option<&'static str> {
        match self {
            Self::Admin => Some("admins"),
            Self::TenantAdmin => Some("tenant-admins"),
            Self::ServiceA | Self::ServiceB | Self::Sandbox => Some("services"),
            Self::Nobody => None,
        }
    }

    /// The one that it is bound to.
    pub(crate) const fn tenants(self) -> Option<&'static str> {
        match self {
            Self::TenantAdmin | Self::ServiceA | Self::Sandbox => Some("tenants/aaa"),
            Self::ServiceB => Some("tenants/bbb"),
            Self::Admin | Self::Nobody => None,
        }
    }

    const fn environments(self) -> &'static [&'static str] {
        match self {
            Self::TenantAdmin => &["production", "sandbox"],
            Self::ServiceA | Self::ServiceB => &["production"],
            Self::Sandbox => &["sandbox"],
            Self::Admin | Self::Nobody => &[],
        }
    }

    /// What the whole product is compared with. Looks at no policy.
    fn may(self, set: Set, cell: &Cell) -> bool {
        self.may_there(set, cell.method, cell.spot.tenant())
            && cell.environment().is_none_or(|one| self.reaches(set, one))
    }

    /// Whatever the environment.
    fn may_there(self, set: Set, method: &str, tenant: Option<&str>) -> bool {
        let using = ["GetToken", "WatchToken", "ReportRejectedToken", "GetConnection"].contains(&method);
        let given = match (set, self) {
            (Set::Hostile | Set::HostileAcross, _) | (Set::Ordinary, Self::Admin | Self::TenantAdmin) => true,
            (Set::Ordinary, Self::ServiceA | Self::ServiceB | Self::Sandbox) => using,
            (Set::Ordinary, Self::Nobody) => false,
        };
        let looks = ["Get", "List", "Watch", "Check"].iter().any(|word| method.starts_with(word));
        let at_home = match (self.tenants(), tenant) {
            (None, _) => true,
            (Some(own), Some(tenant)) => own == tenant,
            // Of the platform it sees what there is, and changes nothing.
            (Some(_), None) => looks,
        };
        given && at_home
    }

    fn reaches(self, set: Set, environment: &str) -> bool {
        let everywhere = set == Set::HostileAcross || (set == Set::Ordinary && self == Self::Admin);
        everywhere || self.environments().contains(&environment)
    }
}

impl Principal {
    pub(crate) fn new(kind: &'static str, role: Role) -> Self {
        let word = format!("{role:?}").to_lowercase();
        let id = match kind {
            "spiffe" => format!("spiffe://example.org/ns/test/sa/{word}"),
            "dns" => format!("dns:{word}.example.org"),
            "oidc" => format!("oidc:cluster:system:serviceaccount:test:{word}"),
            _ => format!("unix:{}", 1000 + role as u32),
        };
        let identity: Identity = id.parse().unwrap();
        let brings_groups = kind == "oidc";
        let groups = role.group().filter(|_| brings_groups).map(str::to_owned);
        let transport = identity.usual_transport();
        let caller = Caller::new(identity, transport, groups.into_iter().collect::<BTreeSet<_>>());
        Self { caller, role, brings_groups }
    }

    pub(crate) fn local(role: Role) -> Self {
        let transport = Identity::Local.usual_transport();
        let caller = Caller::new(Identity::Local, transport, BTreeSet::new());
        Self { caller, role, brings_groups: false }
    }

    fn entry(&self) -> String {
        let group = self.role.group().filter(|_| !self.brings_groups);
        let lines = [
            Some(format!("[[workload]]\nid = {:?}\n", self.caller.id())),
            group.map(|group| format!("groups = [{group:?}]\n")),
            self.role.tenants().map(|tenant| format!("tenants = [{tenant:?}]\n")),
            Some(format!("environments = {:?}\n", self.role.environments())),
        ];
        lines.into_iter().flatten().collect()
    }
}

impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?})", self.caller.id(), self.role)
    }
}

impl Spot {
    pub(crate) fn of(kind: &'static str, name: &str, exists: bool) -> Self {
        Self { kind, name: name.to_owned(), exists }
    }

    fn all() -> Vec<Self> {
        let mut all = vec![Self::of("Platform", "platform", true)];
        for tenant in ["aaa", "bbb", "zzz"] {
            let there = tenant != "zzz";
            all.push(Self::of("Tenant", &format!("tenants/{tenant}"), there));
            all.push(Self::of("KeyChain", &format!("tenants/{tenant}/keyChain"), there));
            for (kind, word) in [("Client", "clients"), ("Connection", "connections")] {
                for id in ["live", "test", "gone"] {
                    all.push(Self::of(kind, &format!("tenants/{tenant}/{word}/{id}"), there && id != "gone"));
                }
            }
        }
        for id in ["live", "test", "gone"] {
            all.push(Self::of("Client", &format!("platform/clients/{id}"), id != "gone"));
        }
        for chain in ["platform/keyChain", "keyChains/root", "keyChains/kek"] {
            all.push(Self::of("KeyChain", chain, true));
        }
        all.push(Self::of("Provider", "providers/under-test", true));
        all.push(Self::of("Provider", "providers/other-test", false));
        all
    }

    /// Objects that are not there and might be mistaken for this one.
    pub(crate) fn absent_siblings(&self) -> Vec<Self> {
        let parts: Vec<_> = self.name.split('/').collect();
        let candidate = |other: &Self| {
            let theirs: Vec<_> = other.name.split('/').collect();
            other.kind == self.kind && theirs.len() == parts.len() && theirs[0] == parts[0]
        };
        Self::all().into_iter().filter(|other| !other.exists && candidate(other) && other != self).collect()
    }

    pub(crate) fn is_in(&self, tenant: &str, id: &str) -> bool {
        self.tenant() == Some(tenant) && self.id() == id
    }

    /// One of its kind with another name.
    pub(crate) fn called(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// Whether both are of one tenant, or of none.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.tenant() == other.tenant()
    }

    /// Whether it is of the tenant that the role is bound to.
    pub(crate) fn is_of(&self, role: Role) -> bool {
        role.tenants().is_some_and(|own| self.tenant() == Some(own))
    }

    /// As the audit trail and the policies call it.
    pub(crate) fn target(&self) -> String {
        self.name.clone()
    }

    /// The tenant that it belongs to; `None`: the platform's.
    fn tenant(&self) -> Option<&str> {
        self.name.starts_with("tenants/").then(|| &self.name[..11])
    }

    fn parent(&self) -> &str {
        self.tenant().unwrap_or("platform")
    }

    pub(crate) fn id(&self) -> &str {
        self.name.rsplit('/').next().unwrap()
    }

    fn environment(&self) -> &'static str {
        if self.id() == "test" { "sandbox" } else { "production" }
    }

    /// All clients, there or not, of this owner.
    pub(crate) fn clients_of(owner: &str) -> Vec<Self> {
        let of = |spot: &Self| spot.kind == "Client" && spot.parent() == owner;
        Self::all().into_iter().filter(of).collect()
    }

    /// Of a connection: the one that it is of, or would be.
    pub(crate) fn client(&self) -> String {
        let id = if self.id() == "test" { "test" } else { "live" };
        format!("{}/clients/{id}", self.parent())
    }

    pub(crate) fn has_client_like(&self, other: &Self) -> bool {
        self.client().rsplit('/').next() == other.client().rsplit('/').next()
    }

    /// All names of this object that an answer may have in it, the longest first.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = vec![self.name.clone()];
        if self.kind == "Connection" {
            names.push(self.client());
        }
        names.extend(self.tenant().map(str::to_owned));
        names
    }
}

impl Cell {
    /// Of what is there, or of what would be made.
    fn environment(&self) -> Option<&'static str> {
        let counts = match self.method {
            "CreateClient" => true,
            // Of its client, which is there in these.
            "CreateConnection" => self.spot.tenant() != Some("tenants/zzz"),
            _ => self.spot.exists && ["Client", "Connection"].contains(&self.spot.kind),
        };
        counts.then_some(self.spot.environment())
    }

    /// A request that is sound, and that nothing comes of where something is there already: what changes brings an
    /// etag of long ago.
    pub(crate) fn request(&self) -> Value {
        let (name, old) = (&self.spot.name, "\"0\"");
        let parent = if name == "platform" && self.method != "ListClients" { "tenants/-" } else { name };
        let environment =
            if self.spot.id() == "test" { "ENVIRONMENT_SANDBOX" } else { "ENVIRONMENT_PRODUCTION" };
        let secret = json!({"shared_secret": "secret-1"});
        match self.method {
            "GetToken"
            | "WatchToken"
            | "ReportRejectedToken"
            | "GetConnection"
            | "RefreshConnection"
            | "GetClient"
            | "GetTenant"
            | "GetProvider"
            | "CheckProvider"
            | "GetKeyChain"
            | "WatchKeyChain" => json!({"name": name}),
            "DeleteConnection" | "DisableConnection" | "EnableConnection" | "RevokeConnection"
            | "DeleteClient" | "RotateClientSecret" | "DeleteTenant" | "UndeleteTenant"
            | "RotateTenantKey" => json!({"name": name, "etag": old}),
            "ListConnections" | "WatchConnections" | "ListClients" => json!({"parent": parent}),
            "ListTenants" | "ListProviders" => json!({}),
            "RotateRootKey" | "RotateKek" => json!({"etag": old}),
            "RetireKeyVersion" => json!({"name": name, "version": 7, "etag": old}),
            "CreateConnection" => json!({
                "parent": self.spot.parent(), "connection_id": self.spot.id(),
                "connection": {"client": self.spot.client()},
                "grant": {"refresh_token": {"refresh_token": "rt0"}},
            }),
            "UpdateConnection" => json!({"connection": {"name": name, "etag": old, "labels": {"a": "b"}},
                "update_mask": "labels"}),
            "StartAuthorization" | "CompleteAuthorization" => json!({"name": name, "device_code": {}}),
            "CreateClient" => json!({
                "parent": self.spot.parent(), "client_id": self.spot.id(), "client_secret": secret,
                "client": {"provider": "providers/under-test", "client_id": "c", "environment": environment},
            }),
            "UpdateClient" => json!({"client": {"name": name, "etag": old, "client_id": "d"},
                "update_mask": "clientId"}),
            "AddClientSecret" => json!({"name": name, "etag": old, "client_secret": secret}),
            "RetireClientSecret" => {
                json!({"name": name, "etag": old, "secret_id": "01890a5d-ac96-774b-bcce-b302099a8057"})
            }
            "CreateTenant" => json!({"tenant_id": self.spot.id()}),
            "UpdateTenant" => json!({"tenant": {"name": name, "etag": old, "display_name": "x"},
                "update_mask": "displayName"}),
            method => panic!("{method} is a method of the API and has no row here: write one"),
        }
    }
}

/// Keeps what is on record, by who called; of nobody under the empty name.
struct Page(Mutex<BTreeMap<String, Vec<Value>>>, Short);

#[async_trait]
impl Audit for Page {
    async fn release(
        &self,
        permit: &Permit,
        leaving: &Leaving<'_>,
        _: &AccessToken,
    ) -> Result<(), AuditDown> {
        let line = json!({"event": "release", "connection": leaving.connection.to_string()});
        self.0.lock().entry(permit.caller().id().to_owned()).or_default().push(line);
        Ok(())
    }

    async fn record(&self, event: Event) -> Result<(), AuditDown> {
        if self.1 == Short::Trail {
            return Err(AuditDown);
        }
        let line = serde_json::to_value(&event).unwrap();
        let caller = line["caller"].as_str().unwrap_or_default().to_owned();
        self.0.lock().entry(caller).or_default().push(line);
        Ok(())
    }
}

/// Knows callers by a word that stands for a token.
struct ByWord(BTreeMap<String, Caller>);

#[async_trait]
impl Authenticate for ByWord {
    async fn authenticate(
        &self,
        _: &Peer,
        bearer: Option<&str>,
        _: AuditClass,
    ) -> Result<Caller, Unauthenticated> {
        let known = bearer.and_then(|word| self.0.get(word));
        let nobody = || Unauthenticated::Refused { word: "no_credential", mend: "be somebody".to_owned() };
        known.cloned().ok_or_else(nobody)
    }
}

pub(crate) struct World {
    rig: Rig,
    set: Set,
    pub(crate) principals: Vec<Principal>,
    page: Arc<Page>,
    channel: Channel,
    cells: Vec<Cell>,
    stop: CancellationToken,
    _tasks: TaskTracker,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    pub(crate) async fn new(set: Set, principals: Vec<Principal>) -> Self {
        Self::short_of(Short::Nothing, set, principals).await
    }

    pub(crate) async fn short_of(short: Short, set: Set, principals: Vec<Principal>) -> Self {
        let rig = Rig::empty("").await;
        furnish(&rig.a.admin).await;
        let page = Arc::new(Page(Mutex::default(), short));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let known = principals.iter().map(|one| (one.caller.id().to_owned(), one.caller.clone())).collect();
        let services = services(&rig, page.clone(), access(set, &principals), ByWord(known));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving =
            grpc::serve(vec![Door::Tcp(listener)], services, limits(short), stop.clone().cancelled_owned());
        tasks.spawn(async move { serving.await.unwrap() });
        let channel = calling::connect(address).await;
        Self { rig, set, principals, page, channel, cells: cells(), stop, _tasks: tasks }
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell> {
        self.cells.iter().cloned()
    }

    pub(crate) fn has(&self, cell: &Cell) -> bool {
        self.cells.iter().any(|known| known.method == cell.method && known.spot == cell.spot)
    }

    pub(crate) fn may(&self, principal: &Principal, cell: &Cell) -> bool {
        principal.role.may(self.set, cell)
    }

    /// Whether it may know that this client is there; where it may not, none of its answers tells.
    pub(crate) fn sees(&self, principal: &Principal, client: &Spot) -> bool {
        client.exists && principal.role.reaches(self.set, client.environment())
    }

    /// Whether it may make connections of the tenant, with some client.
    pub(crate) fn connects(&self, principal: &Principal, tenant: &str) -> bool {
        principal.role.may_there(self.set, "CreateConnection", Some(tenant))
    }

    pub(crate) async fn call(&self, principal: &Principal, cell: &Cell) -> Answer {
        self.ask(principal, cell.method, &cell.request()).await
    }

    pub(crate) async fn ask(&self, principal: &Principal, method: &str, request: &Value) -> Answer {
        self.noted(Some(principal.caller.id()), method, request).await
    }

    pub(crate) async fn call_as_nobody(&self, cell: &Cell) -> Answer {
        self.noted(None, cell.method, &cell.request()).await
    }

    /// With what is on record of it; each caller makes one call at a time.
    async fn noted(&self, bearer: Option<&str>, method: &str, request: &Value) -> Answer {
        let mut answer = calling::call(&self.channel, bearer, method, request).await;
        answer.events = self.page.0.lock().remove(bearer.unwrap_or_default()).unwrap_or_default();
        answer
    }

    /// The way to the store.
    pub(crate) fn store(&self) -> &ShakyWay {
        &self.rig.a.store
    }

    /// A call of which nobody waits for the answer; it is given up when this is dropped.
    pub(crate) fn begun(&self, principal: &Principal, method: &'static str, request: Value) -> JoinSet<()> {
        let (channel, bearer) = (self.channel.clone(), principal.caller.id().to_owned());
        let mut calls = JoinSet::new();
        calls.spawn(async move { drop(calling::call(&channel, Some(&bearer), method, &request).await) });
        calls
    }

    /// Another replica labels a connection, and nothing is heard of it here.
    pub(crate) async fn label_unheard(&self, name: &str, label: (&str, &str)) {
        self.rig.a.stop();
        let labels = BTreeMap::from([label].map(|(key, value)| (key.to_owned(), value.to_owned())));
        let patch =
            ConnectionPatch { labels: Some(LabelPatch::Replace(labels)), ..ConnectionPatch::default() };
        let other = self.rig.replica("b").await;
        other.admin.update_connection(&name.parse().unwrap(), "", None, &patch).await.unwrap();
    }

    /// Every document of the store, with its version.
    pub(crate) async fn everything(&self) -> Vec<Document> {
        let all = self.rig.documents.scan("", None, 1000).await.unwrap();
        assert!((15..1000).contains(&all.len()), "{}", all.len());
        all
    }
}

/// Each method with each object that it is for.
fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for method in calling::methods() {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let rpc = rpcs::by_path(&path).unwrap_or_else(|| panic!("{path} is not in the table of methods"));
        let kinds = naming::resources(rpc.action);
        let word = rpc.action.word();
        assert_eq!(word, method.name());
        for spot in Spot::all() {
            let only = match word {
                "RotateRootKey" => Some("keyChains/root"),
                "RotateKek" => Some("keyChains/kek"),
                _ => None,
            };
            if kinds.iter().any(|kind| kind == spot.kind) && only.is_none_or(|name| name == spot.name) {
                cells.push(Cell { method: word, spot });
            }
        }
    }
    assert_eq!(calling::methods().len(), rpcs::RPCS.len(), "a method that is not in the API any more");
    cells
}

/// In each tenant a client and a connection of each environment, and clients of the platform.
async fn furnish(admin: &Admin) {
    for owner in ["tenants/aaa", "tenants/bbb", "platform"] {
        if owner != "platform" {
            admin.create_tenant(owner.parse().unwrap(), TenantPatch::default()).await.unwrap();
        }
        for (id, environment) in [("live", Environment::Production), ("test", Environment::Sandbox)] {
            let client = format!("{owner}/clients/{id}");
            let new = NewClient {
                name: client.parse().unwrap(),
                provider: "providers/under-test".parse().unwrap(),
                client_id: "client-1".into(),
                auth: None,
                allowed_grants: vec![],
                allowed_scopes: vec![],
                environment,
                secret: Some(ClientSecret(Secret::new("secret-1")).into()),
            };
            admin.create_client(new).await.unwrap();
            if owner == "platform" {
                continue;
            }
            let token = RefreshToken(Secret::new("rt0"));
            let new = NewConnection {
                name: format!("{owner}/connections/{id}").parse().unwrap(),
                client: client.parse().unwrap(),
                requested_scopes: vec![],
                requested_resources: vec![],
                narrowing: Narrowing::Refuse,
                labels: BTreeMap::new(),
                dpop_key: None,
                grant: NewGrant::RefreshToken { token, api_base_url: None, expires_at: None },
            };
            admin.create_connection(new).await.unwrap();
        }
    }
}

fn access(set: Set, principals: &[Principal]) -> Access {
    let text = match set {
        Set::Ordinary => ORDINARY.to_owned(),
        Set::Hostile => HOSTILE.to_owned(),
        Set::HostileAcross => format!("@across(\"environments\") {HOSTILE}"),
    };
    let workloads: String = principals.iter().map(Principal::entry).collect();
    let files = [("a.cedar", text), ("workloads.toml", workloads)];
    let files = files.map(|(name, text)| PolicyFile { name: name.to_owned(), text });
    let (policies, _) = Policies::load(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Access::new(Arc::new(policies), None)
}

fn services(rig: &Rig, page: Arc<Page>, access: Access, authenticate: ByWord) -> Services {
    let (broker, admin) = (&rig.a.broker, &rig.a.admin);
    Services {
        broker: Arc::new(Broker {
            ledger: broker.ledger.clone(),
            keys: broker.keys.clone(),
            warm: broker.warm.clone(),
            refresher: broker.refresher.clone(),
            audit: page,
            clock: broker.clock.clone(),
            outage: Outage::default(),
            tally: Tally::default(),
            shown: Shown::default(),
        }),
        admin: Arc::new(Admin {
            ledger: admin.ledger.clone(),
            keys: admin.keys.clone(),
            refresher: admin.refresher.clone(),
            warm: admin.warm.clone(),
            bells: admin.bells.clone(),
            provider: admin.provider.clone(),
            catalogue: admin.catalogue.clone(),
            clock: admin.clock.clone(),
            consent: ConsentRules::default(),
            custodian: admin.custodian.clone(),
            strangers: Strangers::default(),
        }),
        custodian: admin.custodian.clone(),
        heartbeat: rig.a.heartbeat(),
        stopping: tokio_util::sync::CancellationToken::new(),
        catalogue: admin.catalogue.clone(),
        access: Arc::new(access),
        authenticate: Arc::new(authenticate),
        readiness: watch::Sender::new(Readiness::Ready).subscribe(),
        tracer: Tracer::default(),
        measuring: Measuring::default(),
    }
}

fn limits(short: Short) -> Limits {
    Limits {
        rules: Rules {
            calls: 1000,
            calls_per_caller: 1000,
            waiting: if short == Short::Place { 1 } else { 1000 },
            waiting_per_caller: 1000,
            waiting_per_tenant: if short == Short::Places { 0 } else { 1000 },
            streams_per_caller: 1000,
            strangers: 0,
            rates: Rates { serve: 0, read: 0, write: 0, exchange: 0 },
            burst: Duration::from_secs(1),
        },
        concurrent_requests_per_connection: 1000,
        message_bytes: 64 * 1024,
        request_timeout: Duration::from_secs(20),
        connection_age: Duration::from_secs(3600),
        listening: Bounds {
            handshake: Duration::from_secs(5),
            handshakes: 16,
            connections: 16,
            longest: Duration::from_secs(3600),
        },
    }
}
