//! A set of policies, checked as a whole: what it answers, which policies decided, and why nothing allowed. Reads no
//! file and no clock; what is in a set never changes.

pub mod entities;
pub mod explaining;
pub mod mistake;
pub mod naming;
pub mod workloads;
pub mod written;

use super::{
    caller::Caller,
    rpcs::Action,
    target::{Asked, Facts, Target},
};
use crate::domain::names::Owner;
use cedar_policy::{Authorizer, Decision, Effect, EntityUid, PolicyId, PolicySet, ValidationMode, Validator};
use entities::{Asking, Kind, SCHEMA};
pub use mistake::{At, Mistake, Mistakes, PolicyFile};
use std::collections::{BTreeMap, HashMap};
use workloads::{About, Workloads};
use written::{Across, BUILT_IN, POLICIES_MAX, Place, Written};

const WALLS: &str = include_str!("walls.cedar");
const OPEN: &str = include_str!("open.cedar");
/// Begins the names of the walls that [`Across::Environments`] opens.
const ENVIRONMENTS: &str = "bursar.environments.";

/// A set that was found to be sound.
pub struct Policies {
    /// The operator's first, then what is built in.
    all: Vec<Written>,
    by_place: HashMap<Place, Vec<usize>>,
    workloads: Workloads,
    authorizer: Authorizer,
}

/// What a caller wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub caller: &'a Caller,
    pub action: Action,
    pub target: &'a Target,
    pub facts: &'a Facts,
    pub asked: &'a Asked,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Allowed,
    /// No; and where there were no such thing, the caller would be told so. It is told the same.
    Hidden,
    /// No; nor would the caller be told that there is no such thing.
    Refused,
}

/// An outcome, and the names of the policies that decided it; none, if nothing allowed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    pub outcome: Outcome,
    pub by: Vec<String>,
}

/// What the policies say of one state of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    decision: Decision,
    by: Vec<String>,
}

impl Policies {
    /// Checks all of a set's files, against the schema too. What comes with a sound set is worth a look, and no
    /// reason to refuse it.
    pub fn load(files: &[PolicyFile]) -> Result<(Self, Vec<Mistake>), Mistakes> {
        let (mut mistakes, mut all, mut workloads) = (Vec::new(), Vec::new(), Workloads::default());
        for file in files {
            if file.is_policies() {
                all.append(&mut written::read(file, &mut mistakes));
            } else {
                workloads.read(file, &mut mistakes);
            }
        }
        let first = files.first().map_or("", |file| file.name.as_str());
        if all.is_empty() && mistakes.is_empty() {
            let problem = "the set has no policy: nobody could do anything";
            mistakes.push(At { file: first.to_owned(), line: 1 }.mistake(problem));
        }
        let crowded = crowded(all.len());
        mistakes.extend(crowded.map(|problem| At { file: first.to_owned(), line: 1 }.mistake(problem)));
        let reserved = all.iter().filter(|written| written.id().starts_with(BUILT_IN));
        mistakes.extend(reserved.map(|written| {
            written.at.clone().mistake(format!("@id: names that begin with `{BUILT_IN}` are built in"))
        }));
        let remarks = Self::validate(&all, files, &mut mistakes);
        if !mistakes.is_empty() {
            mistakes.sort();
            mistakes.dedup();
            return Err(Mistakes(mistakes));
        }
        let remarks = remarks.into_iter().chain(unknown_groups(&all, &workloads)).collect();
        Ok((Self::of(all, workloads), remarks))
    }

    /// Checks what is said of workloads by itself: a set that allows nothing.
    pub fn workloads_only(files: &[PolicyFile]) -> Result<(Self, Vec<Mistake>), Mistakes> {
        let (mut mistakes, mut workloads) = (Vec::new(), Workloads::default());
        for file in files {
            workloads.read(file, &mut mistakes);
        }
        if mistakes.is_empty() {
            Ok((Self::of(Vec::new(), workloads), Vec::new()))
        } else {
            mistakes.sort();
            Err(Mistakes(mistakes))
        }
    }

