//! A store that is away, loses replies or was meddled with: no refresh token is lost, nothing false is served.

use crate::{
    rig::{HOUR, Rig, TICK, numbered, secs, served},
    server::{DELAY, Say},
    way::{Fault, ShakyWay, Shut},
};
use bursar::{
    access::{Chain, Facts},
    broker::{
        GetTokenError, Wish, audit_key::audit_key, keys::Keyring, knowing::Knowing, refresher::RefreshError,
    },
    domain::{
        connection::{Connection, State},
        failure::Class,
        lifecycle::Degraded,
        names::Owner,
    },
    store::{
        Room, StoreError,
        ledger::{Ledger, Loaded},
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

fn from_warm_copy(token: &str) -> crate::rig::Served {
    crate::rig::Served { token: token.to_owned(), degraded: Some(Degraded::StoreUnavailable) }
}

#[tokio::test(start_paused = true)]
async fn a_warm_token_is_served_while_the_store_is_away_and_an_expired_one_is_not() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.a.store.go_away();
    sleep(secs(1)).await;
    for after in [0, 45 * 60, 14 * 60] {
        sleep(secs(after)).await;
        assert_eq!(rig.a.ask().await.unwrap(), from_warm_copy("at1"));
    }
    sleep(secs(60)).await;
    let err = rig.a.ask().await.unwrap_err();
    assert!(
        matches!(err, GetTokenError::Refresh(RefreshError::Store(StoreError::Unavailable { .. }))),
        "{err:?}"
    );
    assert_eq!(rig.server.tries(), 1, "no claim, no exchange");
    rig.a.store.come_back();
    sleep(secs(1)).await;
    assert_eq!(rig.a.ask().await.unwrap(), served("at2"));
}

/// Policies ask for a connection's environment, which stands in its client: after each renewal it is looked up anew.
#[tokio::test(start_paused = true)]
async fn what_policies_ask_of_a_renewed_connection_does_not_wait_for_a_store_that_is_known_to_be_away() {
    let rig = Rig::new().await;
    rig.seed(1).await;
    rig.seed(2).await;
    let knowing = Knowing::new(rig.a.broker.clone());
    let all = [numbered(0), numbered(1), numbered(2)];
    for name in &all {
        rig.a.ask_of(name, Wish::default()).await.unwrap();
        knowing.facts(&knowing.meet(name).await.unwrap().unwrap()).await.unwrap();
    }
    sleep(HOUR).await;
    let mut met = Vec::new();
    for name in &all {
        assert_eq!(rig.a.ask_of(name, Wish::default()).await.unwrap(), served("at2"));
        met.push(knowing.meet(name).await.unwrap().unwrap());
    }
    rig.a.store.hang(secs(2));
    let begun = Instant::now();
    let answered_after = async |loaded: &Loaded<Connection>| {
        let Facts::Connection(facts) = knowing.facts(loaded).await.unwrap() else { panic!("{loaded:?}") };
        assert!(facts.environment.is_some());
        begun.elapsed()
    };
    assert_eq!(answered_after(&met[0]).await, secs(2), "the first to ask finds out");
    let others = tokio::join!(answered_after(&met[1]), answered_after(&met[2]));
    assert_eq!(others, (secs(4), secs(2)), "one looks whether it is back, and nobody else waits for it");
}

#[tokio::test(start_paused = true)]
async fn a_warm_token_is_served_while_a_full_store_cannot_be_read() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    // What is in memory is in doubt, and the store cannot settle it.
    rig.a.store.come_back();
    rig.a.store.shut(Some(Shut::Full));
    sleep(secs(1)).await;
    assert_eq!(rig.a.ask().await.unwrap(), from_warm_copy("at1"));
    sleep(secs(56 * 60)).await;
    assert_eq!(rig.a.ask().await.unwrap(), from_warm_copy("at1"), "it cannot be renewed either");
    assert_eq!(rig.server.tries(), 1);
    rig.a.store.shut(None);
    assert_eq!(rig.a.ask().await.unwrap(), served("at2"));
}

