//! A client's credentials on their way in: checked, or made here, then sealed. What is made here never leaves.

use super::{Admin, AdminError, tenant_missing};
use crate::{
    clock::Timestamp,
    domain::{
        client::Client,
        credential::{PublicPart, SecretKind, StoredSecret},
        profile::{ClientAuth, SigningAlg},
        token::{ClientSecret, Secret},
    },
    provider::{
        certificates::{self, CertificateError, VALID_FOR},
        keys::{KeyError, SigningKey},
    },
    seal::Place,
};
use std::time::Duration;

const PRIVATE_KEY: &str = "client_secret.private_key.private_key_pem";
const KEY_ALGORITHM: &str = "client_secret.private_key.algorithm";
const CHAIN: &str = "client_secret.certificate.certificate_chain_pem";
const CERTIFICATE_KEY: &str = "client_secret.certificate.private_key_pem";

/// A credential to be added to a client.
#[derive(Debug)]
pub struct NewSecret {
    pub value: NewCredential,
    /// When it expires, where the caller knows; a certificate says so itself.
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug)]
pub enum NewCredential {
    Shared(ClientSecret),
    PrivateKey { pem: Secret, key_id: Option<String>, algorithm: Option<SigningAlg> },
    GeneratedKey { key_id: Option<String>, algorithm: SigningAlg },
    Certificate { chain: String, key: Secret },
    GeneratedCertificate { algorithm: SigningAlg, valid_for: Option<Duration> },
}

impl From<ClientSecret> for NewSecret {
    fn from(secret: ClientSecret) -> Self {
        Self { value: NewCredential::Shared(secret), expires_at: None }
    }
}

impl NewCredential {
    pub const fn kind(&self) -> SecretKind {
        match self {
            Self::Shared(_) => SecretKind::SharedSecret,
            Self::PrivateKey { .. } | Self::GeneratedKey { .. } => SecretKind::PrivateKey,
            Self::Certificate { .. } | Self::GeneratedCertificate { .. } => SecretKind::Certificate,
        }
    }
}

/// A credential of the kind that the method needs, and none where it needs none. `others` are methods that the client
/// may change to, for which it needs the credential beforehand.
fn fits(auth: ClientAuth, others: &[ClientAuth], given: SecretKind) -> Result<(), AdminError> {
    let problem = match auth.needs() {
        Some(needed) if needed == given => return Ok(()),
        Some(_) | None if others.iter().any(|other| other.needs() == Some(given)) => return Ok(()),
        Some(needed) => format!("is a {given}, and {auth} needs a {needed}"),
        None => format!("is not used with auth_method {auth}: leave it out"),
    };
    Err(AdminError::Invalid { field: "client_secret", problem })
}

/// The key set to be registered at the server (RFC 7517 §5): the public halves of the client's active private keys.
/// `None` if it has none.
pub fn jwks(client: &Client) -> Option<serde_json::Value> {
    let keys: Vec<serde_json::Value> = client
        .active_secrets()
        .filter_map(|(secret, _)| match &secret.public {
            PublicPart::PrivateKey(key) => serde_json::from_str(&key.jwk).ok(),
            PublicPart::SharedSecret | PublicPart::Certificate(_) => None,
        })
        .collect();
    (!keys.is_empty()).then(|| serde_json::json!({ "keys": keys }))
}

impl Admin {
    /// Checks or makes the credential, and seals it for this client.
    pub(super) async fn credential(
        &self,
        client: &Client,
        others: &[ClientAuth],
        new: &NewSecret,
    ) -> Result<StoredSecret, AdminError> {
        fits(client.auth, others, new.value.kind())?;
        let name = &client.name;
        let (public, secret, ends_at) = self.prepared(client, &new.value)?;
        let id = self.new_uid();
        let keys = self.keys.sealing(&name.owner).await.map_err(|err| tenant_missing(err, &name.owner))?;
        let resource = name.to_string();
        let place = Place { resource: &resource, family: id, generation: 0 };
        Ok(StoredSecret {
            id,
            public,
            sealed: Some(keys.seal(&place, &secret)?),
            created_at: self.clock.now(),
            retired_at: None,
            expires_at: ends_at.or(new.expires_at),
            last_used_at: None,
            refused_at: None,
        })
    }