    /// For where callers prove nothing: everything, to this machine and to nobody else.
    pub fn open() -> Self {
        Self::of(built_in("open.cedar", OPEN), Workloads::default())
    }

    fn of(mut all: Vec<Written>, workloads: Workloads) -> Self {
        all.append(&mut built_in("walls.cedar", WALLS));
        let mut by_place: HashMap<Place, Vec<usize>> = HashMap::new();
        for (at, written) in all.iter().enumerate() {
            // Walls stand everywhere, whatever their scope names.
            let wall = written.id().starts_with(BUILT_IN);
            let place = if wall { Place::Anywhere } else { written.place.clone() };
            by_place.entry(place).or_default().push(at);
        }
        Self { all, by_place, workloads, authorizer: Authorizer::new() }
    }

    fn validate(all: &[Written], files: &[PolicyFile], mistakes: &mut Vec<Mistake>) -> Vec<Mistake> {
        let mut seen: BTreeMap<&str, &Written> = BTreeMap::new();
        let mut set = PolicySet::new();
        for written in all {
            if let Some(first) = seen.insert(written.id(), written) {
                let problem = format!("@id(\"{}\") is the name of {} already", written.id(), first.at);
                mistakes.push(written.at.clone().mistake(problem));
            } else if let Err(err) = set.add(written.policy.clone()) {
                mistakes.push(written.at.clone().mistake(err.to_string()));
            }
        }
        let place = |id: &PolicyId, diagnostic: &dyn miette::Diagnostic| {
            let written = seen.get(AsRef::<str>::as_ref(id))?;
            let file = files.iter().find(|file| file.name == written.at.file)?;
            let mut at = written::at(diagnostic, file);
            at.line = at.line.max(written.at.line);
            Some(at)
        };
        let result = Validator::new(SCHEMA.clone()).validate(&set, ValidationMode::Strict);
        for err in result.validation_errors() {
            mistakes.extend(place(err.policy_id(), err).map(|at| at.mistake(written::said(err))));
        }
        let warnings = result.validation_warnings();
        let remark = |warning: &cedar_policy::ValidationWarning| {
            place(warning.policy_id(), warning).map(|at| at.mistake(written::said(warning)))
        };
        warnings.filter_map(remark).collect()
    }

    /// The decision. What the caller may not do looks to it as if there were no such thing, if it may be told that.
    pub fn decide(&self, question: &Question<'_>) -> Ruling {
        let answer = self.ask(question);
        let outcome = match (answer.decision, question.facts) {
            (Decision::Allow, _) => Outcome::Allowed,
            (Decision::Deny, Facts::Nothing) => Outcome::Refused,
            (Decision::Deny, Facts::Client(_) | Facts::Connection(_)) => {
                match self.ask(&Question { facts: &Facts::Nothing, ..*question }).decision {
                    Decision::Allow => Outcome::Hidden,
                    Decision::Deny => Outcome::Refused,
                }
            }
        };
        Ruling { outcome, by: answer.by }
    }

    /// Whether the operator's own policies allow it, without the walls.
    fn permits(&self, question: &Question<'_>) -> bool {
        let about = self.workloads.about(question.caller.id());
        let Question { caller, action, target, .. } = *question;
        let Some(asking) = Self::asking(question, &about) else { return false };
        let candidates = self.candidates((caller, &about), action, &target.owner());
        let own = candidates.into_iter().filter(|written| !written.id().starts_with(BUILT_IN));
        self.put(&asking, own).decision == Decision::Allow
    }

    /// `None`: it cannot be said, which is logged.
    fn asking(question: &Question<'_>, about: &About) -> Option<Asking> {
        let Question { caller, action, target, facts, asked } = *question;
        match Asking::new(caller, about, action, (target, facts), asked, None) {
            Ok(asking) => Some(asking),
            Err(err) => {
                tracing::error!(action = action.word(), cause = %err, "a call could not be put to the policies");
                None
            }
        }
    }

