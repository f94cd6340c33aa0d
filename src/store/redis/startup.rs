//! What is asked of a Redis before it is used: its version, what the deployment was begun with, how well it
//! keeps what it acknowledged. Never changes its configuration.

use super::{
    super::StoreError,
    layout::{FORMAT, Layout},
    link::Link,
};
use redis::{Pipeline, Value};
use std::fmt;

/// The oldest usable version, major and minor: scripts with flags, `SET … NX GET`.
const OLDEST: (u32, u32) = (7, 0);

/// A setting of Redis that can lose acknowledged writes. Each prints as what it means and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DurabilityFinding {
    /// At its memory limit Redis throws documents away.
    EvictsKeys { policy: String },
    /// Writes since the last snapshot are gone after a crash.
    NoAppendOnlyFile,
    /// The operating system decides when writes reach the disk.
    NeverSyncs,
    /// Up to a second of writes is gone after a crash of the machine.
    SyncsEachSecond,
    /// Redis did not tell.
    Unknown { setting: &'static str },
}

/// Asks everything, and begins the deployment if nobody did.
pub(super) async fn inspect(link: &Link, layout: &Layout) -> Result<Vec<DurabilityFinding>, StoreError> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("INFO");
    let (info,): (String,) = link.ask(&pipeline).await?;
    check_version(&info)?;
    check_primary(&info)?;
    agree(link, layout).await?;
    Ok(findings(&info, append_sync(link).await.as_deref()))
}

/// Records format and number of shards at first use, and compares them ever after: with another number,
/// documents would be looked for in the wrong shard.
async fn agree(link: &Link, layout: &Layout) -> Result<(), StoreError> {
    let ours = format!("format={FORMAT} shards={}", layout.shards());
    let mut pipeline = Pipeline::new();
    // Read first: a full Redis refuses even a write that would change nothing.
    pipeline.cmd("GET").arg(layout.meta());
    let (mut theirs,): (Option<String>,) = link.ask(&pipeline).await?;
    if theirs.is_none() {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SET").arg(layout.meta()).arg(&ours).arg("NX").arg("GET");
        (theirs,) = link.ask(&pipeline).await?;
    }
    match theirs {
        Some(theirs) if theirs != ours => {
            let theirs: String =
                theirs.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect();
            let cause = format!(
                "this deployment was begun with `{theirs}`, this program is set to `{ours}`: \
                 set it alike, or choose another namespace"
            );
            Err(StoreError::Unusable { cause })
        }
        Some(_) | None => Ok(()),
    }
}

/// `CONFIG` is often forbidden where Redis is rented: not being told is no error.
async fn append_sync(link: &Link) -> Option<String> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("CONFIG").arg("GET").arg("appendfsync");
    let (answer,): (Value,) = link.ask(&pipeline).await.ok()?;
    let pairs: Vec<(String, String)> = redis::from_redis_value(answer).ok()?;
    pairs.into_iter().next().map(|(_, value)| value)
}

/// A replica, or a primary that became one: what it answers may be stale, and stay so. Passes, with the
/// failover.
pub(super) fn check_primary(info: &str) -> Result<(), StoreError> {
    match field(info, "role") {
        Some("master") => Ok(()),
        Some(_) | None => {
            Err(StoreError::Unavailable { cause: "Redis is a replica: name the primary".to_owned() })
        }
    }
}

fn check_version(info: &str) -> Result<(), StoreError> {
    let found = field(info, "redis_version").unwrap_or("of unknown version");
    let mut numbers = found.split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(()),
        (Some(_) | None, Some(_) | None) => {
            let found: String =
                found.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(32).collect();
            let (major, minor) = OLDEST;
            let cause = format!("Redis is {found}; at least {major}.{minor} is needed");
            Err(StoreError::Unusable { cause })
        }
    }
}

