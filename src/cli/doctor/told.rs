//! Findings as they are printed: lines for people, what has to be done below what was found; or an object with stable
//! fields for programs.

use super::super::{
    console::{Format, structured},
    table::plain,
};
use crate::doctor::{Counts, Finding, Level};
use serde::Serialize;
use std::fmt::Write as _;

/// What programs read.
#[derive(Serialize)]
struct Report<'a> {
    /// The worst of all: `ok`, `warn` or `fail`.
    result: Level,
    /// Of this program.
    version: &'static str,
    counts: Counts,
    findings: &'a [Finding],
}

pub(super) fn told(findings: &[Finding], format: Format) -> String {
    let counts = Counts::of(findings);
    match format {
        Format::Table => lines(findings, counts),
        Format::Json | Format::Yaml => {
            let version = env!("CARGO_PKG_VERSION");
            structured(&Report { result: counts.result(), version, counts, findings }, format)
        }
    }
}

fn lines(findings: &[Finding], counts: Counts) -> String {
    let widest = findings.iter().map(|found| found.check.word().len()).max().unwrap_or_default();
    let mut text = String::new();
    for Finding { check, level, subject, text: found, mend } in findings {
        let word = match level {
            Level::Fail => "FAIL",
            Level::Warn => "WARN",
            Level::Ok | Level::Skipped => level.word(),
        };
        // Writing to a `String` does not fail.
        let _ = writeln!(text, "{word:<7}  {:<widest$}  {}: {}", check.word(), plain(subject), plain(found));
        if !mend.is_empty() {
            let _ = writeln!(text, "{:7}  {:widest$}  -> {}", "", "", plain(mend));
        }
    }
    let Counts { ok, warn, fail, skipped } = counts;
    let _ = writeln!(text, "{fail} fail, {warn} warn, {ok} ok, {skipped} skipped");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Check;

    fn findings() -> Vec<Finding> {
        vec![
            Check::Store.ok("Redis at h:1", "is there"),
            Check::Durability.fail("Redis at h:1", "throws\x1b away", "set it"),
            Check::Version.skipped("e", "not told", "say who calls"),
        ]
    }

    #[test]
    fn people_read_what_was_found_and_below_it_what_to_do() {
        let want = "\
ok       store             Redis at h:1: is there
FAIL     store.durability  Redis at h:1: throws\u{fffd} away
                           -> set it
skipped  broker.version    e: not told
                           -> say who calls
1 fail, 0 warn, 1 ok, 1 skipped
";
        assert_eq!(told(&findings(), Format::Table), want);
    }

    #[test]
    fn programs_read_the_same_in_fields_that_stay() {
        let told: serde_json::Value = serde_json::from_str(&told(&findings(), Format::Json)).unwrap();
        let mut keys: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["counts", "findings", "result", "version"]);
        assert_eq!(told["result"], "fail");
        assert_eq!(told["counts"], serde_json::json!({"ok": 1, "warn": 0, "fail": 1, "skipped": 1}));
        assert_eq!(told["findings"][1]["check"], "store.durability");
    }
}
