//! PEM into what the library works with, checked: chain and key belong together, a bundle holds authorities.

use crate::{clock::Timestamp, domain::token::Secret};
use rustls::{
    RootCertStore,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Most certificates that the server shows.
const CHAIN_MAX: usize = 8;
/// Most authorities in one bundle.
const AUTHORITIES_MAX: usize = 256;

/// Why PEM is not taken. Begins after the name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    #[error("has no certificate in PEM, or a broken one")]
    NoCertificate,
    #[error("has more than {CHAIN_MAX} certificates")]
    LongChain,
    #[error("has more than {AUTHORITIES_MAX} certificates")]
    LargeBundle,
    #[error("has a certificate that is no authority's, or cannot be read")]
    NoAuthority,
    #[error("has no private key in PEM that can be used: PKCS#8, SEC 1 or PKCS#1, of RSA, ECDSA or Ed25519")]
    NoKey,
    #[error("does not belong to the certificate")]
    OtherKey,
}

impl PemError {
    pub fn mend(self) -> &'static str {
        match self {
            Self::NoCertificate => {
                "write the certificate there, then its issuers, as `-----BEGIN CERTIFICATE-----`"
            }
            Self::LongChain => "leave out what is not between the server's certificate and a root",
            Self::LargeBundle => "leave out authorities that are not used any more",
            Self::NoAuthority => "write certificates of authorities (CA:TRUE) there, and nothing else",
            Self::NoKey => "write the key there without a passphrase, as `-----BEGIN PRIVATE KEY-----`",
            Self::OtherKey => {
                "write both files anew from one issue: the first certificate has to be of this key"
            }
        }
    }
}

/// Certificate and key of the server, and when the certificate ends. The error says which of both it is about.
pub fn certified(chain: &str, key: &Secret) -> Result<(CertifiedKey, Timestamp), (Of, PemError)> {
    let chain = certificates(chain).map_err(|err| (Of::Chain, err))?;
    if chain.len() > CHAIN_MAX {
        return Err((Of::Chain, PemError::LongChain));
    }
    let key =
        PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| (Of::Key, PemError::NoKey))?;
    certified_der(chain, &key)
}

/// The same of what is DER already.
pub fn certified_der(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'_>,
) -> Result<(CertifiedKey, Timestamp), (Of, PemError)> {
    let leaf = chain.first().ok_or((Of::Chain, PemError::NoCertificate))?;
    let ends_at = super::looking::leaf(leaf).ok_or((Of::Chain, PemError::NoCertificate))?.until;
    let key = any_supported_type(key).map_err(|_| (Of::Key, PemError::NoKey))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| (Of::Key, PemError::OtherKey))?;
    Ok((certified, ends_at))
}

/// Which of two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Chain,
    Key,
}

/// The authorities of a bundle.
pub fn authorities(bundle: &str) -> Result<Arc<RootCertStore>, PemError> {
    authorities_der(certificates(bundle)?)
}

/// The same of what is DER already.
pub fn authorities_der(bundle: Vec<CertificateDer<'static>>) -> Result<Arc<RootCertStore>, PemError> {
    if bundle.is_empty() {
        return Err(PemError::NoCertificate);
    }
    if bundle.len() > AUTHORITIES_MAX {
        return Err(PemError::LargeBundle);
    }
    let mut roots = RootCertStore::empty();
    for certificate in bundle {
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| PemError::NoAuthority)?;
        if !parsed.is_ca() {
            return Err(PemError::NoAuthority);
        }
        roots.add(certificate).map_err(|_| PemError::NoAuthority)?;
    }
    Ok(Arc::new(roots))
}

pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|_| PemError::NoCertificate)?;
    if all.is_empty() { Err(PemError::NoCertificate) } else { Ok(all) }
}
