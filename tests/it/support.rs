//! What several behaviours stand on: real servers, real brokers, and a client of their API.

pub(crate) mod api;
pub(crate) mod browser;
pub(crate) mod collector;
pub(crate) mod driven;
pub(crate) mod foreign;
pub(crate) mod issuer;
pub(crate) mod metrics;
pub(crate) mod person;
pub(crate) mod pki;
pub(crate) mod ports;
pub(crate) mod probes;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod scene;
pub(crate) mod site;

use std::{fmt::Debug, fs, time::Duration};
use tokio::time::Instant;

/// Between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long anything may take: it only bounds how long a failure takes, and a machine that builds something else
/// meanwhile stands still for seconds.
pub(crate) const AT_MOST: Duration = Duration::from_secs(180);

/// Looks until there is something to see; fails with `what` when there is nothing within [`AT_MOST`].
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + AT_MOST;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {AT_MOST:?}: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The named percentile of a sorted list.
pub(crate) fn percentile<T: Copy + Default + Debug>(sorted: &[T], percent: usize) -> T {
    sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or_default()
}

/// Tells how many calls there were under load, and what else the machine did.
pub(crate) fn tell_load(calls: usize, begun: Instant) {
    let span = begun.elapsed();
    #[expect(clippy::cast_precision_loss, reason = "some ten thousand calls")]
    let rate = calls as f64 / span.as_secs_f64();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{calls} calls in {span:.1?}, {rate:.0} a second, none failed; load of this machine: {}",
        load.trim()
    );
}
