//! Between the nouns of the domain and the bytes that lie in the store. A record that any version of the
//! program wrote is read, or refused with the field's name; nothing is guessed.

mod authorization;
mod clients;
mod walks;

pub use clients::{decode_audit_key, decode_client, encode_audit_key, encode_client};
pub use walks::{decode_kek_log, decode_walk, encode_kek_log, encode_walk};

use super::record as pb;
use crate::{
    clock::Timestamp,
    domain::{
        client::{Deletion, Tenant, Undo},
        connection::{
            Attempt, Before, BoundKey, Connection, LastFailure, Mark, Principal, StateReason, Token,
        },
        names::{ClientName, ConnectionName, ProviderName, TenantName},
        token::Sealed,
    },
};
use prost::Message;
use std::{fmt::Display, str::FromStr};
use uuid::Uuid;

/// The format this program writes.
pub const FORMAT: u32 = 1;

/// Which field of a record cannot be read, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {cause}")]
pub struct CodecError {
    pub field: &'static str,
    pub cause: String,
}

fn wrong(field: &'static str, cause: impl Display) -> CodecError {
    CodecError { field, cause: cause.to_string() }
}

fn word<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<T, CodecError> {
    text.parse().map_err(|err| wrong(field, err))
}

fn uuid(field: &'static str, bytes: &[u8]) -> Result<Uuid, CodecError> {
    Uuid::from_slice(bytes).map_err(|err| wrong(field, err))
}

fn needed<T>(field: &'static str, value: Option<T>) -> Result<T, CodecError> {
    value.ok_or_else(|| wrong(field, "is missing"))
}

fn bytes_of<T>(sealed: Option<&Sealed<T>>) -> Option<Vec<u8>> {
    sealed.map(|sealed| sealed.bytes().to_vec())
}

fn parsed<M: Message + Default>(bytes: &[u8]) -> Result<M, CodecError> {
    M::decode(bytes).map_err(|err| wrong("(record)", err))
}

pub fn encode_connection(c: &Connection) -> Vec<u8> {
    pb::Connection {
        uid: c.uid.as_bytes().to_vec(),
        revision: c.revision,
        created_at: c.created_at.0,
        updated_at: c.updated_at.0,
        provider: c.provider.to_string(),
        client: c.client.to_string(),
        grant: c.grant.to_string(),
        principal: c.principal.as_ref().map(|p| pb::Principal { kind: p.kind.to_string(), id: p.id.clone() }),
        subject: c.subject.clone(),
        labels: c.labels.clone(),
        requested_scopes: c.requested_scopes.clone(),
        requested_resources: c.requested_resources.clone(),
        scopes: c.scopes.clone(),
        narrowing: c.narrowing.to_string(),
        api_base_url: c.api_base_url.clone(),
        state: c.state.to_string(),
        reason: c.reason.as_ref().map(encode_reason),
        before: c.before.as_ref().map(|before| pb::StateBefore {
            state: before.state.to_string(),
            reason: before.reason.as_ref().map(encode_reason),
        }),
        family: c.family.as_bytes().to_vec(),
        generation: c.generation,
        dpop: c.dpop.as_ref().map(|key| pb::BoundKey {
            sealed: key.sealed.bytes().to_vec(),
            thumbprint: key.thumbprint.clone(),
        }),
        refresh_token: bytes_of(c.refresh_token.as_ref()),
        previous_refresh_token: bytes_of(c.previous_refresh_token.as_ref()),
        refresh_expires_at: c.refresh_expires_at.map(|at| at.0),
        token: c.token.as_ref().map(|t| pb::Token {
            sealed: t.sealed.bytes().to_vec(),
            generation: t.generation,
            issued_at: t.issued_at.0,
            expires_at: t.expires_at.0,
            soft_at: t.soft_at.0,
            hard_at: t.hard_at.0,
            overlap: t.overlap.to_string(),
            bound_to: t.bound_to.clone(),
        }),
        attempt: c.attempt.as_ref().map(|a| pb::Attempt {
            id: a.id.as_bytes().to_vec(),
            replica: a.replica.clone(),
            generation: a.generation,
            started_at: a.started_at.0,
            lease_until: a.lease_until.0,
            authorization: a.authorization.map(|id| id.as_bytes().to_vec()),
        }),
        settled: c.settled.map(|id| id.as_bytes().to_vec()),
        suspicion: c.suspicion.as_ref().map(encode_mark),
        ambiguous: c.ambiguous.as_ref().map(encode_mark),
        due: c.due.map(|at| at.0),
        failures: c.failures,
        last_success_at: c.last_success_at.map(|at| at.0),
        last_failure: c.last_failure.as_ref().map(|f| pb::LastFailure {
            class: f.class.to_string(),
            code: f.code.clone(),
            correlation_id: f.correlation_id.clone(),
            at: f.at.0,
        }),
        authorization: c.authorization.as_deref().map(authorization::encode),
    }
    .encode_to_vec()
}

