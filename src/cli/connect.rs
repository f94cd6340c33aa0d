//! The way to the server: plain HTTP/2, TLS, or a Unix socket. A token goes over the latter two only.

mod tls;

use super::failure::Failure;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tonic::transport::{Channel, Endpoint, Uri};

/// A server that is silent for so long is asked whether it is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait for the answer to that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The port of https, where none is written.
const HTTPS_PORT: u16 = 443;

/// How to reach the server beyond its address, and who calls.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ReachArgs {
    /// File with the authorities that the server's certificate is checked with, in PEM; the default is the system's
    #[arg(long, global = true, env = "BURSAR_TLS_CA", hide_env_values = true, value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
    /// File with this client's certificate and its issuers, in PEM
    #[arg(
        long,
        global = true,
        env = "BURSAR_TLS_CERT",
        hide_env_values = true,
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub(super) tls_cert: Option<PathBuf>,
    /// File with the certificate's private key, in PEM
    #[arg(
        long,
        global = true,
        env = "BURSAR_TLS_KEY",
        hide_env_values = true,
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub(super) tls_key: Option<PathBuf>,
    /// Name that the server's certificate has to have, where it is not the endpoint's
    #[arg(long, global = true, env = "BURSAR_TLS_SERVER_NAME", hide_env_values = true, value_name = "NAME")]
    pub(super) tls_server_name: Option<String>,
    /// SPIFFE ID that the server's certificate has to have, instead of a name; --tls-ca is its trust domain's bundle
    #[arg(
        long,
        global = true,
        env = "BURSAR_SERVER_SPIFFE_ID",
        hide_env_values = true,
        value_name = "ID",
        requires = "tls_ca",
        conflicts_with = "tls_server_name"
    )]
    pub(super) server_spiffe_id: Option<String>,
    /// File with a token that says who calls; read anew for each call, and never sent without TLS
    #[arg(long, global = true, env = "BURSAR_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

/// What an endpoint's text means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Plain(Uri),
    Tls { host: String, port: u16 },
    Unix(PathBuf),
}

/// What TLS said last, if it said something: on its way up through the layers it becomes a broken connection.
pub(super) type Fault = Arc<Mutex<Option<tls::Refused>>>;

/// A stream whose refusals by TLS are noted.
struct Noted<I> {
    io: I,
    fault: Fault,
}

/// Either of both, as one type.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<I: AsyncRead + AsyncWrite + Send + Unpin> Wire for I {}

/// Connects, within `most`.
pub(super) async fn connect(
    text: &str,
    reach: &ReachArgs,
    most: Duration,
    fault: &Fault,
) -> Result<Channel, Failure> {
    let way = Way::of(text)?;
    if reach.token_file.is_some() && matches!(way, Way::Plain(_)) {
        return Err(Failure::Usage(
            "--token-file: a token is not sent over plain HTTP, where it can be read: use an https:// or unix: endpoint"
                .into(),
        ));
    }
    let connected = match way {
        Way::Plain(uri) => tuned(uri)?.connect_timeout(most).connect().await,
        Way::Tls { host, port } => {
            let authority =
                if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            let at = |scheme: &str| format!("{scheme}://{authority}").parse::<Uri>().map_err(|_| form());
            let (connector, name) = tls::connector(reach, &host)?;
            let fault = fault.clone();
            let connect = tower::service_fn(move |_: Uri| {
                let (connector, name, fault) = (connector.clone(), name.clone(), fault.clone());
                let address = (host.clone(), port);
                async move {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    let shaken =
                        connector.connect(name, stream).await.inspect_err(|err| note(&fault, err))?;
                    Ok::<_, io::Error>(TokioIo::new(Box::new(Noted { io: shaken, fault }) as Box<dyn Wire>))
                }
            });
            // The layer below speaks no TLS of its own: what it is told to connect to is plain, what it says is not.
            let endpoint = tuned(at("http")?)?.origin(at("https")?).connect_timeout(most);
            endpoint.connect_with_connector(connect).await
        }
        Way::Unix(path) => {
            let connect = tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            let endpoint = tuned(Uri::from_static("http://localhost"))?.connect_timeout(most);
            endpoint.connect_with_connector(connect).await
        }
    };
    connected.map_err(|cause| unreachable(text, fault, root(&cause)))
}

