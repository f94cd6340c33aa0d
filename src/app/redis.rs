//! Redis as the configuration has it. Passwords and the files of TLS are read anew for each connection: they can be
//! replaced while the process runs.

use crate::{
    config::{self, Disk, RedisDurability, RedisPem, RedisTls, RedisTopology, SecretFile},
    domain::token::Secret,
    store::redis::{Confirm, Durability, Fresh, RedisOptions, Topology},
    tls::outgoing::{self, OutgoingError, Part},
};
use parking_lot::Mutex;
use rustls::ClientConfig;
use std::sync::Arc;

struct Files {
    password: Option<SecretFile>,
    sentinel_password: Option<SecretFile>,
    tls: Option<RedisTls>,
    /// What was made of the files when they were last read, for as long as they say the same.
    made: Mutex<Option<(RedisPem, Arc<ClientConfig>)>>,
}

pub(super) fn options(redis: &config::Redis) -> anyhow::Result<RedisOptions> {
    let (topology, sentinel_username, sentinel_password) = match redis.topology.clone() {
        RedisTopology::Standalone(address) => (Topology::Standalone(address), None, None),
        RedisTopology::Sentinel { sentinels, primary, username, password } => {
            (Topology::Sentinel { sentinels, primary }, username, password)
        }
        RedisTopology::Cluster(seeds) => (Topology::Cluster { seeds }, None, None),
    };
    let files = Files {
        password: redis.password.clone(),
        sentinel_password,
        tls: redis.tls.clone(),
        made: Mutex::default(),
    };
    // What is wrong with a file is told before anybody is dialed.
    files.tls().map_err(|problem| anyhow::anyhow!(problem))?;
    let durability = match redis.durability {
        RedisDurability::Warn => Durability::Warn,
        RedisDurability::Require => Durability::Require,
    };
    let confirm = redis.wait.map(|wait| Confirm { replicas: wait.replicas, within: wait.timeout });
    let options = RedisOptions::new(topology)
        .database(redis.database)
        .usernames(redis.username.clone(), sentinel_username)
        .fresh(Arc::new(files))
        .durability(durability)
        .confirm(confirm);
    Ok(options.namespace(redis.namespace.as_str())?.shards(redis.shards)?)
}

impl Fresh for Files {
    fn password(&self) -> Result<Option<Secret>, String> {
        read("store.redis.password_file", self.password.as_ref())
    }

    fn sentinel_password(&self) -> Result<Option<Secret>, String> {
        read("store.redis.sentinel_password_file", self.sentinel_password.as_ref())
    }

    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let pem = tls.read(&Disk).map_err(|trouble| trouble.to_string())?;
        let mut made = self.made.lock();
        if let Some((_, config)) = made.as_ref().filter(|(before, _)| alike(before, &pem)) {
            return Ok(Some(config.clone()));
        }
        let config = client(&pem)?;
        *made = Some((pem, config.clone()));
        Ok(Some(config))
    }
}

fn read(key: &str, file: Option<&SecretFile>) -> Result<Option<Secret>, String> {
    file.map(|file| file.read().map_err(|problem| format!("{key}: {problem}"))).transpose()
}

/// A configuration keeps tickets of sessions: it is not made anew for the same files.
fn alike(one: &RedisPem, other: &RedisPem) -> bool {
    texts(one) == texts(other)
}

fn texts(pem: &RedisPem) -> [Option<&str>; 3] {
    let (cert, key) = pem.identity.as_ref().map_or((None, None), |(cert, key)| (Some(cert), Some(key)));
    [pem.ca.as_ref(), cert, key].map(|part| part.map(|part| part.text.expose()))
}

fn client(pem: &RedisPem) -> Result<Arc<ClientConfig>, String> {
    let ca = pem.ca.as_ref().map(|ca| ca.text.expose());
    let identity = pem.identity.as_ref().map(|(cert, key)| (cert.text.expose(), &key.text));
    outgoing::client(ca, identity).map_err(|error| match error {
        OutgoingError::Pem(part, error) => {
            let of = match part {
                Part::Authorities => pem.ca.as_ref(),
                Part::Chain => pem.identity.as_ref().map(|(cert, _)| cert),
                Part::Key => pem.identity.as_ref().map(|(_, key)| key),
            };
            of.map_or_else(|| error.to_string(), |of| of.trouble(error.to_string(), error.mend()).to_string())
        }
        OutgoingError::NoSystemAuthorities => {
            "store.redis.ca_file: this system has no authorities of its own\n    mend: name a file with those that \
             vouch for Redis"
                .to_owned()
        }
    })
}
