//! Keys: whether the KEK serves, whether it opens what the store has, and whether a rotation stands still.

use super::{Check, Finding};
use crate::{
    clock::Timestamp,
    domain::walk::{Task, Walk},
};
use std::time::Duration;

/// Most owners and rotations that are told one by one.
pub const TOLD_MAX: usize = 10;
/// A replica that is at a walk says so every few seconds: after this nobody is.
const STILL: Duration = Duration::from_secs(120);

/// What became of the root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// It opens: by which key of the KEK its versions are wrapped, the one in use last.
    Opens { wrapped_by: Vec<String>, in_use: Option<String> },
    /// The store is empty.
    Nothing,
    /// What the KEK said.
    WrongKek(String),
    /// Altered, or of another deployment; or records without a root key.
    Broken(String),
    /// The KEK could not be asked: told elsewhere.
    KekAway,
    /// The store did not answer.
    StoreAway(String),
}

/// What became of the keys of owners.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owners {
    /// How many were looked at.
    pub looked_at: usize,
    /// Whether there are more.
    pub more: bool,
    /// Owner, and what is wrong.
    pub broken: Vec<(String, String)>,
    /// Whose next version waits since then.
    pub prepared: Vec<(String, Timestamp)>,
}

/// A KEK that was asked to wrap and unwrap, or what it said.
pub fn kek(check: Check, subject: &str, answer: &Result<String, String>) -> Finding {
    match answer {
        Ok(key) => check.ok(subject, format!("serves: {key}")),
        Err(cause) => check.fail(
            subject,
            cause,
            "do as it says: docs/keys.md. Brokers that run serve on; none starts and no key is rotated until it is mended",
        ),
    }
}

pub fn root(found: &Root) -> Finding {
    const SUBJECT: &str = "root key";
    match found {
        Root::Opens { in_use, .. } => {
            let by = in_use.as_deref().unwrap_or("no key that says its name");
            Check::RootKey.ok(SUBJECT, format!("opens; wrapped by {by}"))
        }
        Root::Nothing => Check::RootKey.ok(SUBJECT, "is not there yet: the first start makes it"),
        Root::WrongKek(cause) => Check::RootKey.fail(
            SUBJECT,
            format!("does not open with the configured KEK: {cause}"),
            "name in [keys] the KEK that the store was made with, or as [keys.previous] the one before; without it the \
             store cannot be read",
        ),
        Root::Broken(cause) => Check::RootKey.fail(
            SUBJECT,
            cause,
            "see that the store and its namespace are the right ones; then restore a back-up: docs/backup.md",
        ),
        Root::KekAway => Check::RootKey.skipped(SUBJECT, "the KEK could not be asked", "mend the KEK first"),
        Root::StoreAway(cause) => Check::RootKey.skipped(SUBJECT, cause, "mend the store first"),
    }
}

/// Whether what wraps is what would wrap, and whether the previous KEK is still needed. Keys as their owner names them.
pub fn kek_in_use(root: &Root, present: &str, previous: Option<&str>) -> Vec<Finding> {
    let Root::Opens { wrapped_by, in_use } = root else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(in_use) = in_use.as_deref().filter(|in_use| *in_use != present) {
        found.push(Check::Rotation.warn(
            "keyChains/kek",
            format!("root keys are wrapped by {in_use}, and the KEK wraps with {present} now"),
            "`bursar keys rotate kek`; keep the older key until that has ended",
        ));
    }
    if let Some(previous) = previous {
        found.push(if wrapped_by.iter().any(|key| key != present) {
            Check::PreviousKek
                .ok("[keys.previous]", format!("serves: {previous}; root keys are wrapped by it"))
        } else {
            Check::PreviousKek.warn(
                "[keys.previous]",
                "nothing is wrapped by it any more",
                "take [keys.previous] out of the configuration, once every back-up that needs it is gone",
            )
        });
    }
    found
}

