//! Who vouches for clients: a certificate is held against the authorities of the trust domain that it names, or those
//! of the ordinary PKI, and never against the others.

use super::{
    Clients, Rules, SetupError,
    leaf::{self, Anchor, LeafError},
};
use crate::domain::spiffe::TrustDomain;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The authorities, by what they may vouch for.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    /// SPIFFE bundles from files, and from the Workload API: of one trust domain the former count.
    pub files: BTreeMap<TrustDomain, Arc<RootCertStore>>,
    pub workload_api: BTreeMap<TrustDomain, Arc<RootCertStore>>,
    /// For DNS names.
    pub pki: Option<Arc<RootCertStore>>,
}

/// The chain verifiers of one state of the anchors.
pub(super) struct Verifier {
    rules: Arc<Rules>,
    provider: Arc<CryptoProvider>,
    domains: BTreeMap<TrustDomain, Arc<dyn ClientCertVerifier>>,
    pki: Option<Arc<dyn ClientCertVerifier>>,
}

impl Anchors {
    /// Nobody can be vouched for: no certificate is asked for.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.workload_api.is_empty() && self.pki.is_none()
    }
}

impl Verifier {
    pub(super) fn new(
        anchors: &Anchors,
        rules: Arc<Rules>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, SetupError> {
        let of = |roots: &Arc<RootCertStore>| {
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                .build()
                .map_err(|_| Error::General("a bundle holds no usable authority".to_owned()))
        };
        let mut domains = BTreeMap::new();
        for (domain, roots) in anchors.workload_api.iter().chain(&anchors.files) {
            domains.insert(domain.clone(), of(roots)?);
        }
        let pki = anchors.pki.as_ref().map(of).transpose()?;
        Ok(Self { rules, provider, domains, pki })
    }
}

/// A leaf that names nobody, as the library carries it.
pub(super) fn refusal(err: LeafError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(err))))
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        match self.rules.clients {
            Clients::Required => true,
            Clients::Optional => false,
        }
    }

    /// None: authorities of SPIFFE often have the same subject or none, and clients that choose by it would send
    /// nothing. Strangers learn no names either.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let claimed = leaf::claimed(end_entity, &self.rules.names).map_err(refusal)?;
        let chain = match &claimed.anchor {
            Anchor::TrustDomain(domain) => self.domains.get(domain),
            Anchor::Pki => self.pki.as_ref(),
        };
        let chain = chain.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        chain.verify_client_cert(end_entity, intermediates, now).map_err(|err| match err {
            // An authority of the same name and another key: of SPIFFE's many have the same name, or none.
            Error::InvalidCertificate(CertificateError::BadSignature) => {
                Error::InvalidCertificate(CertificateError::UnknownIssuer)
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("rules", &self.rules).finish_non_exhaustive()
    }
}
