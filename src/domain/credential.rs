//! What a client proves itself with, as it is kept: the secret part sealed, the public part open, and what is known
//! of how it fared.

/// What profiles list is what keys are.
pub use super::profile::SigningAlg as SigningAlgorithm;
use super::{
    profile::{ClientAuth, SigningAlg},
    token::{ClientSecret, Sealed},
};
use crate::clock::Timestamp;
use std::time::Duration;
use uuid::Uuid;

/// How exactly the last use is kept: one write for so long, however often it is used.
pub const LAST_USE_WITHIN: Duration = Duration::from_hours(1);

/// A credential. Its id is part of the place it is sealed for.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSecret {
    pub id: Uuid,
    pub public: PublicPart,
    /// The shared secret, or the private key as PKCS #8 in PEM. `None` once retired: what is out of use is not kept.
    pub sealed: Option<Sealed<ClientSecret>>,
    pub created_at: Timestamp,
    pub retired_at: Option<Timestamp>,
    /// Of a certificate its end, of others what was said when it was added.
    pub expires_at: Option<Timestamp>,
    /// When the server last accepted it, to [`LAST_USE_WITHIN`].
    pub last_used_at: Option<Timestamp>,
    /// When the server refused it, if that was its last use.
    pub refused_at: Option<Timestamp>,
}

/// What everybody may know of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicPart {
    /// Nothing.
    SharedSecret,
    PrivateKey(PublicKey),
    Certificate(Certificate),
}

/// The public half of a key that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Goes into the header of what is signed (RFC 7515 §4.1.4).
    pub key_id: String,
    pub algorithm: SigningAlg,
    /// RFC 7517, as JSON, with `kid`, `alg` and `use`.
    pub jwk: String,
}

/// A TLS client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM, leaf first.
    pub chain: String,
    /// `x5t#S256` of the leaf (RFC 8705 §3.1): SHA-256 over its DER, in base64url.
    pub thumbprint: String,
    /// The leaf's subject, as RFC 4514 writes it.
    pub subject: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    SharedSecret,
    PrivateKey,
    Certificate,
}

/// How a credential fared at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub secret: Uuid,
    pub said: Said,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Accepted,
    Refused,
}

impl PublicPart {
    pub const fn kind(&self) -> SecretKind {
        match self {
            Self::SharedSecret => SecretKind::SharedSecret,
            Self::PrivateKey(_) => SecretKind::PrivateKey,
            Self::Certificate(_) => SecretKind::Certificate,
        }
    }
}

impl ClientAuth {
    /// What a client needs to authenticate in this way.
    pub const fn needs(self) -> Option<SecretKind> {
        match self {
            Self::ClientSecretBasic | Self::ClientSecretPost | Self::ClientSecretJwt => {
                Some(SecretKind::SharedSecret)
            }
            Self::PrivateKeyJwt => Some(SecretKind::PrivateKey),
            Self::TlsClientAuth | Self::SelfSignedTlsClientAuth => Some(SecretKind::Certificate),
            Self::None => None,
        }
    }
}

impl StoredSecret {
    /// Takes down how it fared.
    pub(super) fn fared(&mut self, said: Said, now: Timestamp) {
        match said {
            Said::Accepted => {
                self.refused_at = None;
                if self.last_used_at.is_none_or(|last| last.plus(LAST_USE_WITHIN) <= now) {
                    self.last_used_at = Some(now);
                }
            }
            Said::Refused => self.refused_at = self.refused_at.or(Some(now)),
        }
    }
}
