//! A certificate authority for one test run: a server on 127.0.0.1, and clients that it vouches for.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use std::net::{IpAddr, Ipv4Addr};

pub(crate) struct Pki(CertifiedIssuer<'static, KeyPair>);

/// Both in PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Of the authority itself, in PEM.
    pub(crate) fn certificate(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn server(&self) -> Identity {
        self.issue("server of a test", SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    /// A server whose certificate ends with the year before this one.
    pub(crate) fn server_until(&self, year: i32) -> Identity {
        let name = SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.issued("server of a test", name, |params| params.not_after = rcgen::date_time_ymd(year, 1, 1))
    }

    /// A client of this DNS name.
    pub(crate) fn client(&self, name: &str) -> Identity {
        self.issue("client of a test", SanType::DnsName(name.try_into().unwrap()))
    }

    /// A workload with an X.509-SVID.
    pub(crate) fn svid(&self, id: &str) -> Identity {
        self.issue("workload of a test", SanType::URI(id.try_into().unwrap()))
    }

    fn issue(&self, title: &str, name: SanType) -> Identity {
        self.issued(title, name, |_| {})
    }

    fn issued(&self, title: &str, name: SanType, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, title);
        params.subject_alt_names.push(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}