pub fn owners(found: &Owners) -> Vec<Finding> {
    let Owners { looked_at, more, broken, .. } = found;
    let first = if *more { "first " } else { "" };
    let text = format!("keys of the {first}{looked_at} owners were looked at; {} do not open", broken.len());
    if broken.is_empty() {
        let text = format!("keys of the {first}{looked_at} owners open");
        return vec![Check::TenantKeys.ok("tenants", text)];
    }
    let mend =
        "look at who may write to the store, then restore the documents from a back-up: docs/backup.md";
    let told = broken.iter().take(TOLD_MAX).map(|(owner, cause)| Check::TenantKeys.fail(owner, cause, mend));
    std::iter::once(Check::TenantKeys.fail("tenants", text, mend)).chain(told).collect()
}

/// Rotations and what else walks over records, by the store's clock.
pub fn rotations(owners: &Owners, walks: &[Walk], spread: Duration, now: Timestamp) -> Vec<Finding> {
    let mut found: Vec<_> = walks.iter().filter_map(|walk| walking(walk, now)).collect();
    let late = |since: &Timestamp| since.plus(spread.saturating_mul(2) + STILL) < now;
    let waiting = owners.prepared.iter().filter(|(_, since)| late(since));
    found.extend(waiting.take(TOLD_MAX).map(|(chain, since)| {
        Check::Rotation.warn(
            chain,
            format!("its next version was made at {since} and is not in use yet"),
            "start a broker, or see in its log why it does not go on",
        )
    }));
    if found.is_empty() {
        found.push(Check::Rotation.ok("key chains", "no rotation stands still"));
    }
    found
}

