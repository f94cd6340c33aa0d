//! The broker that runs: whether it answers, and whether it is the same program as this one.

use super::{Check, Finding};

/// What came of asking its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Serving,
    /// It is there, and does not serve: it stops, or waits for its KEK.
    NotServing,
    /// There is no connection, or no answer.
    Silent(String),
}

/// Where the endpoint came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Somebody named it.
    Named,
    /// It is where the configuration listens: a broker may run there.
    Configured,
}

/// What it says of its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    Told(String),
    /// It tells only whom it knows: why it did not know this caller.
    NotTold(String),
}

pub fn health(endpoint: &str, of: Endpoint, found: &Health) -> Finding {
    match (found, of) {
        (Health::Serving, _) => Check::Broker.ok(endpoint, "serves"),
        (Health::NotServing, _) => Check::Broker.fail(
            endpoint,
            "is there and does not serve",
            "see its log: it stops, or waits for the KEK that the root key is wrapped by",
        ),
        (Health::Silent(cause), Endpoint::Named) => Check::Broker.fail(
            endpoint,
            cause,
            "start it, see its log, and check the endpoint and what TLS needs (--tls-ca, --tls-cert, --tls-key)",
        ),
        (Health::Silent(cause), Endpoint::Configured) => Check::Broker.skipped(
            endpoint,
            format!("no broker was found where the configuration listens: {cause}"),
            "start it, or name the one that runs with --endpoint",
        ),
    }
}

/// No endpoint is known.
pub fn nowhere(why: &str) -> Finding {
    Check::Broker.skipped("running broker", why, "name it with --endpoint, and what TLS needs")
}

pub fn version(endpoint: &str, found: &Version, ours: &str) -> Finding {
    match found {
        Version::Told(theirs) if theirs == ours => {
            Check::Version.ok(endpoint, format!("is version {ours}, as this program is"))
        }
        Version::Told(theirs) => Check::Version.warn(
            endpoint,
            format!("is version {theirs}, and this program is {ours}"),
            "run the doctor of the same version; after an upgrade, see that every replica was restarted",
        ),
        Version::NotTold(why) => Check::Version.skipped(
            endpoint,
            format!("did not tell its version: {why}"),
            "say who calls, with --tls-cert and --tls-key or --token-file",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    #[test]
    fn silence_is_a_failure_where_somebody_named_the_broker() {
        let silent = || Health::Silent("refused".into());
        for (found, of, level) in [
            (Health::Serving, Endpoint::Named, Level::Ok),
            (Health::Serving, Endpoint::Configured, Level::Ok),
            (Health::NotServing, Endpoint::Named, Level::Fail),
            (Health::NotServing, Endpoint::Configured, Level::Fail),
            (silent(), Endpoint::Named, Level::Fail),
            (silent(), Endpoint::Configured, Level::Skipped),
        ] {
            let told = health("http://127.0.0.1:7600", of, &found);
            assert_eq!((told.level, told.mend.is_empty()), (level, level == Level::Ok), "{told:?}");
        }
        assert_eq!(nowhere("it listens with TLS").level, Level::Skipped);
    }

    #[test]
    fn another_version_is_told() {
        for (found, level) in [
            (Version::Told("1.2.3".into()), Level::Ok),
            (Version::Told("1.2.4".into()), Level::Warn),
            (Version::NotTold("unauthenticated".into()), Level::Skipped),
        ] {
            let told = version("unix:/run/bursar.sock", &found, "1.2.3");
            assert_eq!((told.level, told.mend.is_empty()), (level, level == Level::Ok), "{told:?}");
        }
    }
}
