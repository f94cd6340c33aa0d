//! What can be done to the rest of the store: key chains, indexes, queues, notices, all of it at once. One after the
//! other, each undone before the next.

use super::{
    Alien, OTHER, World, alien, connection_key,
    loot::{Doc, Loot, RedisLoot, SHARDS},
};
use crate::support::{
    api::{Api, TENANT, name, reason},
    process::{self, Broker},
    redis::Server,
    scene::Place,
    until,
};
use bursar::api::{GetTokenRequest, ListConnectionsRequest};
use futures_util::{FutureExt, future::BoxFuture};
use std::collections::BTreeMap;

/// What is left of a broker's service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// Tokens are served; what is due is renewed when somebody asks.
    OnDemand,
    /// Tokens are served; lists are refused as RECORD_BROKEN.
    ListsBroken,
    /// Tokens are served; lists leave the connection out.
    Unlisted,
    /// RECORD_BROKEN for what was touched.
    Broken,
    RolledBack,
    Gone,
    /// It does not start, and says what is wrong.
    NoStart,
    /// The old state is taken for the present one.
    Works,
}

impl Effect {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::None => "no effect",
            Self::OnDemand => "served; renewed when asked for",
            Self::ListsBroken => "served; lists say `RECORD_BROKEN`",
            Self::Unlisted => "served; missing in lists",
            Self::Broken => "`RECORD_BROKEN`",
            Self::RolledBack => "`RECORD_ROLLED_BACK`",
            Self::Gone => "not found",
            Self::NoStart => "does not start",
            Self::Works => "**the old state is used**",
        }
    }
}

pub(super) struct Attack {
    pub(super) what: &'static str,
    pub(super) running: Effect,
    pub(super) fresh: Effect,
    make: for<'a> fn(&'a mut Hand<'a>) -> BoxFuture<'a, ()>,
}

/// What the attacker works with.
pub(super) struct Hand<'a> {
    loot: RedisLoot<'a>,
    docs: BTreeMap<String, Doc>,
    alien: &'a Alien,
    /// The whole of Redis before the last refresh.
    old: &'a Dump,
}

type Dump = Vec<(Vec<u8>, Vec<u8>)>;

const MINE: &str = "keys/acme";

