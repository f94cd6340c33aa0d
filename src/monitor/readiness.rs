//! Whether this replica is ready, and why: one function of what is known and the time.

use crate::clock::Timestamp;
use std::{
    fmt::{self, Display},
    time::Duration,
};

/// What probes are told in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    NotReady,
}

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub root_key: RootKey,
    pub listening: Listening,
    pub stopping: Stopping,
    pub store: Reach,
    pub writes: Writes,
    pub feed: Hearing,
}

/// What everything is sealed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKey {
    /// The store or the key service was not asked yet, or not in vain.
    Opening,
    /// The key service was asked in vain; why.
    Waits(String),
    Unlocked,
}

/// Whether calls are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    NotYet,
    Yes,
}

/// Whether the process was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    No,
    Yes,
}

/// The store, by the last operation that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nothing was asked yet.
    Unknown,
    Answers,
    /// It does not answer, since then.
    Away(Timestamp),
}

/// Whether the store takes what needs room, by the last such write that it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    Taken,
    /// It can be read and took nothing, since then and when it was last tried; why.
    Refused {
        since: Timestamp,
        last: Timestamp,
        why: String,
    },
}

/// For how long a refusal counts. What is due is tried every `refresh.tick`, which is seconds: where nothing was refused
/// for longer, it was mended, or nothing waits for the store to take it.
const REFUSAL_COUNTS: Duration = Duration::from_secs(30);

impl Writes {
    /// Since when the store takes nothing, and why, as far as is known at `now`.
    pub(super) fn refused(&self, now: Timestamp) -> Option<(Timestamp, &str)> {
        match self {
            Self::Refused { since, last, why } if last.until(now) < REFUSAL_COUNTS => Some((*since, why)),
            Self::Refused { .. } | Self::Taken => None,
        }
    }
}

/// The store's change feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// It was not opened yet.
    NotYet,
    Hears,
    /// Nothing is heard, since then.
    Deaf(Timestamp),
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub finding: Finding,
}

/// What came of it; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Fine(String),
    /// Worth a look, and no reason to send nobody here.
    Worrying(String),
    /// Nobody is to be sent here.
    Failing(String),
}

/// All checks, in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report(pub Vec<Check>);

/// What the facts mean at `now`. `outage`: how long the store may be away.
pub fn judge(facts: &Facts, now: Timestamp, outage: Duration) -> Report {
    let check = |name, finding| Check { name, finding };
    Report(vec![
        check("root_key", root_key(&facts.root_key)),
        check("listening", listening(facts.listening)),
        check("draining", draining(facts.stopping)),
        check("store", store(facts.store, &facts.writes, now, outage)),
        check("change_feed", feed(facts.feed, now)),
    ])
}

fn root_key(root_key: &RootKey) -> Finding {
    match root_key {
        RootKey::Unlocked => Finding::Fine("unlocked".into()),
        RootKey::Opening => Finding::Failing("is being opened".into()),
        RootKey::Waits(why) => Finding::Failing(format!("cannot be unlocked yet: {why}")),
    }
}

fn listening(listening: Listening) -> Finding {
    match listening {
        Listening::Yes => Finding::Fine("calls are taken".into()),
        Listening::NotYet => Finding::Failing("no calls are taken yet".into()),
    }
}

fn draining(stopping: Stopping) -> Finding {
    match stopping {
        Stopping::No => Finding::Fine("was not told to stop".into()),
        Stopping::Yes => {
            Finding::Failing("was told to stop: calls under way are answered, then it ends".into())
        }
    }
}

/// Tokens in memory are served without the store. All replicas lose the same one at once: whoever says no because of
/// that leaves callers with nobody to ask, so it is said late. Where the store takes no writes no replica refreshes, and
/// what there is can be had from this one as from any other.
fn store(reach: Reach, writes: &Writes, now: Timestamp, outage: Duration) -> Finding {
    match reach {
        Reach::Answers => match writes.refused(now) {
            None => Finding::Fine("answers".into()),
            Some((since, why)) => Finding::Worrying(format!(
                "answers, and takes no writes since {since} ({} s), so that nothing is refreshed: {why}",
                since.until(now).as_secs()
            )),
        },
        Reach::Unknown => Finding::Failing("was not asked yet".into()),
        Reach::Away(since) if since.until(now) < outage => Finding::Worrying(format!(
            "does not answer since {since}: tokens in memory are served; not ready after {} s of it",
            outage.as_secs()
        )),
        Reach::Away(since) => Finding::Failing(format!("does not answer since {since}")),
    }
}

/// Without it copies in memory are in doubt and read anew: slower, and right all the same.
fn feed(hearing: Hearing, now: Timestamp) -> Finding {
    match hearing {
        Hearing::Hears => Finding::Fine("hears".into()),
        Hearing::NotYet => Finding::Worrying("was not opened yet".into()),
        Hearing::Deaf(since) => Finding::Worrying(format!(
            "hears nothing since {since} ({} s): every connection is read from the store",
            since.until(now).as_secs()
        )),
    }
}

impl Report {
    pub fn readiness(&self) -> Readiness {
        let failing = |check: &Check| matches!(check.finding, Finding::Failing(_));
        if self.0.iter().any(failing) { Readiness::NotReady } else { Readiness::Ready }
    }
}

