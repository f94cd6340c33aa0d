//! The way out: the only HTTP client there is, whoever is talked to. Sends a request at most once, to an allowed host
//! only, and tells what is known of its fate. Never follows a redirect, never uses a proxy that nobody configured, a
//! cookie or an idle connection, never reads more than [`BODY_MAX`], never prints what it carries. Knows no provider:
//! where a request may go is plain data ([`Destination`]).

mod addresses;
mod dates;
mod presenting;
mod resolving;
mod told;

pub use self::{addresses::is_private, dates::imf_fixdate, presenting::TlsIdentity};

use self::{
    presenting::{Presenting, Setup},
    resolving::{AddressRefused, Resolver},
};
use crate::{
    clock::Timestamp,
    domain::{
        failure::{Evidence, Trouble},
        profile::{HostPattern, MinimumTls, Network, is_loopback, secure},
    },
};
use bytes::Bytes;
use http::{
    HeaderMap, Method,
    header::{CONTENT_LENGTH, DATE},
};
use std::{error::Error as StdError, time::Duration};
use url::Url;
use zeroize::Zeroizing;

/// Largest body of an answer, in bytes.
pub const BODY_MAX: usize = 64 * 1024;
/// Name resolution, TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Most header fields of an answer.
const HEADERS_MAX: usize = 100;

/// Where connections may go at all, whatever a profile allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressPolicy {
    /// This machine only: development and tests.
    LoopbackOnly,
    /// The Internet; and this machine, where a profile names it as such. Plain HTTP goes to this machine only.
    Public,
    /// Private networks as well: for servers of one's own.
    Private,
}

/// What holds for every request of the process.
#[derive(Debug, Clone)]
struct Way {
    policy: AddressPolicy,
    /// Where `CONNECT` is asked for (RFC 9110 §9.3.6); requests to this machine go without it.
    proxy: Option<Url>,
}

/// Where one request may go, and how. All of it was decided before the request: nothing of it comes from an answer.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// Hosts that may be talked to. Plain HTTP is for those of this machine.
    pub hosts: &'a [HostPattern],
    pub roots: Roots<'a>,
    pub minimum_tls: MinimumTls,
    /// Private networks that the hosts may be in, where [`AddressPolicy::Public`] holds for all others.
    pub networks: &'a [Network],
}

/// Whose certificates are believed. PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roots<'a> {
    /// The system's.
    System,
    /// The system's and these.
    Also(&'a str),
    /// These and no others: for a server that has an authority of its own.
    Only(&'a str),
}

/// The client of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Egress {
    client: reqwest::Client,
    presenting: Presenting,
    way: Way,
}

/// A request with secrets in it: it cannot be printed.
pub struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The client certificate that the connection is made with (RFC 8705).
    pub presenting: Option<TlsIdentity>,
}

/// A whole answer, with secrets in it: it cannot be printed either.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Zeroizing<Vec<u8>>,
}

/// What a server shows of itself.
#[derive(Debug)]
pub struct Looked {
    pub status: u16,
    /// Its clock, to the second.
    pub date: Option<Timestamp>,
    /// When its own certificate ends.
    pub certificate_ends: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// TLS could not be set up: the system has no trust roots, or a broken one. Check `SSL_CERT_FILE` and the
    /// ca-certificates package.
    #[error("HTTP client cannot be built: {0}")]
    Build(#[source] reqwest::Error),
}

impl Egress {
    pub fn new(policy: AddressPolicy) -> Result<Self, EgressError> {
        Self::through(policy, None)
    }

    /// With a proxy that tunnels (`CONNECT`) whatever leaves this machine. It resolves the names then, so that where
    /// they lead is for the proxy to check.
    pub fn through(policy: AddressPolicy, proxy: Option<Url>) -> Result<Self, EgressError> {
        // Fails if there is one already, and then that one serves.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let way = Way { policy, proxy };
        let client = plain(&way, &[]).build().map_err(EgressError::Build)?;
        Ok(Self { client, presenting: Presenting::new(way.clone()), way })
    }

    /// Sends the request once. The whole of it, from name resolution to the last byte of the answer, takes at most
    /// `time`.
    pub async fn send(
        &self,
        destination: &Destination<'_>,
        outgoing: Outgoing,
        time: Duration,
    ) -> Result<Reply, Evidence> {
        let span = told::begun(&outgoing.method, &outgoing.url);
        let fate = span.around(async { read(self.executed(destination, outgoing, time).await?).await }).await;
        told::ended(&span, &fate);
        fate
    }

