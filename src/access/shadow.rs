//! A set that is tried out: asked whatever the one in force is asked, never obeyed. Where it would have decided
//! otherwise is told, within bounds.

use super::policies::{Outcome, Policies, Question, Ruling};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Differences that are told between two ticks; the others are counted.
const TOLD_MAX: u64 = 20;

pub(super) struct Shadow {
    policies: Arc<Policies>,
    /// Since the last tick.
    differences: AtomicU64,
}

/// How a difference is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Whole,
    Counted,
}

impl Shadow {
    pub(super) fn new(policies: Arc<Policies>) -> Self {
        Self { policies, differences: AtomicU64::new(0) }
    }

    pub(super) fn policies(&self) -> Arc<Policies> {
        self.policies.clone()
    }

    pub(super) fn compare(&self, question: &Question<'_>, ruling: &Ruling) {
        let other = self.policies.decide(question);
        let allows = |ruling: &Ruling| ruling.outcome == Outcome::Allowed;
        if allows(&other) == allows(ruling) {
            return;
        }
        if self.note() == Told::Whole {
            tracing::warn!(caller = question.caller.id(), action = question.action.word(),
                resource = %question.target, now = ruling.outcome.word(), by = ruling.by.join(" "),
                shadow = other.outcome.word(), shadow_by = other.by.join(" "),
                "the shadow policies would decide otherwise");
        }
    }

    fn note(&self) -> Told {
        if self.differences.fetch_add(1, Ordering::Relaxed) < TOLD_MAX { Told::Whole } else { Told::Counted }
    }

    /// Differences that were only counted since this was asked last.
    fn rest(&self) -> u64 {
        self.differences.swap(0, Ordering::Relaxed).saturating_sub(TOLD_MAX)
    }

    pub(super) fn tick(&self) {
        let more = self.rest();
        if more > 0 {
            tracing::warn!(more, "the shadow policies would have decided more calls otherwise");
        }
    }
}

impl Outcome {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Hidden | Self::Refused => "denied",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_differences_are_told_and_the_others_counted() {
        let shadow = Shadow::new(Arc::new(Policies::open()));
        for _ in 0..2 {
            let told: Vec<_> = (0..TOLD_MAX + 5).map(|_| shadow.note()).collect();
            let whole = told.iter().take_while(|told| **told == Told::Whole).count();
            assert_eq!(whole as u64, TOLD_MAX);
            assert_eq!(told.iter().filter(|told| **told == Told::Counted).count(), 5);
            assert_eq!((shadow.rest(), shadow.rest()), (5, 0));
        }
        assert_eq!(shadow.note(), Told::Whole);
        assert_eq!(shadow.rest(), 0);
    }
}
