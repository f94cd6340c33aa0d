//! Key chains as they are shown: versions and progress, never a key.

use super::{some_timestamp, timestamp};
use crate::{
    access::Chain,
    api::{self, KekStatus, KeyVersion, ResealProgress, kek_status, key_chain::Kind, key_version::State},
    broker::{
        custodian::{ChainView, VersionView},
        heartbeat::KekHealth,
    },
    clock::Timestamp,
    domain::{lifecycle::Moment, walk::Walk},
    seal::{KekKey, KekKind, KeyState},
};

pub fn key_chain(view: &ChainView, health: &KekHealth, now: Moment) -> api::KeyChain {
    let kind = match view.chain {
        Chain::Kek => Kind::Kek,
        Chain::Root => Kind::Root,
        Chain::Of(_) => Kind::Tenant,
    };
    api::KeyChain {
        name: view.chain.to_string(),
        etag: view.etag.clone(),
        kind: kind.into(),
        versions: view.versions.iter().map(|version| self::version(version, now)).collect(),
        reseal: view.walk.as_ref().map(|walk| progress(walk, now)),
        kek: (view.chain == Chain::Kek).then(|| status(health)),
    }
}

fn version(view: &VersionView, now: Moment) -> KeyVersion {
    let state = match view.state {
        KeyState::Prepared => State::Prepared,
        KeyState::Active => State::Active,
        KeyState::DecryptOnly => State::DecryptOnly,
        KeyState::Destroyed => State::Destroyed,
    };
    KeyVersion {
        version: view.version,
        state: state.into(),
        create_time: Some(timestamp(past(view.created_at, now))),
        activate_time: some_timestamp(view.activated_at.map(|at| past(at, now))),
        destroy_time: some_timestamp(view.destroyed_at.map(|at| past(at, now))),
        record_count: view.records,
    }
}

fn progress(walk: &Walk, now: Moment) -> ResealProgress {
    ResealProgress {
        target_version: walk.target,
        start_time: Some(timestamp(past(walk.started_at, now))),
        end_time: some_timestamp(walk.ended_at.map(|at| past(at, now))),
        scanned_count: walk.scanned,
        resealed_count: walk.resealed,
        broken_count: walk.broken,
        total_count: walk.total,
    }
}

fn status(health: &KekHealth) -> KekStatus {
    let kind = match health.kind {
        KekKind::File => kek_status::Kind::File,
        KekKind::KmsPlugin => kek_status::Kind::KmsPlugin,
        KekKind::Transit => kek_status::Kind::Transit,
    };
    KekStatus {
        kind: kind.into(),
        key_id: health.key.as_ref().map(KekKey::shown_id).unwrap_or_default(),
        last_success_time: some_timestamp(health.last_success),
        failing_since_time: some_timestamp(health.failing_since),
    }
}

/// A time of the store's clock that has passed, by this replica's.
fn past(at: Timestamp, now: Moment) -> Timestamp {
    now.here.minus(at.until(now.store))
}