/// The name comes from where the record was found, never from the record.
pub fn decode_connection(name: &ConnectionName, bytes: &[u8]) -> Result<Connection, CodecError> {
    let r: pb::Connection = parsed(bytes)?;
    Ok(Connection {
        name: name.clone(),
        uid: uuid("uid", &r.uid)?,
        revision: r.revision,
        created_at: Timestamp(r.created_at),
        updated_at: Timestamp(r.updated_at),
        provider: word::<ProviderName>("provider", &r.provider)?,
        client: word::<ClientName>("client", &r.client)?,
        grant: word("grant", &r.grant)?,
        principal: r
            .principal
            .map(|p| Ok(Principal { kind: word("principal.kind", &p.kind)?, id: p.id }))
            .transpose()?,
        subject: r.subject,
        labels: r.labels,
        requested_scopes: r.requested_scopes,
        requested_resources: r.requested_resources,
        scopes: r.scopes,
        narrowing: word("narrowing", &r.narrowing)?,
        api_base_url: r.api_base_url,
        state: word("state", &r.state)?,
        reason: r.reason.map(decode_reason).transpose()?,
        before: r
            .before
            .map(|before| {
                let reason = before.reason.map(decode_reason).transpose()?;
                Ok(Before { state: word("before.state", &before.state)?, reason })
            })
            .transpose()?,
        family: uuid("family", &r.family)?,
        generation: r.generation,
        dpop: r
            .dpop
            .map(|key| BoundKey { sealed: Sealed::from_bytes(key.sealed), thumbprint: key.thumbprint }),
        refresh_token: r.refresh_token.map(Sealed::from_bytes),
        previous_refresh_token: r.previous_refresh_token.map(Sealed::from_bytes),
        refresh_expires_at: r.refresh_expires_at.map(Timestamp),
        token: r.token.map(decode_token).transpose()?,
        attempt: r.attempt.map(decode_attempt).transpose()?,
        settled: r.settled.map(|id| uuid("settled", &id)).transpose()?,
        suspicion: r.suspicion.map(decode_mark),
        ambiguous: r.ambiguous.map(decode_mark),
        due: r.due.map(Timestamp),
        failures: r.failures,
        last_success_at: r.last_success_at.map(Timestamp),
        last_failure: r.last_failure.map(decode_failure).transpose()?,
        authorization: r.authorization.map(authorization::decode).transpose()?.map(Box::new),
    })
}

fn encode_reason(reason: &StateReason) -> pb::StateReason {
    pb::StateReason {
        reason: reason.reason.to_string(),
        code: reason.code.clone(),
        correlation_id: reason.correlation_id.clone(),
        at: reason.at.0,
    }
}

fn decode_reason(r: pb::StateReason) -> Result<StateReason, CodecError> {
    Ok(StateReason {
        reason: word("reason.reason", &r.reason)?,
        code: r.code,
        correlation_id: r.correlation_id,
        at: Timestamp(r.at),
    })
}

fn decode_token(t: pb::Token) -> Result<Token, CodecError> {
    Ok(Token {
        sealed: Sealed::from_bytes(t.sealed),
        generation: t.generation,
        issued_at: Timestamp(t.issued_at),
        expires_at: Timestamp(t.expires_at),
        soft_at: Timestamp(t.soft_at),
        hard_at: Timestamp(t.hard_at),
        overlap: word("token.overlap", &t.overlap)?,
        bound_to: t.bound_to,
    })
}

fn decode_attempt(a: pb::Attempt) -> Result<Attempt, CodecError> {
    Ok(Attempt {
        id: uuid("attempt.id", &a.id)?,
        replica: a.replica,
        generation: a.generation,
        started_at: Timestamp(a.started_at),
        lease_until: Timestamp(a.lease_until),
        authorization: a.authorization.map(|id| uuid("attempt.authorization", &id)).transpose()?,
    })
}

fn encode_mark(mark: &Mark) -> pb::Mark {
    pb::Mark {
        generation: mark.generation,
        at: mark.at.0,
        code: mark.code.clone(),
        correlation_id: mark.correlation_id.clone(),
    }
}

fn decode_mark(m: pb::Mark) -> Mark {
    Mark { generation: m.generation, at: Timestamp(m.at), code: m.code, correlation_id: m.correlation_id }
}

fn decode_failure(f: pb::LastFailure) -> Result<LastFailure, CodecError> {
    Ok(LastFailure {
        class: word("last_failure.class", &f.class)?,
        code: f.code,
        correlation_id: f.correlation_id,
        at: Timestamp(f.at),
    })
}

pub fn encode_tenant(t: &Tenant) -> Vec<u8> {
    pb::Tenant {
        uid: t.uid.as_bytes().to_vec(),
        revision: t.revision,
        created_at: t.created_at.0,
        updated_at: t.updated_at.0,
        display_name: t.display_name.clone(),
        labels: t.labels.clone(),
        deleted_at: t.deletion.map(|deletion| deletion.deleted_at.0),
        purge_at: t.deletion.map(|deletion| deletion.purge_at.0),
        purging: t.deletion.is_some_and(|deletion| deletion.undo == Undo::TooLate),
    }
    .encode_to_vec()
}

pub fn decode_tenant(name: &TenantName, bytes: &[u8]) -> Result<Tenant, CodecError> {
    let r: pb::Tenant = parsed(bytes)?;
    Ok(Tenant {
        name: name.clone(),
        uid: uuid("uid", &r.uid)?,
        revision: r.revision,
        created_at: Timestamp(r.created_at),
        updated_at: Timestamp(r.updated_at),
        display_name: r.display_name,
        labels: r.labels,
        deletion: match (r.deleted_at, r.purge_at) {
            (Some(deleted_at), purge_at) => Some(Deletion {
                deleted_at: Timestamp(deleted_at),
                purge_at: Timestamp(needed("purge_at", purge_at)?),
                undo: if r.purging { Undo::TooLate } else { Undo::Possible },
            }),
            (None, Some(_)) => return Err(wrong("deleted_at", "is missing")),
            (None, None) => None,
        },
    })
}

/// A record with its stamp, ready for a document's body.
pub fn wrap(record: Vec<u8>, stamp_key_version: u32, stamp: Vec<u8>) -> Vec<u8> {
    pb::Envelope { format: FORMAT, record, stamp_key_version, stamp }.encode_to_vec()
}

pub fn unwrap(body: &[u8]) -> Result<pb::Envelope, CodecError> {
    let envelope: pb::Envelope = parsed(body)?;
    needed("format", (envelope.format > 0).then_some(()))?;
    Ok(envelope)
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