fn walking(walk: &Walk, now: Timestamp) -> Option<Finding> {
    let subject = walk.name.to_string();
    match (walk.name.task, walk.ended_at) {
        (Task::Reseal | Task::Rewrap, Some(_)) if walk.broken > 0 => {
            return Some(Check::Rotation.warn(
                subject,
                format!("{} records could not be opened, and keep an old key version needed", walk.broken),
                "see in the broker's log which they are; restore them from a back-up, or delete them: docs/keys.md",
            ));
        }
        (_, Some(_)) => return None,
        (_, None) => {}
    }
    let at_it = walk.lease.as_ref().map_or(walk.started_at, |lease| lease.until).max(walk.due_at);
    if at_it.plus(STILL) < now {
        return Some(Check::Rotation.warn(
            subject,
            format!("is not finished, and nobody has been at it since {at_it}"),
            "start a broker: it goes on by itself; see its log if one runs",
        ));
    }
    match walk.name.task {
        Task::Reseal | Task::Rewrap => {
            let text = format!("under way: {} of {} records", walk.scanned, walk.total);
            Some(Check::Rotation.ok(subject, text))
        }
        // Their own affair, for weeks.
        Task::Restore | Task::Purge => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};
    use crate::domain::{
        names::Owner,
        walk::{Of, WalkLease},
    };

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);
    const SPREAD: Duration = Duration::from_secs(60);

    fn ago(secs: u64) -> Timestamp {
        NOW.minus(Duration::from_secs(secs))
    }

    fn walk(task: Task) -> Walk {
        Walk::new(task, Of::Owner(Owner::Platform), 2, (ago(3600), ago(3600)))
    }

    fn leased(task: Task, until: Timestamp) -> Walk {
        Walk { lease: Some(WalkLease { replica: "one".into(), until }), ..walk(task) }
    }

    #[test]
    fn a_rotation_that_nobody_is_at_is_told() {
        let owners = Owners::default();
        let ended = Walk { ended_at: Some(ago(10)), ..walk(Task::Reseal) };
        for (what, level, says) in [
            (walk(Task::Reseal), Level::Warn, "nobody has been at it"),
            (leased(Task::Reseal, ago(121)), Level::Warn, "nobody has been at it"),
            (leased(Task::Rewrap, ago(119)), Level::Ok, "under way"),
            (Walk { due_at: NOW.plus(SPREAD), ..walk(Task::Reseal) }, Level::Ok, "under way"),
            (Walk { due_at: NOW.plus(SPREAD), ..walk(Task::Purge) }, Level::Ok, "no rotation stands still"),
            (walk(Task::Purge), Level::Warn, "nobody has been at it"),
            (ended.clone(), Level::Ok, "no rotation stands still"),
            (Walk { broken: 3, ..ended }, Level::Warn, "3 records could not be opened"),
        ] {
            let found = rotations(&owners, &[what], SPREAD, NOW);
            assert_eq!((found.len(), found[0].level), (1, level), "{found:?}");
            assert!(found[0].text.contains(says), "{found:?}");
            assert_eq!(found[0].mend.is_empty(), level == Level::Ok);
        }
    }

    #[test]
    fn a_version_that_waits_too_long_is_told() {
        for (since, level) in [(ago(239), Level::Ok), (ago(241), Level::Warn)] {
            let owners = Owners { prepared: vec![("tenants/a/keyChain".into(), since)], ..Owners::default() };
            assert_eq!(rotations(&owners, &[], SPREAD, NOW)[0].level, level);
        }
    }

    #[test]
    fn the_root_key_is_judged_by_what_became_of_it() {
        let opens = Root::Opens { wrapped_by: vec!["a".into()], in_use: Some("a".into()) };
        for (found, level) in [
            (opens, Level::Ok),
            (Root::Nothing, Level::Ok),
            (Root::WrongKek("unknown".into()), Level::Fail),
            (Root::Broken("altered".into()), Level::Fail),
            (Root::KekAway, Level::Skipped),
            (Root::StoreAway("away".into()), Level::Skipped),
        ] {
            let told = root(&found);
            assert_eq!(told.level, level, "{told:?}");
            assert_eq!(told.mend.is_empty(), level == Level::Ok);
        }
    }

    #[test]
    fn a_kek_that_waits_and_one_that_is_not_needed_are_told() {
        let opens = |by: &[&str]| Root::Opens {
            wrapped_by: by.iter().map(|&key| key.to_owned()).collect(),
            in_use: by.last().map(|&key| key.to_owned()),
        };
        for (found, previous, want) in [
            (opens(&["new"]), None, vec![]),
            (opens(&["old"]), None, vec![(Check::Rotation, Level::Warn)]),
            (
                opens(&["old"]),
                Some("old"),
                vec![(Check::Rotation, Level::Warn), (Check::PreviousKek, Level::Ok)],
            ),
            (opens(&["old", "new"]), Some("old"), vec![(Check::PreviousKek, Level::Ok)]),
            (opens(&["new"]), Some("old"), vec![(Check::PreviousKek, Level::Warn)]),
            (Root::Nothing, Some("old"), vec![]),
        ] {
            let told = kek_in_use(&found, "new", previous);
            let told: Vec<_> = told.iter().map(|one| (one.check, one.level)).collect();
            assert_eq!(told, want, "{found:?}");
        }
    }

    #[test]
    fn owners_whose_keys_do_not_open_are_counted_and_the_first_of_them_named() {
        assert_eq!(owners(&Owners { looked_at: 3, ..Owners::default() })[0].level, Level::Ok);
        let broken = (0..30).map(|n| (format!("tenants/t{n}"), "forged".to_owned())).collect();
        let found = owners(&Owners { looked_at: 40, more: true, broken, ..Owners::default() });
        assert_eq!(found.len(), 1 + TOLD_MAX);
        assert!(found.iter().all(|one| one.level == Level::Fail));
        assert!(found[0].text.contains("first 40") && found[0].text.contains("30 do not open"), "{found:?}");
    }

    #[test]
    fn a_kek_that_does_not_serve_fails() {
        assert_eq!(kek(Check::Kek, "[keys]", &Ok("file key x".into())).level, Level::Ok);
        let found = kek(Check::Kek, "[keys]", &Err("the key service is not available: refused".into()));
        assert_eq!(found.level, Level::Fail);
        assert!(found.mend.contains("docs/keys.md"));
    }
}
