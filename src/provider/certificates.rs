//! TLS client certificates (RFC 8705): checked when they come in, made here where they are self-signed, presented by
//! the egress. Judges what can be known without the server: that key and certificate belong together, and until when.

use super::keys::{KeyError, SigningKey, private_key_der};
use crate::{
    clock::Timestamp,
    domain::{credential::Certificate, profile::SigningAlg, token::Secret},
};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longest chain, in bytes of PEM, and in certificates.
pub const CHAIN_PEM_MAX: usize = 32 * 1024;
const CHAIN_MAX: usize = 8;
/// How long a certificate made here lasts unless somebody says otherwise, and at most.
pub const VALID_FOR: Duration = Duration::from_hours(24 * 365);
pub const VALID_FOR_MAX: Duration = Duration::from_hours(24 * 365 * 10);
/// A certificate made here is good a little before it is made: clocks differ.
const BEFORE: Duration = Duration::from_hours(1);
/// Longest common name (RFC 5280, ub-common-name), in characters.
const COMMON_NAME_MAX: usize = 64;

/// Why a certificate is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("has no certificate in PEM: it begins with `-----BEGIN CERTIFICATE-----`")]
    NotPem,
    #[error("is longer than {CHAIN_PEM_MAX} bytes or {CHAIN_MAX} certificates")]
    TooLong,
    #[error("has a certificate that cannot be read")]
    Unreadable,
    #[error("has expired: the provider would refuse it")]
    Expired,
    #[error("has a validity of no time or more than ten years")]
    Validity,
    #[error("does not belong to the certificate, which comes first in its chain")]
    OtherKey,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("certificate could not be made")]
    Making,
}

/// What a checked certificate says, and when it ends.
pub type Checked = (Certificate, Timestamp);

/// Looks at a chain, leaf first, and the leaf's key.
pub fn checked(chain_pem: &str, key_pem: &Secret, now: Timestamp) -> Result<Checked, CertificateError> {
    if chain_pem.len() > CHAIN_PEM_MAX {
        return Err(CertificateError::TooLong);
    }
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateError::NotPem)?;
    if chain.len() > CHAIN_MAX {
        return Err(CertificateError::TooLong);
    }
    for certificate in &chain {
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::Unreadable)?;
    }
    let leaf = chain.first().ok_or(CertificateError::NotPem)?;
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::Unreadable)?;
    let end = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    let ends_at = Timestamp(end.saturating_mul(1000));
    if ends_at <= now {
        return Err(CertificateError::Expired);
    }
    // Also says that the key is one that may be used at all.
    SigningKey::from_pem(key_pem, None, None)?;
    let key = any_supported_type(&private_key_der(key_pem)?).map_err(|_| KeyError::Unusable)?;
    let certificate = Certificate {
        chain: written(&chain),
        thumbprint: BASE64URL.encode(digest::digest(&digest::SHA256, leaf)),
        subject: parsed.subject().to_string(),
    };
    CertifiedKey::new(chain, key).keys_match().map_err(|_| CertificateError::OtherKey)?;
    Ok((certificate, ends_at))
}

/// The certificates and nothing else that the file held.
fn written(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|certificate| super::keys::pem("CERTIFICATE", certificate)).collect()
}

/// A new key and a certificate that it signed itself, to be registered at the server (RFC 8705 §2.2).
pub fn self_signed(
    client_id: &str,
    algorithm: SigningAlg,
    valid_for: Duration,
    now: Timestamp,
) -> Result<(Checked, Secret), CertificateError> {
    if valid_for.is_zero() || valid_for > VALID_FOR_MAX {
        return Err(CertificateError::Validity);
    }
    let failed = |_| CertificateError::Making;
    let key_pem = SigningKey::generate(algorithm)?;
    let pair = rcgen::KeyPair::from_pem(key_pem.expose()).map_err(failed)?;
    let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name: String = client_id.chars().take(COMMON_NAME_MAX).collect();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let at = |at: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.as_secs());
    params.not_before = at(now.minus(BEFORE));
    params.not_after = at(now.plus(valid_for));
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let chain = params.self_signed(&pair).map_err(failed)?.pem();
    Ok((checked(&chain, &key_pem, now)?, key_pem))
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
