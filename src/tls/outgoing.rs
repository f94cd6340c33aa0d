//! TLS to servers of one's own, other than HTTP: whom to believe and what to show. Verified it is always.

use super::pem::{self, Of, PemError};
use crate::domain::token::Secret;
use rustls::{
    ClientConfig,
    crypto::aws_lc_rs,
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::Arc;

/// Which of the given parts cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Authorities,
    Chain,
    Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutgoingError {
    Pem(Part, PemError),
    /// The system has no authorities that could be used.
    NoSystemAuthorities,
}

/// Believes these authorities and no others (PEM; `None`: those of the system), and shows this certificate with its
/// key. TLS 1.2 or 1.3.
pub fn client(
    authorities: Option<&str>,
    identity: Option<(&str, &Secret)>,
) -> Result<Arc<ClientConfig>, OutgoingError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12]);
    // The provider speaks both; where it did not, there would be nobody to believe either.
    let builder = builder.map_err(|_| OutgoingError::NoSystemAuthorities)?;
    let builder = match authorities {
        Some(bundle) => {
            let roots = pem::authorities(bundle).map_err(|err| OutgoingError::Pem(Part::Authorities, err))?;
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(|_| OutgoingError::NoSystemAuthorities)?,
    };
    let config = match identity {
        Some((chain, key)) => {
            let (certified, _) = pem::certified(chain, key).map_err(|(of, err)| match of {
                Of::Chain => OutgoingError::Pem(Part::Chain, err),
                Of::Key => OutgoingError::Pem(Part::Key, err),
            })?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}
