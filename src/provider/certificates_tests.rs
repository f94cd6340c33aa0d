//! Certificates come in or are refused, and those that are made here are what was asked for.

use super::*;
use crate::egress::TlsIdentity;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const DAY: Duration = Duration::from_hours(24);

/// A leaf under an authority, with its key.
fn issued() -> (String, Secret) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["app".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    (format!("{}{}", leaf.pem(), authority.pem()), Secret::new(key.serialize_pem()))
}

#[test]
fn a_certificate_made_here_lasts_as_long_as_was_asked_and_belongs_to_its_key() {
    for algorithm in [SigningAlg::Es256, SigningAlg::Ps256, SigningAlg::EdDsa] {
        let ((certificate, ends_at), key) = self_signed("client-1", algorithm, DAY, NOW).unwrap();
        assert_eq!(ends_at, NOW.plus(DAY));
        assert_eq!(certificate.subject, "CN=client-1");
        assert_eq!(certificate.chain.matches("BEGIN CERTIFICATE").count(), 1);
        assert!(!certificate.chain.contains("PRIVATE"));
        // 32 bytes in base64url.
        assert_eq!(certificate.thumbprint.len(), 43);
        assert_eq!(checked(&certificate.chain, &key, NOW).unwrap().0, certificate);
        assert_eq!(checked(&certificate.chain, &key, ends_at).unwrap_err(), CertificateError::Expired);
        let shown = format!("{:?}", TlsIdentity::new(&certificate, &key));
        assert_eq!(shown, format!("[certificate {}]", certificate.thumbprint));
    }
    for wrong in [Duration::ZERO, VALID_FOR_MAX + DAY] {
        let made = self_signed("c", SigningAlg::Es256, wrong, NOW);
        assert_eq!(made.unwrap_err(), CertificateError::Validity);
    }
}

#[test]
fn a_chain_is_kept_whole_and_without_what_else_the_file_held() {
    let (chain, key) = issued();
    let mixed = format!("{chain}{}", key.expose());
    let (certificate, _) = checked(&mixed, &key, NOW).unwrap();
    assert_eq!(certificate.chain.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(!certificate.chain.contains("PRIVATE"), "a key in the chain's file is not kept in the open");
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_with_the_mend() {
    let ((chain, key), (_, other)) = (issued(), issued());
    let encrypted = Secret::new("-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
    let damaged = super::super::keys::pem("CERTIFICATE", b"\x30\x00");
    let long = "x".repeat(CHAIN_PEM_MAX + 1);
    let many = chain.repeat(CHAIN_MAX / 2 + 1);
    let cases = [
        (chain.as_str(), &other, CertificateError::OtherKey),
        (&chain, &encrypted, CertificateError::Key(KeyError::Encrypted)),
        ("nothing", &key, CertificateError::NotPem),
        (&damaged, &key, CertificateError::Unreadable),
        (&long, &key, CertificateError::TooLong),
        (&many, &key, CertificateError::TooLong),
    ];
    for (number, (chain, key, want)) in cases.into_iter().enumerate() {
        assert_eq!(checked(chain, key, NOW).unwrap_err(), want, "case {number}");
    }
}
