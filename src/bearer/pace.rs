//! How often an issuer is asked for its keys. Pure: whoever asks brings the time.

use std::time::Duration;
use tokio::time::Instant;

/// Between two fetches that callers cause, whatever they send.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// The first pause of the schedule after a failure; it doubles up to the ordinary one.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Somebody fetches.
    under_way: bool,
    /// When a caller last caused a fetch.
    caused_at: Option<Instant>,
    /// In a row.
    failures: u32,
}

/// What whoever wants keys does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Fetch them, and say [`Pace::ended`] afterwards.
    Begin,
    /// Wait for whoever does.
    Join,
    /// Do without.
    TooSoon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    Well,
    Badly,
}

impl Pace {
    /// A caller's token is signed with a key that is not there.
    pub(super) fn caller(&mut self, now: Instant) -> Turn {
        if self.under_way {
            return Turn::Join;
        }
        if self.caused_at.is_some_and(|at| now < at + INTERVAL) {
            return Turn::TooSoon;
        }
        self.caused_at = Some(now);
        self.under_way = true;
        Turn::Begin
    }

    /// It is time by the schedule.
    pub(super) fn schedule(&mut self) -> Turn {
        if self.under_way {
            return Turn::Join;
        }
        self.under_way = true;
        Turn::Begin
    }

    pub(super) fn ended(&mut self, fetched: Fetched) {
        self.under_way = false;
        self.failures = match fetched {
            Fetched::Well => 0,
            Fetched::Badly => self.failures.saturating_add(1),
        };
    }

    /// Until the schedule asks again.
    pub(super) fn pause(&self, ordinary: Duration) -> Duration {
        match self.failures.checked_sub(1) {
            None => ordinary,
            Some(more) => (RETRY * 2_u32.saturating_pow(more.min(16))).min(ordinary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_cause_one_fetch_an_interval_and_the_schedule_its_own() {
        let (begun, mut pace) = (Instant::now(), Pace::default());
        let at = |secs| begun + Duration::from_secs(secs);
        assert_eq!(pace.caller(at(0)), Turn::Begin);
        assert_eq!(pace.caller(at(0)), Turn::Join);
        assert_eq!(pace.schedule(), Turn::Join);
        pace.ended(Fetched::Well);
        assert_eq!(pace.caller(at(9)), Turn::TooSoon);
        assert_eq!(pace.schedule(), Turn::Begin);
        assert_eq!(pace.caller(at(9)), Turn::Join);
        pace.ended(Fetched::Badly);
        assert_eq!(pace.caller(at(9)), Turn::TooSoon, "a failure is no reason to ask more often");
        assert_eq!(pace.caller(at(10)), Turn::Begin);
    }

    #[test]
    fn after_failures_the_schedule_comes_back_sooner_and_never_less_often_than_ordinarily() {
        let (mut pace, ordinary) = (Pace::default(), Duration::from_secs(60));
        assert_eq!(pace.pause(ordinary), ordinary);
        for secs in [5, 10, 20, 40, 60, 60] {
            pace.ended(Fetched::Badly);
            assert_eq!(pace.pause(ordinary), Duration::from_secs(secs));
        }
        for _ in 0..100 {
            pace.ended(Fetched::Badly);
        }
        assert_eq!(pace.pause(ordinary), ordinary);
        pace.ended(Fetched::Well);
        assert_eq!(pace.pause(ordinary), ordinary);
    }
}
