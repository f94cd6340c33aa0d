//! How many exchanges run at once: in all, and with one provider, so that one that hangs does not hold up the others.

use crate::domain::names::ProviderName;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub struct Slots {
    all: Arc<Semaphore>,
    /// One provider's share of all.
    share: usize,
    providers: Mutex<HashMap<ProviderName, OfProvider>>,
}

struct OfProvider {
    slots: Arc<Semaphore>,
    /// Shared with all who stand in line.
    line: Arc<()>,
}

/// A place in a provider's line: who has it is on the way to a slot. Given back when dropped.
pub struct InLine {
    _line: Arc<()>,
}

/// The right to run one exchange; given back when dropped.
pub struct Slot {
    _of_all: OwnedSemaphorePermit,
    _of_provider: OwnedSemaphorePermit,
}

impl Slots {
    /// `most` exchanges at once, three quarters of them with the same provider.
    pub fn new(most: usize) -> Self {
        let share = (most * 3).div_ceil(4);
        Self { all: Arc::new(Semaphore::new(most)), share, providers: Mutex::default() }
    }

    /// Waits for a slot. `None` only if the semaphores were closed, which nobody does.
    pub async fn acquire(&self, provider: &ProviderName) -> Option<Slot> {
        let of_provider = self.of(provider).acquire_owned().await.ok()?;
        let of_all = self.all.clone().acquire_owned().await.ok()?;
        Some(Slot { _of_all: of_all, _of_provider: of_provider })
    }

    /// A slot, if one is free.
    pub fn try_acquire(&self, provider: &ProviderName) -> Option<Slot> {
        let of_provider = self.of(provider).try_acquire_owned().ok()?;
        let of_all = self.all.clone().try_acquire_owned().ok()?;
        Some(Slot { _of_all: of_all, _of_provider: of_provider })
    }

    /// Until a slot is asked for, much may be waited for (keys, the provider's endpoints): what is started meanwhile counts.
    pub fn stand_in_line(&self, provider: &ProviderName) -> InLine {
        InLine { _line: self.with(provider, |of| of.line.clone()) }
    }

    /// How many more exchanges with this provider could begin now, beside those that are in line.
    pub fn free(&self, provider: &ProviderName) -> usize {
        let left =
            |of: &OfProvider| of.slots.available_permits().saturating_sub(Arc::strong_count(&of.line) - 1);
        let of_provider = self.providers.lock().get(provider).map(left);
        of_provider.unwrap_or(self.share).min(self.all.available_permits())
    }

    fn of(&self, provider: &ProviderName) -> Arc<Semaphore> {
        self.with(provider, |of| of.slots.clone())
    }

    fn with<T>(&self, provider: &ProviderName, ask: impl Fn(&OfProvider) -> T) -> T {
        let mut providers = self.providers.lock();
        let made = || OfProvider { slots: Arc::new(Semaphore::new(self.share)), line: Arc::default() };
        ask(providers.entry(provider.clone()).or_insert_with(made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_provider_leaves_room_for_the_others() {
        let slots = Slots::new(4);
        let (slow, other) = ("providers/slow".parse().unwrap(), "providers/other".parse().unwrap());
        let free = || (slots.free(&slow), slots.free(&other));
        assert_eq!(free(), (3, 3));
        let held: Vec<_> = (0..3).map(|_| slots.try_acquire(&slow).unwrap()).collect();
        assert!(slots.try_acquire(&slow).is_none());
        assert_eq!(free(), (0, 1));
        let last = slots.try_acquire(&other).unwrap();
        assert!(slots.try_acquire(&other).is_none());
        assert_eq!(free(), (0, 0));
        drop((held, last));
        assert!(slots.try_acquire(&slow).is_some());
        assert_eq!(free(), (3, 3));
    }

    #[test]
    fn who_is_on_the_way_to_a_slot_counts_with_its_provider_only() {
        let slots = Slots::new(4);
        let (slow, other) = ("providers/slow".parse().unwrap(), "providers/other".parse().unwrap());
        let free = || (slots.free(&slow), slots.free(&other));
        let mut line: Vec<_> = (0..2).map(|_| slots.stand_in_line(&slow)).collect();
        assert_eq!(free(), (1, 3));
        let taken = slots.try_acquire(&slow).unwrap();
        line.pop();
        assert_eq!(free(), (1, 3), "it has its slot");
        line.extend((0..5).map(|_| slots.stand_in_line(&slow)));
        assert_eq!(free(), (0, 3));
        drop((line, taken));
        assert_eq!(free(), (3, 3));
    }
}
