//! What is on record of connections that go into another state by themselves.

use crate::{
    rig::{HOUR, Replica, Rig, name, secs},
    server::Say,
};
use bursar::{
    audit::Event,
    broker::admin::grants::NewGrant,
    domain::{attempt::Ask, connection::State, failure::Class, token::Secret},
};
use tokio::time::sleep;

/// State and reason of each line.
fn states(replica: &Replica) -> Vec<String> {
    let told = |event: &Event| match event {
        Event::State { connection, to, reason } => {
            assert_eq!(connection.as_str(), name().to_string());
            Some(reason.as_ref().map_or_else(|| to.to_string(), |reason| format!("{to}: {reason}")))
        }
        _ => None,
    };
    replica.trail.0.lock().iter().filter_map(told).collect()
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_begins_ends_and_is_tried_again_has_a_line_for_each() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    assert_eq!(states(&rig.a), ["active"]);
    rig.a.schedule();
    sleep(3 * HOUR).await;
    assert_eq!(states(&rig.a), ["active"], "a renewal is no other state");
    rig.server.then([Say::Fail(Class::NotSent), Say::Fail(Class::Suspect), Say::Fail(Class::Suspect)]);
    sleep(HOUR).await;
    assert_eq!(rig.record().await.state, State::NeedsReauthorization);
    assert_eq!(states(&rig.a), ["active", "needs_reauthorization: revoked"]);
    rig.a.admin.refresh_connection(&name()).await.unwrap();
    assert_eq!(states(&rig.a), ["active", "needs_reauthorization: revoked", "active"]);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_grant_with_nothing_left_to_spend_is_on_record_once() {
    let rig = Rig::empty("grants = [\"jwt_bearer\"]").await;
    rig.server.withholds_refresh_tokens();
    // As a code leaves it whose answer had no refresh token.
    let made = rig.a.create(NewGrant::JwtBearer { assertion: Secret::new("assertion") }).await.unwrap();
    assert_eq!((made.state, states(&rig.a)), (State::Active, vec!["active".to_owned()]));
    rig.a.schedule();
    sleep(3 * HOUR).await;
    assert_eq!(rig.record().await.state, State::NeedsReauthorization);
    assert_eq!(states(&rig.a), ["active", "needs_reauthorization: expired"]);
    rig.a.ask().await.unwrap_err();
    assert_eq!(states(&rig.a).len(), 2);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_meanwhile_is_not_told_as_the_exchanges_doing() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.server.then([Say::Late(secs(5))]);
    let refreshing = rig.a.broker.clone();
    let seen = rig.record().await.seen();
    refreshing.refresher.start(&name(), seen, Ask::Operator);
    sleep(secs(1)).await;
    rig.a.admin.disable_connection(&name(), "").await.unwrap();
    sleep(secs(10)).await;
    let record = rig.record().await;
    assert_eq!((record.state, record.generation), (State::Disabled, 2));
    assert_eq!(states(&rig.a), ["active"]);
}
