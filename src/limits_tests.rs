//! Bounds as callers meet them, under a paused clock.

use super::*;
use crate::access::{Identity, Transport};
use std::{
    collections::BTreeSet,
    future::{pending, ready},
};
use tokio::time::advance;

const NO_RATES: Rates = Rates { serve: 0, read: 0, write: 0, exchange: 0 };
const RULES: Rules = Rules {
    calls: 4,
    calls_per_caller: 100,
    waiting: 6,
    waiting_per_caller: 100,
    waiting_per_tenant: 3,
    streams_per_caller: 2,
    strangers: 5,
    rates: NO_RATES,
    burst: Duration::from_secs(2),
};

fn caller(id: &str) -> Caller {
    let identity = Identity::Spiffe(format!("spiffe://example.org/{id}"));
    Caller::new(identity, Transport::Mtls, BTreeSet::new())
}

fn owner(tenant: &str) -> Owner {
    Owner::Tenant(format!("tenants/{tenant}").parse().unwrap())
}

fn admitted(limits: &Arc<Limits>, id: &str, rate: Rate) -> Result<Seat, Full> {
    limits.admit(limits.enter()?, &caller(id), rate)
}

fn bound(outcome: Result<Seat, Full>) -> Bound {
    outcome.expect_err("a bound").which
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_its_rate_for_each_kind_and_nobody_elses() {
    let rates = Rates { serve: 10, write: 1, ..NO_RATES };
    let limits = Limits::new(Rules { rates, ..RULES });
    let serve = |id| admitted(&limits, id, Rate::Serve);
    // Two seconds' worth at once, then what time brings.
    for _ in 0..20 {
        serve("ann").unwrap();
    }
    let full = serve("ann").unwrap_err();
    assert_eq!((full.which, full.retry), (Bound::Rate(Class::Serve), Duration::from_millis(100)));
    serve("bob").unwrap();
    // Other kinds have buckets of their own; without a rate there is none.
    admitted(&limits, "ann", Rate::Write).unwrap();
    admitted(&limits, "ann", Rate::Write).unwrap();
    assert_eq!(bound(admitted(&limits, "ann", Rate::Write)), Bound::Rate(Class::Write));
    for rate in [Rate::Read, Rate::Exchange].repeat(50) {
        admitted(&limits, "ann", rate).unwrap();
    }
    advance(full.retry).await;
    serve("ann").unwrap();
    assert_eq!(bound(serve("ann")), Bound::Rate(Class::Serve));
    // A refusal costs nothing: who asks all the time gets its rate all the same.
    let mut served = 0;
    for _ in 0..1000 {
        advance(Duration::from_millis(10)).await;
        served += usize::from(serve("ann").is_ok());
    }
    assert!((99..=101).contains(&served), "{served} in 10 s");
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_for_its_rate_takes_no_room() {
    let limits = Limits::new(Rules { rates: Rates { serve: 1, ..NO_RATES }, calls: 1, ..RULES });
    for _ in 0..2 {
        admitted(&limits, "ann", Rate::Serve).unwrap();
    }
    assert_eq!(bound(admitted(&limits, "ann", Rate::Serve)), Bound::Rate(Class::Serve));
    let seat = admitted(&limits, "bob", Rate::Serve).unwrap();
    assert_eq!(bound(admitted(&limits, "eve", Rate::Serve)), Bound::Calls);
    let other_handle = seat.clone();
    drop(seat);
    assert_eq!(bound(admitted(&limits, "eve", Rate::Serve)), Bound::Calls);
    drop(other_handle);
    admitted(&limits, "eve", Rate::Serve).unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_take_no_room_of_those_that_do_not() {
    let limits = Limits::new(RULES);
    let mut waiting = Vec::new();
    for (tenant, id) in [("a", "ann"), ("b", "bob")].repeat(3) {
        let seat = admitted(&limits, id, Rate::Serve).unwrap();
        seat.wait_for(&owner(tenant)).unwrap();
        // Once more is the same place.
        seat.wait_for(&owner(tenant)).unwrap();
        waiting.push(seat);
    }
    // All places of those that wait are taken, and all of the others are free.
    let quick: Vec<_> = (0..4).map(|_| admitted(&limits, "ann", Rate::Serve).unwrap()).collect();
    assert_eq!(bound(admitted(&limits, "ann", Rate::Serve)), Bound::Calls);
    assert_eq!(quick[0].wait().unwrap_err().which, Bound::Waiting);
    drop(quick);
    // A call that always waits is refused before it begins.
    assert_eq!(bound(admitted(&limits, "ann", Rate::Read)), Bound::Waiting);
    waiting.pop();
    let read = admitted(&limits, "ann", Rate::Read).unwrap();
    read.wait_for(&owner("c")).unwrap();
    drop((read, waiting));
    assert!(limits.waiting.available_permits() == 6 && limits.calls.available_permits() == 4);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_places_of_its_own() {
    let limits = Limits::new(RULES);
    let seats: Vec<_> = (0..4).map(|_| admitted(&limits, "ann", Rate::Write).unwrap()).collect();
    for seat in &seats[..3] {
        seat.wait_for(&owner("a")).unwrap();
    }
    let full = seats[3].wait_for(&owner("a")).unwrap_err();
    assert_eq!((full.which, full.retry), (Bound::WaitingPerTenant, RETRY));
    // The same caller for another tenant.
    seats[3].wait_for(&owner("b")).unwrap();
    // Whoever may not have something stands in nobody's way: a place of the tenant's is taken by `wait_for` only.
    drop(seats);
    let stranger: Vec<_> = (0..6).map(|_| admitted(&limits, "eve", Rate::Read).unwrap()).collect();
    assert_eq!(stranger.len(), 6);
    drop(stranger);
    admitted(&limits, "ann", Rate::Read).unwrap().wait_for(&owner("a")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_caller_cannot_take_all_places() {
    let limits = Limits::new(Rules { calls_per_caller: 3, waiting_per_caller: 2, ..RULES });
    let waiting =
        [admitted(&limits, "ann", Rate::Read).unwrap(), admitted(&limits, "ann", Rate::Read).unwrap()];
    assert_eq!(bound(admitted(&limits, "ann", Rate::Read)), Bound::WaitingPerCaller);
    let third = admitted(&limits, "ann", Rate::Serve).unwrap();
    assert_eq!(third.wait().unwrap_err().which, Bound::WaitingPerCaller);
    assert_eq!(bound(admitted(&limits, "ann", Rate::Serve)), Bound::CallsPerCaller);
    admitted(&limits, "bob", Rate::Read).unwrap();
    drop((waiting, third));
    admitted(&limits, "ann", Rate::Read).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_from_memory_needs_no_place_to_wait() {
    let limits = Limits::new(Rules { waiting: 1, ..RULES });
    let taken = admitted(&limits, "ann", Rate::Read).unwrap();
    let seat = admitted(&limits, "ann", Rate::Serve).unwrap();
    assert_eq!(seat.answered(Some(&owner("a")), ready(7)).await, Ok(7));
    let nothing = seat.answered(Some(&owner("a")), pending::<()>()).await;
    assert_eq!(nothing.unwrap_err().which, Bound::Waiting);
    drop(taken);
    seat.answered(Some(&owner("a")), tokio::time::sleep(Duration::from_secs(1))).await.unwrap();
    assert_eq!(bound(admitted(&limits, "bob", Rate::Read)), Bound::Waiting);
    // The process itself is not bound.
    Seat::default().wait_for(&owner("a")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn few_may_wait_for_who_they_are() {
    let limits = Limits::new(Rules { calls: 16, ..RULES });
    let entered: Vec<_> = (0..4).map(|_| limits.enter().unwrap()).collect();
    let mut slow: Vec<_> = entered[..2].iter().map(|one| Box::pin(one.recognised(pending::<()>()))).collect();
    for one in &mut slow {
        assert!(futures_util::poll!(one).is_pending());
    }
    assert_eq!(entered[2].recognised(pending::<()>()).await.unwrap_err().which, Bound::Recognising);
    assert_eq!(entered[3].recognised(ready("ann")).await, Ok("ann"));
    drop(slow);
    assert!(futures_util::poll!(Box::pin(entered[2].recognised(pending::<()>()))).is_pending());
}

#[tokio::test(start_paused = true)]
async fn streams_count_for_as_long_as_they_are_open() {
    let limits = Limits::new(RULES);
    let open = || admitted(&limits, "ann", Rate::Watch).map(|seat| seat.stream().unwrap());
    let streams = [open().unwrap(), open().unwrap()];
    assert_eq!(open().map(drop).unwrap_err().which, Bound::StreamsPerCaller);
    // The calls themselves are over, and take no room.
    assert_eq!(limits.calls.available_permits(), 4);
    drop(streams);
    open().unwrap();
    assert!(admitted(&limits, "ann", Rate::Serve).unwrap().stream().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_identities_takes_bounded_memory_and_harms_nobody_who_was_known() {
    let rules = Rules { rates: Rates { serve: 5, ..NO_RATES }, ..RULES };
    let callers = Callers::bounded(rules, 160);
    let known = callers.account("known");
    for number in 0..10_000 {
        let _ = callers.account(&number.to_string()).spend(Class::Serve);
    }
    assert!(callers.known() <= 160, "{}", callers.known());
    // Newcomers share what is left, which the flood has used up.
    assert!(callers.account("late").spend(Class::Serve).is_err());
    assert!(known.spend(Class::Serve).is_ok() && Arc::ptr_eq(&known, &callers.account("known")));
    // Those who are silent make place. Those who are not, and those with a call under way, keep theirs.
    let busy = callers.account("0");
    let call = busy.calls.take().unwrap();
    advance(rules.burst + Duration::from_millis(1500)).await;
    for number in 0..1000 {
        callers.account(&format!("new {number}"));
    }
    assert!(callers.known() <= 160);
    assert!(Arc::ptr_eq(&busy, &callers.account("0")));
    assert!(!Arc::ptr_eq(&known, &callers.account("known")), "who is silent is forgotten");
    drop(call);
    assert!(size_of::<callers::Account>() <= 384, "{} bytes", size_of::<callers::Account>());
}

#[tokio::test(start_paused = true)]
async fn silent_callers_are_forgotten_where_there_is_place_too() {
    let callers = Callers::bounded(RULES, 100_000);
    for number in 0..1000 {
        callers.account(&number.to_string());
    }
    assert_eq!(callers.known(), 1000);
    advance(Duration::from_secs(120)).await;
    for number in 0..200 {
        callers.account(&format!("new {number}"));
    }
    assert!(callers.known() <= 200 + 1000 / 16, "{}", callers.known());
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_strangers_is_not_listened_to_for_a_while() {
    let strikes = Strikes::default();
    for _ in 0..50 {
        strikes.add(5);
        assert_eq!(strikes.closed_for(), None);
    }
    strikes.add(5);
    let closed = strikes.closed_for().unwrap();
    assert!(closed <= Duration::from_millis(200), "{closed:?}");
    advance(closed).await;
    assert_eq!(strikes.closed_for(), None);
    strikes.add(5);
    assert_eq!(strikes.closed_for(), None);
    strikes.add(5);
    assert!(strikes.closed_for().is_some());
}

#[test]
fn every_bound_names_its_key_of_the_configuration() {
    let keys = include_str!("config/default.toml");
    let rates = Class::ALL.map(Bound::Rate);
    let bounds = [
        Bound::Calls,
        Bound::Recognising,
        Bound::Waiting,
        Bound::CallsPerCaller,
        Bound::WaitingPerCaller,
        Bound::StreamsPerCaller,
        Bound::WaitingPerTenant,
        Bound::Strangers,
    ];
    for bound in bounds.into_iter().chain(rates) {
        let key = bound.key().strip_prefix("limits.").unwrap();
        assert!(keys.contains(&format!("\n{key} = ")), "{key}");
    }
}
