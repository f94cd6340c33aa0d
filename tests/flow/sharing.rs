//! One exchange serves everybody who waits for it, however it ends and whoever hangs up.

use crate::{
    rig::{HOUR, LEASE, Rig, secs, served},
    server::{DELAY, Say},
};
use bursar::{
    broker::{GetTokenError, refresher::RefreshError},
    domain::{connection::State, failure::Class},
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_share_one_exchange() {
    let rig = Rig::new().await;
    let callers: Vec<_> = (0..100).map(|_| rig.a.asking()).collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), served("at1"));
    }
    assert_eq!((rig.server.tries(), rig.server.answers()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_share_one_failure() {
    let rig = Rig::new().await;
    rig.server.down(Duration::ZERO, HOUR);
    let started = Instant::now();
    let callers: Vec<_> = (0..100).map(|_| rig.a.asking()).collect();
    for caller in callers {
        match caller.await.unwrap() {
            Err(GetTokenError::Refresh(RefreshError::Failed(failure))) => {
                assert_eq!(failure.class, Class::NotSent);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rig.server.tries(), 1);
    assert_eq!(started.elapsed(), DELAY);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_does_not_lose_the_new_refresh_token() {
    let rig = Rig::new().await;
    assert!(timeout(DELAY / 2, rig.a.ask()).await.is_err());
    rig.a.broker.refresher.drain().await;
    assert_eq!(rig.record().await.generation, 1);
    assert_eq!((rig.server.tries(), rig.server.answers()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panicking_exchange_blocks_the_next_one_for_its_lease_and_no_longer() {
    let rig = Rig::new().await;
    rig.server.then([Say::Panic]);
    let first = rig.a.ask().await.unwrap_err();
    assert!(matches!(first, GetTokenError::Refresh(RefreshError::Lost)), "{first:?}");
    assert_eq!(rig.a.broker.refresher.under_way(), 0);
    let started = Instant::now();
    assert_eq!(rig.a.ask().await.unwrap().token, "at1");
    assert_eq!(started.elapsed(), LEASE, "the open attempt was {DELAY:?} old, the exchange took as long");
    assert_eq!((rig.server.tries(), rig.server.answers()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_wish_for_more_life_refreshes_once_and_one_that_cannot_be_met_never() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    sleep(secs(600)).await;
    assert_eq!(rig.a.ask_for(secs(2990)).await.unwrap(), served("at1"));
    assert_eq!(rig.a.ask_for(secs(3010)).await.unwrap(), served("at2"));
    let err = rig.a.ask_for(secs(3600)).await.unwrap_err();
    assert!(matches!(err, GetTokenError::TooYoung { .. }), "{err:?}");
    let started = Instant::now();
    let err = rig.a.ask_for(secs(3601)).await.unwrap_err();
    assert!(matches!(err, GetTokenError::TooLong { lifetime: HOUR }), "{err:?}");
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(rig.server.tries(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_twenty_or_five_seconds_is_served_and_renewed_without_a_storm() {
    // The margin is half a lifetime, or up to a fifth less: they are renewed 10 to 12 s, and 2.5 to 3 s in.
    for (lifetime, asks, tries) in [(20, 600, 45), (5, 600, 177)] {
        let rig = Rig::new().await;
        rig.server.tokens_live(secs(lifetime));
        for _ in 0..asks {
            rig.a.ask().await.unwrap();
            sleep(4 * DELAY).await;
        }
        assert_eq!(
            rig.server.tries(),
            tries,
            "tokens of {lifetime} s, asked for every 0.8 s or a little more"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_token_is_served_when_its_refresh_fails_or_takes_too_long() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    sleep(secs(56 * 60)).await;
    rig.server.then([Say::Late(secs(20))]);
    let started = Instant::now();
    let slow = rig.a.ask().await.unwrap();
    assert_eq!(
        (slow.token.as_str(), slow.degraded),
        ("at1", Some(bursar::domain::lifecycle::Degraded::RefreshSlow))
    );
    assert_eq!(started.elapsed(), secs(10));
    sleep(secs(11)).await;
    assert_eq!(rig.a.ask().await.unwrap(), served("at2"));
    assert_eq!(rig.server.tries(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_dies_with_its_renewal_is_never_served_beside_one() {
    let rig = Rig::with("overlap = \"dies\"").await;
    rig.a.ask().await.unwrap();
    sleep(secs(50 * 60)).await;
    rig.server.then([Say::Late(secs(20))]);
    let started = Instant::now();
    assert_eq!(rig.a.ask().await.unwrap(), served("at2"), "the old one may be dead already");
    assert_eq!(started.elapsed(), secs(20));
    assert_eq!(rig.server.tries(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_success_without_a_token_keeps_the_new_refresh_token() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    sleep(secs(50 * 60)).await;
    rig.server.then([Say::Malformed]);
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"), "refreshed in the background");
    sleep(secs(60)).await;
    assert_eq!(rig.record().await.generation, 2);
    assert_eq!(rig.a.ask().await.unwrap().token, "at1");
    sleep(secs(1)).await;
    assert_eq!(rig.a.ask().await.unwrap(), served("at3"));
    assert_eq!((rig.server.spent_twice(), rig.record().await.state), (0, State::Active));
}
