//! What stays in a due queue because its provider has no free slot, and whose it is: a look goes past it without reading it
//! again, until there is a slot. Starts nothing itself.

use crate::{clock::Timestamp, domain::names::ProviderName, store::Key};
use parking_lot::Mutex;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// How long an entry is remembered that no look has come across: it has left its queue.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);

/// As many as looks come across within a minute, at most.
#[derive(Default)]
pub(super) struct Crowd(Mutex<HashMap<Key, Waiting>>);

struct Waiting {
    provider: ProviderName,
    /// A connection with another due time is another entry: somebody wrote it since.
    due: Timestamp,
    seen_at: Instant,
}

/// The slots that one look still has to give, by provider.
pub(super) type Free = HashMap<ProviderName, usize>;

impl Crowd {
    /// This entry waits for a slot of its provider.
    pub(super) fn join(&self, key: &Key, due: Timestamp, provider: &ProviderName) {
        let waiting = Waiting { provider: provider.clone(), due, seen_at: Instant::now() };
        self.0.lock().insert(key.clone(), waiting);
    }

    /// Whether an entry is to be read: it is not known to wait, or there is a slot for it, which it takes.
    pub(super) fn lets_through(
        &self,
        key: &Key,
        due: Timestamp,
        free: &mut Free,
        ask: impl Fn(&ProviderName) -> usize,
    ) -> bool {
        let mut crowd = self.0.lock();
        let Some(waiting) = crowd.get_mut(key).filter(|waiting| waiting.due == due) else { return true };
        let left = free.entry(waiting.provider.clone()).or_insert_with_key(ask);
        if *left > 0 {
            *left -= 1;
            crowd.remove(key);
            return true;
        }
        waiting.seen_at = Instant::now();
        false
    }

    pub(super) fn forget_who_left(&self) {
        self.0.lock().retain(|_, waiting| waiting.seen_at.elapsed() < REMEMBERED_FOR);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_let_through_as_there_are_slots_and_forgotten_when_it_is_not_seen_any_more() {
        let (crowd, due) = (Crowd::default(), Timestamp(7));
        let keys = ["a", "b", "c"].map(|key| Key::new(key).unwrap());
        let provider: ProviderName = "providers/p".parse().unwrap();
        for key in &keys {
            crowd.join(key, due, &provider);
        }
        let look = |due, slots| {
            let mut free = Free::new();
            keys.each_ref().map(|key| crowd.lets_through(key, due, &mut free, |_| slots))
        };
        assert_eq!(look(due, 0), [false; 3]);
        assert_eq!(look(Timestamp(8), 0), [true; 3], "it was written since");
        assert_eq!(look(due, 1), [true, false, false]);
        assert_eq!(look(due, 0), [true, false, false], "it waits no more");
        tokio::time::advance(REMEMBERED_FOR / 2).await;
        assert_eq!(look(due, 1), [true, true, false]);
        tokio::time::advance(REMEMBERED_FOR / 2).await;
        crowd.forget_who_left();
        assert!(!crowd.is_empty(), "the last one was seen half a minute ago");
        tokio::time::advance(REMEMBERED_FOR / 2).await;
        crowd.forget_who_left();
        assert!(crowd.is_empty());
    }
}
