//! A refused grant ends on the second refusal, a few seconds after the first, and never on one.

use crate::{
    rig::{HOUR, LEASE, Rig, secs, served},
    server::{DELAY, Say},
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

#[tokio::test(start_paused = true)]
async fn a_confirmed_refusal_ends_the_grant_and_its_token_is_served_until_it_expires() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.server.always(Say::Fail(Class::Suspect));
    rig.a.schedule();
    let expires_at = rig.record().await.token.unwrap().expires_at;
    sleep(secs(50 * 60)).await;
    let asked = rig.server.asked();
    assert_eq!(asked.len(), 3, "a good one, a refusal, and its confirmation");
    let between = asked[1].1.until(asked[2].1);
    assert!((secs(2)..=secs(5) + 2 * DELAY + secs(5)).contains(&between), "{between:?}");
    let record = rig.record().await;
    assert_eq!(record.state, State::NeedsReauthorization);
    assert_eq!(record.reason.unwrap().reason, Reason::Revoked);

    let living = rig.a.ask().await.unwrap();
    assert_eq!((living.token.as_str(), living.degraded), ("at1", Some(Degraded::NeedsReauthorization)));
    sleep(rig.clock.now().until(expires_at.minus(secs(31)))).await;
    assert_eq!(rig.a.ask().await.unwrap().token, "at1");
    sleep(secs(1)).await;
    match rig.a.ask().await.unwrap_err() {
        GetTokenError::Ended { state, reason } => {
            assert_eq!((state, reason.unwrap().reason), (State::NeedsReauthorization, Reason::Revoked));
        }
        other => panic!("{other:?}"),
    }
    sleep(24 * HOUR).await;
    assert_eq!(rig.server.tries(), 3, "nobody knocks at a dead grant");
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_success_after_a_refusal_recovers() {
    let rig = Rig::new().await;
    rig.server.then([Say::Fail(Class::Suspect), Say::Good, Say::Fail(Class::Suspect), Say::Good]);
    rig.a.schedule();
    sleep(2 * HOUR).await;
    let record = rig.record().await;
    assert_eq!((record.state, record.suspicion, record.failures), (State::Active, None, 0));
    assert_eq!(rig.a.ask().await.unwrap().degraded, None);
    assert_eq!(rig.server.tries(), 5);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn an_outage_between_two_refusals_does_not_wash_off_the_first() {
    let rig = Rig::new().await;
    rig.server.then([Say::Fail(Class::Suspect), Say::Fail(Class::NotSent), Say::Fail(Class::Suspect)]);
    rig.a.schedule();
    sleep(secs(60)).await;
    assert_eq!(rig.record().await.state, State::NeedsReauthorization);
    assert_eq!(rig.record().await.reason.unwrap().reason, Reason::Revoked);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn an_answer_lost_on_the_way_ends_as_lost_rotation() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.server.then([Say::Lost]);
    rig.a.schedule();
    sleep(secs(54 * 60)).await;
    assert_eq!(rig.server.tries(), 2, "the next try waits until the access token has nearly run out");
    assert_eq!(rig.a.ask().await.unwrap().degraded, Some(Degraded::GrantAtRisk));
    sleep(secs(2 * 60)).await;
    let record = rig.record().await;
    assert_eq!(record.state, State::NeedsReauthorization);
    assert_eq!(record.reason.unwrap().reason, Reason::LostRotation);
    assert_eq!((rig.server.tries(), rig.server.spent_twice()), (4, 2));
    assert_eq!(rig.a.ask().await.unwrap().degraded, Some(Degraded::NeedsReauthorization));
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_died_with_the_answer_ends_as_lost_rotation_too() {
    let rig = Rig::new().await;
    rig.server.then([Say::PanicAfterwards]);
    rig.a.schedule();
    sleep(LEASE + secs(30)).await;
    let record = rig.record().await;
    assert_eq!(record.state, State::NeedsReauthorization);
    assert_eq!(record.reason.unwrap().reason, Reason::LostRotation);
    assert_eq!(rig.server.tries(), 3);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_person_may_try_an_ended_grant_again() {
    let rig = Rig::new().await;
    rig.server.then([Say::Fail(Class::Suspect), Say::Fail(Class::Suspect)]);
    rig.a.schedule();
    sleep(secs(60)).await;
    rig.a.stop();
    assert_eq!(rig.record().await.state, State::NeedsReauthorization);
    let refreshed = rig.a.admin.refresh_connection(&crate::rig::name()).await.unwrap();
    assert_eq!((refreshed.state, refreshed.reason), (State::Active, None));
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
}
