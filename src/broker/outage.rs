//! Whether the store is known not to answer: then callers with a copy at hand do not wait for it one after the
//! other. One of them at a time looks whether it is back.

use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Default)]
pub struct Outage {
    known: AtomicBool,
    probing: AtomicBool,
}

/// The right to look whether the store is back; given back when dropped.
#[derive(Debug)]
pub struct Probe<'a>(&'a Outage);

impl Outage {
    /// May this caller ask the store? Everybody may while it is not known to be away, one at a time otherwise.
    pub fn may_ask(&self) -> Option<Option<Probe<'_>>> {
        if !self.known.load(Ordering::Acquire) {
            return Some(None);
        }
        let free = self.probing.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire);
        free.is_ok().then_some(Some(Probe(self)))
    }

    pub fn begun(&self) {
        self.known.store(true, Ordering::Release);
    }

    pub fn over(&self) {
        self.known.store(false, Ordering::Release);
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_an_outage_one_at_a_time_asks() {
        let outage = Outage::default();
        assert!(matches!(outage.may_ask(), Some(None)));
        outage.begun();
        let probe = outage.may_ask().unwrap();
        assert!(probe.is_some());
        assert!(outage.may_ask().is_none());
        drop(probe);
        assert!(matches!(outage.may_ask(), Some(Some(_))));
        outage.over();
        assert!(matches!(outage.may_ask(), Some(None)));
    }
}
