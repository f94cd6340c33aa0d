//! TLS of the API's listener: what the server shows and whom it believes, each replaceable while connections go on.
//! TLS 1.3 only, without tickets and without early data: every connection proves its client anew.
//!
//! Never opens a file and never listens: it is given PEM and connections.

#[cfg(test)]
pub(crate) mod authority;
pub mod leaf;
pub mod looking;
pub mod outgoing;
pub mod pem;
mod refusal;
pub mod reload;
mod verifier;
pub mod workload;

pub use refusal::why;
pub use verifier::Anchors;

use crate::{
    access::caller::ClientCertificate,
    clock::{Clock, Timestamp},
    domain::validity::{Age, Validity},
};
use ::aws_lc_rs::digest;
use arc_swap::ArcSwap;
use leaf::LeafError;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::UnixTime,
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    time_provider::TimeProvider,
};
use std::{
    collections::BTreeSet,
    fmt, io,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use verifier::Verifier;

/// The one protocol that is spoken above (RFC 9113 section 3.2).
const ALPN: &[u8] = b"h2";

/// How long, and for how many bytes, a refused client is listened to.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// Whether a connection without a client certificate is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// The handshake fails.
    Required,
    /// It is let in as nobody: its calls have to prove who makes them by something else.
    Optional,
}

/// How clients are recognised; fixed for the life of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub clients: Clients,
    /// The DNS names that certificates of the ordinary PKI may be known by, in lower case.
    pub names: BTreeSet<String>,
}

/// What changes while the process runs.
#[derive(Clone)]
pub struct Parts {
    /// What the server shows, with its key.
    pub certificate: Arc<CertifiedKey>,
    /// Who vouches for clients.
    pub anchors: Anchors,
}

/// What became of something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    InUse,
    /// What was in use before stays.
    Refused,
}

/// Most news that wait to be heard; there is one in several seconds.
const NEWS_MAX: usize = 64;

/// The server's side of every handshake.
pub struct Server {
    rules: Arc<Rules>,
    clock: Arc<dyn Clock>,
    parts: Mutex<Parts>,
    shown: ArcSwap<ServerConfig>,
    /// What a certificate was warned of for.
    warned: Mutex<Option<(Validity, Age)>>,
    news: OnceLock<mpsc::Sender<News>>,
}

/// A client that proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    pub certificate: ClientCertificate,
    /// When its certificate ends, and with it the proof.
    pub ends_at: Timestamp,
}

/// The parts do not fit together, or the library does not take them.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("TLS cannot be set up with this certificate and these bundles: {0}")]
    Library(#[from] rustls::Error),
    /// Without anybody who vouches no certificate would be asked for, and everybody let in as nobody.
    #[error("there is no bundle with which a client could prove itself, and tls.clients is \"required\"")]
    NoAnchors,
}

impl Server {
    pub fn new(parts: Parts, rules: Rules, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let rules = Arc::new(rules);
        let shown = ArcSwap::from_pointee(server_config(&parts, &rules, &clock)?);
        Ok(Self {
            rules,
            clock,
            parts: Mutex::new(parts),
            shown,
            warned: Mutex::default(),
            news: OnceLock::new(),
        })
    }

    /// What becomes of everything new from now on. Heard by the first who asks.
    pub fn news(&self) -> Option<mpsc::Receiver<News>> {
        let (tell, news) = mpsc::channel(NEWS_MAX);
        self.news.set(tell).ok().map(|()| news)
    }

    /// To be called once for each change that was tried.
    fn tell(&self, news: News) {
        if let Some(tell) = self.news.get() {
            // Whoever does not listen is told nothing: the log has it.
            let _ = tell.try_send(news);
        }
    }

    /// From the next handshake on. Connections there are go on.
    pub fn change(&self, change: impl FnOnce(&mut Parts)) -> Result<(), SetupError> {
        let mut parts = self.parts.lock();
        let mut changed = parts.clone();
        change(&mut changed);
        self.shown.store(Arc::new(server_config(&changed, &self.rules, &self.clock)?));
        *parts = changed;
        Ok(())
    }

