//! How many are inside, by whose they are. Holds nothing of those of whom nobody is.

use parking_lot::Mutex;
use std::{collections::HashMap, hash::Hash, sync::Arc};

pub(super) struct Crowd<K: Eq + Hash> {
    most: usize,
    inside: Mutex<HashMap<K, usize>>,
}

/// A place among those of one; given back when dropped.
pub(super) struct Place<K: Eq + Hash> {
    crowd: Arc<Crowd<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Crowd<K> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, inside: Mutex::default() }
    }

    pub(super) fn enter(self: &Arc<Self>, key: &K) -> Option<Place<K>> {
        let mut inside = self.inside.lock();
        let count = inside.get(key).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        inside.insert(key.clone(), count + 1);
        Some(Place { crowd: self.clone(), key: key.clone() })
    }
}

impl<K: Eq + Hash> Place<K> {
    pub(super) fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut inside = self.crowd.inside.lock();
        if let Some(count) = inside.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_and_nothing_is_kept_of_who_left() {
        let crowd = Arc::new(Crowd::new(2));
        let (first, second) = (crowd.enter(&"a").unwrap(), crowd.enter(&"a").unwrap());
        assert!(crowd.enter(&"a").is_none());
        let other = crowd.enter(&"b").unwrap();
        drop(first);
        let again = crowd.enter(&"a").unwrap();
        assert!(crowd.enter(&"a").is_none());
        drop((second, other, again));
        assert!(crowd.inside.lock().is_empty());
    }
}
