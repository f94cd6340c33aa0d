//! After an answer was lost: a server that can be asked about the refresh token is asked before it is sent again. And
//! a server whose endpoints are not known yet costs no grant.

use crate::{
    rig::{HOUR, Rig, secs, served},
    server::{Say, Tells},
};
use bursar::{
    broker::GetTokenError,
    domain::{
        connection::State,
        failure::{Class, Reason},
        lifecycle::Degraded,
    },
};
use tokio::time::sleep;

const CAN_BE_ASKED: &str =
    "introspection = \"rfc7662\"\nintrospection_endpoint = \"https://idp.example/introspect\"";

#[tokio::test(start_paused = true)]
async fn an_active_token_is_sent_again_at_once() {
    let rig = Rig::with(CAN_BE_ASKED).await;
    rig.a.ask().await.unwrap();
    rig.server.then([Say::Fail(Class::Ambiguous)]);
    rig.a.schedule();
    sleep(secs(50 * 60)).await;
    // Without asking the next try would wait until five minutes before the token ends.
    assert_eq!((rig.server.tries(), rig.server.questions(), rig.server.spent_twice()), (3, 1, 0));
    let record = rig.record().await;
    assert_eq!((record.state, record.ambiguous, record.failures), (State::Active, None, 0));
    assert_eq!(rig.a.ask().await.unwrap(), served("at2"));
    sleep(2 * HOUR).await;
    assert_eq!(rig.server.questions(), 1, "nobody is asked while nothing is in doubt");
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn an_inactive_token_is_sent_again_only_when_it_must_be_and_then_its_refusal_counts() {
    let rig = Rig::with(CAN_BE_ASKED).await;
    rig.a.ask().await.unwrap();
    rig.server.then([Say::Lost]);
    rig.a.schedule();
    sleep(secs(53 * 60)).await;
    assert_eq!((rig.server.tries(), rig.server.spent_twice()), (2, 0));
    let record = rig.record().await;
    assert_eq!((record.state, record.suspicion), (State::Active, None));
    assert_eq!(record.last_failure.unwrap().code.as_deref(), Some("inactive"));
    assert_eq!(rig.a.ask().await.unwrap().degraded, Some(Degraded::GrantAtRisk));
    sleep(secs(4 * 60)).await;
    let record = rig.record().await;
    assert_eq!(record.state, State::NeedsReauthorization);
    assert_eq!(record.reason.unwrap().reason, Reason::LostRotation);
    let living = rig.a.ask().await.unwrap();
    assert_eq!((living.token.as_str(), living.degraded), ("at1", Some(Degraded::NeedsReauthorization)));
    rig.a.stop();
}

/// Servers answer `active: false` for tokens that they do not look up, or not for this client (RFC 7662 §2.2).
#[tokio::test(start_paused = true)]
async fn a_server_that_knows_no_refresh_tokens_ends_no_grant_by_calling_them_inactive() {
    let rig = Rig::with(CAN_BE_ASKED).await;
    rig.a.ask().await.unwrap();
    rig.server.tells(Tells::Inactive);
    rig.server.then([Say::Fail(Class::Ambiguous)]);
    rig.a.schedule();
    sleep(secs(57 * 60)).await;
    assert_eq!((rig.server.tries(), rig.server.spent_twice()), (3, 0));
    let record = rig.record().await;
    assert_eq!((record.state, record.ambiguous), (State::Active, None));
    assert_eq!(rig.a.ask().await.unwrap(), served("at2"));
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_tell_is_asked_now_and_then_and_the_token_is_sent_when_it_must_be() {
    let rig = Rig::with(CAN_BE_ASKED).await;
    rig.a.ask().await.unwrap();
    rig.server.tells(Tells::Nothing);
    rig.server.then([Say::Fail(Class::Ambiguous)]);
    rig.a.schedule();
    sleep(secs(53 * 60)).await;
    assert_eq!(rig.server.tries(), 2, "nothing is spent before the access token has nearly run out");
    assert!((3..=20).contains(&rig.server.questions()), "{}", rig.server.questions());
    assert_eq!(rig.a.ask().await.unwrap().degraded, Some(Degraded::GrantAtRisk));
    sleep(secs(4 * 60)).await;
    assert_eq!((rig.server.tries(), rig.record().await.state), (3, State::Active));
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_died_in_an_exchange_asks_before_it_tries_again() {
    let rig = Rig::with(CAN_BE_ASKED).await;
    rig.a.ask().await.unwrap();
    rig.server.then([Say::Panic]);
    rig.a.schedule();
    sleep(secs(50 * 60)).await;
    assert_eq!((rig.server.tries(), rig.server.questions(), rig.server.spent_twice()), (3, 1, 0));
    assert_eq!(rig.record().await.state, State::Active);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_person_is_not_held_back_by_what_the_server_says() {
    let rig = Rig::with(CAN_BE_ASKED).await;
    rig.server.tells(Tells::Nothing);
    rig.server.then([Say::Fail(Class::Ambiguous)]);
    rig.a.ask().await.unwrap_err();
    let refreshed = rig.a.admin.refresh_connection(&crate::rig::name()).await.unwrap();
    assert_eq!((refreshed.state, rig.server.questions()), (State::Active, 0));
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_cannot_be_found_cost_no_grant_and_are_looked_for_again() {
    let rig = Rig::new().await;
    rig.server.metadata_fails(&[Class::NotSent, Class::Policy, Class::Configuration]);
    match rig.a.ask().await.unwrap_err() {
        GetTokenError::Refresh(err) => assert!(err.to_string().contains("as the script says"), "{err}"),
        other => panic!("{other:?}"),
    }
    let record = rig.record().await;
    assert_eq!((record.failures, record.attempt, record.ambiguous), (1, None, None));
    assert_eq!(record.last_failure.unwrap().class, Class::NotSent);
    assert!(record.due.unwrap() > rig.clock.now());
    rig.a.schedule();
    sleep(secs(600)).await;
    assert_eq!((rig.server.metadata_asked(), rig.server.tries()), (3, 1));
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
    assert_eq!(rig.record().await.ambiguous, None);
    rig.a.stop();
}
