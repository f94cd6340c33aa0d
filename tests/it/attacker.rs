//! Somebody owns the store: reads every byte, and writes what they like into Redis under running brokers and into the
//! database file between stops. Each attack on a record has a connection or client of its own as its victim, and all
//! are made at once; what a broker that was running and one that was started afterwards say is compared with the table
//! that stands in SECURITY.md. No attack may move a credential or a token to an address that the attacker chose.

mod loot;
mod page;
mod records;
mod structure;

use crate::support::{
    api::{Api, CLIENT, TENANT, name, reason},
    process::Broker,
    redis::{Server, Settings as RedisSettings},
    scene::{Place, Scene, Settings},
    until,
};
use bursar::api::{
    self, CreateClientRequest, CreateConnectionRequest, CreateTenantRequest, DisableConnectionRequest,
    GetClientRequest, GetTokenRequest, Grant, RefreshTokenGrant, grant::Kind,
};
use loot::{Doc, Loot, RedisLoot};
use records::{ATTACKS, Aim, Forging, Outcome};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::net::TcpListener;
use tonic::Status;

const OTHER: &str = "tenants/other";

/// Where an attacker would like credentials and callers to go. Counts who comes.
struct Trap {
    url: String,
    visits: Arc<AtomicUsize>,
}

impl Trap {
    async fn set() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = visits.clone();
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { url, visits }
    }
}

/// A broker's world, with a victim for each attack.
struct World {
    scene: Scene,
    trap: Trap,
    /// By the attacks' order.
    victims: Vec<Victim>,
    alien: Alien,
}

struct Victim {
    id: String,
    token: api::Token,
    /// The record before the last change, once that is known.
    before: Option<Doc>,
}

/// The attacker's own deployment: the same names under keys of their own.
struct Alien {
    record: Doc,
    chain: Doc,
    root: Doc,
}

impl World {
    async fn new() -> Self {
        let scene = Scene::new(Settings { log: "debug", ..Settings::default() }).await;
        Self { trap: Trap::set().await, victims: Vec::new(), alien: alien().await, scene }
    }

    /// A tenant with a victim for each attack and a bystander, and another tenant with a connection of its own.
    async fn furnish(&mut self, api: &Api) {
        api.create_tenant().await;
        api.create_client("concur", &self.scene.app.id, &self.scene.app.secrets[0]).await.unwrap();
        for (number, attack) in ATTACKS.iter().enumerate() {
            let id = format!("v{number}");
            let client = match attack.aim {
                Aim::Connection | Aim::Disabled | Aim::Deleted => CLIENT.to_owned(),
                Aim::Client => {
                    api.create_client(&id, &self.scene.app.id, &self.scene.app.secrets[0]).await.unwrap();
                    format!("{TENANT}/clients/{id}")
                }
            };
            self.connect(api, &id, &client).await;
            let token = api.token(&id).await.unwrap();
            self.victims.push(Victim { id, token, before: None });
        }
        self.connect(api, "peer", CLIENT).await;
        self.foreign(api).await;
    }

    async fn connect(&self, api: &Api, id: &str, client: &str) {
        let company =
            self.scene.simulator.seed_connections(&self.scene.app.id, 1, Some("us2")).unwrap().remove(0);
        let grant = RefreshTokenGrant {
            refresh_token: company.refresh_token,
            api_base_url: company.geolocation,
            ..RefreshTokenGrant::default()
        };
        api.create(id, client, Kind::RefreshToken(grant)).await.unwrap();
    }

    /// `tenants/other` with client and connection `v0`: names that are equal but for the tenant.
    async fn foreign(&self, api: &Api) {
        let request = CreateTenantRequest { tenant_id: "other".into(), ..CreateTenantRequest::default() };
        api.tenants.clone().create_tenant(request).await.unwrap();
        let like = api.client(CLIENT).await;
        let client = api::Client { name: String::new(), secrets: Vec::new(), etag: String::new(), ..like };
        let request = CreateClientRequest {
            parent: OTHER.into(),
            client_id: "concur".into(),
            client: Some(client),
            client_secret: Some(api::ClientSecretInput {
                value: Some(api::client_secret_input::Value::SharedSecret(self.scene.app.secrets[0].clone())),
                ..api::ClientSecretInput::default()
            }),
        };
        api.clients.clone().create_client(request).await.unwrap();
        let company =
            self.scene.simulator.seed_connections(&self.scene.app.id, 1, Some("us2")).unwrap().remove(0);
        let grant = RefreshTokenGrant {
            refresh_token: company.refresh_token,
            api_base_url: company.geolocation,
            ..RefreshTokenGrant::default()
        };
        let request = CreateConnectionRequest {
            parent: OTHER.into(),
            connection_id: "v0".into(),
            connection: Some(api::Connection {
                client: format!("{OTHER}/clients/concur"),
                ..api::Connection::default()
            }),
            grant: Some(Grant { kind: Some(Kind::RefreshToken(grant)) }),
            ..CreateConnectionRequest::default()
        };
        api.connections.clone().create_connection(request).await.unwrap();
    }

