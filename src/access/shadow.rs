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
        if self.differences.fetch_add(1, Ordering::Relaxed) < TOLD_MAX {
            tracing::warn!(caller = question.caller.id(), action = question.action.word(),
                resource = %question.target, now = ruling.outcome.word(), by = ruling.by.join(" "),
                shadow = other.outcome.word(), shadow_by = other.by.join(" "),
                "the shadow policies would decide otherwise");
        }
    }

    pub(super) fn tick(&self) {
        let more = self.differences.swap(0, Ordering::Relaxed).saturating_sub(TOLD_MAX);
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
