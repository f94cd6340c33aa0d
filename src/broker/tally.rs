//! How many tokens were handed out, and in what condition they were. Numbers only; decides nothing.

use crate::{
    clock::Timestamp,
    domain::{connection::Token, lifecycle::Degraded},
};
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
struct Number(AtomicU64);

impl Number {
    fn more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tokens that were handed out by this process.
#[derive(Debug, Default)]
pub struct Tally {
    in_order: Number,
    needs_reauthorization: Number,
    grant_at_risk: Number,
    provider_failing: Number,
    configuration_refused: Number,
    refresh_slow: Number,
    store_unavailable: Number,
    past_soft: Number,
    past_hard: Number,
}

impl Tally {
    pub fn handed(&self, token: &Token, degraded: Option<Degraded>, here: Timestamp) {
        self.of(degraded).more();
        if here >= token.hard_at {
            self.past_hard.more();
        } else if here >= token.soft_at {
            self.past_soft.more();
        }
    }

    /// How many callers were told this; `None`: that the token is in order.
    pub fn told(&self, degraded: Option<Degraded>) -> u64 {
        self.of(degraded).now()
    }

    /// How many should have been renewed before: past the soft and not the hard point, and past the hard.
    pub fn late(&self) -> (u64, u64) {
        (self.past_soft.now(), self.past_hard.now())
    }

    const fn of(&self, degraded: Option<Degraded>) -> &Number {
        match degraded {
            None => &self.in_order,
            Some(Degraded::NeedsReauthorization) => &self.needs_reauthorization,
            Some(Degraded::GrantAtRisk) => &self.grant_at_risk,
            Some(Degraded::ProviderFailing) => &self.provider_failing,
            Some(Degraded::ConfigurationRefused) => &self.configuration_refused,
            Some(Degraded::RefreshSlow) => &self.refresh_slow,
            Some(Degraded::StoreUnavailable) => &self.store_unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{profile::Overlap, samples};
    use std::time::Duration;

    #[test]
    fn tokens_count_by_what_is_told_of_them_and_by_how_late_they_are() {
        let tally = Tally::default();
        let token = samples::token(1, Duration::from_secs(3600), Overlap::OldAccessTokenSurvives);
        let moment = Duration::from_millis(1);
        assert!(token.soft_at < token.hard_at);
        for (here, late) in [
            (token.soft_at.minus(moment), (0, 0)),
            (token.soft_at, (1, 0)),
            (token.hard_at.minus(moment), (2, 0)),
            (token.hard_at, (2, 1)),
            (token.expires_at, (2, 2)),
        ] {
            tally.handed(&token, None, here);
            assert_eq!(tally.late(), late, "{here}");
        }
        tally.handed(&token, Some(Degraded::StoreUnavailable), token.issued_at);
        assert_eq!((tally.told(None), tally.told(Some(Degraded::StoreUnavailable))), (5, 1));
        assert_eq!(tally.told(Some(Degraded::RefreshSlow)), 0);
    }
}
