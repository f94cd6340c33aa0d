//! Certificate and bundles from the SPIFFE Workload API, as its agent replaces them. The agent is believed as the
//! files would be: it is this machine's own.

use super::{News, Parts, Server, SetupError, pem};
use crate::domain::spiffe::TrustDomain;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use spiffe::{X509Source, X509SourceUpdates, workload_api::x509_context::X509Context};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Longest wait for the first identity, at the start.
pub const FIRST_MAX: Duration = Duration::from_secs(30);
/// Between two looks at whether the certificate has ended.
const END_LOOK: Duration = Duration::from_secs(60);

/// What is taken from the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Certificate,
    Bundles,
    Both,
}

/// A connection to the agent, with what it gave last.
pub struct WorkloadApi {
    source: X509Source,
    taken: Taken,
}

/// What the agent gave cannot be had or used.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// Nothing within [`FIRST_MAX`], or a refusal: the agent is away, or has no registration entry for this process.
    #[error("the SPIFFE agent gave no identity: is it there, and is this process registered with it?")]
    NoIdentity,
    #[error("the SPIFFE agent's certificate cannot be used: it {0}")]
    Certificate(pem::PemError),
    #[error("the SPIFFE agent's bundle of a trust domain cannot be used: it {0}")]
    Bundle(pem::PemError),
    #[error("the SPIFFE agent gave a bundle of something that is no trust domain")]
    TrustDomain,
    /// As a whole, with what the files say.
    #[error("what the SPIFFE agent gave cannot be used: {0}")]
    Setup(SetupError),
}

/// One state of the agent's.
pub struct Given {
    certificate: Arc<CertifiedKey>,
    bundles: BTreeMap<TrustDomain, Arc<RootCertStore>>,
}

impl WorkloadApi {
    /// `address` as `unix:///path`. Waits for the first identity.
    pub async fn connect(address: &str, taken: Taken) -> Result<Self, WorkloadError> {
        let source = X509Source::builder()
            .endpoint(address)
            .initial_sync_timeout(FIRST_MAX)
            .build()
            .await
            .map_err(|_| WorkloadError::NoIdentity)?;
        Ok(Self { source, taken })
    }

    pub fn given(&self) -> Result<Given, WorkloadError> {
        let context = self.source.x509_context().map_err(|_| WorkloadError::NoIdentity)?;
        Given::of(&context)
    }

    pub fn put(&self, given: Given, parts: &mut Parts) {
        put(self.taken, given, parts);
    }

    /// Takes what the agent replaces, until `stop`.
    pub async fn follow(self, server: Arc<Server>, stop: CancellationToken) {
        let mut updates: X509SourceUpdates = self.source.updated();
        let mut ticks = interval(END_LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {
                    server.warn_of_the_end();
                    continue;
                }
                changed = updates.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
            }
            let used = self.given().and_then(|given| {
                server.change(|parts| self.put(given, parts)).map_err(WorkloadError::Setup)
            });
            match used {
                Ok(()) => {
                    server.tell(News::InUse);
                    tracing::info!("the SPIFFE agent's certificate and bundles have changed and are in use");
                }
                Err(err) => {
                    server.tell(News::Refused);
                    tracing::warn!(%err, "what the SPIFFE agent gave cannot be used; what it gave before stays in use");
                }
            }
        }
        self.source.shutdown().await;
    }
}

fn put(taken: Taken, given: Given, parts: &mut Parts) {
    match taken {
        Taken::Certificate => parts.certificate = given.certificate,
        Taken::Bundles => parts.anchors.workload_api = given.bundles,
        Taken::Both => {
            parts.certificate = given.certificate;
            parts.anchors.workload_api = given.bundles;
        }
    }
}

impl Given {
    fn of(context: &X509Context) -> Result<Self, WorkloadError> {
        let svid = context.default_svid().ok_or(WorkloadError::NoIdentity)?;
        let chain: Vec<_> =
            svid.cert_chain().iter().map(|der| CertificateDer::from(der.as_bytes().to_vec())).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(svid.private_key().as_bytes()));
        let (certified, _) =
            pem::certified_der(chain, &key).map_err(|(_, err)| WorkloadError::Certificate(err))?;
        let mut bundles = BTreeMap::new();
        for (domain, bundle) in context.bundle_set().iter() {
            let domain: TrustDomain = domain.as_str().parse().map_err(|_| WorkloadError::TrustDomain)?;
            let authorities = bundle
                .authorities()
                .iter()
                .map(|der| CertificateDer::from(der.as_bytes().to_vec()))
                .collect();
            let roots = pem::authorities_der(authorities).map_err(WorkloadError::Bundle)?;
            bundles.insert(domain, roots);
        }
        Ok(Self { certificate: Arc::new(certified), bundles })
    }

    pub fn certificate(&self) -> Arc<CertifiedKey> {
        self.certificate.clone()
    }
}

#[cfg(test)]
#[path = "workload_tests.rs"]
mod tests;
