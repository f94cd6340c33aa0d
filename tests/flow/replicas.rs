//! Replicas over one store share the work without talking to each other.

use crate::{
    rig::{HOUR, LEASE, Rig, name, secs, served},
    server::{DELAY, Say},
    way::Fault,
};
use bursar::{
    broker::{GetTokenError, admin::connections::Revoking},
    domain::connection::State,
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn over_a_day_each_due_refresh_happens_once() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.a.schedule();
    b.schedule();
    for _ in 0..24 * 60 {
        sleep(secs(60)).await;
        let (here, there) = (rig.a.ask().await.unwrap(), b.ask().await.unwrap());
        assert_eq!(here, there);
    }
    rig.a.stop();
    b.stop();
    assert_eq!((rig.server.tries(), rig.server.answers()), (32, 32), "as many as one replica makes");
    assert_eq!(rig.record().await.generation, 32);
}

#[tokio::test(start_paused = true)]
async fn who_comes_second_waits_and_adopts_as_soon_as_the_first_is_done() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.server.then([Say::Late(secs(7))]);
    let first = rig.a.asking();
    sleep(DELAY).await;
    let started = Instant::now();
    assert_eq!(b.ask().await.unwrap(), served("at1"));
    assert_eq!(started.elapsed() + DELAY, secs(7), "told by the change feed, not found by looking");
    assert_eq!(first.await.unwrap().unwrap(), served("at1"));
    assert_eq!(rig.server.tries(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_comes_second_shares_the_failure() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.server.down(Duration::ZERO, HOUR);
    let first = rig.a.asking();
    sleep(DELAY / 2).await;
    let started = Instant::now();
    b.ask().await.unwrap_err();
    assert_eq!(started.elapsed(), DELAY / 2);
    first.await.unwrap().unwrap_err();
    assert_eq!(rig.server.tries(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_looked_too_early_adopts_what_the_other_committed() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    let seen = rig.record().await.seen();
    rig.a.ask().await.unwrap();
    let ask = bursar::domain::attempt::Ask::Caller;
    let adopted = b.broker.refresher.refreshed(&name(), seen, ask).await.unwrap();
    assert_eq!(adopted.record.generation, 1);
    assert_eq!(rig.server.tries(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_dies_in_mid_exchange_is_followed_when_its_lease_ends() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    rig.server.then([Say::Panic]);
    let first = rig.a.asking();
    sleep(DELAY / 2).await;
    let started = Instant::now();
    assert_eq!(b.ask().await.unwrap(), served("at1"));
    assert_eq!(started.elapsed(), LEASE + DELAY / 2, "half a delay had passed, a whole one follows");
    first.await.unwrap().unwrap_err();
    assert_eq!(rig.server.tries(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_cut_off_with_an_answer_commits_it_when_it_is_back() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    let first = rig.a.asking();
    sleep(DELAY / 2).await;
    rig.a.store.go_away();
    sleep(secs(30)).await;
    assert_eq!(rig.record_at(&b).await.generation, 0);
    rig.a.store.come_back();
    assert_eq!(first.await.unwrap().unwrap().token, "at1");
    assert_eq!(b.ask().await.unwrap(), served("at1"));
    assert_eq!((rig.server.tries(), rig.server.spent_twice()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_takeover_still_wins_while_there_is_no_other() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    let first = rig.a.asking();
    sleep(DELAY / 2).await;
    rig.a.store.go_away();
    rig.server.then([Say::Late(secs(20))]);
    let second = b.asking();
    sleep(LEASE).await;
    assert_eq!(rig.server.tries(), 2, "taken over");
    rig.a.store.come_back();
    assert_eq!(first.await.unwrap().unwrap().token, "at1");
    let second = second.await.unwrap().map(|served| served.token).ok();
    assert_eq!(second.as_deref(), Some("at1"), "its own try was refused, and the first one's answer serves");
    assert_eq!(b.ask().await.unwrap(), served("at1"));
    let record = rig.record().await;
    assert_eq!((record.generation, record.state, record.suspicion), (1, State::Active, None));
    assert_eq!(rig.server.spent_twice(), 1, "the lease ran out beside a process that was cut off");
}

#[tokio::test(start_paused = true)]
async fn what_one_replica_ends_the_others_no_longer_serve() {
    let rig = Rig::new().await;
    let b = rig.replica("b").await;
    assert_eq!(b.ask().await.unwrap(), served("at1"));
    rig.a.admin.disable_connection(&name(), "").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let err = b.ask().await.unwrap_err();
    assert!(matches!(err, GetTokenError::Ended { state: State::Disabled, .. }), "{err:?}");
    rig.a.admin.enable_connection(&name(), "").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(b.ask().await.unwrap(), served("at1"));
    rig.a.admin.delete_connection(&name(), "", Revoking::Skipped).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let err = b.ask().await.unwrap_err();
    assert!(matches!(err, GetTokenError::NotFound), "{err:?}");
    assert_eq!(rig.server.tries(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_told_during_a_first_read_is_not_overlooked() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    let b = rig.replica("b").await;
    sleep(Duration::from_millis(1)).await;
    b.store.then(Fault::SlowRead(secs(1)));
    let slow = b.asking();
    sleep(Duration::from_millis(500)).await;
    rig.a.admin.disable_connection(&name(), "").await.unwrap();
    drop(slow.await.unwrap());
    let err = b.ask().await.unwrap_err();
    assert!(matches!(err, GetTokenError::Ended { state: State::Disabled, .. }), "{err:?}");
}
