//! A client as it is stored, with its credentials.

use super::{CodecError, bytes_of, parsed, uuid, word};
use crate::{
    clock::Timestamp,
    domain::{
        audit::KeptAuditKey,
        client::{Client, Hold},
        credential::{Certificate, PublicKey, PublicPart, StoredSecret},
        names::{ClientName, ProviderName},
        rotation::Rotation,
        token::Sealed,
    },
    store::record as pb,
};
use prost::Message;

pub fn encode_client(c: &Client) -> Vec<u8> {
    pb::Client {
        uid: c.uid.as_bytes().to_vec(),
        revision: c.revision,
        created_at: c.created_at.0,
        updated_at: c.updated_at.0,
        provider: c.provider.to_string(),
        client_id: c.client_id.clone(),
        auth: c.auth.to_string(),
        allowed_grants: c.allowed_grants.iter().map(ToString::to_string).collect(),
        allowed_scopes: c.allowed_scopes.clone(),
        environment: c.environment.to_string(),
        secrets: c.secrets.iter().map(encode_secret).collect(),
        preferred: c.preferred.map(|id| id.as_bytes().to_vec()),
        rotation: c.rotation.as_ref().map(encode_rotation),
        hold: c.hold.as_ref().map(|h| pb::Hold {
            until: h.until.0,
            reason: h.reason.map(|reason| reason.to_string()),
            code: h.code.clone(),
            correlation_id: h.correlation_id.clone(),
            at: h.at.0,
            failures: h.failures,
        }),
        endings: c.endings.iter().map(|at| at.0).collect(),
    }
    .encode_to_vec()
}

pub fn decode_client(name: &ClientName, bytes: &[u8]) -> Result<Client, CodecError> {
    let r: pb::Client = parsed(bytes)?;
    Ok(Client {
        name: name.clone(),
        uid: uuid("uid", &r.uid)?,
        revision: r.revision,
        created_at: Timestamp(r.created_at),
        updated_at: Timestamp(r.updated_at),
        provider: word::<ProviderName>("provider", &r.provider)?,
        client_id: r.client_id,
        auth: word("auth", &r.auth)?,
        allowed_grants: r
            .allowed_grants
            .iter()
            .map(|grant| word("allowed_grants", grant))
            .collect::<Result<_, _>>()?,
        allowed_scopes: r.allowed_scopes,
        environment: word("environment", &r.environment)?,
        secrets: r.secrets.into_iter().map(decode_secret).collect::<Result<_, _>>()?,
        preferred: r.preferred.map(|id| uuid("preferred", &id)).transpose()?,
        rotation: r.rotation.map(decode_rotation).transpose()?,
        hold: r.hold.map(decode_hold).transpose()?,
        endings: r.endings.into_iter().map(Timestamp).collect(),
    })
}

pub fn encode_audit_key(key: &KeptAuditKey) -> Vec<u8> {
    pb::AuditKey {
        uid: key.uid.as_bytes().to_vec(),
        created_at: key.created_at.0,
        sealed: key.sealed.bytes().to_vec(),
    }
    .encode_to_vec()
}

pub fn decode_audit_key(bytes: &[u8]) -> Result<KeptAuditKey, CodecError> {
    let r: pb::AuditKey = parsed(bytes)?;
    Ok(KeptAuditKey {
        uid: uuid("uid", &r.uid)?,
        created_at: Timestamp(r.created_at),
        sealed: Sealed::from_bytes(r.sealed),
    })
}

fn encode_secret(s: &StoredSecret) -> pb::ClientSecret {
    use pb::client_secret::Public;
    pb::ClientSecret {
        id: s.id.as_bytes().to_vec(),
        sealed: bytes_of(s.sealed.as_ref()),
        created_at: s.created_at.0,
        retired_at: s.retired_at.map(|at| at.0),
        expires_at: s.expires_at.map(|at| at.0),
        last_used_at: s.last_used_at.map(|at| at.0),
        refused_at: s.refused_at.map(|at| at.0),
        public: match &s.public {
            PublicPart::SharedSecret => None,
            PublicPart::PrivateKey(key) => Some(Public::PublicKey(pb::PublicKey {
                key_id: key.key_id.clone(),
                algorithm: key.algorithm.to_string(),
                jwk: key.jwk.clone(),
            })),
            PublicPart::Certificate(certificate) => Some(Public::Certificate(pb::Certificate {
                chain: certificate.chain.clone(),
                thumbprint: certificate.thumbprint.clone(),
                subject: certificate.subject.clone(),
            })),
        },
    }
}

fn decode_secret(s: pb::ClientSecret) -> Result<StoredSecret, CodecError> {
    use pb::client_secret::Public;
    Ok(StoredSecret {
        id: uuid("secrets.id", &s.id)?,
        public: match s.public {
            None => PublicPart::SharedSecret,
            Some(Public::PublicKey(key)) => PublicPart::PrivateKey(PublicKey {
                key_id: key.key_id,
                algorithm: word("secrets.public_key.algorithm", &key.algorithm)?,
                jwk: key.jwk,
            }),
            Some(Public::Certificate(certificate)) => PublicPart::Certificate(Certificate {
                chain: certificate.chain,
                thumbprint: certificate.thumbprint,
                subject: certificate.subject,
            }),
        },
        sealed: s.sealed.map(Sealed::from_bytes),
        created_at: Timestamp(s.created_at),
        retired_at: s.retired_at.map(Timestamp),
        expires_at: s.expires_at.map(Timestamp),
        last_used_at: s.last_used_at.map(Timestamp),
        refused_at: s.refused_at.map(Timestamp),
    })
}

fn encode_rotation(r: &Rotation) -> pb::Rotation {
    pb::Rotation {
        started_at: r.started_at.0,
        stage: r.stage.to_string(),
        old: r.old.clone(),
        old_secret: r.old_secret.as_bytes().to_vec(),
        known: r.known.clone(),
        new: r.new.as_ref().map(|(id, _)| id.clone()),
        new_secret: r.new.as_ref().map(|(_, secret)| secret.as_bytes().to_vec()),
    }
}

fn decode_rotation(r: pb::Rotation) -> Result<Rotation, CodecError> {
    let new_secret = r.new_secret.map(|id| uuid("rotation.new_secret", &id)).transpose()?;
    Ok(Rotation {
        started_at: Timestamp(r.started_at),
        stage: word("rotation.stage", &r.stage)?,
        old: r.old,
        old_secret: uuid("rotation.old_secret", &r.old_secret)?,
        known: r.known,
        new: r.new.zip(new_secret),
    })
}

fn decode_hold(h: pb::Hold) -> Result<Hold, CodecError> {
    Ok(Hold {
        reason: h.reason.map(|reason| word("hold.reason", &reason)).transpose()?,
        until: Timestamp(h.until),
        code: h.code,
        correlation_id: h.correlation_id,
        at: Timestamp(h.at),
        failures: h.failures,
    })
}