    fn ask(&self, question: &Question<'_>) -> Answer {
        let about = self.workloads.about(question.caller.id());
        let Question { caller, action, target, .. } = *question;
        let Some(asking) = Self::asking(question, &about) else {
            return Answer { decision: Decision::Deny, by: Vec::new() };
        };
        let candidates = self.candidates((caller, &about), action, &target.owner());
        let answer = self.put(&asking, candidates.iter().copied());
        let door = answer.decision == Decision::Deny
            && !answer.by.is_empty()
            && answer.by.iter().all(|id| id.starts_with(ENVIRONMENTS));
        if !door {
            return answer;
        }
        let across = |written: &&Written| match written.policy.effect() {
            Effect::Permit => written.across == Across::Environments,
            Effect::Forbid => !written.id().starts_with(ENVIRONMENTS),
        };
        let through = self.put(&asking, candidates.iter().copied().filter(across));
        if through.decision == Decision::Allow { through } else { answer }
    }

    /// The policies that can matter: those whose scope leaves room for caller, action and owner of the target.
    fn candidates(&self, (caller, about): (&Caller, &About), action: Action, owner: &Owner) -> Vec<&Written> {
        let principal = entities::uid(Kind::Workload, caller.id());
        let groups = about.groups.iter().chain(caller.groups());
        let groups: Vec<EntityUid> = groups.map(|group| entities::uid(Kind::Group, group)).collect();
        let places = [Place::Anywhere, Place::Only(owner.clone())];
        let there = places.iter().filter_map(|place| self.by_place.get(place)).flatten();
        let matters = |written: &&Written| written.covers(action) && written.may_concern(&principal, &groups);
        there.map(|at| &self.all[*at]).filter(matters).collect()
    }

    fn put<'a>(&self, asking: &Asking, policies: impl Iterator<Item = &'a Written>) -> Answer {
        let mut set = PolicySet::new();
        for written in policies {
            if let Err(err) = set.add(written.policy.clone()) {
                // Names are unique in a set that was loaded.
                tracing::error!(policy = written.id(), cause = %err, "policy cannot be asked");
                return Answer { decision: Decision::Deny, by: vec![written.id().to_owned()] };
            }
        }
        let response = self.authorizer.is_authorized(&asking.request, &set, &asking.entities);
        // Cedar passes over a policy that fails. A forbid that fails is not known not to hold.
        let failed = response.diagnostics().errors().map(|err| match err {
            cedar_policy::AuthorizationError::PolicyEvaluationError(err) => err.policy_id(),
        });
        let failed: Vec<String> = failed
            .filter(|id| set.policy(id).is_none_or(|policy| policy.effect() == Effect::Forbid))
            .map(ToString::to_string)
            .collect();
        if !failed.is_empty() {
            return Answer { decision: Decision::Deny, by: failed };
        }
        let mut by: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        by.sort();
        Answer { decision: response.decision(), by }
    }

    /// How many policies the operator wrote.
    pub fn count(&self) -> usize {
        self.all.iter().filter(|written| !written.id().starts_with(BUILT_IN)).count()
    }

    pub fn workloads(&self) -> usize {
        self.workloads.len()
    }
}

fn crowded(count: usize) -> Option<String> {
    (count > POLICIES_MAX).then(|| format!("the set has {count} policies; {POLICIES_MAX} is the most"))
}

/// Embedded policies.
fn built_in(name: &str, text: &str) -> Vec<Written> {
    let mut mistakes = Vec::new();
    let file = PolicyFile { name: name.to_owned(), text: text.to_owned() };
    let found = written::read(&file, &mut mistakes);
    debug_assert!(mistakes.is_empty(), "{}", Mistakes(mistakes));
    found
}

/// A group that no entry fills may still come with callers' tokens.
fn unknown_groups(all: &[Written], workloads: &Workloads) -> Vec<Mistake> {
    let mut remarks = Vec::new();
    for written in all {
        for literal in written.policy.entity_literals() {
            let name = literal.id().unescaped();
            if literal.type_name().basename() == Kind::Group.word() && !workloads.has_group(name) {
                let problem = format!(
                    "no [[workload]] is in Group::{name:?}: this applies only if callers' tokens bring it"
                );
                remarks.push(written.at.clone().mistake(problem));
            }
        }
    }
    remarks
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
