//! Keys are rotated while everything goes on, and destroyed when nothing needs them; a deleted tenant comes back whole or
//! not at all.

use crate::{
    rig::{HOUR, Replica, Rig, SPREAD, START, TICK, UNDO, client_name, name, numbered, secs, served},
    server::Say,
    way::Fault,
};
use bursar::{
    access::{
        Access, Action, AuditClass, Caller, Chain, Identity, Rate, Transport,
        policies::{Policies, PolicyFile},
    },
    api::{self, key_service_server::KeyService},
    audit::Event,
    broker::{
        GetTokenError, Wish,
        admin::{
            AdminError, Kind,
            tenants::{Deleting, TenantPatch},
        },
        custodian::{ChainView, KeysError},
        knowing::Knowing,
        scheduler::Scheduler,
    },
    domain::{
        client::{Deletion, Tenant, Undo},
        connection::Connection,
        names::{Owner, TenantName},
        walk::LEASE,
    },
    grpc::{
        guard::{Call, Guard},
        keys::Keys,
        recording::Recording,
    },
    limits::Seat,
    seal::{KeyState, Root},
    store::{Change, Document, Expect, Room, StoreError, Swapped, Then, codec, record as pb},
};
use futures_util::{Stream, StreamExt};
use prost::Message;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Status};

fn tenant() -> TenantName {
    "tenants/t".parse().unwrap()
}

fn owner() -> Owner {
    Owner::Tenant(tenant())
}

fn chain() -> Chain {
    Chain::Of(owner())
}

fn states(view: &ChainView) -> Vec<(u32, KeyState)> {
    view.versions.iter().map(|version| (version.version, version.state)).collect()
}

async fn documents(rig: &Rig, prefix: &str) -> Vec<Document> {
    rig.documents.scan(prefix, None, 1000).await.unwrap()
}

async fn document(rig: &Rig, key: &str) -> Document {
    documents(rig, key).await.into_iter().find(|document| document.key.as_str() == key).unwrap()
}

/// Puts back what was there.
async fn put_back(rig: &Rig, old: &Document) {
    let version = document(rig, old.key.as_str()).await.version;
    let then = Then::Put { body: old.body.clone(), due: None };
    let change = Change { key: old.key.clone(), expect: Expect::At(version), then, room: Room::Forced };
    assert!(matches!(rig.documents.swap(change).await.unwrap().value, Swapped::Done(_)));
}

/// How long until everything is sealed anew, with some time to spare.
const WHOLE: Duration = Duration::from_secs(2 * 60 + 30);

