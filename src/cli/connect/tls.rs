//! TLS of a client of the API: whose certificate the server has to show, which one is shown to it, and what a refusal
//! means in words that help. What the server wrote is not repeated.

use super::ReachArgs;
use crate::{cli::failure::Failure, domain::spiffe::SpiffeId, tls::leaf};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    version::TLS13,
};
use rustls_platform_verifier::BuilderVerifierExt;
use std::{fs::File, io, io::Read, path::Path, sync::Arc};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Largest file with certificates or a key, in bytes.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// What TLS did not accept, on this side or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Refused {
    pub(super) problem: &'static str,
    pub(super) mend: &'static str,
}

/// Verifies a server by its SPIFFE ID (X509-SVID section 5): the chain, and the one URI of the leaf.
#[derive(Debug)]
struct BySpiffeId {
    id: SpiffeId,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

/// It has another one, or none.
#[derive(Debug, thiserror::Error)]
#[error("another SPIFFE ID")]
struct OtherId;

/// What shakes hands, and the name that the server is asked for.
pub(super) fn connector(
    reach: &ReachArgs,
    host: &str,
) -> Result<(TlsConnector, ServerName<'static>), Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|err| Failure::Local(err.into()))?;
    let builder = match (&reach.tls_ca, &reach.server_spiffe_id) {
        (Some(ca), Some(id)) => {
            let id = id.parse().map_err(|err| Failure::Usage(format!("--server-spiffe-id: {err}")))?;
            let verifier = BySpiffeId { id, roots: roots(ca)?, provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        (Some(ca), None) => builder.with_root_certificates(roots(ca)?),
        (None, _) => builder.with_platform_verifier().map_err(|_| {
            Failure::Usage("this system has no authorities of its own: name a file with --tls-ca".into())
        })?,
    };
    let mut config = match (&reach.tls_cert, &reach.tls_key) {
        (Some(cert), Some(key)) => {
            let chain = certificates("--tls-cert", cert)?;
            let key = PrivateKeyDer::from_pem_slice(&read("--tls-key", key)?).map_err(|_| {
                Failure::Usage("--tls-key: there is no private key in PEM in this file".into())
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|_| {
                Failure::Usage("--tls-key: this key does not belong to the certificate of --tls-cert".into())
            })?
        }
        (_, _) => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = reach.tls_server_name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|_| {
        Failure::Usage(
            "--tls-server-name: a DNS name or an IP address is needed, here or in the endpoint".into(),
        )
    })?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn roots(path: &Path) -> Result<Arc<RootCertStore>, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("--tls-ca", path)? {
        roots.add(certificate).map_err(|_| {
            Failure::Usage("--tls-ca: this file has a certificate that is no authority's".into())
        })?;
    }
    Ok(Arc::new(roots))
}

fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = read(flag, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok()
        .filter(|all| !all.is_empty())
        .ok_or_else(|| Failure::Usage(format!("{flag}: there is no certificate in PEM in this file")))
}

fn read(flag: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let done = File::open(path).and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut bytes));
    done.map_err(|err| Failure::Usage(format!("{flag}: the file cannot be read: {}", err.kind())))?;
    Ok(bytes)
}

/// `None`: it was not TLS that broke.
pub(super) fn refused(err: &io::Error) -> Option<Refused> {
    let tls = err.get_ref()?.downcast_ref::<Error>()?;
    let (problem, mend) = match tls {
        Error::InvalidCertificate(certificate) => server_refused(certificate),
        Error::AlertReceived(alert) => refused_by_server(*alert),
        Error::InvalidMessage(_) => (
            "what answers there does not speak TLS",
            "if the broker listens without TLS, on this machine only, use an http:// endpoint",
        ),
        Error::PeerIncompatible(_) => {
            ("the server does not speak TLS 1.3", "look at what stands in front of the broker")
        }
        _ => ("TLS with the server failed", "check --endpoint, and what stands in front of the broker"),
    };
    Some(Refused { problem, mend })
}

fn server_refused(err: &CertificateError) -> (&'static str, &'static str) {
    match err {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "the server's certificate is of an authority that is not known here",
            "name the file with its authority by --tls-ca or BURSAR_TLS_CA",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "the server's certificate has another name than the endpoint",
            "use the name in the certificate as the endpoint, or write it with --tls-server-name; for an SVID use \
             --server-spiffe-id",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "the server's certificate has expired",
            "replace it where the broker runs, and check this machine's clock",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("the server's certificate is not valid yet", "check this machine's clock")
        }
        CertificateError::Other(other) if other.0.is::<OtherId>() => (
            "the server has another SPIFFE ID than --server-spiffe-id",
            "check that the endpoint is the broker's, and its registration entry",
        ),
        _ => ("the server's certificate cannot be used", "look at it with `openssl x509 -text`"),
    }
}

fn refused_by_server(alert: AlertDescription) -> (&'static str, &'static str) {
    match alert {
        AlertDescription::CertificateRequired => {
            ("the server asks for a client certificate", "name yours with --tls-cert and --tls-key")
        }
        AlertDescription::UnknownCA => (
            "the server does not know the authority of this client certificate, or not for this name",
            "have the authority added to the broker's identity.spiffe or identity.dns, or use another certificate",
        ),
        AlertDescription::CertificateExpired => {
            ("the server says that the client certificate has expired", "renew the file of --tls-cert")
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => (
            "the server does not take this client certificate",
            "it needs exactly one SPIFFE ID, or one name of the broker's identity.dns.names; the broker's log says which \
             rule it breaks",
        ),
        AlertDescription::ProtocolVersion => {
            ("the server does not speak TLS 1.3", "look at what stands in front of the broker")
        }
        AlertDescription::NoApplicationProtocol => (
            "the server does not speak HTTP/2 there",
            "check --endpoint, and what stands in front of the broker",
        ),
        _ => ("the server broke TLS off", "the broker's log says why"),
    }
}

impl ServerCertVerifier for BySpiffeId {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        match leaf::spiffe_id(end_entity) {
            Ok(Some(id)) if id == self.id => Ok(ServerCertVerified::assertion()),
            Ok(_) | Err(_) => {
                Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(OtherId)))))
            }
        }
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
