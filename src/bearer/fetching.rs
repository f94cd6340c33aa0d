//! Fetches an issuer's keys over HTTP: from where they are known to be, or from where its own metadata say that they
//! are, if an operator has approved that host. A token of our own goes to the address that was written down and to the
//! issuer's own host, and nowhere else. Repeats nothing that a server wrote.

use super::keeper::{Fetch, NotFetched};
use crate::{
    domain::{
        failure::{Evidence, Trouble},
        issuer::{KeyAddress, KeyServer},
        profile::{HostPattern, MinimumTls, secure},
        strict,
        token::Secret,
    },
    egress::{Destination, Egress, Outgoing, Roots},
};
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use url::Url;

/// Longest request, from connecting to the last byte of the answer; for discovery there are two.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// Longest address in metadata, in bytes.
const ADDRESS_MAX: usize = 1024;

/// Reads a secret that may change while the process runs. The error says what is wrong with it and how to mend it.
pub type ReadSecret = Arc<dyn Fn() -> Result<Secret, String> + Send + Sync>;

/// The server of an issuer.
pub struct OverHttp {
    pub egress: Egress,
    pub server: KeyServer,
    /// The claim `iss`, which its metadata have to repeat.
    pub issuer: String,
    /// There if the server has a credential.
    pub credential: Option<ReadSecret>,
}

/// Whether a request shows who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Credential,
    Nothing,
}

#[async_trait]
impl Fetch for OverHttp {
    async fn fetch(&self) -> Result<Vec<u8>, NotFetched> {
        match &self.server.at {
            KeyAddress::Known(url) => self.get(url.clone(), Shown::Credential).await,
            KeyAddress::Discovery { metadata, hosts } => {
                let body = self.get(metadata.clone(), Shown::Credential).await?;
                let url = keys_at(&body, &self.issuer)?;
                let own = host_of(metadata).admits(&url);
                if !own && !hosts.iter().any(|host| host.admits(&url)) {
                    let host = url.host_str().unwrap_or_default();
                    return Err(NotFetched(format!(
                        "its metadata say that the keys are on {host}, which nobody has approved: add the host to \
                         jwks_hosts if that is right"
                    )));
                }
                self.get(url, if own { Shown::Credential } else { Shown::Nothing }).await
            }
        }
    }
}

impl OverHttp {
    async fn get(&self, url: Url, shown: Shown) -> Result<Vec<u8>, NotFetched> {
        let mut headers = HeaderMap::new();
        headers
            .insert(header::ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        if let (Some(credential), Shown::Credential) = (&self.credential, shown) {
            headers.insert(header::AUTHORIZATION, bearer(credential).map_err(NotFetched)?);
        }
        let hosts = [host_of(&url)];
        let destination = Destination {
            hosts: &hosts,
            roots: self.server.ca.as_deref().map_or(Roots::System, Roots::Only),
            minimum_tls: MinimumTls::Tls12,
            networks: &[],
        };
        let outgoing = Outgoing { method: Method::GET, url, headers, body: Vec::new(), presenting: None };
        let reply = self.egress.send(&destination, outgoing, REQUEST_MAX).await;
        let mut reply = reply.map_err(|evidence| NotFetched(unsent(&evidence).to_owned()))?;
        match reply.status {
            200 => Ok(std::mem::take(&mut *reply.body)),
            401 | 403 => Err(NotFetched(
                "its server wants to know who asks: set token_file to a token that may read its keys"
                    .to_owned(),
            )),
            status => Err(NotFetched(format!("its server answered {status}"))),
        }
    }
}

/// The header that shows a token of ours.
pub(super) fn bearer(credential: &ReadSecret) -> Result<HeaderValue, String> {
    let token = credential()?;
    let text = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::try_from(text.as_str())
        .map_err(|_| "the token file holds more than a token: write the token alone into it".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The pattern that admits this address's host and no other.
pub(super) fn host_of(url: &Url) -> HostPattern {
    let host = url.host_str().unwrap_or_default();
    HostPattern(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// A request without an answer.
pub(super) const fn unsent(evidence: &Evidence) -> &'static str {
    match evidence {
        Evidence::NotSent(Trouble::Tls) => {
            "the server's certificate is not believed: name its authority in ca_file"
        }
        Evidence::NotSent(Trouble::Dns) => "the server's name does not resolve",
        Evidence::NotSent(Trouble::Timeout) | Evidence::Lost(Trouble::Timeout) => {
            "the server did not answer in time"
        }
        Evidence::HostRefused { .. } => {
            "the server's address leads to a place that nothing may be sent to, as a metadata service is"
        }
        Evidence::Unreadable { .. } => "the server's answer is larger than any may be",
        Evidence::NotSent(_)
        | Evidence::Lost(_)
        | Evidence::Redirected { .. }
        | Evidence::Unusable(_)
        | Evidence::Refused(_) => "the server does not answer",
    }
}

/// `jwks_uri` of an issuer's metadata; the issuer speaks for itself only (OpenID Connect Discovery 1.0 section 4.3).
fn keys_at(body: &[u8], issuer: &str) -> Result<Url, NotFetched> {
    let wrong = |why: &str| NotFetched(why.to_owned());
    let members = strict::object(body).ok_or_else(|| {
        wrong("its metadata are not one JSON object without repeated names: set keys = \"address\"")
    })?;
    if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(wrong("its metadata are of another issuer: write `issuer` exactly as the server does"));
    }
    let given = members.get("jwks_uri").and_then(Value::as_str);
    let plain = |given: &&str| {
        let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'@' | b'"' | b'<' | b'>');
        given.len() <= ADDRESS_MAX && given.bytes().all(fits)
    };
    let url = given.filter(plain).and_then(|given| Url::parse(given).ok());
    let fits = |url: &Url| secure(url) && url.host_str().is_some() && url.fragment().is_none();
    url.filter(fits).ok_or_else(|| wrong("its metadata have no `jwks_uri` that is a plain https address"))
}

#[cfg(test)]
#[path = "fetching_tests.rs"]
mod tests;
