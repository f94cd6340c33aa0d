//! The store: whether it is there, whether it keeps what it is given, and whether the broker may do there what it has to.

use super::{Check, Finding, space::shown};
use std::collections::BTreeMap;

/// One Redis that serves documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub address: String,
    pub version: String,
    pub replicas: usize,
    pub memory_used: u64,
    /// `None`: no limit.
    pub memory_max: Option<u64>,
}

/// One of the sentinels that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinel {
    pub address: String,
    /// What it tells, or why it did not.
    pub told: Result<Told, String>,
}

/// What a sentinel tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it takes for the primary.
    pub primary: String,
    pub sees: Sees,
    /// How many watch the primary, itself included; `None`: it does not tell.
    pub sentinels: Option<usize>,
    /// How many of them have to agree that the primary is down.
    pub quorum: Option<usize>,
}

/// Whether a sentinel reaches the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    Primary,
    Nothing,
}

/// Something in a node that can lose acknowledged writes, or will soon refuse them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    pub address: String,
    pub weight: Weight,
    pub problem: String,
    pub mend: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Redis does not tell.
    Untold,
    Advice,
    /// What is acknowledged can be lost in what happens every day.
    Loses,
}

/// How the file of an embedded store was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// It was read, and nobody works with it.
    Read,
    InUse,
    Unclean,
    /// Not begun.
    Nothing,
    /// What is wrong.
    Unusable(String),
}

/// Nothing that lies in the store was looked at.
pub const NOT_LOOKED_AT: &str = "what lies in the store could not be looked at";

/// The Redis that could not be used, and why.
pub fn unreachable(subject: &str, cause: &str) -> Finding {
    Check::Store.fail(
        subject,
        cause,
        "do as it says; see that Redis runs and that this machine reaches it: docs/redis.md, \"When it does not work\"",
    )
}

pub fn nodes(all: &[Node]) -> Vec<Finding> {
    all.iter()
        .map(|node| {
            let Node { address, version, replicas, memory_used, memory_max } = node;
            let of =
                memory_max.map_or_else(|| "without a limit".to_owned(), |most| format!("of {}", shown(most)));
            let text = format!(
                "version {version}, primary, {replicas} replicas online, {} used {of}",
                shown(*memory_used)
            );
            Check::Store.ok(subject(address), text)
        })
        .collect()
}

/// One that can be read, so that all else is looked at.
pub fn takes_no_writes(address: &str, cause: &str) -> Finding {
    Check::Store.fail(
        subject(address),
        format!("takes no writes, so that nothing is refreshed: {cause}"),
        "bring its replicas back, or give its disk room: docs/redis.md, \"When it does not work\"",
    )
}

/// Whether a failover can take place, and would lead everybody to the same primary. `used`: the one that a broker uses.
/// Sentinels that the configuration does not name are taken for well.
pub fn sentinels(all: &[Sentinel], used: &str) -> Vec<Finding> {
    let told = || all.iter().filter_map(|one| one.told.as_ref().ok());
    let count = told().filter_map(|told| told.sentinels).fold(all.len(), usize::max);
    let out = all.iter().filter(|one| !takes_part(one)).count();
    let quorum = told().filter_map(|told| told.quorum).max().unwrap_or_default();
    // The one that leads a failover needs the votes of most, and of the quorum where that is more.
    let needed = quorum.max(count / 2 + 1);
    let short = count - out < needed;
    all.iter()
        .map(|one| {
            let subject = format!("Sentinel at {}", one.address);
            let (problem, mend) = match &one.told {
                Ok(Told { primary, sees: Sees::Primary, .. }) if primary == used => {
                    return Check::Sentinels.ok(subject, format!("takes {primary} for the primary"));
                }
                Ok(Told { primary, sees: Sees::Primary, .. }) => {
                    return Check::Sentinels.warn(
                        subject,
                        format!("takes {primary} for the primary, and the newest failover led to {used}"),
                        "see that it reaches the other sentinels and Redis: it follows them by itself then",
                    );
                }
                Ok(Told { primary, sees: Sees::Nothing, .. }) => (
                    format!("takes {primary} for the primary, and for down: it does not reach it, or cannot log in"),
                    "see to the network, its `sentinel auth-user` and `sentinel auth-pass`, and TLS: docs/redis.md",
                ),
                Err(cause) if short => {
                    (cause.clone(), "start them; until then nobody takes over from a primary that fails")
                }
                Err(cause) => (
                    cause.clone(),
                    "start it, or take it out of `store.redis.nodes` if it is gone for good",
                ),
            };
            if short {
                let text = format!("{problem}. {out} of {count} are out, and a failover needs {needed}");
                Check::Sentinels.fail(subject, text, mend)
            } else {
                Check::Sentinels.warn(subject, format!("{problem}. The others do without it"), mend)
            }
        })
        .collect()
}