pub(super) const STRUCTURE: &[Attack] = &[
    Attack {
        what: "swap the wrapped keys of two tenants",
        running: Effect::None,
        fresh: Effect::Broken,
        make: |hand| {
            async {
                let (mine, theirs) = (hand.docs[MINE].clone(), hand.docs["keys/other"].clone());
                hand.loot.put(MINE, &theirs).await;
                hand.loot.put("keys/other", &mine).await;
            }
            .boxed()
        },
    },
    Attack {
        what: "give the tenant keys of the attacker's own",
        running: Effect::None,
        fresh: Effect::Broken,
        make: |hand| async { hand.loot.put(MINE, &hand.alien.chain).await }.boxed(),
    },
    Attack {
        what: "the same, with a record that was made with them",
        running: Effect::Broken,
        fresh: Effect::Broken,
        make: |hand| {
            async {
                hand.loot.put(MINE, &hand.alien.chain).await;
                hand.loot.put(&connection_key("c0"), &hand.alien.record).await;
                hand.loot.doubt_everything().await;
            }
            .boxed()
        },
    },
    Attack {
        what: "the same, with the attacker's root key",
        running: Effect::Broken,
        fresh: Effect::NoStart,
        make: |hand| {
            async {
                hand.loot.put("root", &hand.alien.root).await;
                hand.loot.put(MINE, &hand.alien.chain).await;
                hand.loot.put(&connection_key("c0"), &hand.alien.record).await;
                hand.loot.doubt_everything().await;
            }
            .boxed()
        },
    },
    Attack {
        what: "flip a bit of the wrapped root key",
        running: Effect::None,
        fresh: Effect::NoStart,
        make: |hand| {
            async {
                let mut root = hand.docs["root"].clone();
                let middle = root.body.len() / 2;
                root.body[middle] ^= 4;
                hand.loot.put("root", &root).await;
            }
            .boxed()
        },
    },
    Attack {
        what: "delete the root key, so that a new one is made",
        running: Effect::None,
        fresh: Effect::NoStart,
        make: |hand| async { hand.loot.remove("root").await }.boxed(),
    },
    Attack {
        what: "delete the tenant's keys",
        running: Effect::None,
        fresh: Effect::Gone,
        make: |hand| async { hand.loot.remove(MINE).await }.boxed(),
    },
    Attack {
        what: "say that everything is due now, and much that does not exist",
        running: Effect::None,
        fresh: Effect::None,
        make: |hand| {
            async {
                for key in ["connection/acme/c0", "connection/other/v0", "connection/acme/ghost", "root"] {
                    let (_, shard) = RedisLoot::place(key);
                    hand.loot
                        .run::<()>(&[b"ZADD", format!("{shard}:due").as_bytes(), b"1", key.as_bytes()])
                        .await;
                }
            }
            .boxed()
        },
    },
    Attack {
        what: "garble the due queues",
        running: Effect::OnDemand,
        fresh: Effect::OnDemand,
        make: |hand| {
            async {
                for shard in 0..SHARDS {
                    let due = format!("bursar:{{s{shard:02}}}:due");
                    hand.loot.run::<()>(&[b"DEL", due.as_bytes()]).await;
                    hand.loot.run::<()>(&[b"ZADD", due.as_bytes(), b"1", b"{../..}\0\xff"]).await;
                }
            }
            .boxed()
        },
    },
    Attack {
        what: "put names into the index that do not exist",
        running: Effect::None,
        fresh: Effect::None,
        make: |hand| {
            async {
                let (_, shard) = RedisLoot::place("connection/acme/ghost");
                let names = format!("{shard}:names");
                hand.loot.run::<()>(&[b"ZADD", names.as_bytes(), b"0", b"connection/acme/ghost"]).await;
            }
            .boxed()
        },
    },
    Attack {
        what: "garble the index of names",
        running: Effect::ListsBroken,
        fresh: Effect::ListsBroken,
        make: |hand| {
            async {
                let names = "bursar:{s00}:names".to_owned();
                hand.loot.run::<()>(&[b"ZADD", names.as_bytes(), b"0", b"connection/acme/{}"]).await;
            }
            .boxed()
        },
    },
    Attack {
        what: "take its name out of the index",
        running: Effect::Unlisted,
        fresh: Effect::Unlisted,
        make: |hand| {
            async {
                let (_, shard) = RedisLoot::place(&connection_key("c0"));
                let names = format!("{shard}:names");
                hand.loot.run::<()>(&[b"ZREM", names.as_bytes(), connection_key("c0").as_bytes()]).await;
            }
            .boxed()
        },
    },
    Attack {
        what: "tell of changes and deletions that never were",
        running: Effect::None,
        fresh: Effect::None,
        make: |hand| {
            async {
                let (_, shard) = RedisLoot::place(&connection_key("c0"));
                let (feed, key) = (format!("{shard}:feed"), connection_key("c0"));
                for version in ["18446744073709551615", "0", "x"] {
                    let words = ["XADD", &feed, "*", "k", &key, "v", version].map(str::as_bytes);
                    hand.loot.run::<String>(&words).await;
                }
                hand.loot.run::<String>(&["XADD", &feed, "*", "what", "ever"].map(str::as_bytes)).await;
            }
            .boxed()
        },
    },
    Attack {
        what: "write under other names in the same Redis",
        running: Effect::None,
        fresh: Effect::None,
        make: |hand| {
            async {
                let value = [1_u64.to_be_bytes().as_slice(), &hand.alien.record.body].concat();
                for place in
                    ["evil:{s00}:d:connection/acme/c0", "bursar:{s99}:d:connection/acme/c0", "bursar"]
                {
                    hand.loot.set(place, &value).await;
                }
            }
            .boxed()
        },
    },
    Attack {
        what: "claim another number of shards, so that everything is looked for elsewhere",
        running: Effect::None,
        fresh: Effect::NoStart,
        make: |hand| async { hand.loot.set("bursar:meta", b"format=1 shards=3").await }.boxed(),
    },
    Attack {
        what: "put the whole store back to what it was",
        running: Effect::RolledBack,
        fresh: Effect::Works,
        make: |hand| async { restore(&hand.loot, hand.old).await }.boxed(),
    },
    Attack {
        what: "delete everything",
        running: Effect::Gone,
        fresh: Effect::Gone,
        make: |hand| async { hand.loot.run::<()>(&[b"FLUSHALL"]).await }.boxed(),
    },
];

async fn dump(loot: &RedisLoot<'_>) -> Dump {
    let mut dump = Vec::new();
    for key in loot.run::<Vec<Vec<u8>>>(&[b"KEYS", b"*"]).await {
        let value = loot.run(&[b"DUMP", &key]).await;
        dump.push((key, value));
    }
    dump
}

async fn restore(loot: &RedisLoot<'_>, dump: &Dump) {
    loot.run::<()>(&[b"FLUSHALL"]).await;
    for (key, value) in dump {
        loot.run::<()>(&[b"RESTORE", key, b"0", value]).await;
    }
}

