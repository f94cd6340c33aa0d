//! What is wrong with a deployment, and what to do about it: facts that somebody gathered, judged. Pure: asks nobody, reads
//! nothing, and is given no secret.

pub mod audit;
pub mod broker;
pub mod certificates;
pub mod clocks;
pub mod connections;
pub mod files;
pub mod issuers;
pub mod keys;
pub mod policies;
pub mod space;
pub mod store;

use crate::domain::finding;
use serde::{Serialize, Serializer};
use std::fmt;

/// What is looked at. The order is that in which it is told: what others depend on first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    Configuration,
    Files,
    Profiles,
    Policies,
    Kek,
    PreviousKek,
    Store,
    Sentinels,
    Durability,
    Rights,
    Clock,
    Space,
    RootKey,
    TenantKeys,
    Rotation,
    AuditFolder,
    AuditTrail,
    Certificate,
    Authorities,
    WorkloadApi,
    Issuers,
    Providers,
    Connections,
    Clients,
    Broker,
    Version,
}

/// How it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It was not looked at, as something else has to be mended or named first.
    Skipped,
    Ok,
    /// It works, and will not for ever, or somebody should know of it.
    Warn,
    /// It does not work, or what is kept can be lost.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: Check,
    pub level: Level,
    /// Which of its kind: a file, a host, a connection.
    pub subject: String,
    /// What was found.
    pub text: String,
    /// What to do about it; empty where there is nothing to do.
    pub mend: String,
}

/// Whether warnings count as failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    Lenient,
    Strict,
}

/// All findings, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    pub ok: usize,
    pub warn: usize,
    pub fail: usize,
    pub skipped: usize,
}

impl Check {
    pub const ALL: [Self; 26] = [
        Self::Configuration,
        Self::Files,
        Self::Profiles,
        Self::Policies,
        Self::Kek,
        Self::PreviousKek,
        Self::Store,
        Self::Sentinels,
        Self::Durability,
        Self::Rights,
        Self::Clock,
        Self::Space,
        Self::RootKey,
        Self::TenantKeys,
        Self::Rotation,
        Self::AuditFolder,
        Self::AuditTrail,
        Self::Certificate,
        Self::Authorities,
        Self::WorkloadApi,
        Self::Issuers,
        Self::Providers,
        Self::Connections,
        Self::Clients,
        Self::Broker,
        Self::Version,
    ];

