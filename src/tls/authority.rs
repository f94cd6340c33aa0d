//! An authority for tests: whatever certificate is asked of it, hostile ones included.

use super::{Anchors, Clients, Parts, Rules, Server, pem};
use crate::{
    clock::{Timestamp, TokioClock},
    domain::token::Secret,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose as Eku, IsCa, KeyPair,
    KeyUsagePurpose as Ku, SanType,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::{sync::Arc, time::Duration};

/// When the tests are: 2027-01-15. Certificates are good from an hour before to an hour after.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const AROUND: Duration = Duration::from_secs(3600);
pub(crate) const SERVER_NAME: &str = "bursar.test";

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Ku::KeyCertSign, Ku::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        pem::authorities(&self.pem()).unwrap()
    }

    /// A leaf as SPIRE issues it, with what `change` makes of it.
    pub(crate) fn issue(&self, names: &[SanType], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.key_usages = vec![Ku::DigitalSignature];
        params.extended_key_usages = vec![Eku::ServerAuth, Eku::ClientAuth];
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(NOW.minus(AROUND));
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(NOW.plus(AROUND));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Issued { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }

    pub(crate) fn svid(&self, id: &str) -> Issued {
        self.issue(&[uri(id)], |_| {})
    }

    pub(crate) fn server(&self) -> Issued {
        self.issue(&[dns(SERVER_NAME)], |_| {})
    }
}

impl Issued {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn key_pem(&self) -> Secret {
        Secret::new(self.key.serialize_pem())
    }

    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    pub(crate) fn certified(&self) -> Arc<rustls::sign::CertifiedKey> {
        Arc::new(pem::certified(&self.pem(), &self.key_pem()).unwrap().0)
    }
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn since_epoch(time: Timestamp) -> Duration {
    Duration::from_secs(time.as_secs())
}

/// A server that shows a certificate of `shown`, and believes these.
pub(crate) fn server(shown: &Authority, anchors: Anchors, clients: Clients, names: &[&str]) -> Server {
    let parts = Parts { certificate: shown.server().certified(), anchors };
    let rules = Rules { clients, names: names.iter().map(|&name| name.to_owned()).collect() };
    Server::new(parts, rules, Arc::new(TokioClock::starting_at(NOW))).unwrap()
}

/// A client that believes `authority` and shows `identity`.
pub(crate) fn client(
    authority: &Authority,
    identity: Option<&Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let time = Arc::new(super::Wall(Arc::new(TokioClock::starting_at(NOW))));
    let builder = ClientConfig::builder_with_details(super::provider(), time)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(authority.roots());
    let mut config = match identity {
        Some(issued) => builder.with_client_auth_cert(vec![issued.der()], issued.key_der()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
