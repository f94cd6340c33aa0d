//! What in the state of a Redis node could lose what it acknowledged, read from `INFO`. Pure. Never changes its
//! configuration.

use super::{super::StoreError, options::Topology, refusals::Refusals};
use crate::domain::host_port::HostPort;
use std::fmt;

/// The oldest usable version, major and minor: scripts with flags, `SET … NX GET`.
const OLDEST: (u32, u32) = (7, 0);
/// From this share of its memory limit on a node is called nearly full, in percent.
const NEARLY_FULL: u64 = 90;

/// Something in one node that can lose acknowledged writes, or will soon refuse them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurabilityFinding {
    pub node: HostPort,
    pub risk: Risk,
}

/// Each prints as what it means and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// At its memory limit Redis throws documents away.
    EvictsKeys { policy: String },
    /// It did so since it was started. What is gone is not told.
    KeysWereEvicted,
    /// Writes since the last snapshot are gone after a crash.
    NoAppendOnlyFile,
    /// The append-only file cannot be written, or could not be rewritten.
    AppendFails,
    /// The operating system decides when writes reach the disk.
    NeverSyncs,
    /// Up to a second of writes is gone after a crash of the machine.
    SyncsEachSecond,
    /// Nothing could take over.
    NoReplica,
    /// A primary that is cut off takes writes that the failover throws away.
    WritesAlone,
    /// Claims will be refused soon.
    NearlyFull { percent: u64 },
    /// Redis did not tell.
    Unknown { setting: &'static str },
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It could not be seen.
    Untold,
    /// It would be better otherwise.
    Advice,
    /// What is acknowledged can be lost in what happens every day: a full memory, a crash.
    Loses,
}

impl Risk {
    pub fn weight(&self) -> Weight {
        match self {
            Self::EvictsKeys { .. }
            | Self::NoAppendOnlyFile
            | Self::AppendFails
            | Self::NeverSyncs
            | Self::NoReplica => Weight::Loses,
            Self::KeysWereEvicted | Self::SyncsEachSecond | Self::WritesAlone | Self::NearlyFull { .. } => {
                Weight::Advice
            }
            Self::Unknown { .. } => Weight::Untold,
        }
    }
}

/// Whether there is something to fail over to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailsOver {
    No,
    BySentinel,
    ByCluster,
}

impl From<&Topology> for FailsOver {
    fn from(topology: &Topology) -> Self {
        match topology {
            Topology::Standalone(_) => Self::No,
            Topology::Sentinel { .. } => Self::BySentinel,
            Topology::Cluster { .. } => Self::ByCluster,
        }
    }
}

/// What the answer to `INFO`, and the value of `appendfsync` where it was told, mean.
pub(super) fn risks(info: &str, append_sync: Option<&str>, fails_over: FailsOver) -> Vec<Risk> {
    let policy = field(info, "maxmemory_policy");
    let eviction = match policy {
        // The volatile policies spare keys without expiry, and no document has one.
        Some(policy) if policy.starts_with("allkeys-") => {
            Some(Risk::EvictsKeys { policy: policy.to_owned() })
        }
        Some(_) => None,
        None => Some(Risk::Unknown { setting: "maxmemory-policy" }),
    };
    // Under a volatile policy those were keys of others.
    let others = policy.is_some_and(|policy| policy.starts_with("volatile-"));
    let evicted = number(info, "evicted_keys").is_some_and(|count| count > 0) && !others;
    let append = match (field(info, "aof_enabled"), append_sync) {
        (Some("1"), Some("always")) => None,
        (Some("1"), Some("everysec")) => Some(Risk::SyncsEachSecond),
        (Some("1"), Some("no")) => Some(Risk::NeverSyncs),
        (Some("1"), Some(_) | None) => Some(Risk::Unknown { setting: "appendfsync" }),
        (Some(_), _) => Some(Risk::NoAppendOnlyFile),
        (None, _) => Some(Risk::Unknown { setting: "appendonly" }),
    };
    let failing = ["aof_last_write_status", "aof_last_bgrewrite_status"]
        .into_iter()
        .any(|status| field(info, status).is_some_and(|status| status != "ok"));
    let fails = failing && field(info, "aof_enabled") == Some("1");
    let mut risks: Vec<Risk> = eviction.into_iter().chain(append).collect();
    risks.extend(evicted.then_some(Risk::KeysWereEvicted));
    risks.extend(fails.then_some(Risk::AppendFails));
    risks.extend(nearly_full(info));
    risks.extend(alone(info, fails_over));
    risks
}

fn nearly_full(info: &str) -> Option<Risk> {
    let (used, most) = (number(info, "used_memory")?, number(info, "maxmemory").filter(|most| *most > 0)?);
    let percent = used.saturating_mul(100) / most;
    (percent >= NEARLY_FULL).then_some(Risk::NearlyFull { percent })
}

