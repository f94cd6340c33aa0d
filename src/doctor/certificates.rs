//! Certificates of this deployment: whether they are good now and for how long, and whether a chain is one.

use super::{Check, Finding};
use crate::{
    clock::Timestamp,
    domain::validity::{Age, Validity},
};

/// What is shown to others, leaf first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub certificates: Vec<Validity>,
    /// The first that the next one did not sign, from 0.
    pub broken_after: Option<usize>,
}

/// A chain of this deployment's own, with its key, which fits.
pub fn chain(subject: &str, chain: &Chain, now: Timestamp) -> Vec<Finding> {
    let count = chain.certificates.len();
    let mut found: Vec<_> = (1..)
        .zip(&chain.certificates)
        .filter_map(|(number, validity)| {
            let which = if count == 1 { String::new() } else { format!("certificate {number} of {count} ") };
            aged(Check::Certificate, subject, &which, *validity, now)
        })
        .collect();
    if let Some(at) = chain.broken_after {
        found.push(Check::Certificate.fail(
            subject,
            format!("certificate {} was not issued by the one behind it", at + 1),
            "write the leaf first, then its issuers in order, each signed by the next, without others in between",
        ));
    }
    if found.is_empty() {
        let until = chain.certificates.iter().map(|one| one.until).min().unwrap_or(now);
        found.push(Check::Certificate.ok(subject, format!("chain and key fit; good until {until}")));
    }
    found
}

/// Authorities that vouch for others. One that has ended is of no use, and does no harm beside another.
pub fn authorities(subject: &str, all: &[Validity], now: Timestamp) -> Finding {
    let good: Vec<_> = all.iter().filter(|one| matches!(one.age(now), Age::Good | Age::EndsSoon)).collect();
    let last = good.iter().max_by_key(|one| one.until);
    let mend = "write the authority's new certificate beside the old one, then change the certificates that it issues";
    let Some(last) = last else {
        let text =
            format!("none of its {} authorities is good now: whoever they vouch for is refused", all.len());
        return Check::Authorities.fail(subject, text, mend);
    };
    let text = format!("{} of {} authorities are good, the last until {}", good.len(), all.len(), last.until);
    match last.age(now) {
        Age::EndsSoon => Check::Authorities.warn(subject, text, mend),
        Age::Good | Age::Ended | Age::NotYet => Check::Authorities.ok(subject, text),
    }
}

fn aged(check: Check, subject: &str, which: &str, validity: Validity, now: Timestamp) -> Option<Finding> {
    let Validity { from, until } = validity;
    match validity.age(now) {
        Age::Good => None,
        Age::EndsSoon => Some(check.warn(
            subject,
            format!("{which}ends at {until}"),
            "see why it was not renewed yet (cert-manager, your authority), or renew it now; new files are taken without a restart",
        )),
        Age::Ended => Some(check.fail(
            subject,
            format!("{which}has expired at {until}: whoever checks it refuses the connection"),
            "renew it; new files are taken without a restart. If it is new, check this machine's clock",
        )),
        Age::NotYet => Some(check.fail(
            subject,
            format!("{which}is good from {from} only"),
            "check this machine's clock, and that of the authority",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    const DAY: u64 = 86_400;
    const NOW: Timestamp = Timestamp::from_secs(100 * DAY);

    fn days(from: u64, until: u64) -> Validity {
        Validity { from: Timestamp::from_secs(from * DAY), until: Timestamp::from_secs(until * DAY) }
    }

    fn hours(from: u64, until: u64) -> Validity {
        let at = |hour: u64| Timestamp::from_secs(99 * DAY + hour * 3600);
        Validity { from: at(from), until: at(until) }
    }

    #[test]
    fn a_certificate_is_told_of_when_a_third_of_a_short_life_or_two_weeks_of_a_long_one_are_left() {
        for (validity, level, says) in [
            (days(0, 365), Level::Ok, "good until"),
            (days(0, 115), Level::Ok, "good until"),
            (days(0, 114), Level::Ok, "good until"),
            (days(0, 113), Level::Warn, "ends at"),
            (days(60, 101), Level::Warn, "ends at"),
            (days(0, 100), Level::Fail, "has expired"),
            (days(0, 99), Level::Fail, "has expired"),
            (days(101, 400), Level::Fail, "is good from"),
            // Of a day: eight hours.
            (hours(8, 32), Level::Ok, "good until"),
            (hours(7, 31), Level::Warn, "ends at"),
        ] {
            let one = Chain { certificates: vec![validity], broken_after: None };
            let found = chain("tls.cert_file", &one, NOW);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].level, level, "{found:?}");
            assert!(found[0].text.contains(says), "{found:?}");
            assert_eq!(found[0].mend.is_empty(), level == Level::Ok);
        }
    }

    #[test]
    fn each_certificate_of_a_chain_counts_and_so_does_their_order() {
        let all = vec![days(0, 365), days(0, 90)];
        let found = chain("x", &Chain { certificates: all.clone(), broken_after: None }, NOW);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.starts_with("certificate 2 of 2 has expired"), "{found:?}");
        let found = chain("x", &Chain { certificates: all, broken_after: Some(0) }, NOW);
        assert_eq!(found.len(), 2);
        assert!(found[1].text.starts_with("certificate 1 was not issued"), "{found:?}");
    }

    #[test]
    fn one_good_authority_is_enough() {
        for (all, level) in [
            (vec![days(0, 1000)], Level::Ok),
            (vec![days(0, 90), days(0, 1000)], Level::Ok),
            (vec![days(0, 90), days(0, 105)], Level::Warn),
            (vec![days(0, 90), days(101, 1000)], Level::Fail),
            (vec![], Level::Fail),
        ] {
            let found = authorities("identity.spiffe.bundles_dir", &all, NOW);
            assert_eq!(found.level, level, "{all:?}: {found:?}");
            assert_eq!(found.mend.is_empty(), level == Level::Ok);
        }
    }
}