fn takes_part(one: &Sentinel) -> bool {
    matches!(one.told, Ok(Told { sees: Sees::Primary, .. }))
}

pub fn durability(nodes: &[Node], risks: &[Risk]) -> Vec<Finding> {
    let told = risks.iter().map(|risk| {
        let Risk { address, weight, problem, mend } = risk;
        let level = match weight {
            Weight::Untold => super::Level::Skipped,
            Weight::Advice => super::Level::Warn,
            Weight::Loses => super::Level::Fail,
        };
        Check::Durability.found(level, subject(address), problem, mend)
    });
    let unblemished = nodes.iter().filter(|node| risks.iter().all(|risk| risk.address != node.address));
    let good = unblemished
        .map(|node| Check::Durability.ok(subject(&node.address), "keeps what it has acknowledged"));
    told.chain(good).collect()
}

/// Commands that the user may not give, by node.
pub fn rights(nodes: &[Node], denied: &[(String, &'static str)]) -> Vec<Finding> {
    let mut by_node: BTreeMap<&str, Vec<&str>> =
        nodes.iter().map(|node| (node.address.as_str(), Vec::new())).collect();
    for (address, command) in denied {
        by_node.entry(address).or_default().push(command);
    }
    by_node
        .into_iter()
        .map(|(address, commands)| {
            if commands.is_empty() {
                return Check::Rights.ok(subject(address), "the user may give every command that is needed");
            }
            let may: Vec<_> = commands.iter().map(|command| format!("+{command}")).collect();
            Check::Rights.fail(
                subject(address),
                format!("the user may not give {} to keys of this namespace", commands.join(", ")),
                format!("`ACL SETUSER` the user with {}, or with the line in docs/redis.md", may.join(" ")),
            )
        })
        .collect()
}

pub fn file(path: &str, found: &File) -> Finding {
    match found {
        File::Read => Check::Store.ok(path, "is whole; no broker works with it"),
        File::InUse => Check::Store.ok(path, "a running broker works with it"),
        File::Nothing => Check::Store.ok(path, "is not there yet: the first start makes it"),
        File::Unclean => Check::Store.warn(
            path,
            "the broker that worked with it was killed, and none has opened it since",
            "start the broker: it puts the file in order; then look again",
        ),
        File::Unusable(cause) => Check::Store.fail(
            path,
            cause,
            "do as it says; restore the file from a back-up if it is damaged: docs/backup.md",
        ),
    }
}

fn subject(address: &str) -> String {
    format!("Redis at {address}")
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    fn node(address: &str) -> Node {
        Node {
            address: address.into(),
            version: "7.0.15".into(),
            replicas: 1,
            memory_used: 1 << 20,
            memory_max: None,
        }
    }

    fn risk(weight: Weight) -> Risk {
        Risk { address: "h:1".into(), weight, problem: "problem".into(), mend: "mend".into() }
    }

    #[test]
    fn what_can_be_lost_fails_and_what_is_not_told_is_said_not_to_be_looked_at() {
        for (weight, level) in
            [(Weight::Loses, Level::Fail), (Weight::Advice, Level::Warn), (Weight::Untold, Level::Skipped)]
        {
            let found = durability(&[node("h:1"), node("h:2")], &[risk(weight)]);
            let told: Vec<_> = found.iter().map(|one| (one.subject.as_str(), one.level)).collect();
            assert_eq!(told, [("Redis at h:1", level), ("Redis at h:2", Level::Ok)]);
        }
    }

    #[test]
    fn sentinels_that_do_not_take_part_or_are_of_another_opinion_are_told() {
        use Level::{Fail, Ok as Good, Warn};
        let told = |primary: &str, sees, sentinels, quorum| {
            Ok(Told { primary: primary.to_owned(), sees, sentinels: Some(sentinels), quorum: Some(quorum) })
        };
        let of = |sentinels| told("h:1", Sees::Primary, sentinels, 2);
        let blind = || told("h:1", Sees::Nothing, 3, 2);
        let away = || Err("did not answer".to_owned());
        for (what, all, levels) in [
            ("all are well", vec![of(3), of(3), of(3)], vec![Good, Good, Good]),
            ("an opinion", vec![of(3), told("h:2", Sees::Primary, 3, 2), of(3)], vec![Good, Warn, Good]),
            ("one is away", vec![of(3), away(), of(3)], vec![Good, Warn, Good]),
            ("two are away", vec![away(), away(), of(3)], vec![Fail, Fail, Good]),
            ("one cannot log in", vec![of(3), blind(), of(3)], vec![Good, Warn, Good]),
            ("none can log in", vec![blind(), blind(), blind()], vec![Fail, Fail, Fail]),
            ("one is away, one cannot log in", vec![away(), blind(), of(3)], vec![Fail, Fail, Good]),
            ("one of two is no majority", vec![of(2), away()], vec![Good, Fail]),
            ("three of five are up, three are named", vec![of(5), away(), away()], vec![Good, Warn, Warn]),
            ("two of four are none", vec![of(4), away(), away()], vec![Good, Fail, Fail]),
            (
                "most, and no quorum",
                vec![told("h:1", Sees::Primary, 3, 3), of(3), away()],
                vec![Good, Good, Fail],
            ),
            ("it knows of fewer than are named", vec![of(1), away(), away()], vec![Good, Fail, Fail]),
            ("there are none", vec![], vec![]),
        ] {
            let all: Vec<_> = all
                .into_iter()
                .zip(["s:1", "s:2", "s:3"])
                .map(|(told, address)| Sentinel { address: address.into(), told })
                .collect();
            let found = sentinels(&all, "h:1");
            let got: Vec<_> = found.iter().map(|one| one.level).collect();
            assert_eq!(got, levels, "{what}: {found:?}");
        }
    }

    #[test]
    fn every_command_that_is_denied_is_named_with_its_right() {
        let denied = [("h:1".to_owned(), "xadd"), ("h:1".to_owned(), "zadd")];
        let found = rights(&[node("h:1"), node("h:2")], &denied);
        assert_eq!((found[0].level, found[1].level), (Level::Fail, Level::Ok));
        assert!(found[0].text.contains("xadd, zadd") && found[0].mend.contains("+xadd +zadd"), "{found:?}");
    }

    #[test]
    fn a_node_is_shown_with_its_memory() {
        let full = Node { memory_max: Some(1 << 30), ..node("h:1") };
        let found = nodes(&[node("h:1"), full]);
        assert!(found[0].text.ends_with("1 MiB used without a limit"), "{found:?}");
        assert!(found[1].text.ends_with("1 MiB used of 1.0 GiB"), "{found:?}");
    }

    #[test]
    fn a_file_that_a_broker_works_with_is_no_failure() {
        for (found, level) in [
            (File::Read, Level::Ok),
            (File::InUse, Level::Ok),
            (File::Nothing, Level::Ok),
            (File::Unclean, Level::Warn),
            (File::Unusable("is damaged".into()), Level::Fail),
        ] {
            let told = file("/data/bursar.redb", &found);
            assert_eq!(told.level, level, "{told:?}");
            assert_eq!(told.mend.is_empty(), level == Level::Ok);
        }
    }
}
