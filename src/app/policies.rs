//! Sets of policies by the configuration: each is read and checked as a whole, and followed while its files change. A
//! set with a mistake is never used; the one before stays, or nothing starts. Checks sets for people, too.

use crate::{
    access::{
        Access,
        policies::{Mistake, Mistakes, Policies, PolicyFile},
    },
    audit::{
        Audit, AuditDown, Event,
        event::{Outcome, Reloaded},
    },
    config::{self, Config, Disk, PolicyFolder, PolicyText, PolicyTrouble},
    watching::{self, Mark, Watched},
};
use anyhow::anyhow;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use std::{fmt::Write as _, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the differences of the shadow set may be told anew.
const SHADOW_TICK: Duration = Duration::from_secs(60);
/// Most remarks about a set that are logged each time it is loaded.
const REMARKS_MAX: usize = 20;

/// What callers may do, and where it is read from.
pub(super) struct Rights {
    pub(super) access: Arc<Access>,
    set: Option<Loaded>,
    shadow: Option<Loaded>,
    every: Duration,
}

/// A set as it is in use.
struct Loaded {
    folder: PolicyFolder,
    mark: Mark,
    policies: Arc<Policies>,
}

/// A folder whose set is used as it changes.
struct Following {
    folder: PolicyFolder,
    access: Arc<Access>,
    using: Using,
}

/// What a set is used for.
enum Using {
    /// It decides, and its changes are on record.
    Deciding(Arc<dyn Audit>),
    TriedOut,
}

/// What is to be said of files that a person had checked.
pub struct PoliciesChecked {
    /// `None`: there are mistakes.
    pub policies: Option<Policies>,
    pub mistakes: Vec<Mistake>,
    /// Worth a look, and no reason to refuse the set.
    pub remarks: Vec<Mistake>,
}

/// The sets of the configuration. All mistakes of both are told at once.
pub(super) fn rights(config: &Config) -> anyhow::Result<Rights> {
    let config::Policy { set, shadow, reload } = &config.policy;
    let load = |folder: &Option<PolicyFolder>| folder.as_ref().map(Loaded::of).transpose();
    let (set, shadow) = match (load(set), load(shadow)) {
        (Ok(set), Ok(shadow)) => (set, shadow),
        (set, shadow) => {
            let told: Vec<_> = [set.err(), shadow.err()].into_iter().flatten().collect();
            return Err(anyhow!("{}", told.join("\n")));
        }
    };
    let policies = set.as_ref().map_or_else(|| Arc::new(Policies::open()), |set| set.policies.clone());
    let access = Arc::new(Access::new(policies, shadow.as_ref().map(|shadow| shadow.policies.clone())));
    Ok(Rights { access, set, shadow, every: *reload })
}

/// Files and folders as one set, for a person.
pub fn check_policies(paths: &[PathBuf]) -> anyhow::Result<PoliciesChecked> {
    let texts = config::policy_files(paths).map_err(|troubles| anyhow!("{}", lines(&troubles)))?;
    let files = files(texts);
    // What is said of workloads can be checked by itself.
    let alone = files.iter().all(|file| !file.is_policies());
    Ok(told(if alone { Policies::workloads_only(&files) } else { Policies::load(&files) }))
}

fn told(loaded: Result<(Policies, Vec<Mistake>), Mistakes>) -> PoliciesChecked {
    match loaded {
        Ok((policies, remarks)) => {
            PoliciesChecked { policies: Some(policies), mistakes: Vec::new(), remarks }
        }
        Err(mistakes) => PoliciesChecked { policies: None, mistakes: mistakes.0, remarks: Vec::new() },
    }
}

/// A set as it is, for somebody who examines it, and what tells it from another one. The error says what is wrong, and
/// where.
pub(super) fn examined(folder: &PolicyFolder) -> (Option<Mark>, Result<PoliciesChecked, Vec<PolicyTrouble>>) {
    let texts = match folder.read(&Disk) {
        Ok(texts) => texts,
        Err(troubles) => return (None, Err(troubles)),
    };
    let mark = mark(&texts);
    (Some(mark), Ok(told(Policies::load(&files(texts)))))
}

impl Rights {
    /// What has to run beside the server, each until `stop`.
    pub(super) fn follow(
        self,
        audit: &Arc<dyn Audit>,
        stop: &CancellationToken,
    ) -> Vec<BoxFuture<'static, ()>> {
        let Self { access, set, shadow, every } = self;
        let mut tasks: Vec<BoxFuture<'static, ()>> = Vec::new();
        if shadow.is_some() {
            tasks.push(Box::pin(tick(access.clone(), stop.clone())));
        }
        let deciding = set.map(|set| (set, Using::Deciding(audit.clone())));
        let both = deciding.into_iter().chain(shadow.map(|shadow| (shadow, Using::TriedOut)));
        tasks.extend(both.map(|(Loaded { folder, mark, policies: _ }, using)| -> BoxFuture<'static, ()> {
            let following = Arc::new(Following { folder, access: access.clone(), using });
            Box::pin(watching::follow(following, mark, every, stop.clone()))
        }));
        tasks
    }
}

