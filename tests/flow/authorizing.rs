//! Authorizing a connection again: what was there is not lost, and callers are served in between.

use crate::{
    rig::{Rig, name, secs},
    server::Say,
};
use bursar::{
    broker::{
        admin::{AdminError, grants::NewGrant},
        refresher::RefreshError,
    },
    domain::{
        connection::{Connection, State},
        failure::Class,
        lifecycle::Degraded,
        token::{RefreshToken, Secret},
    },
};
use tokio::time::sleep;

/// A connection whose grant was refused twice, half an hour before its access token expires.
async fn over() -> Rig {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.server.then([Say::Fail(Class::Suspect), Say::Fail(Class::Suspect)]);
    for _ in 0..2 {
        rig.a.admin.refresh_connection(&name()).await.unwrap_err();
        sleep(secs(10)).await;
    }
    assert_eq!(rig.record().await.state, State::NeedsReauthorization);
    rig
}

async fn again(rig: &Rig, token: &str) -> Result<Connection, AdminError> {
    let token = RefreshToken(Secret::new(token));
    let grant = NewGrant::RefreshToken { token, api_base_url: None, expires_at: None };
    rig.a.admin.authorize_again(&name(), grant).await
}

#[tokio::test(start_paused = true)]
async fn a_refused_grant_brings_back_what_was_there() {
    let rig = over().await;
    let before = rig.record().await;
    let err = again(&rig, "of somebody else").await.unwrap_err();
    assert!(matches!(err, AdminError::GrantRefused { .. }), "{err:?}");
    let after = rig.record().await;
    assert_eq!(after, Connection { revision: after.revision, ..before });
    let living = rig.a.ask().await.unwrap();
    assert_eq!((living.token.as_str(), living.degraded), ("at1", Some(Degraded::NeedsReauthorization)));
}

#[tokio::test(start_paused = true)]
async fn a_good_grant_starts_a_family_and_goes_on_counting() {
    let rig = over().await;
    let before = rig.record().await;
    let renewed = again(&rig, "rt1").await.unwrap();
    assert_eq!((renewed.state, renewed.generation), (State::Active, before.generation + 1));
    assert_ne!(renewed.family, before.family);
    assert_eq!((renewed.uid, renewed.reason, renewed.suspicion), (before.uid, None, None));
    assert_eq!(rig.a.ask().await.unwrap().token, "at2");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_keeps_the_new_grant_and_tries_it_again() {
    let rig = over().await;
    rig.server.then([Say::Fail(Class::Ambiguous)]);
    let pending = again(&rig, "rt1").await.unwrap();
    assert_eq!(pending.state, State::Pending);
    rig.a.schedule();
    sleep(secs(10)).await;
    assert_eq!(rig.record().await.state, State::Active);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_living_grant_is_not_replaced() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    let err = again(&rig, "rt1").await.unwrap_err();
    assert!(matches!(err, AdminError::WrongState { state: State::Active }), "{err:?}");
    assert_eq!(rig.a.ask().await.unwrap().token, "at1");
}

fn principal(record: &Connection) -> Option<&str> {
    record.principal.as_ref().map(|principal| principal.id.as_str())
}

#[tokio::test(start_paused = true)]
async fn an_identity_beside_the_tokens_says_whose_a_grant_is_from_its_first_answer_on() {
    let rig = Rig::new().await;
    rig.server.identifies(Some("anna"), "client-1");
    rig.a.ask().await.unwrap();
    assert_eq!(principal(&rig.record().await), Some("anna"));
    // OpenID Connect Core section 12.2: a refresh names the same one, or nobody.
    let refreshed = async || rig.a.admin.refresh_connection(&name()).await;
    for (user, client) in [(Some("anna"), "client-1"), (None, ""), (Some("bob"), "another-client")] {
        rig.server.identifies(user, client);
        assert_eq!(principal(&refreshed().await.unwrap()), Some("anna"), "{user:?} {client}");
    }
    let before = rig.record().await;
    rig.server.identifies(Some("bob"), "client-1");
    let err = refreshed().await.unwrap_err();
    let AdminError::Refresh(RefreshError::Failed(failure)) = &err else { panic!("{err:?}") };
    assert_eq!((failure.class, failure.detail), (Class::Malformed, "answer is for another principal"));
    let after = rig.record().await;
    assert_eq!(
        (principal(&after), &after.token),
        (Some("anna"), &before.token),
        "nothing of bob's is served"
    );
    // Anna's refresh token is spent: only its successor can be answered again, with hers.
    assert_eq!(after.generation, before.generation + 1);
    rig.server.identifies(Some("anna"), "client-1");
    let again = refreshed().await.unwrap();
    assert_eq!((again.state, principal(&again)), (State::Active, Some("anna")));
    assert_eq!(rig.server.spent_twice(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_grant_is_of_the_same_principal_or_of_nobody_who_is_known() {
    let rig = Rig::new().await;
    rig.server.identifies(Some("anna"), "client-1");
    rig.a.ask().await.unwrap();
    rig.server.then([Say::Fail(Class::Suspect), Say::Fail(Class::Suspect)]);
    for _ in 0..2 {
        rig.a.admin.refresh_connection(&name()).await.unwrap_err();
        sleep(secs(10)).await;
    }
    let before = rig.record().await;
    assert_eq!((before.state, principal(&before)), (State::NeedsReauthorization, Some("anna")));

    rig.server.identifies(Some("bob"), "client-1");
    let err = again(&rig, "rt1").await.unwrap_err();
    assert!(matches!(err, AdminError::GrantRefused { .. }), "{err:?}");
    let after = rig.record().await;
    assert_eq!(after, Connection { revision: after.revision, ..before });
    // Bob's grant was spent by that; this one says nothing of whose it is.
    rig.server.identifies(None, "");
    let renewed = again(&rig, "rt2").await.unwrap();
    assert_eq!((renewed.state, principal(&renewed)), (State::Active, None));
}
