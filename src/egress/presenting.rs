//! Clients of the egress that are set up for one server: with its own trust roots, its oldest version of TLS, a
//! certificate to present (RFC 8705). Each is kept while it is in use; its connections are reused no more than
//! elsewhere.

use super::{Destination, Roots, Way, plain};
use crate::domain::{credential::Certificate, profile::MinimumTls, token::Secret};
use aws_lc_rs::digest;
use quick_cache::sync::Cache;
use reqwest::tls::Version;
use std::{fmt, sync::Arc};

/// Set-ups in use at once in one process. The least used goes first, and is made again when it is needed.
const SETUPS_MAX: usize = 64;

/// A certificate with its key, ready to be presented. Cannot be printed.
#[derive(Clone)]
pub struct TlsIdentity {
    /// Of the leaf; names the identity.
    thumbprint: String,
    /// The key, then the chain.
    pem: Secret,
}

#[derive(Clone)]
pub(super) struct Presenting {
    clients: Arc<Cache<Key, reqwest::Client>>,
    way: Way,
}

/// What one server asks of TLS.
pub(super) struct Setup<'a> {
    pub(super) destination: &'a Destination<'a>,
    pub(super) presenting: Option<&'a TlsIdentity>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    /// SHA-256 of the PEM, by how it is used.
    also: Option<Vec<u8>>,
    only: Option<Vec<u8>>,
    oldest: &'static str,
    networks: Vec<String>,
    /// Thumbprint, which stands for the key too: a certificate has one.
    presenting: Option<String>,
}

impl Setup<'_> {
    /// Nothing that the client of all others would not do.
    pub(super) fn is_plain(&self) -> bool {
        self.destination.roots == Roots::System
            && self.destination.minimum_tls == MinimumTls::Tls12
            && self.destination.networks.is_empty()
            && self.presenting.is_none()
    }

    fn key(&self) -> Key {
        let digest = |pem: &str| digest::digest(&digest::SHA256, pem.as_bytes()).as_ref().to_vec();
        let (also, only) = match self.destination.roots {
            Roots::System => (None, None),
            Roots::Also(pem) => (Some(digest(pem)), None),
            Roots::Only(pem) => (None, Some(digest(pem))),
        };
        Key {
            also,
            only,
            oldest: self.destination.minimum_tls.word(),
            networks: self.destination.networks.iter().map(ToString::to_string).collect(),
            presenting: self.presenting.map(|identity| identity.thumbprint.clone()),
        }
    }
}

impl TlsIdentity {
    pub fn new(certificate: &Certificate, key_pem: &Secret) -> Self {
        let pem = Secret::new(format!("{}\n{}", key_pem.expose(), certificate.chain));
        Self { thumbprint: certificate.thumbprint.clone(), pem }
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[certificate {}]", self.thumbprint)
    }
}

impl Presenting {
    pub(super) fn new(way: Way) -> Self {
        Self { clients: Arc::new(Cache::new(SETUPS_MAX)), way }
    }

    /// The error is a set-up that cannot be used: nothing was sent.
    pub(super) fn client(&self, setup: &Setup<'_>) -> reqwest::Result<reqwest::Client> {
        self.clients.get_or_insert_with(&setup.key(), || {
            let Destination { roots, minimum_tls, networks, .. } = *setup.destination;
            let builder = plain(&self.way, networks).tls_version_min(version(minimum_tls));
            let bundle = |pem: &str| reqwest::Certificate::from_pem_bundle(pem.as_bytes());
            let mut builder = match roots {
                Roots::System => builder,
                Roots::Also(pem) => builder.tls_certs_merge(bundle(pem)?),
                Roots::Only(pem) => builder.tls_certs_only(bundle(pem)?),
            };
            if let Some(identity) = setup.presenting {
                builder = builder.identity(reqwest::Identity::from_pem(identity.pem.expose().as_bytes())?);
            }
            builder.build()
        })
    }
}

const fn version(oldest: MinimumTls) -> Version {
    match oldest {
        MinimumTls::Tls12 => Version::TLS_1_2,
        MinimumTls::Tls13 => Version::TLS_1_3,
    }
}

impl fmt::Debug for Presenting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} set-ups of TLS]", self.clients.len())
    }
}

#[cfg(test)]
#[path = "presenting_tests.rs"]
mod tests;