/// A connection that did not come to be, or broke: by what TLS said, where it said something.
pub(super) fn unreachable(
    endpoint: &str,
    fault: &Fault,
    cause: &(dyn std::error::Error + 'static),
) -> Failure {
    let endpoint = endpoint.to_owned();
    match fault.lock().take() {
        Some(tls::Refused { problem, mend }) => Failure::NotTrusted { endpoint, problem, mend },
        None => Failure::Unreachable { endpoint, cause: cause.to_string() },
    }
}

fn form() -> Failure {
    Failure::Usage(
        "the endpoint must be a URL such as https://bursar.example.com:7600, http://127.0.0.1:7600 or unix:/run/bursar.sock"
            .into(),
    )
}

fn tuned(uri: Uri) -> Result<Endpoint, Failure> {
    Endpoint::from(uri)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .user_agent(concat!("bursar-cli/", env!("CARGO_PKG_VERSION")))
        .map_err(|_| form())
}

impl Way {
    fn of(text: &str) -> Result<Self, Failure> {
        if let Some(rest) = text.strip_prefix("unix:") {
            let path = Path::new(rest.strip_prefix("//").unwrap_or(rest));
            return if path.is_absolute() { Ok(Self::Unix(path.to_owned())) } else { Err(form()) };
        }
        let parsed = url::Url::parse(text).map_err(|_| form())?;
        let bare = parsed.username().is_empty()
            && parsed.password().is_none()
            && matches!(parsed.path(), "" | "/")
            && parsed.query().is_none();
        let Some(host) = parsed.host_str().filter(|_| bare) else { return Err(form()) };
        match parsed.scheme() {
            "http" => Ok(Self::Plain(parsed.as_str().parse().map_err(|_| form())?)),
            "https" => Ok(Self::Tls {
                host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
                port: parsed.port().unwrap_or(HTTPS_PORT),
            }),
            _ => Err(form()),
        }
    }
}

fn note(fault: &Fault, err: &io::Error) {
    if let Some(refused) = tls::refused(err) {
        fault.lock().get_or_insert(refused);
    }
}

/// The first cause of a chain: `Connection refused`, not `transport error`.
pub(super) fn root<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

impl<I: AsyncRead + Unpin> AsyncRead for Noted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if let Poll::Ready(Err(err)) = &polled {
            note(&self.fault, err);
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Noted<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_says_how_it_is_reached() {
        let tls = |host: &str, port| Way::Tls { host: host.into(), port };
        let cases = [
            ("http://127.0.0.1:7600", Way::Plain(Uri::from_static("http://127.0.0.1:7600/"))),
            ("https://bursar.example.com:7600", tls("bursar.example.com", 7600)),
            ("https://bursar.example.com/", tls("bursar.example.com", 443)),
            ("https://[::1]:7600", tls("::1", 7600)),
            ("unix:/run/b.sock", Way::Unix("/run/b.sock".into())),
            ("unix:///run/b.sock", Way::Unix("/run/b.sock".into())),
        ];
        for (text, want) in cases {
            assert_eq!(Way::of(text).unwrap(), want, "{text}");
        }
        for text in [
            "",
            "127.0.0.1:7600",
            "ftp://h",
            "https://user@h",
            "https://:secret@h",
            "http://h/path",
            "https://h?x",
            "unix:relative",
            "unix:",
            "unix://",
        ] {
            assert!(matches!(Way::of(text), Err(Failure::Usage(_))), "{text}");
        }
    }

    #[tokio::test]
    async fn a_token_is_never_sent_without_tls() {
        let reach = ReachArgs { token_file: Some("/x".into()), ..ReachArgs::default() };
        for plain in ["http://127.0.0.1:1", "http://bursar.example.com:7600"] {
            let refused = connect(plain, &reach, Duration::from_secs(1), &Fault::default()).await;
            let text = refused.unwrap_err().to_string();
            assert!(text.starts_with("--token-file: a token is not sent over plain HTTP"), "{text}");
        }
    }
}