async fn rotated(rig: &Rig, chain: &Chain) {
    rig.a.custodian.rotate(chain, "").await.unwrap();
    sleep(WHOLE).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_moves_everything_and_the_old_version_goes() {
    let rig = Rig::new().await;
    for n in 1..30 {
        rig.seed(n).await;
    }
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
    let before = rig.record().await;
    rig.a.keep_keys();

    let view = rig.a.custodian.rotate(&chain(), "").await.unwrap();
    assert_eq!(states(&view), [(2, KeyState::Prepared), (1, KeyState::Active)]);
    let refusal = rig.a.custodian.rotate(&chain(), "").await.unwrap_err();
    assert!(matches!(refusal, KeysError::InProgress { .. }), "{refusal}");
    sleep(SPREAD.saturating_sub(secs(1))).await;
    assert_eq!(states(&rig.a.custodian.view(&chain()).await.unwrap())[0], (2, KeyState::Prepared));
    sleep(secs(4)).await;
    let view = rig.a.custodian.view(&chain()).await.unwrap();
    assert_eq!(states(&view), [(2, KeyState::Active), (1, KeyState::DecryptOnly)]);
    assert!(!view.is_settled());
    let refusal = rig.a.custodian.retire(&chain(), 1, "").await.unwrap_err();
    assert!(matches!(refusal, KeysError::InProgress { .. }), "others may seal with it: {refusal}");

    sleep(SPREAD + secs(20)).await;
    let view = rig.a.custodian.view(&chain()).await.unwrap();
    let walk = view.walk.as_ref().unwrap();
    // 30 connections, the client, the tenant.
    assert_eq!((walk.total, walk.scanned, walk.resealed, walk.broken), (32, 32, 32, 0));
    assert!(walk.ended_at.is_some() && view.is_settled());
    assert_eq!(view.versions.iter().map(|version| version.records).collect::<Vec<_>>(), [32, 0]);
    for document in ["client/t/", "connection/t/", "tenant/t"] {
        for document in documents(&rig, document).await {
            assert_eq!(codec::unwrap(&document.body).unwrap().stamp_key_version, 2, "{}", document.key);
        }
    }
    let after = rig.record().await;
    assert_eq!(
        (after.revision, after.updated_at, after.generation, after.due),
        (before.revision, before.updated_at, before.generation, before.due),
        "what a record means is not touched"
    );

    let view = rig.a.custodian.retire(&chain(), 1, &view.etag).await.unwrap();
    assert_eq!(states(&view), [(2, KeyState::Active), (1, KeyState::Destroyed)]);
    assert_eq!(rig.a.custodian.retire(&chain(), 1, "").await.unwrap(), view, "again changes nothing");
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
    assert_eq!(rig.replica("b").await.ask().await.unwrap(), served("at1"), "without the old version");
    let steps =
        ["tenants/t 2 prepared", "tenants/t 1 decrypt_only", "tenants/t 2 active", "tenants/t 1 destroyed"];
    assert_eq!(rig.a.trail.of_keys(), steps);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_record_and_every_chain_is_moved() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.a.keep_keys();
    bursar::broker::audit_key::audit_key(&rig.a.ledger, &rig.a.admin.keys, &*rig.clock).await.unwrap();
    for chain in [chain(), Chain::Of(Owner::Platform), Chain::Kek, Chain::Root] {
        rotated(&rig, &chain).await;
    }
    for chain in [chain(), Chain::Of(Owner::Platform), Chain::Root] {
        let view = rig.a.custodian.view(&chain).await.unwrap();
        assert!(view.is_settled() && view.walk.as_ref().unwrap().broken == 0, "{view:?}");
        rig.a.custodian.retire(&chain, 1, "").await.unwrap();
    }
    for document in documents(&rig, "").await {
        let key = document.key.as_str();
        if key == "root" {
            let root = pb::RootChain::decode(&*document.body).unwrap().chain.unwrap();
            assert_eq!((root.stamp_key_version, root.versions[0].wrapped.len()), (2, 0));
        } else if key.starts_with("keys/") {
            let chain = pb::KeyChain::decode(&*document.body).unwrap();
            assert_eq!((chain.stamp_key_version, chain.versions[0].wrapped.len()), (2, 0), "{key}");
        } else {
            assert_eq!(codec::unwrap(&document.body).unwrap().stamp_key_version, 2, "{key}");
        }
    }
    assert_eq!(rig.a.ask().await.unwrap(), rig.replica("b").await.ask().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn retiring_says_exactly_how_many_records_are_left() {
    let rig = Rig::new().await;
    rig.seed(1).await;
    let keeping = rig.a.keep_keys();
    rig.a.custodian.rotate(&chain(), "").await.unwrap();
    sleep(SPREAD + secs(10)).await;
    keeping.abort();
    sleep(SPREAD).await;
    let in_use = rig.a.custodian.retire(&chain(), 1, "").await.unwrap_err();
    assert_eq!(in_use.to_string(), "cannot retire version 1: 4 records left");
    // A write moves the stamp, and of what is sealed what it replaces.
    rig.a.ask().await.unwrap();
    let in_use = rig.a.custodian.retire(&chain(), 1, "").await.unwrap_err();
    assert_eq!(in_use.to_string(), "cannot retire version 1: 3 records left");

    // What cannot be read may still be of use to somebody.
    rig.tamper(|body| *body.last_mut().unwrap() ^= 1).await;
    rig.a.keep_keys();
    sleep(LEASE + secs(20)).await;
    let view = rig.a.custodian.view(&chain()).await.unwrap();
    assert_eq!((view.walk.as_ref().unwrap().scanned, view.walk.as_ref().unwrap().broken), (4, 1));
    assert_eq!(
        rig.a.custodian.retire(&chain(), 1, "").await.unwrap().versions[1].state,
        KeyState::Destroyed,
        "its stamp was by the new version"
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_older_version_sealed_and_nobody_can_read_stands_in_its_way() {
    let rig = Rig::new().await;
    rig.tamper(|body| *body.last_mut().unwrap() ^= 1).await;
    rig.a.keep_keys();
    rotated(&rig, &chain()).await;
    let view = rig.a.custodian.view(&chain()).await.unwrap();
    let walk = view.walk.as_ref().unwrap();
    assert_eq!((walk.total, walk.scanned, walk.resealed, walk.broken), (3, 3, 2, 1));
    match rig.a.custodian.retire(&chain(), 1, "").await.unwrap_err() {
        KeysError::InUse { records: 1, broken: 1, .. } => {}
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_fit_the_chain_is_refused() {
    let rig = Rig::new().await;
    let custodian = &rig.a.custodian;
    let stranger = Chain::Of("tenants/nobody".parse().unwrap());
    assert!(matches!(custodian.rotate(&stranger, "").await, Err(KeysError::NoChain { .. })));
    assert!(matches!(custodian.view(&stranger).await, Err(KeysError::NoChain { .. })));
    assert!(matches!(custodian.rotate(&chain(), "stale").await, Err(KeysError::EtagMismatch { .. })));
    assert!(matches!(custodian.retire(&chain(), 7, "").await, Err(KeysError::NoVersion { version: 7, .. })));
    assert!(matches!(custodian.retire(&chain(), 1, "").await, Err(KeysError::Active { version: 1, .. })));
    assert!(matches!(custodian.retire(&chain(), 1, "stale").await, Err(KeysError::EtagMismatch { .. })));
    let etag = custodian.view(&chain()).await.unwrap().etag;
    custodian.rotate(&chain(), &etag).await.unwrap();
    let repeated = custodian.rotate(&chain(), &etag).await;
    assert!(matches!(repeated, Err(KeysError::EtagMismatch { .. })), "as after a lost answer");
    assert!(matches!(custodian.retire(&chain(), 2, "").await, Err(KeysError::InProgress { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_outlasts_a_rotation_is_sealed_by_the_new_version() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.a.keep_keys();
    rig.a.custodian.rotate(&chain(), "").await.unwrap();
    sleep(SPREAD.saturating_sub(secs(5))).await;
    // Begun while version 1 seals, and answered when it does not any more.
    rig.server.then([Say::Late(secs(20))]);
    let asking = b.asking();
    assert_eq!(asking.await.unwrap().unwrap(), served("at1"));
    sleep(WHOLE).await;
    rig.a.custodian.retire(&chain(), 1, "").await.unwrap();
    assert_eq!(b.ask_for(secs(3000)).await.unwrap(), served("at1"));
    rig.server.then([Say::Good]);
    sleep(secs(3500)).await;
    assert_eq!(b.ask().await.unwrap(), served("at2"), "its refresh token opens too");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_store_takes_late_is_not_sealed_by_a_version_that_is_gone() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.a.keep_keys();
    rig.a.custodian.rotate(&chain(), "").await.unwrap();
    sleep(SPREAD.saturating_sub(secs(5))).await;
    rig.server.then([Say::Late(secs(4))]);
    let asking = b.asking();
    sleep(secs(2)).await;
    b.store.go_away();
    sleep(WHOLE).await;
    rig.a.custodian.retire(&chain(), 1, "").await.unwrap();
    b.store.come_back();
    assert_eq!(asking.await.unwrap().unwrap(), served("at1"));
    assert_eq!(rig.replica("c").await.ask().await.unwrap(), served("at1"));
}

#[tokio::test(start_paused = true)]
async fn another_replica_finishes_what_one_began() {
    let rig = Rig::new().await;
    for n in 1..500 {
        rig.seed(n).await;
    }
    let b = rig.replica("b").await;
    let keeping = rig.a.keep_keys();
    rig.a.custodian.rotate(&chain(), "").await.unwrap();
    // Cut off in the middle of it.
    let middle = loop {
        sleep(Duration::from_millis(50)).await;
        let view = rig.a.custodian.view(&chain()).await.unwrap();
        let walk = view.walk.unwrap();
        if walk.stage == bursar::domain::walk::Stage::Walking && walk.scanned > 100 {
            break walk;
        }
    };
    keeping.abort();
    assert!(middle.ended_at.is_none() && middle.scanned < 500, "{middle:?}");
    b.keep_keys();
    sleep(LEASE / 2).await;
    assert!(!b.custodian.view(&chain()).await.unwrap().is_settled(), "its lease has not ended");
    sleep(LEASE).await;
    let view = b.custodian.view(&chain()).await.unwrap();
    let walk = view.walk.as_ref().unwrap();
    assert!(view.is_settled());
    assert_eq!((walk.total, walk.scanned, walk.resealed, walk.broken), (502, 502, 502, 0));
    assert_eq!(view.versions[1].records, 0);
    b.custodian.retire(&chain(), 1, "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_running_replica_does_not_go_back_to_an_older_chain() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    let old = document(&rig, "keys/t").await;
    rig.a.keep_keys();
    rotated(&rig, &chain()).await;
    rig.a.custodian.retire(&chain(), 1, "").await.unwrap();
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
    put_back(&rig, &old).await;
    sleep(secs(2)).await;
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
    assert_eq!(rig.a.admin.keys.keys(&owner()).await.unwrap().active_version(), 2);
    assert_eq!(rig.a.admin.keys.sealing(&owner()).await.unwrap().active_version(), 2);
    // One that starts has never seen the other: it finds nothing that opens with what it is given.
    assert!(rig.replica("b").await.ask().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_tenant_is_not_served_and_comes_back_as_it_was() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    b.keep_keys();
    b.schedule();
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
    assert_eq!(b.ask().await.unwrap(), served("at1"));
    let before = rig.record().await;
    let refusal = rig.a.admin.delete_tenant(&tenant(), "", Deleting::IfEmpty).await.unwrap_err();
    assert!(matches!(refusal, AdminError::NotEmpty { .. }), "{refusal}");

    let deleted = rig.a.admin.delete_tenant(&tenant(), "", Deleting::Everything).await.unwrap();
    assert_eq!(deleted.deletion.unwrap().purge_at, START.plus(UNDO).plus(START.until(rig.clock.now())));
    sleep(Duration::from_millis(10)).await;
    for replica in [&rig.a, &b] {
        let refusal = replica.ask().await.unwrap_err();
        assert!(matches!(refusal, GetTokenError::Store(StoreError::Deleted { .. })), "{refusal}");
        let refusal = replica.admin.client(&client_name()).await.unwrap_err();
        assert!(matches!(refusal, AdminError::Store(StoreError::Deleted { .. })), "{refusal}");
        let refusal = replica.admin.tenant(&tenant()).await.unwrap_err();
        assert!(matches!(refusal, AdminError::Store(StoreError::Deleted { .. })), "{refusal}");
    }
    let again = rig.a.admin.delete_tenant(&tenant(), "", Deleting::Everything).await.unwrap();
    assert_eq!(again, deleted, "its purge time stays");
    let taken = rig.a.admin.create_tenant(tenant(), TenantPatch::default()).await.unwrap_err();
    assert!(matches!(taken, AdminError::AlreadyExists { .. }), "{taken}");
    let rotated = rig.a.custodian.rotate(&chain(), "").await.unwrap_err();
    assert!(matches!(rotated, KeysError::Store(StoreError::Deleted { .. })), "{rotated}");
    sleep(UNDO / 2).await;
    assert_eq!(rig.server.tries(), 1, "nothing of it is refreshed");

    rig.a.admin.undelete_tenant(&tenant(), "").await.unwrap();
    let same = rig.a.admin.undelete_tenant(&tenant(), "").await.unwrap();
    assert_eq!((same.deletion, same.uid), (None, deleted.uid));
    sleep(secs(60)).await;
    assert_eq!(rig.server.tries(), 2, "what is due is refreshed again");
    for replica in [&rig.a, &b] {
        assert_eq!(replica.ask().await.unwrap(), served("at2"));
    }
    assert_eq!(rig.record().await.uid, before.uid);
    sleep(UNDO).await;
    assert!(rig.a.ask().await.is_ok(), "and it stays");
}

async fn is_shut(rig: &Rig) -> bool {
    rig.a.admin.keys.chain(&owner()).await.unwrap().unwrap().chain.shut_at.is_some()
}

/// Deleted: nothing of it is served, and after its window its keys are destroyed.
async fn ends(rig: &Rig) {
    assert!(is_shut(rig).await);
    let refusal = rig.a.ask().await.unwrap_err();
    assert!(matches!(refusal, GetTokenError::Store(StoreError::Deleted { .. })), "{refusal}");
    rig.a.keep_keys();
    sleep(UNDO + SPREAD + secs(75)).await;
    for left in ["connection/t/", "client/t/", "tenant/t", "keys/t", "walk"] {
        assert!(documents(rig, left).await.is_empty(), "{left}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_others_look_at_while_it_is_being_deleted_is_deleted() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.a.ask().await.unwrap();
    // The plan is written down, and the record does not say so yet.
    rig.a.store.then(Fault::LateWrite("tenant/", secs(10)));
    b.keep_keys();
    rig.a.admin.delete_tenant(&tenant(), "", Deleting::Everything).await.unwrap();
    b.stop();
    ends(&rig).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_deleted_again_at_the_end_of_its_window_has_a_new_one() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.a.ask().await.unwrap();
    rig.a.admin.delete_tenant(&tenant(), "", Deleting::Everything).await.unwrap();
    sleep(UNDO.saturating_sub(secs(30))).await;
    // It takes up the purge when the window ends, and then hears nothing for a minute.
    rig.a.store.then(Fault::LateReply("walk/", secs(60)));
    let keeping = rig.a.keep_keys();
    sleep(secs(60)).await;
    b.admin.undelete_tenant(&tenant(), "").await.unwrap();
    b.admin.delete_tenant(&tenant(), "", Deleting::Everything).await.unwrap();
    sleep(secs(120)).await;
    keeping.abort();
    b.admin.undelete_tenant(&tenant(), "").await.unwrap();
    sleep(secs(1)).await;
    assert!(b.ask().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_broke_off_is_brought_on_by_the_next_call() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    let deletion =
        Deletion { deleted_at: rig.clock.now(), purge_at: rig.clock.now().plus(UNDO), undo: Undo::Possible };
    let whose = tenant();
    let deleted = rig.a.ledger.amend(
        &whose,
        || StoreError::Full,
        |record: &mut Tenant, _| {
            record.deletion = Some(deletion);
            Ok::<_, StoreError>(())
        },
    );
    deleted.await.unwrap();
    assert!(!is_shut(&rig).await && documents(&rig, "walk").await.is_empty());
    rig.a.admin.delete_tenant(&tenant(), "", Deleting::Everything).await.unwrap();
    ends(&rig).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_restored_while_it_is_being_deleted_is_served() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.a.ask().await.unwrap();
    // The record says deleted, and the keys do not yet.
    rig.a.store.then(Fault::LateWrite("keys/", secs(10)));
    let admin = rig.a.admin.clone();
    let deleting = TaskTracker::new()
        .spawn(async move { admin.delete_tenant(&tenant(), "", Deleting::Everything).await });
    sleep(secs(5)).await;
    b.admin.undelete_tenant(&tenant(), "").await.unwrap();
    deleting.await.unwrap().unwrap();
    assert!(!is_shut(&rig).await);
    sleep(secs(1)).await;
    for replica in [&rig.a, &b] {
        assert_eq!(replica.ask().await.unwrap(), served("at1"));
    }
}

/// A scheduler of its own, on a replica that does not hear anything any more.
fn scheduled(replica: &Replica) -> CancellationToken {
    let stop = CancellationToken::new();
    replica.stop();
    let (ledger, refresher) = (replica.ledger.clone(), replica.broker.refresher.clone());
    TaskTracker::new().spawn(Scheduler { ledger, refresher, tick: TICK, first_shard: 0 }.run(stop.clone()));
    stop
}

#[tokio::test(start_paused = true)]
async fn a_restored_tenant_is_refreshed_by_who_took_it_for_deleted() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.a.ask().await.unwrap();
    b.admin.delete_tenant(&tenant(), "", Deleting::Everything).await.unwrap();
    sleep(secs(1)).await;
    rig.a.ask().await.unwrap_err();
    let stop = scheduled(&rig.a);
    b.keep_keys();
    b.admin.undelete_tenant(&tenant(), "").await.unwrap();
    sleep(HOUR.saturating_sub(secs(600))).await;
    assert_eq!(rig.server.tries(), 2);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_out_of_the_queue_while_its_tenant_is_restored_is_put_back() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.a.ask().await.unwrap();
    b.admin.delete_tenant(&tenant(), "", Deleting::Everything).await.unwrap();
    sleep(secs(1)).await;
    rig.a.ask().await.unwrap_err();
    // Seen as deleted, and taken out when the other one has read it to put it back.
    rig.a.store.then(Fault::LateWrite("connection/", secs(30)));
    let stop = scheduled(&rig.a);
    let due = rig.a.ledger.read_always::<Connection>(&name()).await.unwrap().unwrap().record.due.unwrap();
    sleep(rig.clock.now().until(due) + TICK).await;
    b.admin.undelete_tenant(&tenant(), "").await.unwrap();
    b.store.then(Fault::LateWrite("connection/", secs(60)));
    b.keep_keys();
    sleep(secs(120)).await;
    assert_eq!(rig.server.tries(), 2);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_a_tenant_that_was_deleted_meanwhile_is_kept() {
    let rig = Rig::new().await;
    rig.server.then([Say::Late(secs(10))]);
    let asking = rig.a.asking();
    sleep(secs(5)).await;
    rig.a.admin.delete_tenant(&tenant(), "", Deleting::Everything).await.unwrap();
    assert!(asking.await.unwrap().is_err(), "and handed to nobody");
    rig.a.admin.undelete_tenant(&tenant(), "").await.unwrap();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
    assert_eq!(rig.server.tries(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_its_window_a_tenant_is_gone_for_good() {
    let rig = Rig::new().await;
    rig.seed(1).await;
    rig.a.ask().await.unwrap();
    rig.a.keep_keys();
    let connection = document(&rig, "connection/t/c0").await;
    rig.a.admin.delete_tenant(&tenant(), "", Deleting::Everything).await.unwrap();
    sleep(UNDO.saturating_sub(secs(5))).await;
    assert_eq!(documents(&rig, "connection/t/").await.len(), 2);
    sleep(secs(70)).await;
    assert_eq!(rig.a.trail.of_keys(), ["tenants/t 1 destroyed"]);
    let too_late = rig.a.admin.undelete_tenant(&tenant(), "").await.unwrap_err();
    assert!(matches!(too_late, AdminError::NotFound { kind: Kind::Tenant, .. }), "{too_late}");
    // All that is left says that there was one.
    for kind in ["connection/t/", "client/t/", "tenant/t"] {
        assert!(documents(&rig, kind).await.is_empty(), "{kind}");
    }
    let chains = documents(&rig, "keys/t").await;
    for chain in &chains {
        let chain = pb::KeyChain::decode(&*chain.body).unwrap();
        assert!(chain.versions.iter().all(|version| version.wrapped.is_empty()));
    }
    sleep(SPREAD + secs(10)).await;
    assert!(documents(&rig, "keys/t").await.is_empty() && documents(&rig, "walk").await.is_empty());

    // The name is free, for something else.
    rig.a.admin.create_tenant(tenant(), TenantPatch::default()).await.unwrap();
    let then = Then::Put { body: connection.body, due: None };
    let change = Change { key: connection.key, expect: Expect::Absent, then, room: Room::Forced };
    rig.documents.swap(change).await.unwrap();
    let refusal = rig.a.ask_of(&name(), Wish::default()).await.unwrap_err();
    assert!(matches!(refusal, GetTokenError::Store(StoreError::Forged { .. })), "{refusal}");
    assert!(rig.a.ask_of(&numbered(1), Wish::default()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_before_opens_with_no_root_key_that_is_left() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    let copy = [document(&rig, "keys/t").await, document(&rig, "connection/t/c0").await];
    rig.a.keep_keys();
    rotated(&rig, &Chain::Root).await;
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
    rig.a.custodian.retire(&Chain::Root, 1, "").await.unwrap();
    for old in &copy {
        put_back(&rig, old).await;
    }
    let refusal = rig.replica("b").await.ask().await.unwrap_err();
    assert!(matches!(refusal, GetTokenError::Store(StoreError::Forged { .. })), "{refusal}");
    let chain = pb::KeyChain::decode(&*copy[0].body).unwrap();
    assert_eq!(chain.stamp_key_version, 1);
    let root = rig.a.admin.keys.root_now().await.unwrap();
    assert_eq!(root.rooted.root.active_version(), 2);
    let _: fn(&Root) -> u32 = Root::active_version;
}

/// A stream over a chain that is not settled, and stays so.
async fn watching(
    keys: &Keys,
    caller: Caller,
) -> impl Stream<Item = Result<api::KeyChain, Status>> + Unpin + use<> {
    let mut request = Request::new(api::WatchKeyChainRequest { name: chain().to_string() });
    request.extensions_mut().insert(Call {
        caller,
        action: Action::WatchKeyChain,
        audit: AuditClass::Read,
        rate: Rate::Watch,
        on_behalf_of: String::new(),
        note: Arc::default(),
        seat: Seat::default(),
    });
    let mut news = keys.watch_key_chain(request).await.unwrap().into_inner();
    news.next().await.unwrap().unwrap();
    news
}

#[tokio::test(start_paused = true)]
async fn who_watches_a_chain_may_do_so_for_as_long_as_a_new_call_might() {
    let rig = Rig::new().await;
    rig.a.custodian.rotate(&chain(), "").await.unwrap();
    let access = Arc::new(Access::default());
    let keys = Keys {
        guard: Arc::new(Guard {
            access: access.clone(),
            knowing: Knowing::new(rig.a.broker.clone()),
            recording: Recording { audit: rig.a.trail.clone(), clock: rig.clock.clone() },
        }),
        custodian: rig.a.custodian.clone(),
        heartbeat: rig.a.heartbeat(),
        stopping: CancellationToken::new(),
    };
    let caller = || Caller::new(Identity::Local, Transport::Loopback, BTreeSet::new());
    let lines = || std::mem::take(&mut *rig.a.trail.0.lock());
    let mut steady = watching(&keys, caller()).await;
    let mut passing = watching(&keys, caller().until(Instant::now() + secs(60))).await;
    lines();

    let begun = Instant::now();
    let ended = timeout(secs(3600), passing.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert!((secs(60)..=secs(61)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!(passing.next().await.is_none());
    let told = lines();
    let [Event::Unauthenticated { reason, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(reason.as_str(), "token_time");

    // It has no end of its own, and goes on until it is not allowed any more.
    assert!(timeout(secs(3600), steady.next()).await.is_err());
    let other = PolicyFile {
        name: "a.cedar".into(),
        text: "permit (principal, action == Action::\"GetToken\", resource);".into(),
    };
    access.put(&Arc::new(Policies::load(&[other]).unwrap().0));
    let ended = timeout(secs(2), steady.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended:?}");
    assert!(steady.next().await.is_none());
    let told = lines();
    let [Event::Denied { caller, action, target, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (caller.as_str(), action.as_str(), target.as_str()),
        ("local", "WatchKeyChain", chain().to_string().as_str())
    );
}
