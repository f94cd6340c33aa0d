//! Whether a disk has room for what is written to it.

use super::{Check, Finding, Level};
use std::path::PathBuf;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
/// Less free is as good as nothing: one file of the audit trail is larger.
const FAIL_BELOW: u64 = 32 * MIB;
/// Less free is told in any case,
const WARN_BELOW: u64 = 256 * MIB;
/// and so is less than this part of the disk,
const WARN_PART: u64 = 20;
/// as long as that is no more than this.
const WARN_PART_MAX: u64 = 10 * GIB;

/// A file system, and what is kept on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// What for, for people.
    pub of: &'static str,
    pub path: PathBuf,
    /// Bytes that this account may still write.
    pub free: u64,
    pub total: u64,
}

pub fn room(volume: &Volume) -> Finding {
    let Volume { of, path, free, total } = volume;
    let subject = format!("{of} {}", path.display());
    let text = format!("{} of {} are free", shown(*free), shown(*total));
    let mend =
        "make room or give it a larger disk: when it is full nothing is released and no token is refreshed";
    if *total == 0 {
        let untold = "its file system does not tell how large it is";
        return Check::Space.found(Level::Skipped, subject, untold, "see to it yourself that it has room");
    }
    let enough = WARN_BELOW.max((total / WARN_PART).min(WARN_PART_MAX));
    if *free < FAIL_BELOW {
        Check::Space.fail(subject, text, mend)
    } else if *free < enough {
        Check::Space.warn(subject, text, mend)
    } else {
        Check::Space.ok(subject, text)
    }
}

/// In the unit that fits.
pub fn shown(bytes: u64) -> String {
    match bytes {
        GIB.. => format!("{}.{} GiB", bytes / GIB, bytes % GIB * 10 / GIB),
        MIB..GIB => format!("{} MiB", bytes / MIB),
        0..MIB => format!("{} KiB", bytes / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged_by_what_is_left_and_by_the_size_of_the_disk() {
        for (free, total, level) in [
            (0, 0, Level::Skipped),
            (0, GIB, Level::Fail),
            (FAIL_BELOW - 1, 100 * GIB, Level::Fail),
            (FAIL_BELOW, GIB, Level::Warn),
            (WARN_BELOW - 1, GIB, Level::Warn),
            (WARN_BELOW, GIB, Level::Ok),
            (4 * GIB, 100 * GIB, Level::Warn),
            (5 * GIB, 100 * GIB, Level::Ok),
            (9 * GIB, 4000 * GIB, Level::Warn),
            (10 * GIB, 4000 * GIB, Level::Ok),
        ] {
            let volume = Volume { of: "audit trail", path: "/x".into(), free, total };
            let found = room(&volume);
            assert_eq!(found.level, level, "{found:?}");
            assert_eq!(found.mend.is_empty(), level == Level::Ok);
        }
    }

    #[test]
    fn bytes_are_shown_in_a_unit_that_fits() {
        for (bytes, want) in [
            (0, "0 KiB"),
            (2047, "1 KiB"),
            (MIB, "1 MiB"),
            (GIB - 1, "1023 MiB"),
            (GIB + GIB / 2, "1.5 GiB"),
            (74 * GIB, "74.0 GiB"),
        ] {
            assert_eq!(shown(bytes), want);
        }
    }
}
