//! Turns what Redis, TLS and the network say into [`StoreError`]s, in own words with the mend: the text of a remote
//! error is never passed on.

use super::{
    super::StoreError,
    dialing::{Clustered, Peer},
};
use crate::domain::host_port::HostPort;
use redis::{ErrorKind, RedisError, ServerError};
use rustls::{AlertDescription, CertificateError};
use std::{error::Error as StdError, fmt, io, sync::Arc};

/// Why a question got no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The script is not known there, and did not run.
    NoScript,
    /// The slot is served elsewhere. Nothing ran.
    Moved(Elsewhere),
    /// What is asked for has moved already, the slot as a whole not yet. Nothing ran.
    Ask(Elsewhere),
    /// A slot is on its way and what is needed lies on both sides. Nothing ran.
    TryAgain,
    /// It is a replica by now. Nothing ran.
    ReadOnly(StoreError),
    /// There was no connection to ask on.
    Dial(StoreError),
    Store(StoreError),
}

/// Where a node sends us; without a host it means its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elsewhere {
    pub(super) host: Option<String>,
    pub(super) port: u16,
}

impl Fault {
    /// As it is told at the start: what the operator has to mend ends the process.
    pub(super) fn at_start(self) -> StoreError {
        match self {
            Self::NoScript => {
                StoreError::Unavailable { cause: "Redis forgot the script between two calls".to_owned() }
            }
            Self::Moved(_) | Self::Ask(_) => StoreError::Unavailable {
                cause: "nodes of the Redis Cluster send each other's callers in a circle".to_owned(),
            },
            Self::TryAgain => StoreError::Unavailable {
                cause: "the Redis Cluster is moving a slot (TRYAGAIN): this passes when the slot has moved"
                    .to_owned(),
            },
            Self::ReadOnly(error) | Self::Dial(error) | Self::Store(error) => error,
        }
    }
}

/// As it is told to callers of a store that worked before: whoever cannot connect now may be able to in a moment, and
/// what is remembered serves on.
impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Dial(Self::Unusable { cause }) => Self::Unavailable { cause },
            other => other.at_start(),
        }
    }
}

/// Names who refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusals<'a> {
    pub(super) address: &'a HostPort,
    pub(super) peer: Peer,
    pub(super) clustered: Clustered,
}

const NOT_CLUSTERED: &str = "instance has cluster support disabled";
const DENIED: &str = "denies a command or key to this user: see the ACL in docs/redis.md";
const UNKNOWN_PRIMARY: &str = "No such master with that name";

/// Whether it is the user's rights that an answer was refused for.
pub(super) fn is_denied(error: &StoreError) -> bool {
    matches!(error, StoreError::Unusable { cause } if cause.ends_with(DENIED))
}