    /// Takes a copy of each victim's record, then changes it in the ordinary way: the copy is old from here on.
    async fn age(&mut self, api: &Api, copies: &std::collections::BTreeMap<String, Doc>) {
        for (victim, attack) in self.victims.iter_mut().zip(ATTACKS) {
            victim.before = copies.get(&connection_key(&victim.id)).cloned();
            match attack.aim {
                Aim::Connection | Aim::Client => {
                    api.refresh(&victim.id).await.unwrap();
                    victim.token = api.token(&victim.id).await.unwrap();
                }
                Aim::Disabled => {
                    let request = DisableConnectionRequest {
                        name: name(&victim.id),
                        ..DisableConnectionRequest::default()
                    };
                    api.connections.clone().disable_connection(request).await.unwrap();
                }
                Aim::Deleted => {
                    let request = api::DeleteConnectionRequest {
                        name: name(&victim.id),
                        skip_revocation: true,
                        ..api::DeleteConnectionRequest::default()
                    };
                    api.connections.clone().delete_connection(request).await.unwrap();
                }
            }
        }
    }

    /// Makes every attack on a record, each on its own victim.
    async fn attack(&self, loot: &mut dyn Loot) {
        let docs = loot.docs().await;
        for (victim, attack) in self.victims.iter().zip(ATTACKS) {
            let key = match attack.aim {
                Aim::Connection | Aim::Disabled | Aim::Deleted => connection_key(&victim.id),
                Aim::Client => format!("client/acme/{}", victim.id),
            };
            let forging = Forging {
                own: docs.get(&key).cloned(),
                before: victim.before.clone(),
                peer: docs[&connection_key("peer")].clone(),
                foreign: docs["connection/other/v0"].clone(),
                other_client: docs["client/acme/concur"].clone(),
                alien: self.alien.record.clone(),
                trap: self.trap.url.clone(),
                elsewhere: self.scene.base("eu2"),
            };
            match (attack.forge)(&forging) {
                Some(doc) => loot.put(&key, &doc).await,
                None => loot.remove(&key).await,
            }
        }
    }

