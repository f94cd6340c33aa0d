//! Certificate and bundles from files, while they are replaced under the running process: what changed is used if it
//! fits together; whenever it does not, the old stays.

use super::{
    News, Parts, Server,
    pem::{self, Of, PemError},
};
use crate::{
    domain::{spiffe::TrustDomain, token::Secret},
    watching::{self, Mark, Watched},
};
use async_trait::async_trait;
use aws_lc_rs::digest;
use rustls::{RootCertStore, sign::CertifiedKey};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// PEM as files hold it at one moment. What does not come from files is missing here.
#[derive(Default)]
pub struct Texts {
    /// Chain and key.
    pub certificate: Option<(Secret, Secret)>,
    pub bundles: BTreeMap<TrustDomain, Secret>,
    pub pki: Option<Secret>,
}

/// Which of the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Chain,
    Key,
    Bundle(TrustDomain),
    Pki,
}

/// What the texts say.
pub struct Checked {
    certificate: Option<Arc<CertifiedKey>>,
    bundles: BTreeMap<TrustDomain, Arc<RootCertStore>>,
    pki: Option<Arc<RootCertStore>>,
}

/// Where the texts come from.
pub trait Source: Send + Sync {
    /// May block for as long as a file system does. The error is for the log: file, problem and mend.
    fn read(&self) -> Result<Texts, String>;

    /// The same kind of sentence about what was read.
    fn tell(&self, which: &Which, err: PemError) -> String;
}

/// A server and the texts that it is made of.
struct Following {
    server: Arc<Server>,
    source: Arc<dyn Source>,
}

impl Texts {
    pub fn check(&self) -> Result<Checked, (Which, PemError)> {
        let certificate = match &self.certificate {
            Some((chain, key)) => match pem::certified(chain.expose(), key) {
                Ok((certified, _)) => Some(Arc::new(certified)),
                Err((Of::Chain, err)) => return Err((Which::Chain, err)),
                Err((Of::Key, err)) => return Err((Which::Key, err)),
            },
            None => None,
        };
        let mut bundles = BTreeMap::new();
        for (domain, text) in &self.bundles {
            let roots =
                pem::authorities(text.expose()).map_err(|err| (Which::Bundle(domain.clone()), err))?;
            bundles.insert(domain.clone(), roots);
        }
        let pki = self.pki.as_ref().map(|text| pem::authorities(text.expose())).transpose();
        Ok(Checked { certificate, bundles, pki: pki.map_err(|err| (Which::Pki, err))? })
    }

    fn digest(&self) -> Mark {
        let mut all = digest::Context::new(&digest::SHA256);
        let mut add = |text: &str| {
            all.update(&(text.len() as u64).to_be_bytes());
            all.update(text.as_bytes());
        };
        if let Some((chain, key)) = &self.certificate {
            add(chain.expose());
            add(key.expose());
        }
        for (domain, text) in &self.bundles {
            add(domain.as_str());
            add(text.expose());
        }
        add(self.pki.as_ref().map_or("", Secret::expose));
        all.finish().as_ref().to_vec()
    }
}

impl Checked {
    /// The server's own, if it comes from files.
    pub fn certificate(&self) -> Option<Arc<CertifiedKey>> {
        self.certificate.clone()
    }

    pub fn put(self, parts: &mut Parts) {
        if let Some(certificate) = self.certificate {
            parts.certificate = certificate;
        }
        parts.anchors.files = self.bundles;
        parts.anchors.pki = self.pki;
    }
}

/// Looks at the source until `stop`. `used` is what the server was made with.
pub async fn follow(
    server: Arc<Server>,
    source: Arc<dyn Source>,
    used: Texts,
    every: Duration,
    stop: CancellationToken,
) {
    let mark = used.digest();
    drop(used);
    watching::follow(Arc::new(Following { server, source }), mark, every, stop).await;
}

#[async_trait]
impl Watched for Following {
    type Found = Texts;

    fn read(&self) -> Result<Texts, String> {
        self.source.read()
    }

    fn mark(found: &Texts) -> Mark {
        found.digest()
    }

    async fn take(&self, texts: Texts) -> Result<(), String> {
        let checked = texts.check().map_err(|(which, err)| self.source.tell(&which, err))?;
        self.server.change(|parts| checked.put(parts)).map_err(|err| err.to_string())?;
        self.server.tell(News::InUse);
        tracing::info!("TLS files have changed and are in use");
        Ok(())
    }

    async fn refused(&self, trouble: &str) {
        self.server.tell(News::Refused);
        tracing::warn!(trouble, "TLS files cannot be used; those before stay in use");
    }

    fn looked(&self) {
        self.server.warn_of_the_end();
    }
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
