//! The store as its owner sees it: plain bytes, behind the program's back.

use crate::support::{redis::Server, scene::Scene};
use async_trait::async_trait;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::{collections::BTreeMap, path::PathBuf};

/// A document with its version, in the clear for whoever has the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doc {
    pub(super) version: u64,
    pub(super) body: Vec<u8>,
}

#[async_trait]
pub(super) trait Loot {
    async fn docs(&self) -> BTreeMap<String, Doc>;
    async fn put(&mut self, key: &str, doc: &Doc);
    async fn remove(&mut self, key: &str);
}

pub(super) struct RedisLoot<'a> {
    server: &'a Server,
}

impl<'a> RedisLoot<'a> {
    pub(super) fn of(server: &'a Server) -> Self {
        Self { server }
    }

    /// Runs a command whose arguments may be any bytes.
    pub(super) async fn run<T: redis::FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut connection = self.server.connection().await.unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }

    pub(super) async fn set(&self, key: &str, value: &[u8]) {
        self.run::<()>(&[b"SET", key.as_bytes(), value]).await;
    }

    /// Throws all notices away: followers see that they missed some.
    pub(super) async fn doubt_everything(&self) {
        for shard in 0..SHARDS {
            self.run::<()>(&[b"DEL", format!("bursar:{{s{shard:02}}}:feed").as_bytes()]).await;
        }
    }

    /// The key in Redis and in the indexes of its shard.
    pub(super) fn place(key: &str) -> (String, String) {
        let hash = key
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let shard = format!("bursar:{{s{:02}}}", hash % SHARDS);
        (format!("{shard}:d:{key}"), shard)
    }
}

pub(super) const SHARDS: u32 = 16;

#[async_trait]
impl Loot for RedisLoot<'_> {
    async fn docs(&self) -> BTreeMap<String, Doc> {
        let mut docs = BTreeMap::new();
        for key in self.server.command::<Vec<String>>(&["KEYS", "bursar:{s*}:d:*"]).await {
            let value: Vec<u8> = self.server.command(&["GET", &key]).await;
            let (version, body) = value.split_first_chunk().unwrap();
            let doc = Doc { version: u64::from_be_bytes(*version), body: body.to_vec() };
            docs.insert(key.split_once(":d:").unwrap().1.to_owned(), doc);
        }
        docs
    }

    async fn put(&mut self, key: &str, doc: &Doc) {
        let (place, shard) = Self::place(key);
        self.set(&place, &[doc.version.to_be_bytes().as_slice(), &doc.body].concat()).await;
        self.run::<()>(&[b"ZADD", format!("{shard}:names").as_bytes(), b"0", key.as_bytes()]).await;
    }

    async fn remove(&mut self, key: &str) {
        self.run::<()>(&[b"DEL", Self::place(key).0.as_bytes()]).await;
    }
}

/// The database file of a broker that does not run.
pub(super) struct FileLoot {
    file: PathBuf,
}

type Stored<'a> = (u64, Option<u64>, &'a [u8]);
const DOCUMENTS: TableDefinition<&str, Stored> = TableDefinition::new("documents");

impl FileLoot {
    pub(super) fn of(scene: &Scene) -> Self {
        Self { file: scene.path("data/bursar.redb") }
    }

    fn change(&self, change: impl FnOnce(&mut redb::Table<'_, &'static str, Stored<'static>>)) {
        let transaction = Database::open(&self.file).unwrap().begin_write().unwrap();
        change(&mut transaction.open_table(DOCUMENTS).unwrap());
        transaction.commit().unwrap();
    }
}

#[async_trait]
impl Loot for FileLoot {
    async fn docs(&self) -> BTreeMap<String, Doc> {
        let database = Database::open(&self.file).unwrap();
        let table = database.begin_read().unwrap().open_table(DOCUMENTS).unwrap();
        let entries = table.iter().unwrap().map(|entry| {
            let (key, value) = entry.unwrap();
            let (version, _, body) = value.value();
            (key.value().to_owned(), Doc { version, body: body.to_vec() })
        });
        entries.collect()
    }

    async fn put(&mut self, key: &str, doc: &Doc) {
        self.change(|table| drop(table.insert(key, (doc.version, None, doc.body.as_slice())).unwrap()));
    }

    async fn remove(&mut self, key: &str) {
        self.change(|table| drop(table.remove(key).unwrap()));
    }
}
