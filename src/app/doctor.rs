//! `bursar doctor`: looks at a whole deployment from where it is run, as its broker would, and has what is found judged
//! (`doctor`). Only looks: makes, mends and writes nothing, and sends a provider no secret. Each look has a bound of time;
//! what does not depend on one another is looked at side by side.

mod disk;
mod kept;
mod outside;
mod records;
mod shown;
mod store;

use crate::{
    clock::{Clock, SystemClock},
    config::{Config, ConfigError},
    doctor::{Check, Finding},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Longest looks, each by itself. At the store, its nodes and the user's rights there:
const STORE_MAX: Duration = Duration::from_secs(15);
/// at each KEK, and at the root key, which it unwraps;
const KEK_MAX: Duration = Duration::from_secs(15);
/// at all records;
const RECORDS_MAX: Duration = Duration::from_secs(60);
/// at one provider;
const PROVIDER_MAX: Duration = Duration::from_secs(25);
/// at one issuer's keys;
const ISSUER_MAX: Duration = Duration::from_secs(12);
/// at the agent that gives identities;
const AGENT_MAX: Duration = Duration::from_secs(5);
/// at the end of the audit trail.
const TRAIL_MAX: Duration = Duration::from_secs(30);

/// What is told of a look that did not end.
const LATE: &str =
    "look again; if it stays so, see what keeps it busy, and check firewalls and routes from this machine";

/// A deployment, by its configuration.
pub struct Deployment {
    config: Config,
    file: Option<PathBuf>,
    clock: Arc<dyn Clock>,
}

/// Which providers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichProviders {
    /// Those that have clients or connections.
    InUse,
    /// Those that the operator described, too.
    All,
}

/// Where its broker can be asked without showing anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listens {
    At(String),
    /// Why that is not known.
    Unknown(&'static str),
}

impl Deployment {
    /// Reads the configuration as a broker does. Every mistake is a finding.
    pub fn read(path: Option<&Path>) -> Result<Self, Vec<Finding>> {
        let config = Config::read(path, super::serve::ELSEWHERE).map_err(|err| mistakes(&err))?;
        Ok(Self { config, file: path.map(Path::to_owned), clock: Arc::new(SystemClock) })
    }

    pub fn listens(&self) -> Listens {
        if let Some(socket) = &self.config.unix {
            return Listens::At(format!("unix:{}", socket.path.display()));
        }
        match (self.config.listen, &self.config.tls) {
            (Some(address), None) if address.port() != 0 => Listens::At(format!("http://{address}")),
            (Some(_), None) => Listens::Unknown("the configuration listens at whatever port is free"),
            (Some(_), Some(_)) => {
                Listens::Unknown("it listens with TLS, and by which name is not known here")
            }
            (None, _) => Listens::Unknown("the configuration listens nowhere"),
        }
    }

    /// Everything but the running broker, in the order of the checks.
    pub async fn examined(&self, providers: WhichProviders) -> Vec<Finding> {
        let subject = self
            .file
            .as_ref()
            .map_or("defaults and environment".to_owned(), |file| file.display().to_string());
        let mut found = vec![Check::Configuration.ok(subject, "is understood; its files can be read")];
        found.extend(self.files());
        found.extend(shown::profiles(&self.config));
        found.extend(shown::policies(&self.config.policy));
        found.extend(self.disk());
        let (kept, certificates, issuers) =
            tokio::join!(self.kept(providers), self.certificates(), self.issuers());
        found.extend(kept.into_iter().chain(certificates).chain(issuers));
        found.sort_by_key(|one| one.check);
        found
    }
}

fn mistakes(err: &ConfigError) -> Vec<Finding> {
    err.mistakes
        .iter()
        .map(|mistake| Check::Configuration.fail(mistake.place(), &mistake.problem, &mistake.mend))
        .collect()
}

/// What a look finds within its time.
async fn within(
    check: Check,
    subject: &str,
    most: Duration,
    look: impl Future<Output = Vec<Finding>>,
) -> Vec<Finding> {
    let late = |_| vec![check.fail(subject, format!("no answer within {} s", most.as_secs()), LATE)];
    tokio::time::timeout(most, look).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_look_may_take_is_documented() {
        let document = include_str!("../../docs/doctor.md");
        for (look, most, per) in [
            ("store", STORE_MAX, ""),
            ("KEK, and the root key", KEK_MAX, " each"),
            ("all records", RECORDS_MAX, ""),
            ("one provider", PROVIDER_MAX, ""),
            ("one issuer", ISSUER_MAX, ""),
            ("SPIFFE agent", AGENT_MAX, ""),
            ("audit trail", TRAIL_MAX, ""),
        ] {
            let row = format!("| {look} | {} s{per} |", most.as_secs());
            assert!(document.contains(&row), "{row}");
        }
    }
}
