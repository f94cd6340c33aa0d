//! A client as the server is to see it: its credentials opened, for one piece of work, and what the server said of them.

use super::keys::{KeyError, SigningKey};
use crate::{
    domain::{
        credential::{PublicPart, Said, SecretKind, Verdict},
        profile::ClientAuth,
        token::ClientSecret,
    },
    egress::TlsIdentity,
};
use parking_lot::Mutex;
use uuid::Uuid;

/// Who asks, in the eyes of the server. Made for one exchange.
#[derive(Debug)]
pub struct ClientIdentity {
    pub client_id: String,
    pub auth: ClientAuth,
    /// The active ones in the order in which they are tried: when the server refuses the client, the next one is.
    pub credentials: Vec<Credential>,
    /// What the server said of them.
    pub verdicts: Verdicts,
}

#[derive(Debug)]
pub struct Credential {
    /// Of the stored secret.
    pub id: Uuid,
    pub proof: Proof,
}

/// A credential in the open.
#[derive(Debug)]
pub enum Proof {
    Shared(ClientSecret),
    Key(SigningKey),
    Certificate(TlsIdentity),
}

/// Grows with the credentials that are tried, so to no more than a client may have.
#[derive(Debug, Default)]
pub struct Verdicts(Mutex<Vec<Verdict>>);

impl Credential {
    /// From what was sealed and what is open. The error is a damaged record: a key is checked when it comes in.
    pub fn opened(id: Uuid, public: &PublicPart, secret: ClientSecret) -> Result<Self, KeyError> {
        let proof = match public {
            PublicPart::SharedSecret => Proof::Shared(secret),
            PublicPart::PrivateKey(key) => {
                Proof::Key(SigningKey::from_pem(&secret.0, Some(key.algorithm), Some(&key.key_id))?)
            }
            PublicPart::Certificate(certificate) => {
                Proof::Certificate(TlsIdentity::new(certificate, &secret.0))
            }
        };
        Ok(Self { id, proof })
    }

    pub const fn kind(&self) -> SecretKind {
        match self.proof {
            Proof::Shared(_) => SecretKind::SharedSecret,
            Proof::Key(_) => SecretKind::PrivateKey,
            Proof::Certificate(_) => SecretKind::Certificate,
        }
    }
}

impl Verdicts {
    pub fn note(&self, secret: Uuid, said: Said) {
        let mut verdicts = self.0.lock();
        verdicts.retain(|verdict| verdict.secret != secret);
        verdicts.push(Verdict { secret, said });
    }

    pub fn all(&self) -> Vec<Verdict> {
        self.0.lock().clone()
    }
}
