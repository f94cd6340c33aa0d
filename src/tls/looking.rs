//! Certificates as somebody sees them who examines them: from when to when each is good, and whether a chain is one.

use super::pem::{self, PemError};
use crate::{clock::Timestamp, domain::validity::Validity};
use rustls::{
    CertificateError, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, UnixTime},
    server::ParsedCertificate,
};
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A chain, leaf first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub certificates: Vec<Validity>,
    /// The first that the one behind it did not sign, from 0.
    pub broken_after: Option<usize>,
}

pub fn chain(text: &str) -> Result<Chain, PemError> {
    chain_der(&pem::certificates(text)?)
}

/// The same of what is DER already.
pub fn chain_der(chain: &[CertificateDer<'_>]) -> Result<Chain, PemError> {
    let parsed = parsed(chain)?;
    let signed = parsed.windows(2).position(|pair| pair[0].issuer.as_raw() != pair[1].subject.as_raw());
    let broken_after = signed.or_else(|| forged(chain, &parsed).then_some(0));
    Ok(Chain { certificates: parsed.iter().map(validity).collect(), broken_after })
}

/// What a bundle of authorities holds.
pub fn bundle(text: &str) -> Result<Vec<Validity>, PemError> {
    Ok(parsed(&pem::certificates(text)?)?.iter().map(validity).collect())
}

fn parsed<'d>(all: &'d [CertificateDer<'_>]) -> Result<Vec<X509Certificate<'d>>, PemError> {
    let read = |der: &'d CertificateDer<'_>| {
        X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|_| PemError::NoCertificate)
    };
    all.iter().map(read).collect()
}

/// From when to when a certificate in DER is good; `None` for what is none.
pub fn leaf(der: &[u8]) -> Option<Validity> {
    X509Certificate::from_der(der).ok().map(|(_, leaf)| validity(&leaf))
}

fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let at = |seconds| Timestamp::from_secs(u64::try_from(seconds).unwrap_or(0));
    let validity = certificate.validity();
    Validity { from: at(validity.not_before.timestamp()), until: at(validity.not_after.timestamp()) }
}

/// Whether names fit and signatures do not, as when an authority has a new key under its old name. Judged at a moment at
/// which all are good: their time is told apart.
fn forged(chain: &[CertificateDer<'_>], parsed: &[X509Certificate<'_>]) -> bool {
    let [leaf, between @ .., last] = chain else { return false };
    let from = parsed.iter().map(|one| validity(one).from).max().unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(from.as_secs() + 1));
    let mut roots = RootCertStore::empty();
    if roots.add(last.clone().into_owned()).is_err() {
        return false;
    }
    let Ok(leaf) = ParsedCertificate::try_from(leaf) else { return false };
    let algorithms = super::provider().signature_verification_algorithms.all;
    let verified = verify_server_cert_signed_by_trust_anchor(&leaf, &roots, between, now, algorithms);
    matches!(
        verified,
        Err(rustls::Error::InvalidCertificate(
            CertificateError::BadSignature | CertificateError::UnknownIssuer
        ))
    )
}

#[cfg(test)]
mod tests {
    use super::{
        super::authority::{Authority, NOW, SERVER_NAME, dns},
        *,
    };

    #[test]
    fn a_chain_is_one_where_each_is_signed_by_the_next() {
        let (authority, other) = (Authority::new(), Authority::new());
        let named = |params: &mut rcgen::CertificateParams| {
            params.distinguished_name.push(rcgen::DnType::CommonName, "a server");
        };
        let leaf = authority.issue(&[dns(SERVER_NAME)], named);
        let read = |parts: &[&str]| chain(&parts.join("\n")).unwrap();
        let (leaf, ours, theirs) = (leaf.pem(), authority.pem(), other.pem());
        assert_eq!(read(&[&leaf]).broken_after, None);
        assert_eq!(read(&[&leaf, &ours]).broken_after, None);
        // An authority of the same name, with another key.
        assert_eq!(read(&[&leaf, &theirs]).broken_after, Some(0));
        assert_eq!(read(&[&ours, &leaf]).broken_after, Some(0));
        assert_eq!(chain("nothing"), Err(PemError::NoCertificate));
    }

    #[test]
    fn certificates_tell_from_when_to_when_they_are_good() {
        let hour = Duration::from_secs(3600);
        let found = chain(&Authority::new().server().pem()).unwrap();
        assert_eq!(found.certificates, [Validity { from: NOW.minus(hour), until: NOW.plus(hour) }]);
        let two = [Authority::new().pem(), Authority::new().pem()].concat();
        assert_eq!(bundle(&two).unwrap().len(), 2);
    }
}
