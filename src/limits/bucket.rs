//! Token buckets, over the clock that tests can pause.

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use parking_lot::Mutex;
use std::{num::NonZeroU32, sync::OnceLock, time::Duration};
use tokio::time::Instant;

/// Calls of nobody on one connection: so many seconds' worth at once.
const STRIKES_BURST: Duration = Duration::from_secs(10);

/// Time since it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticks(Instant);

impl Ticks {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn passed(self) -> Duration {
        self.0.elapsed()
    }
}

impl Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.passed().into()
    }
}

/// Fills up with time, up to a measure; every call takes one out.
#[derive(Debug)]
pub(super) struct Bucket(RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>);

impl Bucket {
    /// `None`: `a_second` is 0, which is no limit.
    pub(super) fn new(a_second: u32, burst: Duration, ticks: Ticks) -> Option<Self> {
        let seconds = u32::try_from(burst.as_secs()).unwrap_or(u32::MAX);
        let at_once = NonZeroU32::new(a_second.saturating_mul(seconds)).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(NonZeroU32::new(a_second)?).allow_burst(at_once);
        Some(Self(RateLimiter::direct_with_clock(quota, ticks)))
    }

    /// `Err`: it is empty, and has one again after this long.
    pub(super) fn take(&self) -> Result<(), Duration> {
        self.0.check().map_err(|not_until| not_until.wait_time_from(self.0.clock().now()))
    }
}

/// How often the other end of one connection did not prove who it is. Lives and dies with the connection, so that
/// strangers cost no memory of their own.
#[derive(Debug)]
pub struct Strikes {
    ticks: Ticks,
    /// Made when the first is nobody.
    bucket: OnceLock<Option<Bucket>>,
    /// Nobody is asked who they are before then.
    closed_until: Mutex<Option<Duration>>,
}

impl Default for Strikes {
    fn default() -> Self {
        Self { ticks: Ticks::start(), bucket: OnceLock::new(), closed_until: Mutex::default() }
    }
}

impl Strikes {
    /// For how long no call of this connection is looked at; `None`: it is.
    pub fn closed_for(&self) -> Option<Duration> {
        let until = (*self.closed_until.lock())?;
        until.checked_sub(self.ticks.passed()).filter(|left| !left.is_zero())
    }

    /// Somebody was nobody, of whom so many a second are listened to.
    pub fn add(&self, a_second: u32) {
        let bucket = self.bucket.get_or_init(|| Bucket::new(a_second, STRIKES_BURST, self.ticks));
        if let Some(Err(wait)) = bucket.as_ref().map(Bucket::take) {
            *self.closed_until.lock() = Some(self.ticks.passed() + wait);
        }
    }
}
