//! For how long a certificate is good, and when somebody should be told that it ends.

use crate::clock::Timestamp;
use std::time::Duration;

/// So long before its end a certificate is told of,
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// unless its whole life is short: then when this part is left. Whatever renews it has had its time by then.
const SOON_PART: u32 = 3;

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// How a certificate's time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    NotYet,
    Good,
    EndsSoon,
    Ended,
}

impl Validity {
    pub fn age(self, now: Timestamp) -> Age {
        if self.until <= now {
            Age::Ended
        } else if now < self.from {
            Age::NotYet
        } else if now.until(self.until) < self.soon() {
            Age::EndsSoon
        } else {
            Age::Good
        }
    }

    /// What is left when it should have been renewed.
    pub fn soon(self) -> Duration {
        SOON.min(self.from.until(self.until) / SOON_PART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    #[test]
    fn a_certificate_ends_soon_with_a_third_of_a_short_life_or_two_weeks_of_a_long_one_left() {
        let year = (10 * DAY, 375 * DAY);
        let day = (10 * DAY, 11 * DAY);
        for ((from, until), now, age) in [
            (year, 10 * DAY - 1, Age::NotYet),
            (year, 10 * DAY, Age::Good),
            (year, 361 * DAY, Age::Good),
            (year, 361 * DAY + 1, Age::EndsSoon),
            (year, 375 * DAY - 1, Age::EndsSoon),
            (year, 375 * DAY, Age::Ended),
            (day, 10 * DAY + 16 * HOUR, Age::Good),
            (day, 10 * DAY + 16 * HOUR + 1, Age::EndsSoon),
            // Its times are the wrong way round.
            ((11 * DAY, 10 * DAY), 10 * DAY, Age::Ended),
        ] {
            let validity = Validity { from: Timestamp::from_secs(from), until: Timestamp::from_secs(until) };
            assert_eq!(validity.age(Timestamp::from_secs(now)), age, "{validity:?} at {now}");
        }
    }
}
