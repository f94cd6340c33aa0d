//! TLS as one server asks for it, against a real server under an authority of the test.

use super::*;
use crate::{
    clock::Timestamp,
    domain::{
        failure::{Evidence, Trouble},
        profile::{HostPattern, SigningAlg},
    },
    egress::{AddressPolicy, Egress, Outgoing, Reply},
    provider::certificates::self_signed,
};
use http::{HeaderMap, Method};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, ServerConnection, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    version::{TLS12, TLS13},
};
use std::{
    io::{Read, Write},
    time::Duration,
};

const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// What a server heard: the client's certificate in DER, and how many bytes of a request.
#[derive(Debug, Default)]
struct Heard {
    certificate: Option<Vec<u8>>,
    request: Vec<u8>,
}

/// How a server is to be talked to.
#[derive(Clone)]
struct Asked<'a> {
    server: &'a Server,
    hosts: Vec<HostPattern>,
    roots: Roots<'a>,
    oldest: MinimumTls,
}

struct Server {
    base: String,
    /// PEM of the authority.
    roots: String,
    heard: Arc<Mutex<Heard>>,
}

/// Takes whatever certificate the client shows, and checks that it has the key: what RFC 8705 §2.2 asks for.
#[derive(Debug)]
struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl Server {
    fn start(versions: &[&'static rustls::SupportedProtocolVersion]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(Arc::new(AnyClient))
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (config, record) = (Arc::new(config), Arc::clone(&heard));
        // Ends with the test's process: it waits for connections and holds nothing.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &config, &record);
            }
        });
        Self { base, roots: authority.pem(), heard }
    }

    fn asked(&self) -> Asked<'_> {
        let hosts = vec![HostPattern(self.base.strip_prefix("https://").unwrap().to_owned())];
        Asked { server: self, hosts, roots: Roots::Also(&self.roots), oldest: MinimumTls::Tls12 }
    }
}

/// One request of at most one read, and its answer. A client that breaks off is what some tests are about.
fn answer(mut stream: std::net::TcpStream, config: &Arc<ServerConfig>, heard: &Mutex<Heard>) {
    let mut connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    let mut read = [0; 4096];
    let Ok(count) = tls.read(&mut read) else { return };
    heard.lock().request.extend_from_slice(&read[..count]);
    // Before the answer: who has that asks what was shown.
    heard.lock().certificate =
        tls.conn.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
    let body = "{}";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = tls.write_all(answer.as_bytes());
    tls.conn.send_close_notify();
    let _ = tls.flush();
}

async fn send(
    egress: &Egress,
    asked: &Asked<'_>,
    presenting: Option<TlsIdentity>,
) -> Result<Reply, Evidence> {
    let url = asked.server.base.parse().unwrap();
    let destination =
        Destination { hosts: &asked.hosts, roots: asked.roots, minimum_tls: asked.oldest, networks: &[] };
    let body = b"client_secret=canary".to_vec();
    let outgoing = Outgoing { method: Method::POST, url, headers: HeaderMap::new(), body, presenting };
    egress.send(&destination, outgoing, Duration::from_secs(5)).await
}

fn egress() -> Egress {
    Egress::new(AddressPolicy::LoopbackOnly).unwrap()
}

fn failed(outcome: Result<Reply, Evidence>) -> Evidence {
    outcome.err().expect("a failure")
}

#[tokio::test]
async fn a_certificate_is_presented_to_the_server_it_is_for_and_to_no_other() {
    let (server, egress) = (Server::start(&[&TLS13, &TLS12]), egress());
    let asked = server.asked();
    for algorithm in [SigningAlg::Es256, SigningAlg::Ps256, SigningAlg::EdDsa] {
        let ((certificate, _), key) =
            self_signed("client-1", algorithm, Duration::from_hours(1), NOW).unwrap();
        let identity = TlsIdentity::new(&certificate, &key);
        assert_eq!(send(&egress, &asked, Some(identity)).await.unwrap().status, 200, "{algorithm}");
        let leaf = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).unwrap();
        assert_eq!(server.heard.lock().certificate.as_deref(), Some(leaf.as_ref()), "{algorithm}");
    }
    assert_eq!(send(&egress, &asked, None).await.unwrap().status, 200);
    assert_eq!(server.heard.lock().certificate, None);
}

#[tokio::test]
async fn a_server_under_another_authority_is_sent_nothing() {
    let (server, other, egress) = (Server::start(&[&TLS13]), Server::start(&[&TLS13]), egress());
    let ((certificate, _), key) = self_signed("c", SigningAlg::Es256, Duration::from_hours(1), NOW).unwrap();
    let identity = || Some(TlsIdentity::new(&certificate, &key));
    let trusting = |roots| Asked { roots, ..server.asked() };
    for asked in
        [trusting(Roots::Also(&other.roots)), trusting(Roots::Only(&other.roots)), trusting(Roots::System)]
    {
        for presenting in [identity(), None] {
            let evidence = failed(send(&egress, &asked, presenting).await);
            assert_eq!(evidence, Evidence::NotSent(Trouble::Tls));
        }
    }
    assert!(server.heard.lock().request.is_empty(), "not a byte of a request");
    for roots in [Roots::Also(&server.roots), Roots::Only(&server.roots)] {
        assert_eq!(send(&egress, &trusting(roots), identity()).await.unwrap().status, 200);
    }
    assert!(server.heard.lock().request.ends_with(b"client_secret=canary"));
}

#[tokio::test]
async fn a_version_of_tls_below_the_servers_minimum_is_not_spoken() {
    fn newest(server: &Server) -> Asked<'_> {
        Asked { oldest: MinimumTls::Tls13, ..server.asked() }
    }
    let (old, egress) = (Server::start(&[&TLS12]), egress());
    assert_eq!(send(&egress, &old.asked(), None).await.unwrap().status, 200);
    old.heard.lock().request.clear();
    let evidence = failed(send(&egress, &newest(&old), None).await);
    assert!(matches!(evidence, Evidence::NotSent(_)), "{evidence:?}");
    assert!(old.heard.lock().request.is_empty());
    let new = Server::start(&[&TLS13]);
    assert_eq!(send(&egress, &newest(&new), None).await.unwrap().status, 200);
}