/// Where there should be a failover: whether somebody could take over, and whether a primary notices that it is alone.
fn alone(info: &str, fails_over: FailsOver) -> Vec<Risk> {
    if fails_over == FailsOver::No {
        return Vec::new();
    }
    let online = replicas(info);
    let mut risks = Vec::new();
    if online == 0 {
        risks.push(Risk::NoReplica);
    }
    // Redis shows the count of good replicas only where it obeys it. The primary of a cluster stops by itself when the
    // other primaries are out of its reach.
    if fails_over == FailsOver::BySentinel && field(info, "min_slaves_good_slaves").is_none() {
        risks.push(Risk::WritesAlone);
    }
    risks
}

/// How many replicas are online.
pub(super) fn replicas(info: &str) -> usize {
    info.lines().filter(|line| is_online_replica(line.trim_end())).count()
}

/// `slave0:ip=10.0.0.9,port=6379,state=online,offset=42,lag=0`
fn is_online_replica(line: &str) -> bool {
    line.strip_prefix("slave")
        .and_then(|rest| rest.split_once(':'))
        .is_some_and(|(number, what)| number.parse::<u32>().is_ok() && what.contains("state=online"))
}

/// A replica, or a primary that became one: what it answers may be stale, and stay so. Passes, with the
/// failover.
pub(super) fn check_primary(info: &str, refusals: &Refusals<'_>) -> Result<(), StoreError> {
    match field(info, "role") {
        Some("master") => Ok(()),
        Some(_) | None => Err(refusals.unavailable(
            "is a replica: name the primary, or let sentinels tell it (store.redis.topology = \"sentinel\")",
        )),
    }
}

pub(super) fn check_version(info: &str, refusals: &Refusals<'_>) -> Result<(), StoreError> {
    let found = field(info, "redis_version").unwrap_or("of unknown version");
    let mut numbers = found.split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(()),
        (Some(_) | None, Some(_) | None) => {
            let found: String =
                found.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(32).collect();
            let (major, minor) = OLDEST;
            Err(refusals.unusable(&format!("is {found}; at least {major}.{minor} is needed")))
        }
    }
}

pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

pub(super) fn number(info: &str, name: &str) -> Option<u64> {
    field(info, name)?.parse().ok()
}

impl fmt::Display for DurabilityFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis at {}: {}", self.node, self.risk)
    }
}

impl Risk {
    pub fn problem(&self) -> String {
        match self {
            Self::EvictsKeys { policy } => {
                format!("maxmemory-policy {policy} throws grants away when Redis is full")
            }
            Self::KeysWereEvicted => {
                "it has evicted keys since it was started, grants perhaps among them".to_owned()
            }
            Self::NoAppendOnlyFile => "without an append-only file a crash loses recent writes".to_owned(),
            Self::AppendFails => "its append-only file cannot be written".to_owned(),
            Self::NeverSyncs => "appendfsync no leaves writes in memory".to_owned(),
            Self::SyncsEachSecond => {
                "appendfsync everysec can lose a second of writes when the machine fails".to_owned()
            }
            Self::NoReplica => "it has no replica that is online, so that nothing can take over".to_owned(),
            Self::WritesAlone => {
                "a primary that is cut off goes on taking writes, which a failover throws away".to_owned()
            }
            Self::NearlyFull { percent } => {
                format!("{percent} % of its maxmemory is used, and when it is full no token is refreshed")
            }
            Self::Unknown { setting } => format!("it does not tell its {setting}"),
        }
    }

