//! Dates in headers (RFC 9110 §5.6.7): each is a moment of the years 1970 to 9999, or none.
#![no_main]

use bursar::egress::imf_fixdate;
use libfuzzer_sys::fuzz_target;

/// The first second of the year 10000.
const END: u64 = 253_402_300_800;

fuzz_target!(|text: &str| {
    let Some(at) = imf_fixdate(text) else { return };
    assert!(at.as_secs() <= END, "{text}: {at}");
    assert!(text.ends_with(" GMT"));
    // The same moment a day later is 86 400 seconds later, where there is such a day.
    let words: Vec<&str> = text.split(' ').collect();
    let day: u64 = words[1].parse().unwrap();
    let next = text.replacen(words[1], &format!("{:02}", day + 1), 1);
    if let Some(next) = imf_fixdate(&next).filter(|_| words[0] != words[1] && !words[0].contains(words[1])) {
        assert_eq!(next.as_secs(), at.as_secs() + 86_400, "{text}");
    }
});