impl Refusals<'_> {
    pub(super) fn unusable(&self, mend: &str) -> StoreError {
        StoreError::Unusable { cause: format!("{} at {} {mend}", self.peer, self.address) }
    }

    pub(super) fn unavailable(&self, what: &str) -> StoreError {
        StoreError::Unavailable { cause: format!("{} at {} {what}", self.peer, self.address) }
    }

    fn writes_refused(&self, why: &str) -> StoreError {
        StoreError::WritesRefused { cause: format!("{} at {} {why}", self.peer, self.address) }
    }

    pub(super) fn silent(&self) -> StoreError {
        self.unavailable("was silent")
    }

    /// Of a question.
    pub(super) fn fault(&self, error: &RedisError) -> Fault {
        let Some(refusal) = refusal(error) else { return Fault::Store(self.explain(error)) };
        match (code(&refusal), self.clustered) {
            (Some("NOSCRIPT"), _) => Fault::NoScript,
            (Some("READONLY"), _) => Fault::ReadOnly(self.explain(error)),
            (Some("TRYAGAIN"), Clustered::Yes) => Fault::TryAgain,
            (Some("MOVED"), Clustered::Yes) => match elsewhere(&refusal) {
                Some(elsewhere) => Fault::Moved(elsewhere),
                None => Fault::Store(self.unavailable("answered something unexpected")),
            },
            (Some("ASK"), Clustered::Yes) => match elsewhere(&refusal) {
                Some(elsewhere) => Fault::Ask(elsewhere),
                None => Fault::Store(self.unavailable("answered something unexpected")),
            },
            (Some(_) | None, _) => Fault::Store(self.explain(error)),
        }
    }

    pub(super) fn explain(&self, error: &RedisError) -> StoreError {
        match refusal(error) {
            Some(refusal) => self.refused(&refusal),
            None => self.broke(error),
        }
    }

    fn refused(&self, refusal: &ServerError) -> StoreError {
        let told = refusal.details().unwrap_or_default();
        match code(refusal).unwrap_or("an unknown word") {
            "OOM" => StoreError::Full,
            "WRONGPASS" | "NOAUTH" => self.password(),
            "NOPERM" if self.peer == Peer::Sentinel => {
                self.unusable("denies the command `SENTINEL MASTER` to this user: see the ACL in docs/redis.md")
            }
            "NOPERM" => self.unusable(DENIED),
            "MOVED" | "ASK" | "CROSSSLOT" => self.unusable(
                "is part of a cluster: set store.redis.topology = \"cluster\" and name its nodes in store.redis.nodes",
            ),
            "ERR" if told.contains(NOT_CLUSTERED) => {
                self.unusable("is no node of a cluster: check store.redis.topology and store.redis.nodes")
            }
            "ERR" if told.contains(UNKNOWN_PRIMARY) => {
                self.unusable("does not know this primary: check store.redis.sentinel_master")
            }
            "ERR" if self.peer == Peer::Sentinel => self.unusable(
                "does not answer as a Sentinel: name the sentinels in store.redis.nodes, mostly at port 26379",
            ),
            "ERR" if told.contains("DB index is out of range") || told.contains("SELECT is not allowed") => {
                self.unusable("does not have this database: check store.redis.database")
            }
            "WRONGTYPE" => self.unusable("holds another program's keys in this namespace: choose another one"),
            "MISCONF" => self.writes_refused("cannot save to its disk (MISCONF)"),
            "NOREPLICAS" => self.writes_refused(
                "has fewer replicas connected than its min-replicas-to-write (NOREPLICAS)",
            ),
            // READONLY, LOADING, CLUSTERDOWN, MASTERDOWN, BUSY pass; of others, a proxy's for example, it is not known.
            code => self.unavailable(&format!("refused with {code}")),
        }
    }

    fn broke(&self, error: &RedisError) -> StoreError {
        match error.kind() {
            ErrorKind::AuthenticationFailed => self.password(),
            ErrorKind::RESP3NotSupported => self.unusable("is older than 6.0; at least 7.0 is needed"),
            ErrorKind::Io if error.is_connection_refusal() => self.unavailable("refused the connection"),
            ErrorKind::Io if error.is_timeout() => self.unavailable("was silent"),
            ErrorKind::Io => self.unavailable("could not be reached, or the connection broke"),
            // The list is the library's own and open-ended.
            _ => self.unavailable("answered something unexpected"),
        }
    }

    fn password(&self) -> StoreError {
        self.unusable(match self.peer {
            Peer::Data => "refused the login: check store.redis.username and store.redis.password_file",
            Peer::Sentinel => {
                "refused the login: check store.redis.sentinel_username and store.redis.sentinel_password_file"
            }
        })
    }

    /// Of the way there, before a word was said.
    pub(super) fn network(&self, error: &io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => self.unavailable("refused the connection"),
            io::ErrorKind::TimedOut => self.unavailable("was silent"),
            _ => self.unavailable("could not be reached: check its name and the network"),
        }
    }

    /// Of a login without TLS. A port that wants TLS ends the connection without a word.
    pub(super) fn plain_login(&self, error: &RedisError) -> StoreError {
        match error.kind() {
            ErrorKind::Io => self.unavailable(
                "ended the connection at the login: if it speaks TLS there, set store.redis.tls = \"on\"",
            ),
            _ => self.no_login(error),
        }
    }

    /// Of a login over TLS: with TLS 1.3 a refused client certificate shows only now.
    pub(super) fn tls_login(&self, error: &RedisError) -> StoreError {
        match rustls_error(error) {
            Some(tls) => self.tls(tls),
            None => self.no_login(error),
        }
    }

    /// What a login, and nothing later, shows to be no Redis for us, however long it is waited for.
    fn no_login(&self, error: &RedisError) -> StoreError {
        match (refusal(error).as_ref().and_then(code), error.kind()) {
            (Some("DENIED"), _) => self.unusable(
                "is in protected mode and lets only its own machine in: give it a password, and the broker the same one",
            ),
            (None, ErrorKind::Parse) => self.unusable(
                "does not answer as a Redis: check its name and port, and whether it speaks TLS there (store.redis.tls)",
            ),
            (Some(_) | None, _) => self.explain(error),
        }
    }

    pub(super) fn handshake(&self, error: &io::Error) -> StoreError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => self.tls(tls),
            None => {
                self.unavailable("ended the connection during the TLS handshake: does it speak TLS there?")
            }
        }
    }

    /// Redis without TLS takes a greeting for the beginning of a command, and waits for the rest.
    pub(super) fn silent_in_handshake(&self) -> StoreError {
        self.unavailable("was silent in the TLS handshake: does it speak TLS there? Name its tls-port")
    }

    pub(super) fn no_tls_name(&self) -> StoreError {
        self.unusable("has no name that a certificate could have: name it by a DNS name or an IP address")
    }

    fn tls(&self, error: &rustls::Error) -> StoreError {
        self.unusable(match error {
            rustls::Error::InvalidCertificate(certificate) => match certificate {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "shows a certificate of an authority that is not believed: check store.redis.ca_file"
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "shows a certificate for another name: use the name in it in the configuration, and have the nodes \
                     announce it"
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "shows a certificate that has expired: renew it, and check this machine's clock"
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "shows a certificate that is not valid yet: check this machine's clock"
                }
                _ => "shows a certificate that cannot be used: look at it with `openssl x509 -text`",
            },
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
                "wants a client certificate: set store.redis.cert_file and store.redis.key_file"
            }
            rustls::Error::AlertReceived(
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError,
            ) => "does not take the client certificate: check store.redis.cert_file and the authorities of Redis",
            rustls::Error::InvalidMessage(_) => {
                "does not speak TLS there: name its tls-port, or set store.redis.tls = \"off\""
            }
            _ => "did not agree on TLS: 1.2 or 1.3 is needed",
        })
    }
}

