//! Opens the audit trail by the configuration: nothing is served without one.

use super::worded::replica;
use crate::{
    audit::{
        Around, Recorder, Settings,
        event::Releases,
        sink::{Second, syslog_host},
    },
    broker::{audit_key::audit_key, keys::Keyring},
    clock::{Clock, SystemClock},
    config::{self, Config},
    domain::token::Secret,
    seal::AuditKey,
    store::ledger::Ledger,
};
use anyhow::Context;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The key of the trails of this configuration's deployment, as text for a file.
pub async fn audit_key_of(path: Option<&Path>) -> anyhow::Result<Secret> {
    let config = Config::read(path, super::serve::ELSEWHERE)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let documents = super::opening::documents(&config, clock.clone()).await?;
    let (kek, spread) = (super::keks::keks(&config)?.keks, config.keys.upkeep.propagation);
    let keys = Arc::new(Keyring::open(documents.clone(), kek, clock.clone(), spread).await?);
    let ledger = Ledger::new(documents, keys.clone(), clock.clone());
    audit_key(&ledger, &keys, &*clock).await.context("the audit trail's key")
}

/// The folder of a replica that has no name in the configuration.
const UNNAMED: &str = "default";

pub(super) async fn open(
    config: &Config,
    ledger: &Ledger,
    keys: &Keyring,
    clock: Arc<dyn Clock>,
    around: Around,
) -> anyhow::Result<Arc<Recorder>> {
    let text = audit_key(ledger, keys, &*clock).await.context("the audit trail's key")?;
    let key = Arc::new(AuditKey::parse(&text).context("the audit trail's key in the store")?);
    let settings = Settings {
        folder: folder(config),
        replica: replica(config),
        releases: match config.audit.releases {
            config::Releases::First => Releases::First,
            config::Releases::Every => Releases::Every,
        },
        rotate_bytes: config.audit.rotate_bytes,
        write_timeout: config.audit.write_timeout,
        second: config.audit.second.as_ref().map(|second| match second {
            config::SecondSink::Stdout => Second::Stdout,
            config::SecondSink::SyslogSocket(path) => Second::SyslogSocket(path.clone()),
            config::SecondSink::SyslogUdp(address) => Second::SyslogUdp(*address),
        }),
        host: syslog_host(&std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()),
        around,
    };
    Recorder::open(settings, key, clock).await.context(
        "the audit trail, without which nothing is served, cannot be begun (audit.dir)\n    mend: make its folder \
         writable for this account, and give each replica one of its own: set `replica`, or `audit.dir`",
    )
}

/// Each replica has a folder of its own, so that replicas can share a disk.
pub(super) fn folder(config: &Config) -> PathBuf {
    let dir = config.audit.dir.clone().unwrap_or_else(|| config.data_dir.join("audit"));
    dir.join(config.replica.as_deref().map_or_else(|| UNNAMED.to_owned(), folder_name))
}

/// A replica's name as that of a folder: two names that become the same meet at the folder's lock.
fn folder_name(replica: &str) -> String {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = replica.chars().map(|c| if sound(c) { c } else { '_' }).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_s_folder_stays_where_it_belongs() {
        for (replica, want) in [
            ("one", "one"),
            ("pod-0.svc_a", "pod-0.svc_a"),
            ("../../etc", "_.._.._etc"),
            ("..", "_.."),
            ("a/b\\c:d", "a_b_c_d"),
        ] {
            assert_eq!(folder_name(replica), want);
        }
    }
}
