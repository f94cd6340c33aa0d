//! What callers and servers see over hours and days: outages, pauses, schedules.

use crate::{
    rig::{HOUR, Rig, START, TICK, new_client, numbered, secs, served},
    server::{DELAY, Say},
};
use bursar::{
    broker::{GetTokenError, refresher::RefreshError},
    domain::{
        connection::Connection,
        failure::Class,
        lifecycle::Degraded,
        names::ClientName,
        token::{ClientSecret, Secret},
    },
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_day_passes_and_no_caller_ever_waits() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.a.schedule();
    for _ in 0..24 * 60 {
        sleep(MINUTE).await;
        let asked = Instant::now();
        assert_eq!(rig.a.ask().await.unwrap().degraded, None);
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
    rig.a.stop();
    assert_eq!(rig.server.tries(), 32, "one at the start, then one every 42 to 48 minutes");
    assert_eq!(rig.server.answers(), 32);
}

#[tokio::test(start_paused = true)]
async fn a_connection_nobody_asks_for_stays_fresh() {
    let rig = Rig::new().await;
    rig.a.schedule();
    sleep(24 * HOUR).await;
    rig.a.stop();
    assert_eq!(rig.server.tries(), 32);
    let asked = Instant::now();
    rig.a.ask().await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_margin_is_never_seen_by_callers() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.server.down(40 * MINUTE, 14 * MINUTE);
    rig.a.schedule();
    for _ in 0..70 {
        sleep(MINUTE).await;
        let asked = Instant::now();
        assert_eq!(rig.a.ask().await.unwrap().degraded, None);
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
    rig.a.stop();
    assert_eq!(rig.server.answers(), 2);
    assert_eq!(rig.server.tries(), 14);
}

#[tokio::test(start_paused = true)]
async fn an_outage_beyond_expiry_is_told_before_it_is_felt_and_healed_within_a_pause() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.server.down(40 * MINUTE, 30 * MINUTE);
    rig.a.schedule();
    sleep(58 * MINUTE).await;
    let late = rig.a.ask().await.unwrap();
    assert_eq!((late.token.as_str(), late.degraded), ("at1", Some(Degraded::ProviderFailing)));
    sleep(2 * MINUTE).await;
    let err = rig.a.ask().await.unwrap_err();
    assert!(matches!(err, GetTokenError::Refresh(RefreshError::Held { .. })), "{err:?}");
    sleep(10 * MINUTE + MINUTE * 6 / 5 + secs(5)).await;
    assert_eq!(rig.a.ask().await.unwrap(), served("at2"), "a pause and a tick after the outage");
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_dead_provider_is_asked_seldom_however_many_callers_ask() {
    let rig = Rig::new().await;
    rig.server.down(Duration::ZERO, 24 * HOUR);
    for _ in 0..3600 {
        sleep(secs(1)).await;
        rig.a.ask().await.unwrap_err();
    }
    // 2, 4, 8, 16, 32 s, then a minute each: 62 s and 59 minutes, give or take a fifth.
    assert_eq!(rig.server.tries(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_hides_nothing_that_is_due_at_others() {
    let (hanging, others) = (0..400, 400..420);
    let rig = Rig::empty("").await;
    rig.server.hangs(Some("providers/under-test"));
    for n in hanging.clone() {
        rig.seed(n).await;
    }
    let client: ClientName = "tenants/t/clients/elsewhere".parse().unwrap();
    let secret = ClientSecret(Secret::new("secret-1"));
    rig.a.admin.create_client(new_client(client.clone(), "providers/google", secret)).await.unwrap();
    // Later than all of these: behind them in the queue.
    let due = START.plus(3 * MINUTE);
    for n in others.clone() {
        let elsewhere = |connection: &mut Connection| {
            connection.provider = "providers/google".parse().unwrap();
            connection.client = client.clone();
            connection.due = Some(due);
        };
        rig.seed_as(n, "rt0", elsewhere).await;
    }
    rig.a.schedule();
    sleep(3 * MINUTE + 2 * TICK).await;
    assert_eq!(rig.server.answers(), 20);
    let asked = rig.server.asked();
    for n in others {
        let at = asked.iter().find(|(name, _)| *name == numbered(n)).unwrap().1;
        assert!(due.until(at) <= TICK, "{n}: {:?}", due.until(at));
    }
    // 48 at once, each for the 31 s that an exchange may take.
    assert!((240..=336).contains(&(asked.len() - 20)), "{}", asked.len());

    rig.server.hangs(None);
    sleep(3 * MINUTE).await;
    rig.a.stop();
    assert_eq!(rig.server.answers(), 420);
    assert_eq!(rig.server.spent_twice(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_throttling_provider_is_left_alone_for_as_long_as_it_asks() {
    let rig = Rig::new().await;
    rig.server.then([Say::RetryAfter(secs(600))]);
    let started = Instant::now();
    rig.a.schedule();
    loop {
        sleep(secs(1)).await;
        if rig.a.ask().await.is_ok() {
            break;
        }
    }
    assert!((secs(600)..secs(607)).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert_eq!(rig.server.tries(), 2);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn where_reuse_kills_the_grant_an_unanswered_exchange_is_repeated_at_the_last_moment_only() {
    let rig = Rig::with("rotation = \"always\"\nreuse = \"revoke_family\"").await;
    rig.a.ask().await.unwrap();
    let token = rig.record().await.token.unwrap();
    rig.server.then([Say::Fail(Class::Ambiguous)]);
    rig.a.schedule();
    sleep(rig.clock.now().until(token.soft_at) + secs(6)).await;
    assert_eq!(rig.server.tries(), 2);
    while rig.clock.now() < token.hard_at {
        assert_eq!(rig.server.tries(), 2);
        let at_risk = rig.a.ask().await.unwrap();
        assert_eq!((at_risk.token.as_str(), at_risk.degraded), ("at1", Some(Degraded::GrantAtRisk)));
        sleep(secs(10)).await;
    }
    sleep(secs(5) + 2 * DELAY).await;
    assert_eq!(rig.a.ask().await.unwrap(), served("at2"));
    assert_eq!(rig.server.tries(), 3);
    rig.a.stop();
}
