//! What an operator says about Redis. Never shows the password in it.

use super::super::StoreError;
use crate::domain::{host_port::HostPort, token::Secret};
use rustls::ClientConfig;
use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};
use url::Url;

/// How many shards a deployment may have.
const SHARDS: RangeInclusive<u16> = 1..=64;
const SHARDS_DEFAULT: u16 = 16;
/// Longest namespace, in characters.
const NAMESPACE_MAX: usize = 64;
const PORT_DEFAULT: u16 = 6379;

/// Where Redis is and how it is laid out.
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) topology: Topology,
    pub(super) username: Option<String>,
    pub(super) sentinel_username: Option<String>,
    pub(super) database: u16,
    pub(super) fresh: Arc<dyn Fresh>,
    pub(super) namespace: String,
    pub(super) shards: u16,
    pub(super) durability: Durability,
    pub(super) confirm: Option<Confirm>,
}

/// What there is of Redis, and how the primary of a shard is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// One address, that of the primary.
    Standalone(HostPort),
    /// Sentinels know the primary by a name.
    Sentinel { sentinels: Vec<HostPort>, primary: String },
    /// A Redis Cluster; any of its nodes tell of the others.
    Cluster { seeds: Vec<HostPort> },
}

/// Whether a Redis that can lose what it acknowledged is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is, and the log says so.
    Warn,
    /// It is not: no start, and later on no new claim.
    Require,
}

/// After each write it is waited until replicas have it, too (`WAIT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirm {
    /// At least 1.
    pub replicas: u8,
    /// What they did not confirm by then counts as written all the same.
    pub within: Duration,
}

/// What is asked for anew at each connection, as something else may have replaced it meanwhile. Errors say what is
/// wrong and how to mend it, without a secret.
pub trait Fresh: Send + Sync {
    fn password(&self) -> Result<Option<Secret>, String>;
    fn sentinel_password(&self) -> Result<Option<Secret>, String>;
    /// `None`: no TLS.
    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String>;
}

/// A password that stays, and no TLS.
struct Fixed(Option<Secret>);

impl Fresh for Fixed {
    fn password(&self) -> Result<Option<Secret>, String> {
        Ok(self.0.clone())
    }

    fn sentinel_password(&self) -> Result<Option<Secret>, String> {
        Ok(self.0.clone())
    }

    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        Ok(None)
    }
}

impl RedisOptions {
    pub fn new(topology: Topology) -> Self {
        Self {
            topology,
            username: None,
            sentinel_username: None,
            database: 0,
            fresh: Arc::new(Fixed(None)),
            namespace: "bursar".to_owned(),
            shards: SHARDS_DEFAULT,
            durability: Durability::Warn,
            confirm: None,
        }
    }

    /// From `redis://[user[:password]@]host[:port][/database]`: one server, without TLS.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        // Whatever is wrong, the URL is not quoted, and with it the password.
        let malformed = || StoreError::Unusable {
            cause: "the Redis URL is malformed: it looks like redis://user:password@host:6379/0".to_owned(),
        };
        let url = Url::parse(url).map_err(|_| malformed())?;
        let database = url.path().trim_start_matches('/');
        let database = if database.is_empty() { Some(0) } else { database.parse().ok() };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let address = HostPort::new(host, url.port().unwrap_or(PORT_DEFAULT));
        let (Ok(address), Some(database), "redis", None) = (address, database, url.scheme(), url.query())
        else {
            return Err(malformed());
        };
        let mut options = Self::new(Topology::Standalone(address)).database(database);
        options.username = Some(url.username().to_owned()).filter(|name| !name.is_empty());
        Ok(options.fresh(Arc::new(Fixed(url.password().map(Secret::new)))))
    }

    #[must_use]
    pub fn database(mut self, database: u16) -> Self {
        self.database = database;
        self
    }

    /// Sets the ACL users of data nodes and of sentinels. `None`: the default user.
    #[must_use]
    pub fn usernames(mut self, data: Option<String>, sentinel: Option<String>) -> Self {
        (self.username, self.sentinel_username) = (data, sentinel);
        self
    }

    /// Sets where passwords and TLS come from.
    #[must_use]
    pub fn fresh(mut self, fresh: Arc<dyn Fresh>) -> Self {
        self.fresh = fresh;
        self
    }

    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    #[must_use]
    pub fn confirm(mut self, confirm: Option<Confirm>) -> Self {
        self.confirm = confirm;
        self
    }

    /// Sets what all keys begin with (`bursar` unless said otherwise): deployments that share a Redis differ
    /// in it.
    pub fn namespace(mut self, namespace: &str) -> Result<Self, StoreError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if namespace.is_empty() || namespace.len() > NAMESPACE_MAX || !namespace.chars().all(fits) {
            let cause = format!(
                "the Redis namespace is malformed: 1 to {NAMESPACE_MAX} letters, digits, `-`, `_`, `.` or `:`"
            );
            return Err(StoreError::Unusable { cause });
        }
        namespace.clone_into(&mut self.namespace);
        Ok(self)
    }

    /// Sets how many parts documents are spread over (16 unless said otherwise). Fixed for the life of a
    /// deployment.
    pub fn shards(mut self, shards: u16) -> Result<Self, StoreError> {
        if !SHARDS.contains(&shards) {
            let cause = format!("{shards} shards are not possible: {} to {}", SHARDS.start(), SHARDS.end());
            return Err(StoreError::Unusable { cause });
        }
        self.shards = shards;
        Ok(self)
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |nodes: &[HostPort]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Self::Standalone(address) => write!(f, "{address}"),
            Self::Sentinel { sentinels, primary } => write!(f, "{primary} of {}", list(sentinels)),
            Self::Cluster { seeds } => write!(f, "cluster of {}", list(seeds)),
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("topology", &self.topology.to_string())
            .field("namespace", &self.namespace)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_url_is_ever_quoted() {
        let urls = [
            "redis://user:hunter2@host:notaport",
            "http://user:hunter2@host",
            "hunter2",
            "rediss://user:hunter2@host",
            "redis://user:hunter2@host/nodatabase",
            "redis://user:hunter2@host?protocol=hunter2",
        ];
        for url in urls {
            let error = RedisOptions::from_url(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let options = RedisOptions::from_url("redis://user:hunter2@example.com:6380/2").unwrap();
        let shown = format!("{options:?}");
        assert!(shown.contains("example.com:6380") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn namespaces_and_shards_have_bounds() {
        let options = || RedisOptions::from_url("redis://localhost").unwrap();
        for namespace in ["", "a b", "{a}", "a\n", "ä", &"a".repeat(65)] {
            assert!(options().namespace(namespace).is_err(), "{namespace}");
        }
        assert_eq!(options().namespace("prod:bursar-1").unwrap().namespace, "prod:bursar-1");
        assert_eq!([0, 1, 64, 65].map(|shards| options().shards(shards).is_ok()), [false, true, true, false]);
    }
}
