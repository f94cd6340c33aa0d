//! Why a handshake failed, in our own words: what the other side wrote is not repeated.

use super::leaf::LeafError;
use rustls::{AlertDescription, CertificateError, Error};
use std::io;

/// A sentence without text from outside, for the log.
pub fn why(err: &io::Error) -> String {
    let Some(tls) = err.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match err.kind() {
            io::ErrorKind::TimedOut => "the handshake took too long",
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "the client hung up in the handshake"
            }
            _ => "the connection broke in the handshake",
        }
        .to_owned();
    };
    if let Error::InvalidCertificate(certificate) = tls {
        return certificate_refused(certificate);
    }
    match tls {
        Error::NoCertificatesPresented => "the client brought no certificate (tls.clients is \"required\")",
        Error::PeerIncompatible(_) => "the client does not speak TLS 1.3, or nothing that this server speaks",
        Error::NoApplicationProtocol => "the client does not offer HTTP/2 (ALPN `h2`)",
        Error::InvalidMessage(_) => "what the client sent is not TLS",
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate,
        ) => "the client does not accept this server's certificate",
        Error::AlertReceived(_) => "the client broke the handshake off",
        Error::DecryptError | Error::PeerMisbehaved(_) => "the client broke the rules of TLS",
        _ => "the handshake failed",
    }
    .to_owned()
}

fn certificate_refused(err: &CertificateError) -> String {
    if let CertificateError::Other(other) = err {
        // Its words are ours.
        return match other.0.downcast_ref::<LeafError>() {
            Some(leaf) => leaf.to_string(),
            None => "client certificate was refused".to_owned(),
        };
    }
    match err {
        CertificateError::UnknownIssuer => {
            "client certificate is of an authority that may not vouch for this name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "client certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "client certificate is not valid yet"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "client certificate is not for clients (extended key usage clientAuth)"
        }
        _ => "client certificate was refused",
    }
    .to_owned()
}
