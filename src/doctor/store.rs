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
    /// What it takes for the primary, or why it did not say.
    pub primary: Result<String, String>,
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
pub fn sentinels(all: &[Sentinel], used: &str) -> Vec<Finding> {
    let away = all.iter().filter(|one| one.primary.is_err()).count();
    let no_majority = away * 2 >= all.len();
    all.iter()
        .map(|one| {
            let subject = format!("Sentinel at {}", one.address);
            match &one.primary {
                Ok(primary) if primary == used => {
                    Check::Sentinels.ok(subject, format!("takes {primary} for the primary"))
                }
                Ok(primary) => Check::Sentinels.warn(
                    subject,
                    format!("takes {primary} for the primary, and the newest failover led to {used}"),
                    "see that it reaches the other sentinels and Redis: it follows them by itself then",
                ),
                Err(cause) if no_majority => Check::Sentinels.fail(
                    subject,
                    format!("{cause}. {away} of {} are away, and a failover needs a majority", all.len()),
                    "start them; until then nobody takes over from a primary that fails",
                ),
                Err(cause) => Check::Sentinels.warn(
                    subject,
                    format!("{cause}. The others do without it"),
                    "start it, or take it out of `store.redis.nodes` if it is gone for good",
                ),
            }
        })
        .collect()
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
    fn sentinels_that_are_away_or_of_another_opinion_are_told() {
        let (used, other) = (Ok("h:1".to_owned()), Ok("h:2".to_owned()));
        let away = || Err("did not answer".to_owned());
        for (told, levels) in [
            (vec![used.clone(), used.clone(), used.clone()], [Level::Ok, Level::Ok, Level::Ok]),
            (vec![used.clone(), other, used.clone()], [Level::Ok, Level::Warn, Level::Ok]),
            (vec![used.clone(), away(), used.clone()], [Level::Ok, Level::Warn, Level::Ok]),
            (vec![away(), away(), used.clone()], [Level::Fail, Level::Fail, Level::Ok]),
        ] {
            let all: Vec<_> = told
                .into_iter()
                .zip(["s:1", "s:2", "s:3"])
                .map(|(primary, address)| Sentinel { address: address.into(), primary })
                .collect();
            let found = sentinels(&all, "h:1");
            assert_eq!(found.iter().map(|one| one.level).collect::<Vec<_>>(), levels, "{found:?}");
        }
        let half = [("s:1", used), ("s:2", away())]
            .map(|(address, primary)| Sentinel { address: address.into(), primary });
        assert_eq!(sentinels(&half, "h:1")[1].level, Level::Fail, "one of two is no majority");
        assert_eq!(sentinels(&[], "h:1"), []);
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
