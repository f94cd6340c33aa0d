//! What platform teams do while exchanges are under way.

use crate::{
    rig::{HOUR, LEASE, Rig, name, secs, served},
    server::{DELAY, Say},
};
use bursar::{
    broker::{
        GetTokenError,
        admin::{AdminError, connections::Revoking},
        refresher::RefreshError,
    },
    domain::{connection::State, failure::Class},
};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_connection_disabled_in_flight_keeps_the_answer_and_serves_nothing() {
    let rig = Rig::new().await;
    let caller = rig.a.asking();
    sleep(DELAY / 2).await;
    rig.a.admin.disable_connection(&name(), "").await.unwrap();
    let err = caller.await.unwrap().unwrap_err();
    assert!(matches!(err, GetTokenError::Ended { state: State::Disabled, .. }), "{err:?}");
    let record = rig.record().await;
    assert_eq!((record.state, record.generation, record.due), (State::Disabled, 1, None));
    rig.a.schedule();
    sleep(24 * HOUR).await;
    assert_eq!(rig.server.tries(), 1, "nothing is exchanged while it is disabled");
    rig.a.stop();
    rig.a.admin.enable_connection(&name(), "").await.unwrap();
    assert_eq!(rig.a.ask().await.unwrap(), served("at2"), "the refresh token was kept");
    assert_eq!(rig.server.spent_twice(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_disabled_before_its_refusal_is_confirmed_stays_disabled() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    sleep(secs(59 * 60 + 40)).await;
    rig.server.then([Say::Fail(Class::Suspect), Say::Fail(Class::Suspect)]);
    rig.a.ask().await.unwrap_err();
    sleep(secs(5)).await;
    let caller = rig.a.asking();
    sleep(DELAY / 2).await;
    rig.a.admin.disable_connection(&name(), "").await.unwrap();
    caller.await.unwrap().unwrap_err();
    assert_eq!(rig.server.tries(), 3);
    assert_eq!(rig.record().await.state, State::Disabled);
    let enabled = rig.a.admin.enable_connection(&name(), "").await.unwrap();
    assert_eq!(enabled.state, State::NeedsReauthorization);
}

#[tokio::test(start_paused = true)]
async fn a_connection_deleted_in_flight_is_gone_and_its_answer_with_it() {
    let rig = Rig::new().await;
    let caller = rig.a.asking();
    sleep(DELAY / 2).await;
    rig.a.admin.delete_connection(&name(), "", Revoking::Skipped).await.unwrap();
    let err = caller.await.unwrap().unwrap_err();
    assert!(matches!(err, GetTokenError::NotFound), "{err:?}");
    let err = rig.a.ask().await.unwrap_err();
    assert!(matches!(err, GetTokenError::NotFound), "{err:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_a_connection_of_the_same_name_does_not_reach_its_successor() {
    let rig = Rig::empty("").await;
    rig.a.import("rt0").await.unwrap();
    sleep(HOUR).await;
    rig.server.then([Say::Late(secs(5))]);
    let caller = rig.a.asking();
    sleep(secs(1)).await;
    rig.a.admin.delete_connection(&name(), "", Revoking::Skipped).await.unwrap();
    rig.seed(0).await;
    let err = caller.await.unwrap().unwrap_err();
    assert!(matches!(err, GetTokenError::Refresh(RefreshError::Orphaned)), "{err:?}");
    let record = rig.record().await;
    assert_eq!((record.generation, record.state, record.token), (0, State::Pending, None));
}

#[tokio::test(start_paused = true)]
async fn a_refused_import_leaves_nothing_behind() {
    let rig = Rig::empty("").await;
    for class in [Class::Suspect, Class::NotSent, Class::Configuration, Class::Throttled, Class::Policy] {
        rig.server.then([Say::Fail(class)]);
        let err = rig.a.import("rt0").await.unwrap_err();
        assert!(
            matches!(&err, AdminError::GrantRefused { failure, .. } if failure.class == class),
            "{err:?}"
        );
        let err = rig.a.admin.connection(&name()).await.unwrap_err();
        assert!(matches!(err, AdminError::NotFound { .. }), "{class}: {err:?}");
    }
    assert_eq!(rig.a.import("rt0").await.unwrap().state, State::Active, "the name is free, the token unused");
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
}

#[tokio::test(start_paused = true)]
async fn an_import_without_an_answer_is_kept_pending_and_tried_again() {
    for class in [Class::Ambiguous, Class::Down] {
        let rig = Rig::empty("").await;
        rig.server.then([Say::Fail(class)]);
        let pending = rig.a.import("rt0").await.unwrap();
        assert_eq!((pending.state, pending.generation, pending.failures), (State::Pending, 0, 1), "{class}");
        rig.a.schedule();
        sleep(secs(10)).await;
        rig.a.stop();
        assert_eq!(rig.record().await.state, State::Active, "{class}");
        assert_eq!((rig.a.ask().await.unwrap(), rig.server.tries()), (served("at1"), 2), "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_first_answer_keeps_the_connection_because_its_token_is_used_up() {
    let rig = Rig::empty("").await;
    rig.server.then([Say::Malformed]);
    let pending = rig.a.import("rt0").await.unwrap();
    assert_eq!((pending.state, pending.generation), (State::Pending, 1));
    rig.a.schedule();
    sleep(secs(60)).await;
    rig.a.stop();
    assert_eq!((rig.a.ask().await.unwrap(), rig.server.spent_twice()), (served("at2"), 0));
}

#[tokio::test(start_paused = true)]
async fn revoking_waits_for_an_exchange_under_way() {
    let rig =
        Rig::with("revocation = \"rfc7009\"\nrevocation_endpoint = \"https://idp.example/revoke\"").await;
    rig.server.then([Say::Late(secs(20))]);
    let caller = rig.a.asking();
    sleep(secs(5)).await;
    let started = Instant::now();
    let revoked = rig.a.admin.revoke_connection(&name(), "").await.unwrap();
    assert_eq!(started.elapsed(), secs(15) + DELAY, "the rest of the exchange, then the revocation");
    assert_eq!((revoked.state, revoked.generation, rig.server.revoked()), (State::Revoked, 1, 1));
    assert_eq!((&revoked.refresh_token, &revoked.token), (&None, &None));
    assert_eq!(caller.await.unwrap().unwrap().token, "at1", "it asked before");
    let err = rig.a.ask().await.unwrap_err();
    assert!(matches!(err, GetTokenError::Ended { state: State::Revoked, .. }), "{err:?}");
}

#[tokio::test(start_paused = true)]
async fn revoking_waits_for_no_longer_than_a_lease() {
    let rig =
        Rig::with("revocation = \"rfc7009\"\nrevocation_endpoint = \"https://idp.example/revoke\"").await;
    rig.server.then([Say::Panic]);
    rig.a.ask().await.unwrap_err();
    let started = Instant::now();
    rig.a.admin.revoke_connection(&name(), "").await.unwrap();
    assert_eq!(started.elapsed(), LEASE, "less what had passed, more what the revocation takes");
    assert_eq!(rig.server.tries(), 1);
}
