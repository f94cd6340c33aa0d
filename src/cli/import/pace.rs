//! How fast an import goes: evenly, and not at all while the provider or the server asks for a pause.

use parking_lot::Mutex;
use std::{str::FromStr, time::Duration};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Fastest rate: one a millisecond.
const PER_SECOND_MAX: u32 = 1000;
/// Longest pause that is kept; what asks for more fails instead.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Time from one beginning to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(Duration);

impl FromStr for Rate {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let wrong = || "expected a number and a unit, such as 5/s or 30/m".to_owned();
        let (number, unit) = given.split_once('/').ok_or_else(wrong)?;
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let unit = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        let between = unit.checked_div(number).ok_or_else(|| "zero would never begin".to_owned())?;
        if between < Duration::from_secs(1) / PER_SECOND_MAX {
            return Err(format!("at most {PER_SECOND_MAX}/s"));
        }
        Ok(Self(between))
    }
}

impl Rate {
    /// How long so many beginnings take at least.
    pub(super) fn span_of(self, count: usize) -> Duration {
        self.0.saturating_mul(u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX))
    }
}

/// Lets one after the other begin, until it is closed.
#[derive(Debug)]
pub(super) struct Gate {
    between: Duration,
    next: Mutex<Instant>,
    closed: CancellationToken,
}

/// What came of waiting for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Begin,
    Closed,
}

/// Whether a pause that was asked for is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    Kept,
    TooLong,
}

impl Gate {
    pub(super) fn new(rate: Rate) -> Self {
        Self { between: rate.0, next: Mutex::new(Instant::now()), closed: CancellationToken::new() }
    }

    /// Nothing more begins, not even what waits already.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    pub(super) fn is_open(&self) -> bool {
        !self.closed.is_cancelled()
    }

    /// Waits for a turn. A pause that is asked for meanwhile holds those too that wait already.
    pub(super) async fn turn(&self) -> Turn {
        loop {
            if !self.is_open() {
                return Turn::Closed;
            }
            let at = {
                let mut next = self.next.lock();
                if *next <= Instant::now() {
                    *next = Instant::now() + self.between;
                    return Turn::Begin;
                }
                *next
            };
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.closed.cancelled() => {}
            }
        }
    }

    /// Nothing more begins for so long.
    pub(super) fn pause(&self, length: Duration) -> Pause {
        if length > PAUSE_MAX {
            return Pause::TooLong;
        }
        let mut next = self.next.lock();
        *next = (*next).max(Instant::now() + length);
        Pause::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        let millis = |given: &str| given.parse::<Rate>().map(|rate| rate.0.as_millis());
        assert_eq!(millis("5/s"), Ok(200));
        assert_eq!(millis("30/m"), Ok(2000));
        assert_eq!(millis("1/h"), Ok(3_600_000));
        for bad in ["", "5", "0/s", "5/d", "-1/s", "1.5/s", "2000/s", "/s"] {
            assert!(millis(bad).is_err(), "{bad}");
        }
        assert_eq!("5/s".parse::<Rate>().unwrap().span_of(11), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn beginnings_are_spread_and_pauses_hold_all() {
        let gate = Gate::new("5/s".parse().unwrap());
        let start = Instant::now();
        join_all((0..6).map(|_| gate.turn())).await;
        assert_eq!(start.elapsed().as_millis(), 1000);

        let waiting = async {
            gate.turn().await;
            start.elapsed()
        };
        assert_eq!(gate.pause(Duration::from_secs(9)), Pause::Kept);
        assert_eq!(waiting.await.as_secs(), 10);
        assert_eq!(gate.pause(Duration::from_secs(301)), Pause::TooLong);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_lets_nobody_begin_and_keeps_nobody_waiting() {
        let gate = Gate::new("1/h".parse().unwrap());
        let start = Instant::now();
        let close = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            gate.close();
        };
        let (turns, ()) = tokio::join!(join_all((0..3).map(|_| gate.turn())), close);
        assert_eq!(turns, [Turn::Begin, Turn::Closed, Turn::Closed]);
        assert_eq!((start.elapsed().as_secs(), gate.turn().await), (1, Turn::Closed));
    }
}