impl Display for Report {
    /// A line for each check, and the sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { name, finding } in &self.0 {
            match finding {
                Finding::Fine(text) => writeln!(f, "[+] {name}: {text}")?,
                Finding::Worrying(text) => writeln!(f, "[!] {name}: {text}")?,
                Finding::Failing(text) => writeln!(f, "[-] {name}: {text}")?,
            }
        }
        match self.readiness() {
            Readiness::Ready => writeln!(f, "ready"),
            Readiness::NotReady => writeln!(f, "not ready"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTAGE: Duration = Duration::from_secs(600);
    const THEN: Timestamp = Timestamp::from_secs(1_000_000);
    const SINCE: &str = "since 1970-01-12T13:46:40.000Z";

    fn serving() -> Facts {
        Facts {
            root_key: RootKey::Unlocked,
            listening: Listening::Yes,
            stopping: Stopping::No,
            store: Reach::Answers,
            writes: Writes::Taken,
            feed: Hearing::Hears,
        }
    }

    /// The readiness, and the one line that is not fine.
    fn told(facts: &Facts, after: u64, outage: Duration) -> (Readiness, String) {
        let report = judge(facts, THEN.plus(Duration::from_secs(after)), outage);
        let text = report.to_string();
        let lines: Vec<_> =
            text.lines().filter(|line| line.starts_with("[!]") || line.starts_with("[-]")).collect();
        (report.readiness(), lines.join("; "))
    }

    use Readiness::{NotReady, Ready};

    #[test]
    fn what_is_looked_at_decides_as_the_table_says() {
        let away = Facts { store: Reach::Away(THEN), ..serving() };
        let deaf = Facts { feed: Hearing::Deaf(THEN), ..serving() };
        let waits = RootKey::Waits("the key service is not available: refused".into());
        for (facts, after, outage, want, line) in [
            (serving(), 0, OUTAGE, Ready, String::new()),
            (
                Facts { root_key: RootKey::Opening, ..serving() },
                0,
                OUTAGE,
                NotReady,
                "[-] root_key: is being opened".into(),
            ),
            (
                Facts { root_key: waits, ..serving() },
                0,
                OUTAGE,
                NotReady,
                "[-] root_key: cannot be unlocked yet: the key service is not available: refused".into(),
            ),
            (
                Facts { listening: Listening::NotYet, ..serving() },
                0,
                OUTAGE,
                NotReady,
                "[-] listening: no calls are taken yet".into(),
            ),
            (
                Facts { stopping: Stopping::Yes, ..serving() },
                0,
                OUTAGE,
                NotReady,
                "[-] draining: was told to stop: calls under way are answered, then it ends".into(),
            ),
            (
                Facts { store: Reach::Unknown, ..serving() },
                0,
                OUTAGE,
                NotReady,
                "[-] store: was not asked yet".into(),
            ),
            (
                away.clone(),
                599,
                OUTAGE,
                Ready,
                format!(
                    "[!] store: does not answer {SINCE}: tokens in memory are served; not ready after 600 s of it"
                ),
            ),
            (away.clone(), 600, OUTAGE, NotReady, format!("[-] store: does not answer {SINCE}")),
            (away, 0, Duration::ZERO, NotReady, format!("[-] store: does not answer {SINCE}")),
            (
                deaf,
                100_000,
                OUTAGE,
                Ready,
                format!(
                    "[!] change_feed: hears nothing {SINCE} (100000 s): every connection is read from the store"
                ),
            ),
        ] {
            assert_eq!(told(&facts, after, outage), (want, line), "{facts:?} after {after} s");
        }
    }

    #[test]
    fn a_store_that_can_only_be_read_is_worth_a_look() {
        let last = THEN.plus(Duration::from_secs(99_980));
        let writes = Writes::Refused { since: THEN, last, why: "no replicas".into() };
        let facts = Facts { writes, ..serving() };
        let line = format!(
            "[!] store: answers, and takes no writes {SINCE} (100000 s), so that nothing is refreshed: no replicas"
        );
        assert_eq!(told(&facts, 100_000, OUTAGE), (Ready, line));
        assert_ne!(told(&facts, 100_009, OUTAGE).1, "");
        assert_eq!(
            told(&facts, 100_010, OUTAGE),
            (Ready, String::new()),
            "nothing was refused for half a minute"
        );
    }

    #[test]
    fn a_feed_that_was_not_opened_yet_is_no_reason() {
        let facts = Facts { feed: Hearing::NotYet, ..serving() };
        assert_eq!(told(&facts, 0, OUTAGE), (Ready, "[!] change_feed: was not opened yet".into()));
    }

    #[test]
    fn there_is_a_line_for_each_check_and_one_for_the_sum() {
        let text = judge(&serving(), THEN, OUTAGE).to_string();
        let first: Vec<_> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
        let names =
            ["[+] root_key", "[+] listening", "[+] draining", "[+] store", "[+] change_feed", "ready"];
        assert_eq!(first, names);
        let facts = Facts { stopping: Stopping::Yes, ..serving() };
        assert!(judge(&facts, THEN, OUTAGE).to_string().ends_with("\nnot ready\n"));
    }
}
