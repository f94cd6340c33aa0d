//! The only HTTP client that talks to authorization servers. Sends a request at most once, to an allowed host
//! only, and tells what is known of its fate. Never follows a redirect, never uses a proxy, a cookie or an
//! idle connection, never reads more than [`BODY_MAX`], never prints what it carries.

use crate::domain::{
    failure::{Evidence, Trouble},
    profile::{Profile, is_loopback},
};
use http::{HeaderMap, Method, header::CONTENT_LENGTH};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{error::Error as StdError, net::SocketAddr, time::Duration};
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
    /// Whatever the system resolves; plain HTTP goes to this machine only all the same.
    Public,
}

/// The client of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Egress {
    client: reqwest::Client,
    policy: AddressPolicy,
}

/// A request with secrets in it: it cannot be printed.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A whole answer, with secrets in it: it cannot be printed either.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// TLS could not be set up: the system has no trust roots, or a broken one. Check `SSL_CERT_FILE` and the
    /// ca-certificates package.
    #[error("HTTP client cannot be built: {0}")]
    Build(#[source] reqwest::Error),
}

/// The address that a name resolved to is not allowed.
#[derive(Debug, thiserror::Error)]
#[error("address is not allowed")]
struct AddressRefused;

struct Resolver(AddressPolicy);

impl Egress {
    pub fn new(policy: AddressPolicy) -> Result<Self, EgressError> {
        // Fails if there is one already, and then that one serves.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = reqwest::Client::builder()
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
            .dns_resolver(Resolver(policy))
            .build()
            .map_err(EgressError::Build)?;
        Ok(Self { client, policy })
    }

    /// Sends the request once. The whole of it, from name resolution to the last byte of the answer, takes at most
    /// `time`.
    pub(super) async fn send(
        &self,
        profile: &Profile,
        outgoing: Outgoing,
        time: Duration,
    ) -> Result<Reply, Evidence> {
        let url = outgoing.url.clone();
        if !profile.admits(&url) || !self.policy.admits(&url) {
            return Err(refused(&url));
        }
        let mut request = reqwest::Request::new(outgoing.method, outgoing.url);
        *request.headers_mut() = outgoing.headers;
        *request.body_mut() = Some(outgoing.body.into());
        *request.timeout_mut() = Some(time);
        let response = self.client.execute(request).await.map_err(|error| fate(&error, &url))?;
        read(response).await
    }
}

impl AddressPolicy {
    fn admits(self, url: &Url) -> bool {
        match self {
            Self::LoopbackOnly => is_loopback(url),
            // Private and link-local ranges will be judged here and in `Resolver`, once deployments can name theirs.
            Self::Public => true,
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0;
        Box::pin(async move {
            // `localhost` may be sent plain HTTP, so it must be this machine under every policy.
            let here_only = policy == AddressPolicy::LoopbackOnly || name.as_str() == "localhost";
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if here_only && !addresses.iter().all(|address| address.ip().is_loopback()) {
                return Err(Box::new(AddressRefused) as Box<dyn StdError + Send + Sync>);
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
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
#[path = "egress_tests.rs"]
mod tests;
