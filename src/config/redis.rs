//! Where Redis is, how it is logged in to, and what it has to be like.

use super::{
    Files, PemTrouble,
    files::{Mounted, SecretFile},
    gather::Settings,
    pem::{self, Pem},
};
use crate::domain::{host_port::HostPort, names::Id};
use std::{path::PathBuf, time::Duration};
use url::Url;

const TOPOLOGY: &str = "store.redis.topology";
const URL: &str = "store.redis.url";
const NODES: &str = "store.redis.nodes";
const DATABASE: &str = "store.redis.database";
const PASSWORD_FILE: &str = "store.redis.password_file";
const SENTINEL_PASSWORD_FILE: &str = "store.redis.sentinel_password_file";
const SENTINEL_KEYS: [&str; 3] =
    ["store.redis.sentinel_master", "store.redis.sentinel_username", SENTINEL_PASSWORD_FILE];
const TLS: &str = "store.redis.tls";
const CA_FILE: &str = "store.redis.ca_file";
const CERT_FILE: &str = "store.redis.cert_file";
const KEY_FILE: &str = "store.redis.key_file";
const WAIT_REPLICAS: &str = "store.redis.wait_replicas";
const WAIT_TIMEOUT: &str = "store.redis.wait_timeout";

const PORT_DEFAULT: u16 = 6379;

#[derive(Debug, Clone)]
pub struct Redis {
    pub topology: RedisTopology,
    pub database: u16,
    pub username: Option<String>,
    pub password: Option<SecretFile>,
    pub tls: Option<RedisTls>,
    pub namespace: Id,
    /// 1 to 64.
    pub shards: u16,
    pub durability: RedisDurability,
    pub wait: Option<RedisWait>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisTopology {
    Standalone(HostPort),
    Sentinel {
        sentinels: Vec<HostPort>,
        /// What they call the primary.
        primary: String,
        username: Option<String>,
        password: Option<SecretFile>,
    },
    Cluster(Vec<HostPort>),
}

/// The files of TLS, read anew for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisTls {
    /// `None`: the system's authorities.
    pub ca: Option<PathBuf>,
    /// Certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What they hold at one moment.
pub struct RedisPem {
    pub ca: Option<Pem>,
    pub identity: Option<(Pem, Pem)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisDurability {
    Warn,
    Require,
}

/// For how many replicas each write waits, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedisWait {
    pub replicas: u8,
    pub timeout: Duration,
}

impl RedisTls {
    pub fn read(&self, files: &dyn Files) -> Result<RedisPem, PemTrouble> {
        let ca = self.ca.as_ref().map(|path| pem::pem(files, CA_FILE, path)).transpose()?;
        let identity = match &self.identity {
            Some((cert, key)) => {
                Some((pem::pem(files, CERT_FILE, cert)?, pem::key_pem(files, KEY_FILE, key)?))
            }
            None => None,
        };
        Ok(RedisPem { ca, identity })
    }
}

impl Settings {
    /// `None` only where a mistake was written down.
    pub(super) fn redis(&mut self, files: &dyn Files) -> Option<Redis> {
        let topology = self.redis_topology(files);
        let database = self.redis_database();
        let (username, password) = self.redis_login("store.redis.username", PASSWORD_FILE, files);
        let tls = self.redis_tls(files);
        let replicas = self.get::<u16>(WAIT_REPLICAS);
        if replicas == 0 && self.changed(WAIT_TIMEOUT) && self.sound(&[WAIT_REPLICAS]) {
            let mend = format!("set {WAIT_REPLICAS} to how many replicas a write waits for, or remove it");
            self.object(WAIT_TIMEOUT, format!("has no effect: `{WAIT_REPLICAS}` is 0"), mend);
        }
        let wait = u8::try_from(replicas).ok().filter(|replicas| *replicas > 0);
        Some(Redis {
            topology: topology?,
            database: database?,
            username,
            password,
            tls,
            namespace: self.get("store.redis.namespace"),
            shards: self.get("store.redis.shards"),
            durability: match self.choice("store.redis.durability").as_str() {
                "require" => RedisDurability::Require,
                _ => RedisDurability::Warn,
            },
            wait: wait.map(|replicas| RedisWait { replicas, timeout: self.get(WAIT_TIMEOUT) }),
        })
    }

    fn redis_topology(&mut self, files: &dyn Files) -> Option<RedisTopology> {
        if !self.sound(&[TOPOLOGY]) {
            return None;
        }
        let word = self.choice(TOPOLOGY);
        if word != "sentinel" {
            for key in SENTINEL_KEYS {
                self.no_effect(key, &word, "sentinel");
            }
        }
        if word == "standalone" {
            self.no_effect(NODES, &word, "sentinel\" or \"cluster");
            let url: Option<Url> = self.optional(URL);
            if url.is_none() && self.sound(&[URL]) {
                let problem = "is required when `store.kind` is \"redis\"";
                let mend = "write \"redis://HOST:PORT\", or set store.redis.topology to sentinel or cluster";
                self.object(URL, problem, mend);
            }
            return self.redis_address(&url?).map(RedisTopology::Standalone);
        }
        self.no_effect(URL, &word, "standalone");
        let nodes = self.redis_nodes(&word);
        if word == "cluster" {
            return nodes.map(RedisTopology::Cluster);
        }
        let [master, ..] = SENTINEL_KEYS;
        let primary: Option<String> = self.optional(master);
        if primary.is_none() && self.sound(&[master]) {
            let mend = "write the name in the sentinels' line `sentinel monitor NAME …`";
            self.object(master, format!("is required when `{TOPOLOGY}` is \"sentinel\""), mend);
        }
        let (username, password) =
            self.redis_login("store.redis.sentinel_username", SENTINEL_PASSWORD_FILE, files);
        Some(RedisTopology::Sentinel { sentinels: nodes?, primary: primary?, username, password })
    }

