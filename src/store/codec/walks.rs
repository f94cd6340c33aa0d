//! Work on keys, and the keys of the KEK, as they are stored.

use super::{CodecError, needed, parsed, uuid, wrong};
use crate::{
    clock::Timestamp,
    domain::{
        kek_log::{KekLog, SeenKek},
        walk::{Stage, Walk, WalkLease, WalkName},
    },
    store::record as pb,
};
use prost::Message;

pub fn encode_walk(w: &Walk) -> Vec<u8> {
    pb::Walk {
        uid: w.uid.as_bytes().to_vec(),
        created_at: w.created_at.0,
        target: w.target,
        started_at: w.started_at.0,
        ended_at: w.ended_at.map(|at| at.0),
        due_at: w.due_at.0,
        stage: w.stage.word().to_owned(),
        cursor: w.cursor.clone(),
        scanned: w.scanned,
        resealed: w.resealed,
        broken: w.broken,
        total: w.total,
        records: w.records.clone(),
        replica: w.lease.as_ref().map(|lease| lease.replica.clone()),
        lease_until: w.lease.as_ref().map_or(0, |lease| lease.until.0),
    }
    .encode_to_vec()
}

/// The name comes from where the record was found, never from the record.
pub fn decode_walk(name: &WalkName, bytes: &[u8]) -> Result<Walk, CodecError> {
    let r: pb::Walk = parsed(bytes)?;
    let stage = Stage::ALL.into_iter().find(|stage| stage.word() == r.stage);
    Ok(Walk {
        name: name.clone(),
        uid: uuid("uid", &r.uid)?,
        created_at: Timestamp(r.created_at),
        target: r.target,
        started_at: Timestamp(r.started_at),
        ended_at: r.ended_at.map(Timestamp),
        due_at: Timestamp(r.due_at),
        stage: stage.ok_or_else(|| wrong("stage", "is not known to this program"))?,
        cursor: r.cursor,
        scanned: r.scanned,
        resealed: r.resealed,
        broken: r.broken,
        total: r.total,
        records: r.records,
        lease: r.replica.map(|replica| WalkLease { replica, until: Timestamp(r.lease_until) }),
    })
}

pub fn encode_kek_log(log: &KekLog) -> Vec<u8> {
    let key = |key: &SeenKek| pb::SeenKek {
        version: key.version,
        kind: key.kind.clone(),
        id: key.id.clone(),
        seen_at: key.seen_at.0,
        activated_at: key.activated_at.map(|at| at.0),
        retired_at: key.retired_at.map(|at| at.0),
    };
    pb::KekLog {
        uid: log.uid.as_bytes().to_vec(),
        created_at: log.created_at.0,
        keys: log.keys.iter().map(key).collect(),
    }
    .encode_to_vec()
}

pub fn decode_kek_log(bytes: &[u8]) -> Result<KekLog, CodecError> {
    let r: pb::KekLog = parsed(bytes)?;
    let key = |key: pb::SeenKek| {
        Ok(SeenKek {
            version: needed("keys.version", (key.version > 0).then_some(key.version))?,
            kind: key.kind,
            id: key.id,
            seen_at: Timestamp(key.seen_at),
            activated_at: key.activated_at.map(Timestamp),
            retired_at: key.retired_at.map(Timestamp),
        })
    };
    Ok(KekLog {
        uid: uuid("uid", &r.uid)?,
        created_at: Timestamp(r.created_at),
        keys: r.keys.into_iter().map(key).collect::<Result<_, _>>()?,
    })
}