async fn tick(access: Arc<Access>, stop: CancellationToken) {
    let mut ticks = interval(SHADOW_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => access.tick(),
        }
    }
    // What was counted since is told before the end.
    access.tick();
}

impl Loaded {
    fn of(folder: &PolicyFolder) -> Result<Self, String> {
        let texts = folder.read(&Disk).map_err(|troubles| lines(&troubles))?;
        let (mark, policies) = (mark(&texts), checked(folder, texts)?);
        Ok(Self { folder: folder.clone(), mark, policies })
    }
}

/// A sound set, which the log tells of.
fn checked(folder: &PolicyFolder, texts: Vec<PolicyText>) -> Result<Arc<Policies>, String> {
    let (policies, remarks) = Policies::load(&files(texts)).map_err(|mistakes| {
        let (count, path) = (mistakes.0.len(), folder.path.display());
        let mut told =
            format!("{}: {path} has {count} mistake{}:", folder.key, if count == 1 { "" } else { "s" });
        for mistake in &mistakes.0 {
            // Writing to a `String` does not fail.
            let _ = write!(told, "\n  {mistake}");
        }
        let _ = write!(told, "\n    mend: until `bursar policy check {path}` finds none; it tells the same");
        told
    })?;
    for remark in remarks.iter().take(REMARKS_MAX) {
        tracing::warn!(set = folder.key, at = %remark.at, remark = remark.problem, "a policy is worth a look");
    }
    let (count, workloads) = (policies.count(), policies.workloads());
    tracing::info!(set = folder.key, policies = count, workloads, "policies are in use");
    Ok(Arc::new(policies))
}

fn files(texts: Vec<PolicyText>) -> Vec<PolicyFile> {
    texts.into_iter().map(|PolicyText { name, text }| PolicyFile { name, text }).collect()
}

fn lines(troubles: &[PolicyTrouble]) -> String {
    troubles.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// All names and texts, with their lengths.
fn mark(texts: &[PolicyText]) -> Mark {
    let mut all = Mark::new();
    for part in texts.iter().flat_map(|file| [&file.name, &file.text]) {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part.as_bytes());
    }
    all
}

impl Following {
    async fn record(&self, outcome: Outcome) {
        let Using::Deciding(audit) = &self.using else { return };
        let event = Event::Reload { what: Reloaded::Policies, outcome };
        // A right that is withdrawn is withdrawn at once, whether or not it could be written.
        if let Err(AuditDown) = audit.record(event).await {
            tracing::error!("a change of the policies is not on record");
        }
    }
}

#[async_trait]
impl Watched for Following {
    type Found = Vec<PolicyText>;

    fn read(&self) -> Result<Vec<PolicyText>, String> {
        self.folder.read(&Disk).map_err(|troubles| lines(&troubles))
    }

    fn mark(found: &Vec<PolicyText>) -> Mark {
        mark(found)
    }

    async fn take(&self, found: Vec<PolicyText>) -> Result<(), String> {
        let policies = checked(&self.folder, found)?;
        match &self.using {
            Using::Deciding(_) => self.access.put(&policies),
            Using::TriedOut => self.access.put_shadow(&policies),
        }
        self.record(Outcome::Done).await;
        Ok(())
    }

    async fn refused(&self, trouble: &str) {
        tracing::error!(trouble, "policies cannot be used; those before stay in use");
        self.record(Outcome::Refused).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_differ_wherever_they_differ() {
        let set = |files: &[(&str, &str)]| -> Vec<PolicyText> {
            files
                .iter()
                .map(|(name, text)| PolicyText { name: (*name).into(), text: (*text).into() })
                .collect()
        };
        let all = [
            set(&[("a.cedar", "x")]),
            set(&[("a.cedar", "y")]),
            set(&[("b.cedar", "x")]),
            set(&[("a.cedar", "x"), ("b.cedar", "")]),
            set(&[("a.cedar", ""), ("b.cedar", "x")]),
        ];
        let marks: std::collections::BTreeSet<_> = all.iter().map(|set| mark(set)).collect();
        assert_eq!(marks.len(), all.len());
    }
}
