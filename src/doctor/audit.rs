//! The audit trail: whether it can be written, and whether its end is what was written.

use super::{Check, Finding};

/// Most problems of a trail that are told.
const TOLD_MAX: usize = 5;

/// The folder of this replica's trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    Writable,
    /// It is not there, and can be made.
    CanBeMade,
    /// It, or where it would be made, is not a folder, or this account may not write there: what is wrong.
    Unusable(String),
}

/// What was found in the last files of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trail {
    /// No file yet.
    Nothing,
    Read {
        lines: u64,
        problems: Vec<String>,
        more: usize,
        key: Key,
    },
    /// What is wrong.
    Unreadable(String),
}

/// Whether lines were held against the audit key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Known,
    /// The store could not be asked for it.
    NotKnown,
}

pub fn folder(path: &str, found: &Folder) -> Finding {
    match found {
        Folder::Writable => Check::AuditFolder.ok(path, "can be written"),
        Folder::CanBeMade => Check::AuditFolder.ok(path, "is not there yet: the first start makes it"),
        Folder::Unusable(cause) => Check::AuditFolder.fail(
            path,
            format!("{cause}: nothing is served without a trail"),
            "name a folder in audit.dir that the broker's account may write, and run this command as that account",
        ),
    }
}

pub fn trail(path: &str, found: &Trail) -> Vec<Finding> {
    const MEND: &str = "keep the files as they are and look at all of them with `bursar audit verify`; see who may write to the folder: \
                        docs/audit.md";
    match found {
        Trail::Nothing => vec![Check::AuditTrail.ok(path, "nothing is on record yet")],
        Trail::Unreadable(cause) => {
            vec![Check::AuditTrail.fail(path, cause, "let the account that runs this command read the trail")]
        }
        Trail::Read { lines, problems, more, key } if problems.is_empty() && *more == 0 => {
            let by = match key {
                Key::Known => "and by holders of the audit key",
                Key::NotKnown => "by whom was not looked at, as the audit key could not be had",
            };
            vec![Check::AuditTrail.ok(path, format!("its last {lines} lines are as they were written, {by}"))]
        }
        Trail::Read { problems, more, .. } => {
            let told = problems.iter().take(TOLD_MAX);
            let mut all: Vec<_> = told.map(|problem| Check::AuditTrail.fail(path, problem, MEND)).collect();
            let rest = problems.len().saturating_sub(TOLD_MAX) + more;
            if rest > 0 {
                all.push(Check::AuditTrail.fail(path, format!("{rest} more problems"), MEND));
            }
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    #[test]
    fn a_folder_that_cannot_be_written_fails() {
        for (found, level) in [
            (Folder::Writable, Level::Ok),
            (Folder::CanBeMade, Level::Ok),
            (Folder::Unusable("is not a folder".into()), Level::Fail),
        ] {
            let told = folder("/data/audit/one", &found);
            assert_eq!((told.level, told.mend.is_empty()), (level, level == Level::Ok), "{told:?}");
        }
    }

    #[test]
    fn problems_of_a_trail_are_told_up_to_a_bound() {
        let read = |problems: usize, more, key| Trail::Read {
            lines: 9,
            problems: (0..problems).map(|n| format!("problem {n}")).collect(),
            more,
            key,
        };
        for (found, count, level) in [
            (Trail::Nothing, 1, Level::Ok),
            (read(0, 0, Key::Known), 1, Level::Ok),
            (read(0, 0, Key::NotKnown), 1, Level::Ok),
            (read(2, 0, Key::Known), 2, Level::Fail),
            (read(TOLD_MAX + 1, 3, Key::Known), TOLD_MAX + 1, Level::Fail),
            (Trail::Unreadable("permission denied".into()), 1, Level::Fail),
        ] {
            let told = trail("/data/audit/one", &found);
            assert_eq!(told.len(), count, "{told:?}");
            assert!(told.iter().all(|one| one.level == level && one.mend.is_empty() == (level == Level::Ok)));
        }
        let told = trail("x", &read(TOLD_MAX + 1, 3, Key::Known));
        assert_eq!(told[TOLD_MAX].text, "4 more problems");
    }
}