    async fn executed(
        &self,
        destination: &Destination<'_>,
        outgoing: Outgoing,
        time: Duration,
    ) -> Result<reqwest::Response, Evidence> {
        let url = outgoing.url.clone();
        if !destination.admits(&url) || !self.way.policy.admits(&url, destination.networks) {
            return Err(refused(&url));
        }
        let setup = Setup { destination, presenting: outgoing.presenting.as_ref() };
        let client = if setup.is_plain() {
            self.client.clone()
        } else {
            // What was checked when it came in and cannot be used now: nothing was sent.
            self.presenting.client(&setup).map_err(|_| Evidence::NotSent(Trouble::Tls))?
        };
        let mut request = reqwest::Request::new(outgoing.method, outgoing.url);
        *request.headers_mut() = outgoing.headers;
        // It holds a refresh token or a client's secret: wiped when the library lets go of it.
        let body = Bytes::from_owner(Zeroizing::new(outgoing.body));
        *request.body_mut() = Some(body.into());
        *request.timeout_mut() = Some(time);
        client.execute(request).await.map_err(|error| fate(&error, &url))
    }

    /// What the server shows of itself before anything is asked of it. Sends nothing but the address.
    pub async fn look(
        &self,
        destination: &Destination<'_>,
        url: Url,
        time: Duration,
    ) -> Result<Looked, Evidence> {
        let headers = HeaderMap::new();
        let outgoing = Outgoing { method: Method::GET, url, headers, body: Vec::new(), presenting: None };
        let response = self.executed(destination, outgoing, time).await?;
        let shown = response.extensions().get::<reqwest::tls::TlsInfo>();
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        Ok(Looked {
            status: response.status().as_u16(),
            date: date.and_then(imf_fixdate),
            certificate_ends: shown.and_then(|shown| ends_at(shown.peer_certificate()?)),
        })
    }
}

/// What every client of the process has in common.
fn plain(way: &Way, networks: &[Network]) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("bursar/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .http1_max_headers(HEADERS_MAX)
        .connect_timeout(CONNECT_TIMEOUT)
        // An idle connection may be closed by the server just as a request is written to it; the HTTP stack then
        // writes the request again on a new one. With no idle connections there is nothing to write again.
        .pool_max_idle_per_host(0)
        .retry(reqwest::retry::never())
        .tls_info(true)
        .dns_resolver(Resolver::new(way, networks));
    match way.proxy.clone() {
        None => builder,
        Some(proxy) => builder.proxy(reqwest::Proxy::custom(move |url| {
            (url.scheme() == "https" && !is_loopback(url)).then(|| proxy.clone())
        })),
    }
}

/// When a server's certificate ends; `None` for what is no certificate.
fn ends_at(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok().map(Timestamp::from_secs)
}

impl Destination<'_> {
    /// May this address be sent anything? Only over TLS, or within this machine, and only on a listed host. What is
    /// written before an `@` would be sent as credentials that nobody chose.
    pub fn admits(&self, url: &Url) -> bool {
        let bare = url.username().is_empty() && url.password().is_none();
        secure(url) && bare && self.hosts.iter().any(|pattern| pattern.admits(url))
    }
}

/// Reads the body up to its bound. What a server says in an oversized refusal is not worth knowing.
async fn read(mut response: reqwest::Response) -> Result<Reply, Evidence> {
    let status = response.status();
    let headers = response.headers().clone();
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or_default().min(BODY_MAX)));
    while let Some(chunk) = response.chunk().await.map_err(|error| Evidence::Lost(broken_body(&error)))? {
        if body.len() + chunk.len() > BODY_MAX {
            if status.is_success() {
                return Err(Evidence::Unreadable { status: status.as_u16(), trouble: Trouble::TooLarge });
            }
            body = Zeroizing::default();
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status: status.as_u16(), headers, body })
}

fn refused(url: &Url) -> Evidence {
    Evidence::HostRefused { host: url.host_str().unwrap_or_default().to_owned() }
}

/// What is known of a request that got no response head. Only an error of the connector proves that nothing was
/// written; all else may have been read by the server.
fn fate(error: &reqwest::Error, url: &Url) -> Evidence {
    let caused_by = |wanted: fn(&(dyn StdError + 'static)) -> bool| causes(error).any(wanted);
    if caused_by(<dyn StdError>::is::<AddressRefused>) {
        refused(url)
    } else if error.is_connect() || error.is_builder() {
        Evidence::NotSent(if error.is_timeout() {
            Trouble::Timeout
        } else if error.is_dns() {
            Trouble::Dns
        } else if caused_by(<dyn StdError>::is::<rustls::Error>) {
            Trouble::Tls
        } else {
            Trouble::Connect
        })
    } else {
        Evidence::Lost(if error.is_timeout() { Trouble::Timeout } else { Trouble::Reset })
    }
}

fn broken_body(error: &reqwest::Error) -> Trouble {
    if error.is_timeout() { Trouble::Timeout } else { Trouble::Truncated }
}

/// The error's sources, and what is wrapped in those that are I/O errors (which name the wrapped one's source only).
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    fn next<'e>(cause: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
        match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        }
    }
    std::iter::successors(Some(error), |cause| next(*cause))
}

#[cfg(test)]
mod tests;
