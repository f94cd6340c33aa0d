//! A connection that comes back: dialed when it is needed, given up when it broke or fell silent, every call
//! bounded by [`CALL_TIMEOUT`]. Turns what Redis and the network say into [`StoreError`]s, in own words: the
//! text of a remote error is never passed on. Never sends anything twice.

use super::super::{CALL_TIMEOUT, StoreError};
use arc_swap::ArcSwapOption;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline, RedisError,
    aio::MultiplexedConnection,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// How long dialing may take, host name look-up and login included.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a failed dial answers for those who come after: thousands of calls do not dial each.
const DIAL_PAUSE: Duration = Duration::from_millis(100);

/// Why a question got no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The script is not known there, and did not run.
    NoScript,
    Store(StoreError),
}

/// Knows how to connect.
#[derive(Clone)]
pub(super) struct Dialer {
    client: Client,
    address: String,
}

pub(super) struct Link {
    dialer: Dialer,
    current: ArcSwapOption<MultiplexedConnection>,
    /// Held while dialing; the last failure.
    failed: Mutex<Option<(Instant, StoreError)>>,
}

impl Dialer {
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) async fn dial(&self) -> Result<MultiplexedConnection, StoreError> {
        // Answers are awaited with bounds of this module's own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(DIAL_TIMEOUT))
            .set_response_timeout(None);
        let dialed =
            timeout(DIAL_TIMEOUT, self.client.get_multiplexed_async_connection_with_config(&config)).await;
        match dialed {
            Ok(dialed) => dialed.map_err(|error| self.explain(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    pub(super) fn silent(&self) -> StoreError {
        StoreError::Unavailable { cause: format!("Redis at {} was silent", self.address) }
    }

    pub(super) fn explain(&self, error: &RedisError) -> StoreError {
        explain(&self.address, error)
    }
}

impl Link {
    pub(super) fn new(info: ConnectionInfo) -> Result<Self, StoreError> {
        let address = info.addr().to_string();
        let client = Client::open(info).map_err(|error| explain(&address, &error))?;
        let dialer = Dialer { client, address };
        Ok(Self { dialer, current: ArcSwapOption::empty(), failed: Mutex::default() })
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Asks once. After an error that is not Redis' own refusal it is open whether the question was heard.
    pub(super) async fn ask<T: FromRedisValue>(&self, question: &Pipeline) -> Result<T, Fault> {
        let mut used = None;
        let answer = timeout(CALL_TIMEOUT, async {
            let connection = used.insert(self.connection().await.map_err(Fault::Store)?);
            let mut connection = MultiplexedConnection::clone(connection);
            question.query_async(&mut connection).await.map_err(|error| self.fault(&error))
        })
        .await;
        let answer = answer.unwrap_or_else(|_| Err(Fault::Store(self.dialer.silent())));
        // A primary that became a replica refuses for ever, a lost peer stays silent: dial again after both.
        if let (Some(used), Err(Fault::Store(StoreError::Unavailable { .. }))) = (used, &answer) {
            self.current.compare_and_swap(&used, None);
        }
        answer
    }

    /// Dials again for the next question. Who waits for an answer still gets it.
    pub(super) fn forget(&self) {
        self.current.store(None);
    }

    async fn connection(&self) -> Result<Arc<MultiplexedConnection>, StoreError> {
        if let Some(current) = self.current.load_full() {
            return Ok(current);
        }
        let mut failed = self.failed.lock().await;
        if let Some(current) = self.current.load_full() {
            return Ok(current);
        }
        if let Some((_, error)) = failed.as_ref().filter(|(at, _)| at.elapsed() < DIAL_PAUSE) {
            return Err(error.clone());
        }
        match self.dialer.dial().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *failed = None;
                self.current.store(Some(connection.clone()));
                Ok(connection)
            }
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn fault(&self, error: &RedisError) -> Fault {
        match code_of(error).as_deref() {
            Some("NOSCRIPT") => Fault::NoScript,
            Some(_) | None => Fault::Store(self.dialer.explain(error)),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoScript => {
                Self::Unavailable { cause: "Redis forgot the script between two calls".to_owned() }
            }
            Fault::Store(error) => error,
        }
    }
}

/// The word that a refusal of Redis begins with, if it is one and looks like one.
fn code_of(error: &RedisError) -> Option<String> {
    let refusals = error.clone().into_server_errors()?;
    let code = refusals.first()?.1.code();
    let plausible = code.len() <= 24 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    plausible.then(|| code.to_owned())
}

const PASSWORD: &str = "refused the login: check store.redis.username and store.redis.password_file";

fn explain(address: &str, error: &RedisError) -> StoreError {
    let unusable = |mend: &str| StoreError::Unusable { cause: format!("Redis at {address} {mend}") };
    let unavailable = |what: String| StoreError::Unavailable { cause: format!("Redis at {address} {what}") };
    if let Some(code) = code_of(error) {
        return match code.as_str() {
            "OOM" => StoreError::Full,
            "WRONGPASS" | "NOAUTH" => unusable(PASSWORD),
            "NOPERM" => unusable("denies a command or key to this user: see its ACL"),
            "MOVED" | "ASK" | "CROSSSLOT" => {
                unusable("is part of a cluster: name a single server, or a primary with replicas")
            }
            "WRONGTYPE" => unusable("holds another program's keys in this namespace: choose another one"),
            "MISCONF" => unavailable("refused to write: it cannot save to its disk (MISCONF)".to_owned()),
            // READONLY, LOADING, CLUSTERDOWN, MASTERDOWN, NOREPLICAS, BUSY: all pass.
            code => unavailable(format!("refused with {code}")),
        };
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => unusable(PASSWORD),
        ErrorKind::RESP3NotSupported => unusable("is older than 6.0; at least 7.0 is needed"),
        ErrorKind::InvalidClientConfig => unusable("cannot be reached in the way the Redis URL says"),
        ErrorKind::Io if error.is_connection_refusal() => unavailable("refused the connection".to_owned()),
        ErrorKind::Io if error.is_timeout() => unavailable("was silent".to_owned()),
        ErrorKind::Io => unavailable("could not be reached, or the connection broke".to_owned()),
        // The list is the library's own and open-ended.
        _ => unavailable("answered something unexpected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some("SECRET text of the server".to_owned()))
    }

    #[test]
    fn what_redis_refuses_is_told_in_own_words() {
        let cases = [
            ("OOM", "full"),
            ("WRONGPASS", "store.redis.password_file"),
            ("NOAUTH", "store.redis.password_file"),
            ("NOPERM", "ACL"),
            ("MOVED", "cluster"),
            ("WRONGTYPE", "choose another"),
        ];
        for (code, mend) in cases {
            let error = explain("host:6379", &refusal(code));
            let kept = matches!(error, StoreError::Full | StoreError::Unusable { .. });
            assert!(kept && error.to_string().contains(mend), "{code}: {error}");
        }
        for code in ["READONLY", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "MISCONF", "ERR"] {
            let error = explain("host:6379", &refusal(code));
            let kept = matches!(error, StoreError::Unavailable { .. });
            assert!(kept && error.to_string().contains("host:6379"), "{code}: {error}");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn a_code_that_is_none_is_not_repeated() {
        let long = "X".repeat(25);
        for code in ["hunter2", "<script>", "A B", &long] {
            let error = explain("host:6379", &refusal(code));
            assert!(!error.to_string().contains(code), "{error}");
        }
    }

    #[test]
    fn the_network_is_unavailable_and_never_unusable() {
        use std::io::ErrorKind as Io;
        for kind in [Io::ConnectionRefused, Io::ConnectionReset, Io::TimedOut, Io::UnexpectedEof, Io::Other] {
            let error = explain("host:6379", &RedisError::from(std::io::Error::from(kind)));
            assert!(matches!(error, StoreError::Unavailable { .. }), "{kind}: {error:?}");
        }
    }
}