/// What the answer to `INFO`, and the value of `appendfsync` where it was told, mean for durability.
fn findings(info: &str, append_sync: Option<&str>) -> Vec<DurabilityFinding> {
    use DurabilityFinding as F;
    let eviction = match field(info, "maxmemory_policy") {
        // The volatile policies spare keys without expiry, and no document has one.
        Some(policy) if policy.starts_with("allkeys-") => Some(F::EvictsKeys { policy: policy.to_owned() }),
        Some(_) => None,
        None => Some(F::Unknown { setting: "maxmemory-policy" }),
    };
    let append = match (field(info, "aof_enabled"), append_sync) {
        (Some("1"), Some("always")) => None,
        (Some("1"), Some("everysec")) => Some(F::SyncsEachSecond),
        (Some("1"), Some("no")) => Some(F::NeverSyncs),
        (Some("1"), Some(_) | None) => Some(F::Unknown { setting: "appendfsync" }),
        (Some(_), _) => Some(F::NoAppendOnlyFile),
        (None, _) => Some(F::Unknown { setting: "appendonly" }),
    };
    eviction.into_iter().chain(append).collect()
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

impl fmt::Display for DurabilityFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EvictsKeys { policy } => write!(
                f,
                "maxmemory-policy {policy} throws grants away when Redis is full: set it to noeviction"
            ),
            Self::NoAppendOnlyFile => {
                f.write_str("without an append-only file a crash loses recent writes: set appendonly yes")
            }
            Self::NeverSyncs => {
                f.write_str("appendfsync no leaves writes in memory: set it to everysec or always")
            }
            Self::SyncsEachSecond => f.write_str(
                "appendfsync everysec can lose a second of writes when the machine fails: always loses none",
            ),
            Self::Unknown { setting } => write!(f, "Redis did not tell its {setting}: check it by hand"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DurabilityFinding as F, *};

    #[test]
    fn only_seven_and_newer_will_do() {
        for good in ["7.0.0", "7.0.15", "7.2.4", "8.2.3", "10.0.0", "7.4.0-rc1"] {
            assert_eq!(check_version(&format!("# Server\r\nredis_version:{good}\r\n")), Ok(()), "{good}");
        }
        for old in ["6.2.14", "6.9.9", "5.0", "2.8.0"] {
            let error = check_version(&format!("redis_version:{old}\r\n")).unwrap_err().to_string();
            assert!(error.contains(old) && error.contains("7.0"), "{error}");
        }
        for odd in ["", "redis_version:\r\n", "redis_version:x.y\r\n", "xredis_version:7.0.0\r\n"] {
            assert!(matches!(check_version(odd), Err(StoreError::Unusable { .. })), "{odd}");
        }
    }

    #[test]
    fn only_a_primary_will_do() {
        assert_eq!(check_primary("# Replication\r\nrole:master\r\nconnected_slaves:1\r\n"), Ok(()));
        for other in ["role:slave\r\n", "role:sentinel\r\n", "", "master_role:master\r\n"] {
            assert!(matches!(check_primary(other), Err(StoreError::Unavailable { .. })), "{other}");
        }
    }

    #[test]
    fn every_way_to_lose_writes_is_found() {
        let info = |policy: &str, aof: &str| {
            format!("# Memory\r\nmaxmemory_policy:{policy}\r\n# Persistence\r\naof_enabled:{aof}\r\n")
        };
        let evicts = |policy: &str| F::EvictsKeys { policy: policy.to_owned() };
        let cases = [
            (info("noeviction", "1"), Some("always"), vec![]),
            (info("volatile-lru", "1"), Some("always"), vec![]),
            (info("noeviction", "1"), Some("everysec"), vec![F::SyncsEachSecond]),
            (info("noeviction", "1"), Some("no"), vec![F::NeverSyncs]),
            (info("noeviction", "1"), None, vec![F::Unknown { setting: "appendfsync" }]),
            (info("noeviction", "0"), Some("always"), vec![F::NoAppendOnlyFile]),
            (info("allkeys-lru", "1"), Some("always"), vec![evicts("allkeys-lru")]),
            (info("allkeys-random", "0"), None, vec![evicts("allkeys-random"), F::NoAppendOnlyFile]),
            (
                String::new(),
                None,
                vec![F::Unknown { setting: "maxmemory-policy" }, F::Unknown { setting: "appendonly" }],
            ),
        ];
        for (info, append_sync, want) in cases {
            assert_eq!(findings(&info, append_sync), want, "{info} {append_sync:?}");
        }
    }
}
