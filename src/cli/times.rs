//! Times for people: spans as they are typed, points in time as seen from a given present.

use prost_types::Timestamp;
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Longest span that can be typed: what a protobuf duration may hold is far more.
const SPAN_MAX: Duration = Duration::from_secs(366 * DAY);

/// Reads a whole number and a unit: `500ms`, `30s`, `5m`, `2h`, `1d`. At most a year.
pub(super) fn parse_span(given: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and a unit, such as 500ms, 30s, 5m, 2h or 1d".to_owned();
    let digits = given.len() - given.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = given.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let in_millis = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(MINUTE * 1000),
        "h" => Some(HOUR * 1000),
        "d" => Some(DAY * 1000),
        _ => None,
    }
    .ok_or_else(wrong)?;
    let span = Duration::from_millis(number.saturating_mul(in_millis));
    if span > SPAN_MAX { Err("longer than a year".into()) } else { Ok(span) }
}

/// Reads a point in time in RFC 3339, for example `2027-01-31T00:00:00Z`.
pub(super) fn parse_time(given: &str) -> Result<Timestamp, String> {
    given.parse().map_err(|_| "expected a time in RFC 3339, such as 2027-01-31T00:00:00Z".to_owned())
}

/// A span in its largest unit that leaves two digits or more, or in seconds: `24 s`, `3 min`, `36 h`, `10 d`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if !span.is_zero() => format!("{} ms", span.as_millis()),
        _ if seconds < 2 * MINUTE => format!("{seconds} s"),
        _ if seconds < 2 * HOUR => format!("{} min", seconds / MINUTE),
        _ if seconds < 2 * DAY => format!("{} h", seconds / HOUR),
        _ => format!("{} d", seconds / DAY),
    }
}

/// A point in time as seen from `now`, rounded down to a whole unit: `in 24 s`, `3 min ago`, `now`.
pub(super) fn relative(at: &Timestamp, now: &Timestamp) -> String {
    let distance = millis(at).saturating_sub(millis(now));
    let length = Duration::from_millis(distance.unsigned_abs());
    match (length.as_secs(), distance) {
        (0, _) => "now".into(),
        (_, ..0) => format!("{} ago", span(length)),
        (_, 0..) => format!("in {}", span(length)),
    }
}

/// How long until a point in time; nothing once it is past.
pub(super) fn until(at: &Timestamp, now: &Timestamp) -> Duration {
    Duration::from_millis(millis(at).saturating_sub(millis(now)).try_into().unwrap_or(0))
}

/// The time that is left: `within 10 min`, or that there is none.
pub(super) fn within(at: &Timestamp, now: &Timestamp) -> String {
    let left = until(at, now);
    if left.is_zero() { "no more".into() } else { format!("within {}", span(left)) }
}

/// Milliseconds since the epoch, saturating: a server's timestamp may hold anything.
fn millis(at: &Timestamp) -> i64 {
    at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_a_number_and_a_unit() {
        for (given, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse_span(given), Ok(Duration::from_millis(millis)), "{given}");
        }
        for given in ["", "5", "m", "-5m", "1.5h", "5 m", "5M", "367d", "99999999999999999999s", "5m5s", "٣s"]
        {
            assert!(parse_span(given).is_err(), "{given}");
        }
    }

    #[test]
    fn a_time_is_told_as_seen_from_the_present() {
        let now = Timestamp { seconds: 1_800_000_000, nanos: 500_000_000 };
        let cases = [
            (0, "now"),
            (999, "now"),
            (-999, "now"),
            (24_000, "in 24 s"),
            (-24_000, "24 s ago"),
            (119_999, "in 119 s"),
            (120_000, "in 2 min"),
            (-180_000, "3 min ago"),
            (7_199_000, "in 119 min"),
            (7_200_000, "in 2 h"),
            (47 * 3_600_000, "in 47 h"),
            (-48 * 3_600_000, "2 d ago"),
            (180 * 86_400_000, "in 180 d"),
        ];
        for (distance, want) in cases {
            let at = millis(&now) + distance;
            let at = Timestamp {
                seconds: at.div_euclid(1000),
                nanos: i32::try_from(at.rem_euclid(1000)).unwrap() * 1_000_000,
            };
            assert_eq!(relative(&at, &now), want, "{distance}");
        }
    }

    #[test]
    fn the_time_that_is_left_is_never_less_than_none() {
        let at = |seconds| Timestamp { seconds, nanos: 500_000_000 };
        assert_eq!(until(&at(160), &at(40)), Duration::from_secs(120));
        assert_eq!(until(&at(40), &at(160)), Duration::ZERO);
        assert_eq!(within(&at(640), &at(40)), "within 10 min");
        assert_eq!(within(&at(40), &at(40)), "no more");
        assert!(until(&at(i64::MAX), &at(0)) > Duration::from_secs(1));
    }

    #[test]
    fn a_time_beyond_all_calendars_does_not_overflow() {
        let now = Timestamp { seconds: 0, nanos: 0 };
        for seconds in [i64::MIN, i64::MAX] {
            assert!(relative(&Timestamp { seconds, nanos: i32::MAX }, &now).contains(" d"));
        }
    }
}
