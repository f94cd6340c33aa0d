//! What each caller has had lately. Callers that are silent are forgotten, and a flood of identities does not grow it:
//! those who find no place share one.

use super::{
    Class, Rules,
    bucket::{Bucket, Ticks},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Most callers that are known apart; some 500 bytes each.
pub(super) const CALLERS_MAX: usize = 16 * 1024;
/// Parts that are locked one by one.
const SHARDS: usize = 16;
/// Silent ones are looked for this often while there is place, and each second when there is none.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Callers {
    shards: Box<[Mutex<Shard>]>,
    most: usize,
    hasher: RandomState,
    rules: Rules,
    ticks: Ticks,
    /// Of those who came when there was no place.
    shared: Arc<Account>,
}

#[derive(Default)]
struct Shard {
    accounts: HashMap<Box<str>, Arc<Account>>,
    swept: Duration,
}

/// What one caller has had lately, and has under way.
pub(super) struct Account {
    buckets: [Option<Bucket>; Class::ALL.len()],
    pub(super) calls: Arc<Counter>,
    pub(super) waiting: Arc<Counter>,
    pub(super) streams: Arc<Counter>,
    /// When it was last asked for, in milliseconds.
    used: AtomicU64,
}

/// So many at once.
pub(super) struct Counter {
    inside: AtomicUsize,
    most: usize,
}

/// One of them; given back when dropped.
pub(super) struct Taken(Arc<Counter>);

impl Callers {
    pub(super) fn new(rules: Rules) -> Self {
        Self::bounded(rules, CALLERS_MAX)
    }

    pub(super) fn bounded(rules: Rules, most: usize) -> Self {
        let ticks = Ticks::start();
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            most: (most / SHARDS).max(1),
            hasher: RandomState::new(),
            rules,
            ticks,
            shared: Arc::new(Account::new(&rules, ticks)),
        }
    }

    pub(super) fn account(&self, id: &str) -> Arc<Account> {
        let now = self.ticks.passed();
        let index = usize::try_from(self.hasher.hash_one(id) >> 48).unwrap_or_default() % self.shards.len();
        let mut shard = self.shards[index].lock();
        if let Some(account) = shard.accounts.get(id) {
            account.used.store(millis(now), Ordering::Relaxed);
            return account.clone();
        }
        let is_full = shard.accounts.len() >= self.most;
        if now >= shard.swept + if is_full { SWEEP_PAUSE } else { SWEEP_EVERY } {
            shard.swept = now;
            // By then its buckets are as full as those of somebody who is new.
            let silent = self.rules.burst + SWEEP_PAUSE;
            shard.accounts.retain(|_, account| !account.is_silent(now, silent));
        }
        if shard.accounts.len() >= self.most {
            return self.shared.clone();
        }
        let account = Arc::new(Account::new(&self.rules, self.ticks));
        account.used.store(millis(now), Ordering::Relaxed);
        shard.accounts.insert(id.into(), account.clone());
        account
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().accounts.len()).sum()
    }
}

impl Account {
    fn new(rules: &Rules, ticks: Ticks) -> Self {
        Self {
            buckets: Class::ALL.map(|class| Bucket::new(rules.rates.of(class), rules.burst, ticks)),
            calls: Counter::new(rules.calls_per_caller),
            waiting: Counter::new(rules.waiting_per_caller),
            streams: Counter::new(rules.streams_per_caller),
            used: AtomicU64::new(0),
        }
    }

    /// `Err`: it asks too fast, and may again after this long.
    pub(super) fn spend(&self, class: Class) -> Result<(), Duration> {
        self.buckets[class as usize].as_ref().map_or(Ok(()), Bucket::take)
    }

    fn is_silent(&self, now: Duration, long: Duration) -> bool {
        let busy = [&self.calls, &self.waiting, &self.streams].iter().any(|counter| counter.is_used());
        !busy && millis(now).saturating_sub(self.used.load(Ordering::Relaxed)) >= millis(long)
    }
}

impl Counter {
    fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { inside: AtomicUsize::new(0), most })
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Taken> {
        let more = |inside| (inside < self.most).then_some(inside + 1);
        let taken = self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| Taken(self.clone()))
    }

    fn is_used(&self) -> bool {
        self.inside.load(Ordering::Acquire) > 0
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