    /// What a broker makes of each victim.
    async fn judge(&self, api: &Api, want: fn(&records::Attack) -> Outcome) {
        let mut wrong = Vec::new();
        for (victim, attack) in self.victims.iter().zip(ATTACKS) {
            let found = self.outcome(api, victim, attack.aim).await;
            if found != Ok(want(attack)) {
                wrong.push(format!("{} ({}): {found:?}, not {:?}", attack.what, victim.id, want(attack)));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(self.trap.visits.load(Ordering::SeqCst), 0, "somebody went where the attacker wanted");
        let strayed = self.scene.simulator.events().into_iter().filter(|event| event.site == "eu2").count();
        assert_eq!(strayed, 0, "a credential went to a data centre that only the attacker named");
    }

    /// All that a caller and an operator can ask about a victim has to say the same.
    async fn outcome(&self, api: &Api, victim: &Victim, aim: Aim) -> Result<Outcome, String> {
        let seen = match aim {
            Aim::Client => {
                let request = GetClientRequest { name: format!("{TENANT}/clients/{}", victim.id) };
                api.clients.clone().get_client(request).await.map(drop)
            }
            Aim::Connection | Aim::Disabled | Aim::Deleted => api.connection(&victim.id).await.map(drop),
        };
        let token = api.token(&victim.id).await;
        if let Ok(token) = &token {
            let legitimate = self.scene.base("us2");
            if token.api_base_url != legitimate || token.scopes != victim.token.scopes {
                return Err(format!("a token for {} was handed out", token.api_base_url));
            }
        }
        match seen {
            Err(status) => {
                told_to_nobody_else(&status);
                let outcome = Outcome::of(&status)?;
                // The client's record is looked at when its secret is needed.
                let token = match aim {
                    Aim::Client => api.refresh(&victim.id).await.map(drop),
                    Aim::Connection | Aim::Disabled | Aim::Deleted => token.map(drop),
                };
                let refresh = api.refresh(&victim.id).await.map(drop);
                for (what, answer) in [("token", token), ("refresh", refresh)] {
                    match answer {
                        Ok(()) => return Err(format!("{what} was given though {}", reason(&status))),
                        Err(other) if Outcome::of(&other)? != outcome => {
                            return Err(format!("{what}: {} though {}", reason(&other), reason(&status)));
                        }
                        Err(other) => told_to_nobody_else(&other),
                    }
                }
                Ok(outcome)
            }
            Ok(()) => Ok(match token {
                Ok(token) if token.access_token == victim.token.access_token => match aim {
                    // It was disabled or deleted, and lives again.
                    Aim::Disabled | Aim::Deleted => Outcome::Works,
                    Aim::Connection | Aim::Client => Outcome::Harmless,
                },
                Ok(_) => Outcome::Works,
                Err(status) => Outcome::of(&status)?,
            }),
        }
    }

    /// Refusals are logged with the record's key, and nothing that the attacker wrote is.
    fn logs_are_clean(&self, log: &str) {
        assert!(!log.contains(&self.trap.url), "the attacker's address is in the log");
        for (victim, attack) in self.victims.iter().zip(ATTACKS) {
            let line = log.lines().find(|line| {
                line.contains("\"ERROR\"")
                    && line.contains("stored record")
                    && line.contains(&format!("/{}`", victim.id))
            });
            let refused = matches!(attack.running, Outcome::Broken | Outcome::RolledBack);
            assert!(line.is_some() || !refused, "no line about {} ({})", victim.id, attack.what);
        }
    }
}

/// An error names what the caller asked for and nothing of anybody else.
fn told_to_nobody_else(status: &Status) {
    let text = format!("{status:?}");
    for word in ["tenants/other", "connection/other", "peer", "http://"] {
        assert!(!text.contains(word), "{word} is in {text}");
    }
}

fn connection_key(id: &str) -> String {
    format!("connection/acme/{id}")
}

/// Somebody else's installation, in which everything has the names of ours.
async fn alien() -> Alien {
    let scene = Scene::new(Settings::default()).await;
    let mut broker = Broker::serve(&scene.config("alien", &Place::Embedded)).await;
    let api = Api::of(broker.address());
    scene.connect(&api, 1).await;
    broker.kill_9();
    let docs = loot::FileLoot::of(&scene).docs().await;
    Alien {
        record: docs[&connection_key("c0")].clone(),
        chain: docs["keys/acme"].clone(),
        root: docs["root"].clone(),
    }
}

#[tokio::test]
async fn who_owns_redis_gains_nothing_by_changing_records() {
    let mut world = World::new().await;
    let redis = Server::with(RedisSettings { append_only: true, ..RedisSettings::default() }).await;
    let place = Place::Redis(&redis);
    let broker = Broker::serve(&world.scene.config("one", &place)).await;
    let api = Api::of(broker.address());
    world.furnish(&api).await;
    let mut loot = RedisLoot::of(&redis);
    let copies = loot.docs().await;
    world.age(&api, &copies).await;
    world.attack(&mut loot).await;
    // Notices make a running broker look again at what it remembers.
    loot.doubt_everything().await;
    until("the broker looks again", || async {
        let first = GetTokenRequest { name: name(&world.victims[0].id), ..GetTokenRequest::default() };
        api.tokens.clone().get_token(first).await.err()
    })
    .await;
    world.judge(&api, |attack| attack.running).await;
    world.logs_are_clean(&broker.logged());

    // One that has seen nothing before.
    let fresh = Broker::serve(&world.scene.config("two", &place)).await;
    world.judge(&Api::of(fresh.address()), |attack| attack.fresh).await;
}

#[tokio::test]
async fn who_owns_the_database_file_gains_nothing_by_changing_records() {
    let mut world = World::new().await;
    let mut broker = Broker::serve(&world.scene.config("one", &Place::Embedded)).await;
    world.furnish(&Api::of(broker.address())).await;
    broker.kill_9();
    let mut loot = loot::FileLoot::of(&world.scene);
    let copies = loot.docs().await;
    broker.restart().await;
    world.age(&Api::of(broker.address()), &copies).await;
    broker.kill_9();
    world.attack(&mut loot).await;
    broker.restart().await;
    world.judge(&Api::of(broker.address()), |attack| attack.fresh).await;
}