#[tokio::test(start_paused = true)]
async fn while_no_claim_is_written_one_at_a_time_finds_out_whether_it_can_be() {
    let rig = Rig::empty("").await;
    for n in 0..100 {
        rig.seed(n).await;
    }
    rig.a.store.shut(Some(Shut::Refused));
    rig.a.schedule();
    sleep(secs(60)).await;
    let refused = rig.a.store.refused();
    assert!((48..=100).contains(&refused), "the first look's, and one for each look since: {refused}");
    rig.a.store.shut(None);
    sleep(2 * TICK).await;
    rig.a.stop();
    assert_eq!(rig.server.answers(), 100);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_providers_endpoints_is_started_as_there_are_slots() {
    let rig = Rig::empty("").await;
    for n in 0..200 {
        rig.seed(n).await;
    }
    rig.server.metadata_takes(secs(10));
    rig.a.schedule();
    // Three quarters of 64.
    for _ in 0..8 {
        sleep(secs(1)).await;
        assert_eq!(rig.a.broker.refresher.under_way(), 48);
    }
    rig.server.metadata_takes(Duration::ZERO);
    sleep(secs(30)).await;
    rig.a.stop();
    assert_eq!(rig.server.answers(), 200);
}

#[tokio::test(start_paused = true)]
async fn keys_that_were_unlocked_an_hour_ago_still_serve_while_the_store_is_away() {
    let rig = Rig::new().await;
    rig.server.tokens_live(12 * HOUR);
    rig.a.ask().await.unwrap();
    sleep(secs(59 * 60)).await;
    rig.a.ask().await.unwrap();
    rig.a.store.go_away();
    sleep(6 * HOUR).await;
    assert_eq!(rig.a.ask().await.unwrap(), from_warm_copy("at1"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_held_until_the_store_takes_it() {
    let rig = Rig::new().await;
    let caller = rig.a.asking();
    sleep(DELAY / 2).await;
    rig.a.store.go_away();
    sleep(10 * HOUR / 60).await;
    assert!(!caller.is_finished(), "only a committed token is handed out");
    rig.a.store.come_back();
    let back = Instant::now();
    assert_eq!(caller.await.unwrap().unwrap().token, "at1");
    assert!(back.elapsed() <= Duration::from_millis(2400), "{:?}", back.elapsed());
    assert_eq!((rig.server.tries(), rig.record().await.generation), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_reply_was_lost_is_recognised() {
    // A claim needs room; a commit is forced.
    for room in [Room::Needed, Room::Forced] {
        let rig = Rig::new().await;
        rig.a.store.then(Fault::ReplyLost(room));
        let started = Instant::now();
        assert_eq!(rig.a.ask().await.unwrap(), served("at1"), "{room:?}");
        assert!(started.elapsed() <= DELAY + Duration::from_millis(60), "{room:?}");
        let record = rig.record().await;
        assert_eq!((record.generation, record.attempt, record.failures), (1, None, 0), "{room:?}");
        assert_eq!((rig.server.tries(), rig.server.spent_twice()), (1, 0), "{room:?}");
        sleep(HOUR).await;
        assert_eq!(rig.a.ask().await.unwrap(), served("at2"), "{room:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_written_before_the_store_went_away_is_recognised_when_it_is_back() {
    let rig = Rig::new().await;
    rig.a.store.then(Fault::ReplyLostThenAway(Room::Forced));
    let caller = rig.a.asking();
    sleep(secs(30)).await;
    assert!(!caller.is_finished());
    rig.a.store.come_back();
    assert_eq!(caller.await.unwrap().unwrap(), served("at1"));
    assert_eq!((rig.server.tries(), rig.record().await.generation), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_writes_is_called_that_and_not_a_conflict() {
    for shut in [Shut::Silent, Shut::Refused] {
        let rig = Rig::new().await;
        rig.a.store.shut(Some(shut));
        let started = Instant::now();
        let err = rig.a.ask().await.unwrap_err();
        let GetTokenError::Refresh(RefreshError::Store(why)) = &err else { panic!("{shut:?}: {err:?}") };
        assert_eq!(matches!(why, StoreError::WritesRefused { .. }), shut == Shut::Refused, "{why:?}");
        assert!(why.is_outage(), "{why:?}");
        assert!(started.elapsed() < secs(1), "{shut:?}, after two tries: {:?}", started.elapsed());
        assert_eq!(rig.server.tries(), 0);
        rig.a.store.shut(None);
        assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
        assert_eq!((rig.server.tries(), rig.server.spent_twice()), (1, 0));
    }
}

/// In the midst of a failover, say: what there is has to be read only.
#[tokio::test(start_paused = true)]
async fn a_replica_starts_over_a_store_that_takes_no_writes() {
    let rig = Rig::new().await;
    let (clock, platform) = (&*rig.clock, Chain::Of(Owner::Platform));
    let key = audit_key(&rig.a.ledger, &rig.a.admin.keys, clock).await.unwrap();
    let keeping = rig.a.keep_keys();
    rig.a.custodian.rotate(&platform, "").await.unwrap();
    let sealed_with = async || rig.a.admin.keys.sealing(&Owner::Platform).await.unwrap().active_version();
    while sealed_with().await == 1 {
        sleep(secs(1)).await;
    }
    keeping.abort();

    let store = Arc::new(ShakyWay::to(rig.documents.clone()));
    store.shut(Some(Shut::Refused));
    let opening = Keyring::open(store.clone(), rig.keyset.clone(), rig.clock.clone(), secs(60));
    let keys = Arc::new(opening.await.unwrap());
    let ledger = Ledger::new(store.clone(), keys.clone(), rig.clock.clone());
    let found = audit_key(&ledger, &keys, clock).await.unwrap();
    assert_eq!(found.expose(), key.expose(), "though it could not be sealed by the new version");
}

/// An answer is kept in memory until the store takes it, however often it says no.
#[tokio::test(start_paused = true)]
async fn an_answer_outlasts_a_store_that_takes_no_writes() {
    let rig = Rig::new().await;
    let caller = rig.a.asking();
    sleep(DELAY / 2).await;
    rig.a.store.shut(Some(Shut::Refused));
    sleep(secs(60)).await;
    assert!(!caller.is_finished());
    rig.a.store.shut(None);
    assert_eq!(caller.await.unwrap().unwrap(), served("at1"));
    assert_eq!((rig.server.tries(), rig.record().await.generation), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_may_have_been_written_is_not_exchanged_on() {
    let rig = Rig::new().await;
    rig.a.store.then(Fault::ReplyLostThenAway(Room::Needed));
    rig.a.ask().await.unwrap_err();
    assert_eq!(rig.server.tries(), 0);
    rig.a.store.come_back();
    assert_eq!(rig.a.ask().await.unwrap().token, "at1", "once its lease is over");
    assert_eq!((rig.server.tries(), rig.server.spent_twice()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_cannot_be_written_down_ends_with_its_lease() {
    let rig = Rig::new().await;
    rig.server.then([Say::Fail(Class::Configuration)]);
    let caller = rig.a.asking();
    sleep(DELAY / 2).await;
    rig.a.store.go_away();
    let err = caller.await.unwrap().unwrap_err();
    assert!(matches!(err, GetTokenError::Refresh(RefreshError::Failed(_))), "{err:?}");
    assert_eq!(rig.a.broker.refresher.under_way(), 0);
    rig.a.store.come_back();
    assert_eq!(rig.a.ask().await.unwrap().token, "at1");
    assert_eq!(rig.server.tries(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_away_does_not_hold_up_the_others() {
    let rig = Rig::new().await;
    rig.seed(1).await;
    rig.a.store.queues(2, Some(0));
    rig.a.schedule();
    sleep(secs(60)).await;
    let asked: Vec<_> = rig.server.asked().into_iter().map(|(name, _)| name).collect();
    assert_eq!(asked, [numbered(1)]);
    rig.a.store.queues(2, None);
    sleep(2 * TICK).await;
    rig.a.stop();
    assert_eq!(rig.server.answers(), 2);
}

type Spoil = fn(&mut Vec<u8>);

#[tokio::test(start_paused = true)]
async fn a_record_that_somebody_changed_is_refused_and_never_served() {
    let spoils: [(&str, Spoil); 3] = [
        ("expiry or anything else of the record", |body| {
            let at = body.windows(6).position(|word| word == b"active").unwrap();
            body[at] ^= 1;
        }),
        ("the stamp", |body| *body.last_mut().unwrap() ^= 1),
        ("nothing but its version: an old record written again", |_| ()),
    ];
    for (what, spoil) in spoils {
        let rig = Rig::new().await;
        rig.a.ask().await.unwrap();
        rig.tamper(spoil).await;
        sleep(secs(1)).await;
        let err = rig.a.ask().await.unwrap_err();
        let forged = StoreError::Forged { key: "connection/t/c0".into() };
        assert!(matches!(&err, GetTokenError::Store(found) if *found == forged), "{what}: {err:?}");
        let b = rig.replica("b").await;
        b.schedule();
        sleep(2 * HOUR).await;
        b.stop();
        assert_eq!(rig.server.tries(), 1, "{what}: a forged record is not exchanged with");
    }
}

#[tokio::test(start_paused = true)]
async fn generations_count_every_answer_once_whatever_the_store_does() {
    let rig = Rig::new().await;
    let onlooker = rig.replica("b").await;
    rig.a.schedule();
    let mut last = 0;
    for turn in 0..48 {
        match turn % 4 {
            0 => rig.a.store.then(Fault::ReplyLost(Room::Forced)),
            1 => rig.a.store.then(Fault::ReplyLost(Room::Needed)),
            2 => rig.a.store.go_away(),
            _ => rig.a.store.come_back(),
        }
        sleep(secs(10 * 60)).await;
        let read = rig.record_at(&onlooker).await.generation;
        assert!(last <= read, "{read} after {last}");
        last = read;
    }
    rig.a.stop();
    assert_eq!(u64::from(rig.server.answers()), last);
    assert_eq!(rig.server.tries(), usize::try_from(last).unwrap());
    assert_eq!((rig.server.spent_twice(), rig.record().await.state), (0, State::Active));
}
