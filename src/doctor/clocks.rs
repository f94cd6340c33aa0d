//! Whether two clocks agree.

use super::{Check, Finding};
use crate::clock::Timestamp;
use std::time::Duration;

/// Synchronised clocks are milliseconds apart; beyond this something does not synchronise.
const WARN: Duration = Duration::from_secs(2);
/// The least life that a token has which is handed out: beyond this one may have ended that is called good.
const FAIL: Duration = Duration::from_secs(30);

/// What another clock showed, and ours before it was asked and after it had answered: somewhere in between was the moment
/// that it spoke of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub theirs: Timestamp,
    pub asked: Timestamp,
    pub answered: Timestamp,
}

impl Told {
    /// At least so far apart.
    fn apart(self) -> Duration {
        self.answered.until(self.theirs).max(self.theirs.until(self.asked))
    }
}

pub fn compared(subject: &str, told: Told) -> Finding {
    let apart = told.apart();
    let whose = if told.theirs < told.asked { "this machine's is ahead" } else { "this machine's is behind" };
    let text = format!("clocks are {:.1} s apart: {whose}", apart.as_secs_f64());
    let mend = "check the time synchronisation (NTP, chrony) of this machine and of that one";
    if apart <= WARN {
        Check::Clock.ok(subject, "clocks agree")
    } else if apart <= FAIL {
        Check::Clock.warn(subject, text, mend)
    } else {
        let text = format!("{text}; tokens may be called good that have expired");
        Check::Clock.fail(subject, text, mend)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    #[test]
    fn clocks_are_judged_by_how_far_they_are_apart_at_least() {
        const ASKED: u64 = 1_000_000;
        const ANSWERED: u64 = 1_000_500;
        for (theirs, level, says) in [
            (ASKED, Level::Ok, "agree"),
            (ANSWERED, Level::Ok, "agree"),
            (ASKED + 200, Level::Ok, "agree"),
            (ASKED - 2_000, Level::Ok, "agree"),
            (ASKED - 2_001, Level::Warn, "2.0 s apart: this machine's is ahead"),
            (ANSWERED + 2_000, Level::Ok, "agree"),
            (ANSWERED + 5_000, Level::Warn, "5.0 s apart: this machine's is behind"),
            (ANSWERED + 30_000, Level::Warn, "behind"),
            (ANSWERED + 30_001, Level::Fail, "expired"),
            (ASKED - 90_000, Level::Fail, "90.0 s apart: this machine's is ahead"),
        ] {
            let told =
                Told { theirs: Timestamp(theirs), asked: Timestamp(ASKED), answered: Timestamp(ANSWERED) };
            let found = compared("Redis at h:1", told);
            assert_eq!(found.level, level, "{theirs}: {found:?}");
            assert!(found.text.contains(says), "{found:?}");
            assert_eq!(found.mend.is_empty(), level == Level::Ok);
        }
    }
}
