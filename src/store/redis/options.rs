//! What an operator says about Redis. Never shows the password in it.

use super::super::StoreError;
use redis::{
    ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    io::tcp::{TcpSettings, socket2},
};
use std::{fmt, ops::RangeInclusive};

/// How many shards a deployment may have.
const SHARDS: RangeInclusive<u16> = 1..=64;
const SHARDS_DEFAULT: u16 = 16;
/// Longest namespace, in characters.
const NAMESPACE_MAX: usize = 64;

/// Where Redis is and how it is laid out.
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) info: ConnectionInfo,
    pub(super) namespace: String,
    pub(super) shards: u16,
}

impl RedisOptions {
    /// From `redis://[user[:password]@]host[:port][/database]` or `redis+unix:///path`.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        let unusable = |cause: &str| StoreError::Unusable { cause: cause.to_owned() };
        if url.starts_with("rediss:") || url.starts_with("valkeys:") {
            return Err(unusable("TLS to Redis is not built in: use redis:// through a local TLS proxy"));
        }
        // Its error may quote the URL, and with it the password.
        let info = url.into_connection_info().map_err(|_| {
            unusable("the Redis URL is malformed: it looks like redis://user:password@host:6379/0")
        })?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        // Each write is answered before the next is worth sending: waiting to fill a packet only delays it.
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(socket2::TcpKeepalive::new());
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
        Ok(Self { info, namespace: "bursar".to_owned(), shards: SHARDS_DEFAULT })
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

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("address", &self.info.addr().to_string())
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
            let error = RedisOptions::new(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let options = RedisOptions::new("redis://user:hunter2@example.com:6380/2").unwrap();
        let shown = format!("{options:?}");
        assert!(shown.contains("example.com:6380") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn namespaces_and_shards_have_bounds() {
        let options = || RedisOptions::new("redis://localhost").unwrap();
        for namespace in ["", "a b", "{a}", "a\n", "ä", &"a".repeat(65)] {
            assert!(options().namespace(namespace).is_err(), "{namespace}");
        }
        assert_eq!(options().namespace("prod:bursar-1").unwrap().namespace, "prod:bursar-1");
        assert_eq!([0, 1, 64, 65].map(|shards| options().shards(shards).is_ok()), [false, true, true, false]);
    }
}
