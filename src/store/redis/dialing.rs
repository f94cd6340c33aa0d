//! Makes a connection to one address: TCP, TLS where it is spoken, login. Password, certificate and authorities are
//! asked for anew each time. Never writes anything but the login.

use super::{
    super::StoreError,
    options::{Fresh, RedisOptions, Topology},
    refusals::Refusals,
};
use crate::domain::{host_port::HostPort, token::Secret};
use redis::{
    AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo,
    aio::MultiplexedConnection,
    io::tcp::socket2::{SockRef, TcpKeepalive},
};
use rustls::pki_types::ServerName;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// How long dialing may take, host name look-up, TLS and login included.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The share of TLS in it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(700);

/// Who is dialed: they have logins of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Data,
    Sentinel,
}

/// Knows how to connect to any node of its kind.
#[derive(Clone)]
pub(super) struct Dialer {
    fresh: Arc<dyn Fresh>,
    peer: Peer,
    username: Option<String>,
    database: u16,
    /// Whether redirections make sense.
    clustered: Clustered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clustered {
    Yes,
    No,
}

/// One connection for many questions at once. Its task ends with it.
pub(super) struct Connection {
    pub(super) mux: MultiplexedConnection,
    _driver: JoinSet<()>,
}

impl Dialer {
    pub(super) fn new(options: &RedisOptions, peer: Peer) -> Self {
        let (username, database) = match peer {
            Peer::Data => (&options.username, options.database),
            Peer::Sentinel => (&options.sentinel_username, 0),
        };
        let clustered = match options.topology {
            Topology::Cluster { .. } => Clustered::Yes,
            Topology::Standalone(_) | Topology::Sentinel { .. } => Clustered::No,
        };
        Self { fresh: options.fresh.clone(), peer, username: username.clone(), database, clustered }
    }

    /// What its refusals mean, in own words.
    pub(super) fn refusals<'a>(&self, address: &'a HostPort) -> Refusals<'a> {
        Refusals { address, peer: self.peer, clustered: self.clustered }
    }

    /// [`StoreError::Unusable`] for what no second try mends: login and TLS.
    pub(super) async fn dial(&self, address: &HostPort) -> Result<Connection, StoreError> {
        match timeout(DIAL_TIMEOUT, self.dialed(address)).await {
            Ok(dialed) => dialed,
            Err(_) => Err(self.refusals(address).silent()),
        }
    }

    async fn dialed(&self, address: &HostPort) -> Result<Connection, StoreError> {
        let (refusals, peer) = (self.refusals(address), self.peer);
        let told = |cause: String| StoreError::Unusable { cause: format!("{peer} at {address}: {cause}") };
        let password = match peer {
            Peer::Data => self.fresh.password(),
            Peer::Sentinel => self.fresh.sentinel_password(),
        };
        let login = self.login(password.map_err(told)?);
        let tls = self.fresh.tls().map_err(told)?;
        let stream = TcpStream::connect((address.host(), address.port())).await;
        let stream = stream.map_err(|error| refusals.network(&error))?;
        settle(&stream);
        match tls {
            None => start(&login, stream).await.map_err(|error| refusals.plain_login(&error)),
            Some(config) => {
                let name =
                    ServerName::try_from(address.host().to_owned()).map_err(|_| refusals.no_tls_name())?;
                let shaken =
                    timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(config).connect(name, stream)).await;
                let shaken = shaken.map_err(|_| refusals.silent_in_handshake())?;
                let stream = shaken.map_err(|error| refusals.handshake(&error))?;
                start(&login, stream).await.map_err(|error| refusals.tls_login(&error))
            }
        }
    }

    fn login(&self, password: Option<Secret>) -> RedisConnectionInfo {
        // The library's name would need a right of its own, that Redis 7.0 does not know.
        let mut login = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name()
            .set_db(i64::from(self.database));
        if let Some(password) = password {
            login = login.set_password(password.expose());
            if let Some(username) = &self.username {
                login = login.set_username(username);
            }
        }
        login
    }
}

/// Each write is answered before the next is worth sending: waiting to fill a packet only delays it. Errors of both
/// options leave a connection that works.
fn settle(stream: &TcpStream) {
    drop(stream.set_nodelay(true));
    drop(SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(15))));
}

async fn start(
    login: &RedisConnectionInfo,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> redis::RedisResult<Connection> {
    // Answers are awaited with bounds of this room's own.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (mux, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(driver);
    Ok(Connection { mux, _driver: tasks })
}
