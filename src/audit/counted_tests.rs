//! Nothing is counted twice, nothing is lost, and it is all bounded.

use super::*;
use crate::audit::faulty::release;
use std::{collections::BTreeMap, sync::Arc, thread};

fn connection(number: u64) -> ConnectionName {
    format!("tenants/acme/connections/c{number}").parse().unwrap()
}

const AT: Timestamp = Timestamp::from_secs(100);

fn which<'a>(connection: &'a ConnectionName, release: &'a Release) -> Which<'a> {
    let Release { caller, family, generation, .. } = release;
    Which { caller: caller.as_str(), connection, family: *family, generation: *generation }
}

fn record(counted: &Counted, number: u64) {
    counted.recorded(&which(&connection(number), &release(number)), release(number), AT);
}

fn again(counted: &Counted, number: u64) -> bool {
    counted.again(&which(&connection(number), &release(number)), AT)
}

fn counts(summaries: Vec<Summary>) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for summary in summaries {
        *counts.entry(summary.release.generation).or_default() += summary.count;
    }
    counts
}

#[test]
fn the_first_is_not_counted_and_all_others_are_once() {
    let counted = Counted::new();
    assert!(!again(&counted, 1), "not on record yet");
    record(&counted, 1);
    record(&counted, 1);
    assert_eq!(counted.drain(AT), []);
    let name = connection(1);
    let one = release(1);
    for second in [101, 105, 103] {
        assert!(counted.again(&which(&name, &one), Timestamp::from_secs(second)));
    }
    let at = Timestamp::from_secs;
    let want = Summary { release: one, count: 3, first_at: at(101), last_at: at(103) };
    assert_eq!(counted.drain(AT), [want]);
    assert_eq!(counted.drain(AT), []);
    assert!(again(&counted, 1));
    assert_eq!(counts(counted.drain(AT)), [(1, 1)].into());
}

#[test]
fn another_caller_connection_consent_or_generation_is_another_release() {
    let counted = Counted::new();
    record(&counted, 1);
    let (name, one, other) = (connection(1), release(1), connection(2));
    let same = which(&name, &one);
    assert!(counted.again(&same, AT));
    assert!(!counted.again(&Which { caller: "spiffe://example.org/other", ..same }, AT));
    assert!(!counted.again(&Which { connection: &other, ..same }, AT));
    assert!(!counted.again(&Which { family: Uuid::from_u128(9), ..same }, AT));
    assert!(!counted.again(&Which { generation: 2, ..same }, AT));
}

#[test]
fn what_has_to_make_place_takes_no_count_with_it() {
    let counted = Counted::bounded(SHARDS, 100_000);
    let mut want = BTreeMap::new();
    for number in 0..1000 {
        record(&counted, number);
        for _ in 0..=number % 3 {
            assert!(again(&counted, number), "{number}");
            *want.entry(number).or_default() += 1;
        }
    }
    let known: usize = counted.shards.iter().map(|shard| shard.lock().len()).sum();
    assert!(known <= SHARDS, "{known}");
    let mut all = counted.carried();
    all.extend(counted.drain(AT));
    assert_eq!(counts(all), want);
}

#[test]
fn without_place_for_counts_nothing_more_is_remembered_and_nothing_lost() {
    let counted = Counted::bounded(SHARDS, 4);
    let mut want = BTreeMap::new();
    let mut forgotten = 0;
    for number in 0..1000 {
        record(&counted, number);
        if again(&counted, number) {
            want.insert(number, 1);
        } else {
            // It gets a line of its own again.
            forgotten += 1;
        }
    }
    assert!(forgotten > 500 && counted.is_pressed());
    let carried = counted.carried();
    assert_eq!(carried.len(), 4);
    counted.put_back(carried);
    let mut all = counted.carried();
    all.extend(counted.drain(AT));
    assert_eq!(counts(all), want);
}

#[test]
fn tokens_that_have_expired_are_forgotten_with_their_counts_told() {
    let counted = Counted::new();
    record(&counted, 1);
    again(&counted, 1);
    assert_eq!(counts(counted.drain(release(1).expires_at)), [(1, 1)].into());
    assert!(!again(&counted, 1));
}

#[test]
fn threads_lose_no_count() {
    let counted = Arc::new(Counted::bounded(256, 100_000));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let counted = counted.clone();
            thread::spawn(move || {
                let mut mine = 0;
                for round in 0..5000 {
                    if again(&counted, round % 300) {
                        mine += 1;
                    } else {
                        record(&counted, round % 300);
                    }
                }
                mine
            })
        })
        .collect();
    let mut told = 0;
    for _ in 0..100 {
        told += counted.drain(AT).iter().map(|summary| summary.count).sum::<u64>();
    }
    let want: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    told += counted.carried().iter().chain(&counted.drain(AT)).map(|summary| summary.count).sum::<u64>();
    assert_eq!(told, want);
}