/// What an ordinary user of this broker notices.
async fn effect(api: &Api, before: &str) -> Result<Effect, String> {
    let foreign = GetTokenRequest { name: format!("{OTHER}/connections/v0"), ..GetTokenRequest::default() };
    let token = match (api.token("c0").await, api.tokens.clone().get_token(foreign).await) {
        (Ok(token), Ok(_)) => token,
        (Err(status), _) | (_, Err(status)) => {
            return match reason(&status).as_str() {
                "RECORD_BROKEN" => Ok(Effect::Broken),
                "RECORD_ROLLED_BACK" => Ok(Effect::RolledBack),
                "CONNECTION_NOT_FOUND" => Ok(Effect::Gone),
                other => Err(other.to_owned()),
            };
        }
    };
    if token.access_token != before {
        return Ok(Effect::Works);
    }
    let list = ListConnectionsRequest { parent: TENANT.into(), ..ListConnectionsRequest::default() };
    match api.connections.clone().list_connections(list).await {
        Ok(page) if page.get_ref().connections.iter().any(|one| one.name == name("c0")) => Ok(Effect::None),
        Ok(_) => Ok(Effect::Unlisted),
        Err(status) if reason(&status) == "RECORD_BROKEN" => Ok(Effect::ListsBroken),
        Err(status) => Err(reason(&status)),
    }
}

/// Both look the same to who asks for tokens before they are due.
fn same(found: Effect, want: Effect) -> bool {
    found == want || (found, want) == (Effect::None, Effect::OnDemand)
}

#[tokio::test]
async fn who_owns_redis_gains_nothing_by_changing_what_holds_it_together() {
    let scene = super::Scene::new(super::Settings::default()).await;
    let world = World { trap: super::Trap::set().await, victims: Vec::new(), alien: alien().await, scene };
    let redis = Server::start().await;
    let place = Place::Redis(&redis);
    let broker = Broker::serve(&world.scene.config("one", &place)).await;
    let api = Api::of(broker.address());
    world.scene.connect(&api, 1).await;
    world.foreign(&api).await;
    let old = dump(&RedisLoot::of(&redis)).await;
    api.refresh("c0").await.unwrap();
    let token = api.token("c0").await.unwrap().access_token;
    let exchanges = world.scene.simulator.events().len();
    let whole = dump(&RedisLoot::of(&redis)).await;
    let mut wrong = Vec::new();
    for (number, attack) in STRUCTURE.iter().enumerate() {
        let loot = RedisLoot::of(&redis);
        let docs = loot.docs().await;
        (attack.make)(&mut Hand { loot, docs, alien: &world.alien, old: &old }).await;
        // What was deleted or put back shows at once; what stays away has to stay away for a while.
        let settled = match attack.running {
            Effect::Broken | Effect::RolledBack | Effect::Gone => {
                until(attack.what, || async {
                    effect(&api, &token).await.ok().filter(|found| *found == attack.running)
                })
                .await
            }
            _ => {
                tokio::time::sleep(LISTENED).await;
                effect(&api, &token).await.unwrap()
            }
        };
        if !same(settled, attack.running) {
            wrong.push(format!("{}: {settled:?} while running", attack.what));
        }
        if attack.running == Effect::OnDemand {
            until("it is told that nothing is renewed ahead of time", async || {
                broker.logged().contains("due connections could not be read").then_some(())
            })
            .await;
        }
        let config = world.scene.config(&format!("fresh{number}"), &place);
        let fresh = if attack.fresh == Effect::NoStart {
            let ended = process::run(&["serve", "--config", config.to_str().unwrap()]).await;
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert_eq!(ended.status.code(), Some(1), "{}: {said}", attack.what);
            println!("{}: {}", attack.what, said.lines().last().unwrap_or_default());
            Ok(Effect::NoStart)
        } else {
            let started = Broker::serve(&config).await;
            effect(&Api::of(started.address()), &token).await
        };
        if !fresh.as_ref().is_ok_and(|fresh| same(*fresh, attack.fresh)) {
            wrong.push(format!("{}: {fresh:?} after a start", attack.what));
        }
        restore(&RedisLoot::of(&redis), &whole).await;
        until("everything is as it was", || async {
            (effect(&api, &token).await == Ok(Effect::None)).then_some(())
        })
        .await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        world.scene.simulator.events().len(),
        exchanges,
        "an attack made the broker spend a credential"
    );
}

/// Longer than a follower takes to look at its streams, and than a round of the due queues.
const LISTENED: std::time::Duration = std::time::Duration::from_millis(1500);