    pub const fn mend(&self) -> &'static str {
        match self {
            Self::EvictsKeys { .. } => "set it to noeviction",
            Self::KeysWereEvicted => "compare with a back-up, and keep maxmemory-policy noeviction",
            Self::NoAppendOnlyFile => "set appendonly yes",
            Self::AppendFails => "look at its log and its disk",
            Self::NeverSyncs => "set it to everysec or always",
            Self::SyncsEachSecond => "set it to always to lose none",
            Self::NoReplica => "connect one",
            Self::WritesAlone => "set min-replicas-to-write 1",
            Self::NearlyFull { .. } => "raise maxmemory",
            Self::Unknown { .. } => "check it by hand",
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem(), self.mend())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::dialing::{Clustered, Peer},
        Risk as R, *,
    };

    fn with_refusals<T>(check: impl FnOnce(&Refusals<'_>) -> T) -> T {
        let address = "host:6379".parse().unwrap();
        check(&Refusals { address: &address, peer: Peer::Data, clustered: Clustered::No })
    }

    #[test]
    fn only_seven_and_newer_will_do() {
        for good in ["7.0.0", "7.0.15", "7.2.4", "8.2.3", "10.0.0", "7.4.0-rc1"] {
            let info = format!("# Server\r\nredis_version:{good}\r\n");
            assert_eq!(with_refusals(|refusals| check_version(&info, refusals)), Ok(()), "{good}");
        }
        for old in ["6.2.14", "6.9.9", "5.0", "2.8.0"] {
            let info = format!("redis_version:{old}\r\n");
            let error = with_refusals(|refusals| check_version(&info, refusals)).unwrap_err().to_string();
            assert!(error.contains(old) && error.contains("7.0"), "{error}");
        }
        for odd in ["", "redis_version:\r\n", "redis_version:x.y\r\n", "xredis_version:7.0.0\r\n"] {
            let checked = with_refusals(|refusals| check_version(odd, refusals));
            assert!(matches!(checked, Err(StoreError::Unusable { .. })), "{odd}");
        }
    }

    #[test]
    fn only_a_primary_will_do() {
        let check = |info: &str| with_refusals(|refusals| check_primary(info, refusals));
        assert_eq!(check("# Replication\r\nrole:master\r\nconnected_slaves:1\r\n"), Ok(()));
        for other in ["role:slave\r\n", "role:sentinel\r\n", "", "master_role:master\r\n"] {
            assert!(matches!(check(other), Err(StoreError::Unavailable { .. })), "{other}");
        }
    }

    #[test]
    fn every_way_to_lose_writes_is_found() {
        let info = |policy: &str, aof: &str| {
            format!("# Memory\r\nmaxmemory_policy:{policy}\r\n# Persistence\r\naof_enabled:{aof}\r\n")
        };
        let evicts = |policy: &str| R::EvictsKeys { policy: policy.to_owned() };
        let cases = [
            (info("noeviction", "1"), Some("always"), vec![]),
            (info("volatile-lru", "1"), Some("always"), vec![]),
            (info("noeviction", "1"), Some("everysec"), vec![R::SyncsEachSecond]),
            (info("noeviction", "1"), Some("no"), vec![R::NeverSyncs]),
            (info("noeviction", "1"), None, vec![R::Unknown { setting: "appendfsync" }]),
            (info("noeviction", "0"), Some("always"), vec![R::NoAppendOnlyFile]),
            (info("allkeys-lru", "1"), Some("always"), vec![evicts("allkeys-lru")]),
            (info("allkeys-random", "0"), None, vec![evicts("allkeys-random"), R::NoAppendOnlyFile]),
            (info("noeviction", "1") + "evicted_keys:0\r\n", Some("always"), vec![]),
            (info("noeviction", "1") + "evicted_keys:7\r\n", Some("always"), vec![R::KeysWereEvicted]),
            (info("volatile-ttl", "1") + "evicted_keys:7\r\n", Some("always"), vec![]),
            (info("noeviction", "1") + "aof_last_write_status:err\r\n", Some("always"), vec![R::AppendFails]),
            (
                info("noeviction", "1") + "used_memory:90\r\nmaxmemory:100\r\n",
                Some("always"),
                vec![R::NearlyFull { percent: 90 }],
            ),
            (info("noeviction", "1") + "used_memory:89\r\nmaxmemory:100\r\n", Some("always"), vec![]),
            (info("noeviction", "1") + "used_memory:89\r\nmaxmemory:0\r\n", Some("always"), vec![]),
            (
                String::new(),
                None,
                vec![R::Unknown { setting: "maxmemory-policy" }, R::Unknown { setting: "appendonly" }],
            ),
        ];
        for (info, append_sync, want) in cases {
            assert_eq!(risks(&info, append_sync, FailsOver::No), want, "{info} {append_sync:?}");
        }
    }

    #[test]
    fn a_primary_that_nobody_could_replace_is_found_where_that_is_expected() {
        let info =
            |more: &str| format!("maxmemory_policy:noeviction\r\naof_enabled:1\r\nrole:master\r\n{more}");
        let online = "slave0:ip=10.0.0.9,port=6379,state=online,offset=42,lag=0\r\n";
        let syncing = "slave0:ip=10.0.0.9,port=6379,state=wait_bgsave,offset=0,lag=0\r\n";
        let obeys = format!("{online}min_slaves_good_slaves:1\r\n");
        let cases = [
            ("", FailsOver::No, vec![]),
            ("", FailsOver::BySentinel, vec![R::NoReplica, R::WritesAlone]),
            (syncing, FailsOver::ByCluster, vec![R::NoReplica]),
            (online, FailsOver::ByCluster, vec![]),
            (online, FailsOver::BySentinel, vec![R::WritesAlone]),
            (&obeys, FailsOver::BySentinel, vec![]),
        ];
        for (more, fails_over, want) in cases {
            assert_eq!(risks(&info(more), Some("always"), fails_over), want, "{more} {fails_over:?}");
        }
    }
}
