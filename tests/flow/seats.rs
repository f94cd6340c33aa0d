//! Calls that wait stand in nobody's way: with every place to wait taken, a token that is in memory is handed out.

use crate::{
    rig::{LEASE, Rig, numbered, permit, secs, served},
    server::Say,
};
use bursar::{
    access::{Caller, Identity, Rate, Transport},
    broker::{GetTokenError, Wish},
    limits::{Bound, Limits, Rates, Rules},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, sleep, timeout},
};

const RULES: Rules = Rules {
    calls: 8,
    calls_per_caller: 10_000,
    waiting: 4096,
    waiting_per_caller: 10_000,
    waiting_per_tenant: 4096,
    streams_per_caller: 1,
    strangers: 0,
    rates: Rates { serve: 0, read: 0, write: 0, exchange: 0 },
    burst: Duration::from_secs(1),
};
const WAITING: usize = 4096;

fn wish(limits: &Arc<Limits>) -> Wish {
    let caller = Caller::new(Identity::Local, Transport::Loopback, BTreeSet::new());
    let seat = limits.admit(limits.enter().unwrap(), &caller, Rate::Serve).unwrap();
    Wish { seat, ..Wish::default() }
}

fn met(outcome: Result<crate::rig::Served, GetTokenError>) -> Bound {
    match outcome.unwrap_err() {
        GetTokenError::Full(full) => full.which,
        other => panic!("{other:?}"),
    }
}

/// With a token in memory: what is asked for the first time after its renewal is read once more.
async fn warm() -> Rig {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.a.ask().await.unwrap();
    rig
}

#[tokio::test(start_paused = true)]
async fn four_thousand_who_wait_for_a_slow_provider_hold_up_no_token_that_is_in_memory() {
    let rig = warm().await;
    rig.seed(1).await;
    rig.server.then([Say::Late(secs(20))]);
    let limits = Limits::new(RULES);
    let mut waiting = JoinSet::new();
    for _ in 0..WAITING {
        let (wish, broker) = (wish(&limits), rig.a.broker.clone());
        waiting.spawn(async move { broker.get_token(&permit(numbered(1)), &wish).await.map(drop) });
        // There is room for eight that do not wait: each finds out that it has to before the next comes in.
        yield_now().await;
    }
    while !rig.a.broker.refresher.is_under_way(&numbered(1)) {
        sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    for _ in 0..1000 {
        assert_eq!(rig.a.ask_of(&numbered(0), wish(&limits)).await.unwrap(), served("at1"));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited for anything");
    // One more that has to wait is told so, and nothing is asked of the provider for it.
    rig.seed(2).await;
    let tries = rig.server.tries();
    assert_eq!(met(rig.a.ask_of(&numbered(1), wish(&limits)).await), Bound::Waiting);
    assert_eq!(met(rig.a.ask_of(&numbered(2), wish(&limits)).await), Bound::Waiting);
    assert_eq!((rig.server.tries(), waiting.len()), (tries, WAITING));
    while let Some(answer) = waiting.join_next().await {
        answer.unwrap().unwrap();
    }
    rig.a.ask_of(&numbered(2), wish(&limits)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_holds_up_no_token_that_is_in_memory() {
    let rig = warm().await;
    let limits = Limits::new(Rules { waiting: 1, ..RULES });
    rig.seed(1).await;
    rig.a.store.then(crate::way::Fault::SlowRead(secs(30)));
    let other = numbered(1);
    let mut slow = Box::pin(rig.a.ask_of(&other, wish(&limits)));
    assert!(timeout(secs(1), &mut slow).await.is_err());
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(rig.a.ask_of(&numbered(0), wish(&limits)).await.unwrap(), served("at1"));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    rig.seed(2).await;
    assert_eq!(met(rig.a.ask_of(&numbered(2), wish(&limits)).await), Bound::Waiting);
    drop(slow);
    rig.a.ask_of(&numbered(2), wish(&limits)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_renews_in_the_background_needs_no_place() {
    let rig = warm().await;
    let token = rig.record().await.token.unwrap();
    sleep(token.issued_at.until(token.soft_at) + secs(1)).await;
    let limits = Limits::new(Rules { waiting: 0, ..RULES });
    assert_eq!(rig.a.ask_of(&numbered(0), wish(&limits)).await.unwrap(), served("at1"));
    sleep(LEASE).await;
    rig.a.ask().await.unwrap();
    assert_eq!(rig.a.ask_of(&numbered(0), wish(&limits)).await.unwrap(), served("at2"));
}