    fn redis_address(&mut self, url: &Url) -> Option<HostPort> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        match HostPort::new(host, url.port().unwrap_or(PORT_DEFAULT)) {
            Ok(address) => Some(address),
            Err(problem) => {
                self.object(
                    URL,
                    problem.to_string(),
                    "write \"redis://HOST:PORT\" or \"redis://HOST:PORT/DATABASE\"",
                );
                None
            }
        }
    }

    fn redis_nodes(&mut self, topology: &str) -> Option<Vec<HostPort>> {
        let nodes: Vec<HostPort> = self.words(NODES).iter().filter_map(|word| word.parse().ok()).collect();
        if nodes.is_empty() && self.sound(&[NODES]) {
            let mend = match topology {
                "sentinel" => "write the sentinels' addresses, as \"sentinel-0:26379 sentinel-1:26379\"",
                _ => "write some of the cluster's nodes, as \"redis-0:6379 redis-1:6379\"",
            };
            self.object(NODES, format!("is required when `{TOPOLOGY}` is \"{topology}\""), mend);
        }
        Some(nodes).filter(|nodes| !nodes.is_empty())
    }

    /// It stands in the URL or in a key of its own.
    fn redis_database(&mut self) -> Option<u16> {
        if !self.sound(&[DATABASE, URL, TOPOLOGY]) {
            return None;
        }
        let (own, topology) = (self.get::<u16>(DATABASE), self.choice(TOPOLOGY));
        let url: Option<Url> = self.optional(URL);
        let in_url = url.and_then(|url| url.path().trim_start_matches('/').parse::<u16>().ok());
        match in_url {
            Some(number) if self.changed(DATABASE) && number != own && topology == "standalone" => {
                let problem = format!("is {own}, and `{URL}` says {number}");
                self.object(DATABASE, problem, format!("leave the database out of {URL}"));
                None
            }
            Some(number) if topology == "standalone" => Some(number),
            Some(_) | None if topology == "cluster" && own != 0 => {
                let mend = "remove it: give each deployment a namespace of its own instead";
                self.object(DATABASE, "is not 0, and a Redis Cluster has database 0 only", mend);
                None
            }
            Some(_) | None => Some(own),
        }
    }

    fn redis_login(
        &mut self,
        user: &'static str,
        file: &'static str,
        files: &dyn Files,
    ) -> (Option<String>, Option<SecretFile>) {
        let (username, path) = (self.optional::<String>(user), self.optional::<PathBuf>(file));
        if username.is_some() && path.is_none() && self.sound(&[file]) {
            self.object(user, "is set without a password", format!("set {file} too, or remove it"));
        }
        // Read once more for each connection; here to say now what is wrong with it.
        self.secret_file(file, files);
        (username, path.map(|path| SecretFile { path, mounted: Mounted::ByOperator }))
    }

    fn redis_tls(&mut self, files: &dyn Files) -> Option<RedisTls> {
        if !self.sound(&[TLS]) {
            return None;
        }
        if self.choice(TLS) == "off" {
            for key in [CA_FILE, CERT_FILE, KEY_FILE] {
                if self.changed(key) {
                    let mend = format!("set {TLS} = \"on\", or remove it");
                    self.object(key, format!("has no effect: `{TLS}` is \"off\""), mend);
                }
            }
            return None;
        }
        let before = self.mistakes.len();
        let [cert, key] = [CERT_FILE, KEY_FILE].map(|name| self.optional::<PathBuf>(name));
        for (set, other, is) in [(CERT_FILE, KEY_FILE, (&cert, &key)), (KEY_FILE, CERT_FILE, (&key, &cert))] {
            if is.0.is_some() && is.1.is_none() && self.sound(&[other]) {
                self.object(
                    set,
                    format!("is set without `{other}`"),
                    format!("set {other} too, or remove it"),
                );
            }
        }
        let tls = RedisTls { ca: self.optional(CA_FILE), identity: cert.zip(key) };
        if self.mistakes.len() == before
            && let Err(trouble) = tls.read(files)
        {
            self.object(trouble.key, trouble.problem, trouble.mend);
        }
        Some(tls)
    }

    fn no_effect(&mut self, key: &'static str, topology: &str, other: &str) {
        if self.changed(key) {
            let problem = format!("has no effect: `{TOPOLOGY}` is \"{topology}\"");
            self.object(key, problem, format!("remove it, or set {TOPOLOGY} = \"{other}\""));
        }
    }
}
