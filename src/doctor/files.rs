//! Who may touch the files that decide what the broker does, and those that it keeps. Files with secrets are held to more
//! when they are read: there it is a mistake of the configuration.

use super::{Check, Finding};
use std::path::PathBuf;

/// A file or folder, as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lying {
    /// The key that names it.
    pub key: &'static str,
    pub path: PathBuf,
    /// Unix permission bits.
    pub mode: u32,
    pub mounted: Mounted,
    pub holds: Holds,
}

/// How its file system is mounted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounted {
    Writable,
    /// As Kubernetes mounts what it mounts: whatever the bits say, nobody changes it here.
    ReadOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Who may write it decides what the broker does.
    Rules,
    /// Nobody else has a use for it.
    Data,
}

/// What is wrong, all at once; one line if nothing is.
pub fn permissions(all: &[Lying]) -> Vec<Finding> {
    let mut found: Vec<_> = all.iter().filter_map(open).collect();
    if found.is_empty() {
        found.push(
            Check::Files.ok(format!("{} paths", all.len()), "only those may write them who are meant to"),
        );
    }
    found
}

fn open(lying: &Lying) -> Option<Finding> {
    let Lying { key, path, mode, mounted, holds } = lying;
    let path = path.display();
    let kept = mode & 0o1000 != 0 || *mounted == Mounted::ReadOnly;
    let (others, text, bits) = match holds {
        Holds::Rules => (mode & 0o002, "everybody on this machine may change it", "o-w"),
        Holds::Data => (mode & 0o007, "everybody on this machine may look into it", "o-rwx"),
    };
    let harmless = others == 0 || (kept && *holds == Holds::Rules);
    (!harmless).then(|| {
        Check::Files.warn(
            format!("{key} {path}"),
            format!("{text} (mode {:04o})", mode & 0o7777),
            format!("`chmod {bits} {path}`"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    #[test]
    fn what_others_may_write_or_read_is_told() {
        for (holds, mode, level) in [
            (Holds::Rules, 0o644, Level::Ok),
            (Holds::Rules, 0o664, Level::Ok),
            (Holds::Rules, 0o755, Level::Ok),
            (Holds::Rules, 0o666, Level::Warn),
            (Holds::Rules, 0o777, Level::Warn),
            (Holds::Rules, 0o1777, Level::Ok),
            (Holds::Data, 0o700, Level::Ok),
            (Holds::Data, 0o750, Level::Ok),
            (Holds::Data, 0o755, Level::Warn),
            (Holds::Data, 0o604, Level::Warn),
        ] {
            let mounted = Mounted::Writable;
            let lying = Lying { key: "providers.dir", path: "/etc/x".into(), mode, mounted, holds };
            let read_only = Lying { mounted: Mounted::ReadOnly, ..lying.clone() };
            let changed = permissions(&[read_only])[0].level;
            assert_eq!(changed == Level::Warn, level == Level::Warn && holds == Holds::Data, "{mode:o}");
            let found = permissions(&[lying]);
            assert_eq!((found.len(), found[0].level), (1, level), "{mode:o} {found:?}");
            assert_eq!(found[0].mend.contains("chmod"), level == Level::Warn);
        }
    }
}