    /// Shakes hands. The caller bounds the time.
    ///
    /// # Errors
    /// As [`why`] tells them.
    pub async fn accept<I>(&self, io: I) -> io::Result<(TlsStream<I>, Option<Recognised>)>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let shaking = TlsAcceptor::from(self.shown.load_full()).accept(io).into_fallible();
        let stream = match shaking.await {
            Ok(stream) => stream,
            Err((err, io)) => {
                linger(io).await;
                return Err(err);
            }
        };
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(ALPN) {
            return Err(refused(rustls::Error::NoApplicationProtocol));
        }
        let client = match session.peer_certificates().and_then(<[_]>::first) {
            Some(leaf) => Some(self.recognised(leaf).map_err(|err| refused(verifier::refusal(err)))?),
            None => None,
        };
        Ok((stream, client))
    }

    /// For how long the certificate is good that clients are shown.
    pub fn validity(&self) -> Option<Validity> {
        let parts = self.parts.lock();
        looking::leaf(parts.certificate.end_entity_cert().ok()?)
    }

    /// Clients refuse a certificate that has ended: says so once, and once before. To be called now and then.
    pub fn warn_of_the_end(&self) {
        let Some(validity) = self.validity() else { return };
        let (age, ends_at) = (validity.age(self.clock.now()), validity.until);
        if self.warned.lock().replace((validity, age)) == Some((validity, age)) {
            return;
        }
        match age {
            Age::Good => {}
            Age::NotYet => tracing::warn!(from = %validity.from,
                "this server's TLS certificate is not good yet: clients refuse it; check this machine's clock"),
            Age::EndsSoon => tracing::warn!(%ends_at,
                "this server's TLS certificate ends soon and was not renewed: see why, or renew it; new files are taken without a restart"),
            Age::Ended => tracing::warn!(%ends_at,
                "this server's TLS certificate has expired: clients refuse it; replace it"),
        }
    }

    /// How long from now until a proof ends.
    pub fn left(&self, client: &Recognised) -> Duration {
        self.clock.now().until(client.ends_at)
    }

    /// The leaf was verified in the handshake: this says once more whose it is.
    fn recognised(&self, leaf: &[u8]) -> Result<Recognised, LeafError> {
        let claimed = leaf::claimed(leaf, &self.rules.names)?;
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest::digest(&digest::SHA256, leaf).as_ref());
        let certificate = ClientCertificate { identity: claimed.identity, thumbprint };
        Ok(Recognised { certificate, ends_at: claimed.ends_at })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Whoever was refused may have written more already. Closed at once, the system would throw away, with that, the alert
/// that says why. The caller's bound of time holds here too.
async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let mut unread = [0; 1024];
    let mut left = LINGER_BYTES;
    if io.shutdown().await.is_err() {
        return;
    }
    let drained = async {
        while let Ok(read @ 1..) = io.read(&mut unread).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    };
    // Elapsed: the other side is not interested.
    let _ = tokio::time::timeout(LINGER, drained).await;
}

fn refused(err: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, err)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn server_config(
    parts: &Parts,
    rules: &Arc<Rules>,
    clock: &Arc<dyn Clock>,
) -> Result<ServerConfig, SetupError> {
    let provider = provider();
    let builder = ServerConfig::builder_with_details(provider.clone(), Arc::new(Wall(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match (parts.anchors.is_empty(), rules.clients) {
        (true, Clients::Required) => return Err(SetupError::NoAnchors),
        (true, Clients::Optional) => builder.with_no_client_auth(),
        (false, Clients::Required | Clients::Optional) => builder
            .with_client_cert_verifier(Arc::new(Verifier::new(&parts.anchors, rules.clone(), provider)?)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(parts.certificate.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the client's certificate, and early data can be sent twice (RFC 8446 section 8).
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// Our clock, as the library asks for it.
struct Wall(Arc<dyn Clock>);

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().0)))
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wall")
    }
}

#[cfg(test)]
#[path = "tls/handshake_tests.rs"]
mod tests;