    /// The open part, the part to be sealed, and when it ends by its own words.
    fn prepared(
        &self,
        client: &Client,
        value: &NewCredential,
    ) -> Result<(PublicPart, ClientSecret, Option<Timestamp>), AdminError> {
        let profile = self.catalogue.get(&client.provider);
        let key = |pem: &Secret, algorithm, key_id: &Option<String>| {
            let key = SigningKey::from_pem(pem, algorithm, key_id.as_deref()).map_err(bad_key)?;
            let taken = profile.as_ref().map(|profile| profile.signing_algs.as_slice()).unwrap_or_default();
            if !taken.is_empty() && !taken.contains(&key.algorithm()) {
                let taken: Vec<_> = taken.iter().map(|one| one.word()).collect();
                let problem = format!(
                    "is {}, which {} does not take: use one of {}",
                    key.algorithm(),
                    client.provider,
                    taken.join(", ")
                );
                return Err(AdminError::Invalid { field: KEY_ALGORITHM, problem });
            }
            Ok::<_, AdminError>((PublicPart::PrivateKey(key.public()), ClientSecret(pem.clone()), None))
        };
        match value {
            NewCredential::Shared(secret) => Ok((PublicPart::SharedSecret, secret.clone(), None)),
            NewCredential::PrivateKey { pem, key_id, algorithm } => key(pem, *algorithm, key_id),
            NewCredential::GeneratedKey { key_id, algorithm } => {
                key(&SigningKey::generate(*algorithm).map_err(bad_key)?, Some(*algorithm), key_id)
            }
            NewCredential::Certificate { chain, key } => {
                let (certificate, ends_at) =
                    certificates::checked(chain, key, self.clock.now()).map_err(bad_certificate)?;
                Ok((PublicPart::Certificate(certificate), ClientSecret(key.clone()), Some(ends_at)))
            }
            NewCredential::GeneratedCertificate { algorithm, valid_for } => {
                if client.auth == ClientAuth::TlsClientAuth {
                    let problem = "a certificate that the broker makes is self-signed: set \
                                   auth_method self_signed_tls_client_auth, or give one that an authority signed"
                        .to_owned();
                    return Err(AdminError::Invalid { field: "client_secret.certificate.generate", problem });
                }
                let valid_for = valid_for.unwrap_or(VALID_FOR);
                let now = self.clock.now();
                let ((certificate, ends_at), key) =
                    certificates::self_signed(&client.client_id, *algorithm, valid_for, now)
                        .map_err(bad_certificate)?;
                Ok((PublicPart::Certificate(certificate), ClientSecret(key), Some(ends_at)))
            }
        }
    }
}

fn bad_key(err: KeyError) -> AdminError {
    let field = match err {
        KeyError::WrongAlgorithm => KEY_ALGORITHM,
        KeyError::Encrypted
        | KeyError::NotPem
        | KeyError::TooLong
        | KeyError::RsaTooSmall
        | KeyError::RsaTooLarge
        | KeyError::WrongCurve
        | KeyError::Unusable
        | KeyError::Signing => PRIVATE_KEY,
    };
    AdminError::Invalid { field, problem: err.to_string() }
}

fn bad_certificate(err: CertificateError) -> AdminError {
    let field = match err {
        CertificateError::NotPem
        | CertificateError::TooLong
        | CertificateError::Unreadable
        | CertificateError::Expired
        | CertificateError::Making => CHAIN,
        CertificateError::Validity => "client_secret.certificate.valid_for",
        CertificateError::OtherKey | CertificateError::Key(_) => CERTIFICATE_KEY,
    };
    AdminError::Invalid { field, problem: err.to_string() }
}