    /// As it is told and documented. Programs go by it: it stays.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Configuration => "config",
            Self::Files => "files",
            Self::Profiles => "profiles",
            Self::Policies => "policies",
            Self::Kek => "kek",
            Self::PreviousKek => "kek.previous",
            Self::Store => "store",
            Self::Sentinels => "store.sentinels",
            Self::Durability => "store.durability",
            Self::Rights => "store.rights",
            Self::Clock => "clock",
            Self::Space => "space",
            Self::RootKey => "keys.root",
            Self::TenantKeys => "keys.tenants",
            Self::Rotation => "keys.rotation",
            Self::AuditFolder => "audit.folder",
            Self::AuditTrail => "audit.trail",
            Self::Certificate => "tls.certificate",
            Self::Authorities => "tls.authorities",
            Self::WorkloadApi => "tls.workload_api",
            Self::Issuers => "issuers",
            Self::Providers => "providers",
            Self::Connections => "connections",
            Self::Clients => "clients",
            Self::Broker => "broker",
            Self::Version => "broker.version",
        }
    }

    pub fn ok(self, subject: impl fmt::Display, text: impl Into<String>) -> Finding {
        self.found(Level::Ok, subject, text, "")
    }

    pub fn warn(
        self,
        subject: impl fmt::Display,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        self.found(Level::Warn, subject, text, mend)
    }

    pub fn fail(
        self,
        subject: impl fmt::Display,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        self.found(Level::Fail, subject, text, mend)
    }

    pub fn skipped(
        self,
        subject: impl fmt::Display,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        self.found(Level::Skipped, subject, text, mend)
    }

    pub fn found(
        self,
        level: Level,
        subject: impl fmt::Display,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        Finding { check: self, level, subject: subject.to_string(), text: text.into(), mend: mend.into() }
    }

    /// What a look at something found that has findings of its own.
    pub fn of(self, of: impl fmt::Display, found: finding::Finding) -> Finding {
        let finding::Finding { level, subject, text, mend } = found;
        let level = match level {
            finding::Level::Ok => Level::Ok,
            finding::Level::Warn => Level::Warn,
            finding::Level::Fail => Level::Fail,
        };
        self.found(level, format!("{of} {subject}"), text, mend)
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl Level {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Counts {
    pub fn of(findings: &[Finding]) -> Self {
        findings.iter().fold(Self::default(), |mut counts, found| {
            *match found.level {
                Level::Skipped => &mut counts.skipped,
                Level::Ok => &mut counts.ok,
                Level::Warn => &mut counts.warn,
                Level::Fail => &mut counts.fail,
            } += 1;
            counts
        })
    }

    /// The worst of all. What was not looked at says nothing.
    pub const fn result(&self) -> Level {
        match (self.fail, self.warn) {
            (0, 0) => Level::Ok,
            (0, _) => Level::Warn,
            (_, _) => Level::Fail,
        }
    }

    /// How many have to be mended before this is called healthy.
    pub const fn to_mend(&self, strictness: Strictness) -> usize {
        match strictness {
            Strictness::Lenient => self.fail,
            Strictness::Strict => self.fail + self.warn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_check_has_a_word_of_its_own() {
        let words: BTreeSet<_> = Check::ALL.iter().map(|check| check.word()).collect();
        assert_eq!(words.len(), Check::ALL.len());
        assert!(Check::ALL.is_sorted(), "{:?}", Check::ALL);
    }

    #[test]
    fn the_worst_finding_is_the_result_and_what_was_skipped_is_none() {
        let found = |level| Check::Store.found(level, "x", "y", "z");
        for (levels, result, lenient, strict) in [
            (&[][..], Level::Ok, 0, 0),
            (&[Level::Ok, Level::Skipped][..], Level::Ok, 0, 0),
            (&[Level::Ok, Level::Warn, Level::Skipped][..], Level::Warn, 0, 1),
            (&[Level::Fail, Level::Warn, Level::Ok, Level::Fail][..], Level::Fail, 2, 3),
        ] {
            let counts = Counts::of(&levels.iter().map(|level| found(*level)).collect::<Vec<_>>());
            assert_eq!(counts.result(), result, "{levels:?}");
            let to_mend = [Strictness::Lenient, Strictness::Strict].map(|strict| counts.to_mend(strict));
            assert_eq!(to_mend, [lenient, strict], "{levels:?}");
        }
    }

    #[test]
    fn the_fields_that_programs_read_stay() {
        let found = Check::Durability.warn("Redis at h:1", "found", "mend");
        let told = serde_json::to_value(&found).unwrap();
        let want = serde_json::json!({
            "check": "store.durability", "level": "warn", "subject": "Redis at h:1", "text": "found", "mend": "mend"
        });
        assert_eq!(told, want);
        for level in [Level::Skipped, Level::Ok, Level::Warn, Level::Fail] {
            assert_eq!(serde_json::to_value(level).unwrap(), level.word());
        }
    }

    #[test]
    fn every_check_is_documented() {
        let document = include_str!("../docs/doctor.md");
        let (_, checks) = document.split_once("\n## The checks\n").unwrap();
        let (checks, _) = checks.split_once("\n## ").unwrap();
        let rows: Vec<_> = checks.lines().filter_map(|line| line.strip_prefix("| `")).collect();
        let words: Vec<_> = rows.iter().map(|row| row.split('`').next().unwrap()).collect();
        assert_eq!(words, Check::ALL.map(Check::word));
        for row in rows {
            assert_eq!(row.split(" | ").filter(|cell| cell.trim().len() > 3).count(), 4, "{row}");
        }
    }

    #[test]
    fn what_a_provider_was_found_like_keeps_its_weight() {
        let found = Check::Providers.of("providers/a", finding::Finding::warn("host", "text", "mend"));
        assert_eq!(found, Check::Providers.warn("providers/a host", "text", "mend"));
        let level = |found| Check::Providers.of("x", found).level;
        assert_eq!(level(finding::Finding::ok("a", "b")), Level::Ok);
        assert_eq!(level(finding::Finding::fail("a", "b", "c")), Level::Fail);
    }
}
