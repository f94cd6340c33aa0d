//! Sets of policies: whether they load, what is worth a look in them, and whether the set that is tried out is another one.

use super::{Check, Finding};

/// Most mistakes and remarks of a set that are told.
const TOLD_MAX: usize = 20;

/// A set, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The key that names it.
    pub key: &'static str,
    pub path: String,
    pub found: Result<Sound, Vec<At>>,
}

/// A set that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    pub policies: usize,
    pub workloads: usize,
    pub remarks: Vec<At>,
}

/// A mistake or remark, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    pub at: String,
    pub problem: String,
}

/// Whether the set that is tried out says the same as the one that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shadow {
    Same,
    Other,
}

/// `shadow` is there where both sets are.
pub fn sets(all: &[Set], shadow: Option<Shadow>) -> Vec<Finding> {
    if all.is_empty() {
        let text = "there is no set: whoever reaches a listener of this machine may do everything";
        return vec![Check::Policies.ok("policy.dir", text)];
    }
    let mut found: Vec<_> = all.iter().flat_map(set).collect();
    found.extend(shadow.map(|shadow| match shadow {
        Shadow::Same => Check::Policies.warn(
            "policy.shadow_dir",
            "is the same set as policy.dir: nothing is tried out",
            "take it out of the configuration, or put the next set there",
        ),
        Shadow::Other => Check::Policies.ok(
            "policy.shadow_dir",
            "differs from policy.dir; where they answer differently the broker's log tells",
        ),
    }));
    found
}

fn set(Set { key, path, found }: &Set) -> Vec<Finding> {
    let subject = format!("{key} {path}");
    let sound = match found {
        Ok(sound) => sound,
        Err(mistakes) => {
            let mend = format!("mend it until `bursar policy check {path}` finds nothing");
            let told = mistakes.iter().take(TOLD_MAX);
            return told
                .map(|At { at, problem }| Check::Policies.fail(&subject, format!("{at}: {problem}"), &mend))
                .collect();
        }
    };
    let text = format!("{} policies and {} workloads", sound.policies, sound.workloads);
    let mut all = vec![match sound.policies {
        0 => Check::Policies.warn(
            &subject,
            "has no policy: nobody may do anything",
            "write one: docs/policies.md has examples",
        ),
        _ => Check::Policies.ok(&subject, text),
    }];
    all.extend(sound.remarks.iter().take(TOLD_MAX).map(|At { at, problem }| {
        let mend = format!("see whether it is meant so; `bursar policy check {path}` tells the same");
        Check::Policies.warn(&subject, format!("{at}: {problem}"), mend)
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    fn at(at: &str) -> At {
        At { at: at.into(), problem: "is odd".into() }
    }

    fn sound(policies: usize, remarks: Vec<At>) -> Set {
        let found = Ok(Sound { policies, workloads: 1, remarks });
        Set { key: "policy.dir", path: "/etc/policies".into(), found }
    }

    #[test]
    fn sets_are_judged_by_what_is_in_them() {
        let wrong = Set { found: Err(vec![at("a.cedar:1"), at("a.cedar:2")]), ..sound(0, vec![]) };
        for (all, shadow, levels) in [
            (vec![], None, vec![Level::Ok]),
            (vec![sound(2, vec![])], None, vec![Level::Ok]),
            (vec![sound(0, vec![])], None, vec![Level::Warn]),
            (vec![sound(2, vec![at("x")])], None, vec![Level::Ok, Level::Warn]),
            (vec![wrong], None, vec![Level::Fail, Level::Fail]),
            (vec![sound(1, vec![])], Some(Shadow::Same), vec![Level::Ok, Level::Warn]),
            (vec![sound(1, vec![])], Some(Shadow::Other), vec![Level::Ok, Level::Ok]),
        ] {
            let found = sets(&all, shadow);
            assert_eq!(found.iter().map(|one| one.level).collect::<Vec<_>>(), levels, "{found:?}");
            assert!(found.iter().all(|one| one.mend.is_empty() == (one.level == Level::Ok)), "{found:?}");
        }
    }

    #[test]
    fn a_mistake_names_its_place_and_the_command_that_tells_more() {
        let wrong = Set { found: Err(vec![at("a.cedar:1")]), ..sound(0, vec![]) };
        let found = sets(&[wrong], None);
        assert_eq!(found[0].text, "a.cedar:1: is odd");
        assert!(found[0].mend.contains("`bursar policy check /etc/policies`"), "{found:?}");
    }
}
