//! Time: the only room that reads a clock, and the timestamp everybody else computes with.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;
use uuid::Uuid;

/// Milliseconds since the Unix epoch. Survives restarts and compares across replicas.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Where the present comes from. Rules never ask for it: they are given `now`.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// Wall time that follows tokio's clock, which tests can pause and move.
#[derive(Debug)]
pub struct TokioClock {
    start: Timestamp,
    epoch: Instant,
}

impl Timestamp {
    /// The end of representable time: later than everything.
    pub const MAX: Self = Self(u64::MAX);

    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Whole seconds since the epoch, rounded down: what JWT and `refresh_expires_in` carry.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// A new UUIDv7 of this moment.
    pub fn uuid(self) -> Uuid {
        let nanos = u32::try_from(self.0 % 1000).unwrap_or(0) * 1_000_000;
        Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, self.as_secs(), nanos))
    }

    /// How long from here to `later`; zero when it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, as logs and the command line show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0 / 86_400_000);
        let ms = self.0 % 86_400_000;
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1000)
    }
}

/// Not a time as [`Timestamp`] prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a time of the form 2027-01-15T08:00:00.123Z")]
pub struct NotATime;

impl FromStr for Timestamp {
    type Err = NotATime;

    /// Reads what `Display` prints, and nothing else: years 1970 to 9999, milliseconds, `Z`.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let digits = |from: usize, to: usize| -> Result<u64, NotATime> {
            let part = text.get(from..to).ok_or(NotATime)?;
            if part.bytes().all(|b| b.is_ascii_digit()) {
                part.parse().map_err(|_| NotATime)
            } else {
                Err(NotATime)
            }
        };
        let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
        let (h, m, s, ms) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?, digits(20, 23)?);
        // January and February belong to the year before, which begins in March.
        let shifted = (year.checked_sub(u64::from(month <= 2)).ok_or(NotATime)?, (month + 9) % 12);
        let (era, of_era) = (shifted.0 / 400, shifted.0 % 400);
        let of_year = (153 * shifted.1 + 2) / 5 + day.checked_sub(1).ok_or(NotATime)?;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        let days = days.checked_sub(719_468).ok_or(NotATime)?;
        let read = Self((((days * 24 + h) * 60 + m) * 60 + s) * 1000 + ms);
        // Whatever is out of its range comes out as another text.
        if read.to_string() == text { Ok(read) } else { Err(NotATime) }
    }
}

/// Days since 1970-01-01 to year, month, day of the proleptic Gregorian calendar.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // Counts from 0000-03-01, so that the leap day ends a year.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that may read the clock")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(0).plus(since_epoch)
    }
}

impl TokioClock {
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, epoch: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.start.plus(self.epoch.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (1_800_000_000_123, "2027-01-15T08:00:00.123Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ];
        for (ms, want) in cases {
            assert_eq!(Timestamp(ms).to_string(), want);
            assert_eq!(want.parse(), Ok(Timestamp(ms)));
        }
    }

    #[test]
    fn only_a_time_as_it_is_printed_is_read() {
        let wrong = [
            "",
            "2027-01-15T08:00:00Z",
            "2027-01-15 08:00:00.123Z",
            "2027-02-29T08:00:00.123Z",
            "2027-13-15T08:00:00.123Z",
            "2027-00-15T08:00:00.123Z",
            "2027-01-00T08:00:00.123Z",
            "2027-01-15T24:00:00.123Z",
            "2027-01-15T08:60:00.123Z",
            "1969-12-31T23:59:59.999Z",
            "0000-01-01T00:00:00.000Z",
            "+027-01-15T08:00:00.123Z",
            "2027-01-15T08:00:00.123+00:00",
            "2027-01-15T08:00:00.123Z ",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_tokio_clock_moves_with_paused_time() {
        let clock = TokioClock::starting_at(Timestamp(1000));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now(), Timestamp(3_601_000));
    }
}