/// The library keeps an I/O error in an `Arc`, and that keeps what TLS said from `source`.
fn rustls_error(error: &RedisError) -> Option<&rustls::Error> {
    let kept = error.source()?.downcast_ref::<Arc<dyn StdError + Send + Sync>>()?;
    kept.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

/// The first refusal of Redis itself.
fn refusal(error: &RedisError) -> Option<ServerError> {
    Some(error.clone().into_server_errors()?.first()?.1.clone())
}

/// The word that it begins with, if it looks like one.
fn code(refusal: &ServerError) -> Option<&str> {
    let code = refusal.code();
    let plausible = code.len() <= 24 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    plausible.then_some(code)
}

/// `MOVED 3999 host:port`; the host is empty or `?` where the node does not know it.
fn elsewhere(refusal: &ServerError) -> Option<Elsewhere> {
    let (_, address) = refusal.details()?.split_once(' ')?;
    let (host, port) = address.trim().rsplit_once(':')?;
    let host = Some(host.trim_matches(['[', ']'])).filter(|host| !host.is_empty() && *host != "?");
    Some(Elsewhere { host: host.map(ToOwned::to_owned), port: port.parse().ok()? })
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "Redis",
            Self::Sentinel => "Sentinel",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: &str, text: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some(text.to_owned()))
    }

    fn of(address: &HostPort, peer: Peer, clustered: Clustered) -> Refusals<'_> {
        Refusals { address, peer, clustered }
    }

    fn host() -> HostPort {
        "host:6379".parse().unwrap()
    }

    #[test]
    fn what_redis_refuses_is_told_in_own_words() {
        let cases = [
            ("OOM", "", "full"),
            ("WRONGPASS", "", "store.redis.password_file"),
            ("NOAUTH", "", "store.redis.password_file"),
            ("NOPERM", "", "ACL"),
            ("MOVED", "1 h:1", "store.redis.topology = \"cluster\""),
            ("ERR", "This instance has cluster support disabled", "no node of a cluster"),
            ("ERR", "DB index is out of range", "store.redis.database"),
            ("WRONGTYPE", "", "choose another"),
        ];
        for (code, text, mend) in cases {
            let error = of(&host(), Peer::Data, Clustered::No).explain(&refusal(code, text));
            let kept = matches!(error, StoreError::Full | StoreError::Unusable { .. });
            assert!(kept && error.to_string().contains(mend), "{code}: {error}");
        }
        let codes = ["READONLY", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "MISCONF", "ERR"];
        for code in codes {
            let error =
                of(&host(), Peer::Data, Clustered::No).explain(&refusal(code, "SECRET text of the server"));
            assert_eq!(
                matches!(error, StoreError::WritesRefused { .. }),
                ["NOREPLICAS", "MISCONF"].contains(&code),
                "{code}: {error}"
            );
            assert!(error.is_outage() && error.to_string().contains("Redis at host:6379"), "{code}: {error}");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn what_sentinels_refuse_names_their_own_keys() {
        let cases = [
            ("WRONGPASS", "", "store.redis.sentinel_password_file"),
            ("ERR", "No such master with that name", "store.redis.sentinel_master"),
            ("ERR", "unknown command 'SENTINEL'", "name the sentinels in store.redis.nodes"),
            ("NOPERM", "", "SENTINEL MASTER"),
        ];
        for (code, text, mend) in cases {
            let error = of(&host(), Peer::Sentinel, Clustered::No).explain(&refusal(code, text)).to_string();
            assert!(error.contains(mend) && error.contains("Sentinel at host:6379"), "{code}: {error}");
        }
    }

    #[test]
    fn redirections_are_followed_in_a_cluster_only() {
        let (host, other) = (host(), Elsewhere { host: Some("10.0.0.7".to_owned()), port: 7001 });
        let clustered = of(&host, Peer::Data, Clustered::Yes);
        let moved = clustered.fault(&refusal("MOVED", "3999 10.0.0.7:7001"));
        assert!(matches!(moved, Fault::Moved(to) if to == other));
        let asked = clustered.fault(&refusal("ASK", "3999 10.0.0.7:7001"));
        assert!(matches!(asked, Fault::Ask(to) if to == other));
        for unnamed in ["3999 :7001", "3999 ?:7001"] {
            let moved = clustered.fault(&refusal("MOVED", unnamed));
            assert!(matches!(moved, Fault::Moved(Elsewhere { host: None, port: 7001 })), "{unnamed}");
        }
        let six = clustered.fault(&refusal("MOVED", "1 2001:db8::1:7001"));
        assert!(matches!(six, Fault::Moved(to) if to.host.as_deref() == Some("2001:db8::1")));
        for broken in ["", "3999", "3999 host", "3999 host:port"] {
            assert!(matches!(clustered.fault(&refusal("MOVED", broken)), Fault::Store(_)), "{broken}");
        }
        assert!(matches!(clustered.fault(&refusal("TRYAGAIN", "")), Fault::TryAgain));
        let alone = of(&host, Peer::Data, Clustered::No);
        let moved = alone.fault(&refusal("MOVED", "3999 10.0.0.7:7001"));
        assert!(matches!(moved, Fault::Store(StoreError::Unusable { .. })));
        assert!(matches!(alone.fault(&refusal("NOSCRIPT", "")), Fault::NoScript));
        assert!(matches!(alone.fault(&refusal("READONLY", "")), Fault::ReadOnly(_)));
    }

    #[test]
    fn a_login_that_fails_later_on_is_an_outage_that_may_pass() {
        let refused = || of(&host(), Peer::Data, Clustered::No).explain(&refusal("WRONGPASS", ""));
        assert!(matches!(Fault::Dial(refused()).at_start(), StoreError::Unusable { .. }));
        assert!(matches!(StoreError::from(Fault::Dial(refused())), StoreError::Unavailable { .. }));
        assert!(matches!(StoreError::from(Fault::Store(refused())), StoreError::Unusable { .. }));
    }

    #[test]
    fn who_lets_nobody_in_or_is_no_redis_is_not_waited_for_at_the_start() {
        let host = host();
        let data = of(&host, Peer::Data, Clustered::No);
        let denied = refusal("DENIED", "Redis is running in protected mode because SECRET");
        let web = RedisError::from((ErrorKind::Parse, "SECRET"));
        for (error, mend) in [(denied, "password"), (web, "store.redis.tls")] {
            for told in [data.plain_login(&error), data.tls_login(&error)] {
                let text = told.to_string();
                assert!(text.contains(mend) && !text.contains("SECRET"), "{text}");
                assert!(
                    matches!(Fault::Dial(told.clone()).at_start(), StoreError::Unusable { .. }),
                    "{text}"
                );
                assert!(
                    matches!(StoreError::from(Fault::Dial(told)), StoreError::Unavailable { .. }),
                    "{text}"
                );
            }
            assert!(
                matches!(data.explain(&error), StoreError::Unavailable { .. }),
                "once it worked: {error}"
            );
        }
        let busy = refusal("ERR", "max number of clients reached");
        assert!(matches!(data.plain_login(&busy), StoreError::Unavailable { .. }), "that passes");
    }

    #[test]
    fn a_code_that_is_none_is_not_repeated() {
        let long = "X".repeat(25);
        for code in ["hunter2", "<script>", "A B", &long] {
            let error = of(&host(), Peer::Data, Clustered::No).explain(&refusal(code, "SECRET"));
            assert!(!error.to_string().contains(code), "{error}");
        }
    }

    #[test]
    fn the_network_is_unavailable_and_never_unusable() {
        use std::io::ErrorKind as Io;
        for kind in [Io::ConnectionRefused, Io::ConnectionReset, Io::TimedOut, Io::UnexpectedEof, Io::Other] {
            let (host, error) = (host(), std::io::Error::from(kind));
            let refusals = of(&host, Peer::Data, Clustered::No);
            let told = [refusals.network(&error), refusals.explain(&RedisError::from(error))];
            for error in told {
                assert!(matches!(error, StoreError::Unavailable { .. }), "{kind}: {error:?}");
            }
        }
    }

    #[test]
    fn a_tls_error_below_a_redis_error_is_found() {
        let tls = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let error = RedisError::from(std::io::Error::new(std::io::ErrorKind::InvalidData, tls));
        let told = of(&host(), Peer::Data, Clustered::No).tls_login(&error);
        assert!(
            matches!(&told, StoreError::Unusable { cause } if cause.contains("store.redis.cert_file")),
            "{told}"
        );
    }
}
