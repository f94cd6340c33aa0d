//! What is watched outlasts the caller's token and the replica that tells it.

use super::{fake::Fake, refusal};
use crate::{
    api::{KeyChain, ResealProgress},
    cli::Exit,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tonic::{Code, Status};

const CHAIN: &str = "keyChains/root";

/// A server whose watches end like this, one after the other; each began with as many records as its number here says.
fn ending(begins: &'static [u64], ends: Vec<Status>) -> Fake {
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    Fake::new(move |call| match call.method {
        "watch_key_chain" => match begins.get(begun.fetch_add(1, Ordering::Relaxed)) {
            Some(count) => {
                let reseal = ResealProgress { resealed_count: *count, ..ResealProgress::default() };
                let name = CHAIN.to_owned();
                Ok(KeyChain { name, reseal: Some(reseal), ..KeyChain::default() })
            }
            None => Err(refusal(Code::Unauthenticated, "UNAUTHENTICATED")),
        },
        "after_watch_key_chain" => match ends.get(ended.fetch_add(1, Ordering::Relaxed)) {
            Some(status) => Err(status.clone()),
            None => Ok(KeyChain::default()),
        },
        method => panic!("{method}"),
    })
}

const WATCH: &[&str] = &["--output", "json", "keys", "watch", CHAIN];

#[tokio::test]
async fn a_watch_goes_on_when_the_token_or_the_replica_ended_and_tells_nothing_twice() {
    let ends = [(Code::Unauthenticated, "UNAUTHENTICATED"), (Code::Unavailable, "SHUTTING_DOWN")];
    let fake = ending(&[1, 1, 2], ends.map(|(code, reason)| refusal(code, reason)).to_vec());
    let outcome = fake.run(WATCH).await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    let opened = outcome.calls.iter().filter(|call| call.method == "watch_key_chain").count();
    let told = |count: u64| {
        let field = format!("\"resealed_count\":{count}");
        outcome.err.replace(' ', "").matches(&field).count()
    };
    assert_eq!((opened, told(1), told(2)), (3, 1, 1), "{}", outcome.err);
}

#[tokio::test]
async fn a_token_that_stays_bad_ends_a_watch() {
    for (begins, opened) in [(&[][..], 1), (&[1][..], 2)] {
        let outcome =
            ending(begins, vec![refusal(Code::Unauthenticated, "UNAUTHENTICATED")]).run(WATCH).await;
        assert_eq!(outcome.exit, Exit::Denied, "{}", outcome.err);
        let calls = outcome.calls.iter().filter(|call| call.method == "watch_key_chain").count();
        assert_eq!(calls, opened);
    }
}

#[tokio::test]
async fn what_a_watch_is_refused_for_otherwise_ends_it() {
    let outcome =
        ending(&[1, 2], vec![refusal(Code::PermissionDenied, "PERMISSION_DENIED")]).run(WATCH).await;
    assert_eq!(outcome.exit, Exit::Denied, "{}", outcome.err);
}
