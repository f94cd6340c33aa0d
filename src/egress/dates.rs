//! Dates as HTTP writes them (RFC 9110 §5.6.7); the two obsolete forms are not read.

use crate::clock::Timestamp;

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn imf_fixdate(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    let day: u64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year: u64 = year.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let clock: Vec<u64> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [hour @ 0..=23, minute @ 0..=59, second @ 0..=60] = clock[..] else { return None };
    // Days since the epoch, counted in years that begin with March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(Timestamp::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_to_the_second() {
        assert_eq!(imf_fixdate("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Timestamp(0)));
        assert_eq!(imf_fixdate("Sat, 01 Jan 2000 00:00:00 GMT"), Some(Timestamp::from_secs(946_684_800)));
        assert_eq!(imf_fixdate("Sat, 32 Jan 2000 00:00:00 GMT"), None);
        assert_eq!(imf_fixdate("Sat, 01 Jan 2000 00:00:00"), None);
    }
}
