//! What is written down and can be judged without asking anybody: profiles of providers, and sets of policies.

use crate::{
    access::policies::Mistake,
    app::{lint::lint, policies},
    config::{Config, Policy, PolicyFolder},
    doctor::{
        Check, Finding,
        policies::{At, Set, Shadow, Sound, sets},
    },
};

pub(super) fn profiles(config: &Config) -> Vec<Finding> {
    let files: Vec<_> = config.providers.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
    let told = match lint(&files) {
        Ok(told) => told,
        Err(err) => {
            return vec![Check::Profiles.fail(
                "built-in profiles",
                err.to_string(),
                "install the program anew",
            )];
        }
    };
    if told.is_empty() {
        return vec![Check::Profiles.ok("providers.dir", format!("{} files have no mistakes", files.len()))];
    }
    told.into_iter()
        .map(|found| {
            let line = found.line.map_or(String::new(), |line| format!(":{line}"));
            let key =
                Some(found.key).filter(|key| !key.is_empty()).map_or(String::new(), |key| format!("{key}: "));
            let subject = format!("{}{line}", found.file);
            Check::Profiles.fail(subject, format!("{key}{}", found.problem), found.mend)
        })
        .collect()
}

pub(super) fn policies(policy: &Policy) -> Vec<Finding> {
    let looked: Vec<_> = [&policy.set, &policy.shadow]
        .into_iter()
        .flatten()
        .map(|folder| (folder, policies::examined(folder)))
        .collect();
    let marks: Vec<_> = looked.iter().filter_map(|(_, (mark, _))| mark.clone()).collect();
    let shadow = match (&policy.set, &policy.shadow, &marks[..]) {
        (Some(_), Some(_), [one, other]) => Some(if one == other { Shadow::Same } else { Shadow::Other }),
        (Some(_) | None, _, _) => None,
    };
    let all: Vec<_> = looked.into_iter().map(|(folder, (_, found))| set(folder, found)).collect();
    sets(&all, shadow)
}

fn set(
    folder: &PolicyFolder,
    found: Result<policies::PoliciesChecked, Vec<crate::config::PolicyTrouble>>,
) -> Set {
    let at = |Mistake { at, problem }: Mistake| At { at: at.to_string(), problem };
    let found = match found {
        Ok(policies::PoliciesChecked { policies: Some(policies), remarks, .. }) => Ok(Sound {
            policies: policies.count(),
            workloads: policies.workloads(),
            remarks: remarks.into_iter().map(at).collect(),
        }),
        Ok(policies::PoliciesChecked { policies: None, mistakes, .. }) => {
            Err(mistakes.into_iter().map(at).collect())
        }
        Err(troubles) => Err(troubles
            .into_iter()
            .map(|trouble| At { at: trouble.key.to_owned(), problem: trouble.problem })
            .collect()),
    };
    Set { key: folder.key, path: folder.path.display().to_string(), found }
}
