//! One policy as somebody wrote it: where it stands, what it is called, and for whose things it can matter.

use super::{
    entities::{self, PLATFORM},
    mistake::{At, Mistake, PolicyFile},
};
use crate::{
    access::{
        rpcs::{self, Action},
        target::Chain,
    },
    domain::names::{ClientName, ConnectionName, Owner, ProviderName, TenantName},
};
use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint, ResourceConstraint,
};
use miette::Diagnostic;
use std::{collections::HashSet, str::FromStr};

/// Most policies of a set.
pub const POLICIES_MAX: usize = 10_000;
/// Begins the names of what is built in.
pub const BUILT_IN: &str = "bursar.";
/// The annotation that opens the wall between environments, and the only value that it has.
const ACROSS: (&str, &str) = ("across", "environments");

#[derive(Debug, Clone)]
pub struct Written {
    pub policy: Policy,
    pub at: At,
    pub place: Place,
    pub across: Across,
    who: Who,
    /// The actions of the scope.
    what: HashSet<Action>,
}

/// Which callers a scope leaves room for.
#[derive(Debug, Clone)]
enum Who {
    Anybody,
    Only(EntityUid),
    /// And what is in it.
    In(EntityUid),
}

/// Whose things a policy can matter for, by its scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    Anywhere,
    Only(Owner),
}

/// Whether a permit holds where environments mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Across {
    Nothing,
    Environments,
}

/// Reads the policies of a file. `built_in` may take names that begin with [`BUILT_IN`].
pub fn read(file: &PolicyFile, mistakes: &mut Vec<Mistake>) -> Vec<Written> {
    let set = match PolicySet::from_str(&file.text) {
        Ok(set) => set,
        Err(err) => {
            told(&err, file, mistakes);
            return Vec::new();
        }
    };
    if set.num_of_templates() > 0 {
        let problem =
            "a policy with ?principal or ?resource is a template, which nothing here fills in: name them";
        mistakes.push(At::of(&file.name, &file.text, 0).mistake(problem));
    }
    let number =
        |policy: &Policy| policy.id().to_string().strip_prefix("policy").and_then(|n| n.parse().ok());
    let mut policies: Vec<(Option<usize>, &Policy)> =
        set.policies().map(|policy| (number(policy), policy)).collect();
    policies.sort_by_key(|(number, _)| *number);
    let mut from = 0;
    let mut found = Vec::with_capacity(policies.len());
    for (_, policy) in policies {
        // Policies keep the text that they were read from, and come in its order.
        let words = policy.to_cedar().unwrap_or_default();
        let start = file.text.get(from..).and_then(|rest| rest.find(&words)).map_or(from, |at| from + at);
        from = start + words.len();
        let at = At::of(&file.name, &file.text, start);
        let beside = found.iter().filter(|other: &&Written| other.at == at).count();
        let id = policy.annotation("id").map_or_else(|| unnamed(&at, beside), str::to_owned);
        let across = across(policy, &at, mistakes);
        for literal in policy.entity_literals() {
            if let Some(problem) = literal_problem(&literal) {
                mistakes.push(at.clone().mistake(problem));
            }
        }
        found.push(Written {
            policy: policy.new_id(PolicyId::new(id)),
            place: place(&policy.resource_constraint()),
            who: who(policy.principal_constraint()),
            what: what(&policy.action_constraint()),
            across,
            at,
        });
    }
    found
}

/// What a policy without `@id` is called: for where it stands.
fn unnamed(at: &At, beside: usize) -> String {
    if beside == 0 { at.to_string() } else { format!("{at}.{}", beside + 1) }
}

fn across(policy: &Policy, at: &At, mistakes: &mut Vec<Mistake>) -> Across {
    match policy.annotation(ACROSS.0) {
        None => Across::Nothing,
        Some(value) if value == ACROSS.1 && policy.effect() == Effect::Permit => Across::Environments,
        Some(_) => {
            let problem = "@across stands before a permit and has the value \"environments\": there is no other \
                           wall that a policy can open";
            mistakes.push(at.clone().mistake(problem));
            Across::Nothing
        }
    }
}

/// Every mistake of a text that is no policy set, with its line.
fn told(err: &dyn Diagnostic, file: &PolicyFile, mistakes: &mut Vec<Mistake>) {
    let related: Vec<&dyn Diagnostic> = err.related().into_iter().flatten().collect();
    for err in std::iter::once(err).chain(related) {
        mistakes.push(at(err, file).mistake(said(err)));
    }
    mistakes.dedup();
}

/// Where a diagnostic of a file points to.
pub fn at(err: &dyn Diagnostic, file: &PolicyFile) -> At {
    let offset = err.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    At::of(&file.name, &file.text, offset)
}

/// What it says, and what helps.
pub fn said(err: &dyn Diagnostic) -> String {
    let label = err.labels().and_then(|mut labels| labels.next()).and_then(|l| l.label().map(str::to_owned));
    let help = err.help().map(|help| help.to_string());
    let mut text = err.to_string();
    for more in label.into_iter().chain(help) {
        text.push_str(": ");
        text.push_str(&more);
    }
    text
}

fn place(constraint: &ResourceConstraint) -> Place {
    match constraint {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => Place::Anywhere,
        ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => {
            owner_of(uid).map_or(Place::Anywhere, Place::Only)
        }
    }
}

fn who(constraint: PrincipalConstraint) -> Who {
    match constraint {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Who::Anybody,
        PrincipalConstraint::Eq(one) => Who::Only(one),
        PrincipalConstraint::In(one) | PrincipalConstraint::IsIn(_, one) => Who::In(one),
    }
}

fn what(constraint: &ActionConstraint) -> HashSet<Action> {
    let fits = |action: &Action| {
        let groups = entities::groups(*action);
        let inside = |one: &EntityUid| *one == entities::action(*action) || groups.contains(one);
        match constraint {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(one) => *one == entities::action(*action),
            ActionConstraint::In(some) => some.iter().any(inside),
        }
    };
    rpcs::actions().filter(fits).collect()
}

/// Whose a thing of this name is; `None`: it does not tell.
fn owner_of(uid: &EntityUid) -> Option<Owner> {
    let id = uid.id().unescaped();
    match uid.type_name().basename() {
        "Platform" | "Provider" => Some(Owner::Platform),
        "Tenant" => id.parse().ok().map(Owner::Tenant),
        "Client" => id.parse::<ClientName>().ok().map(|name| name.owner),
        "Connection" => id.parse::<ConnectionName>().ok().map(|name| name.owner()),
        _ => None,
    }
}

/// A name that nothing can have would only look like a rule.
fn literal_problem(uid: &EntityUid) -> Option<String> {
    let id = uid.id().unescaped();
    let kind = uid.type_name().basename();
    let wrong = |form: &str| Some(format!("{kind}::{id:?} names nothing: write {kind}::\"{form}\""));
    match kind {
        "Platform" if id != PLATFORM => wrong(PLATFORM),
        "Tenant" if id.parse::<TenantName>().is_err() => wrong("tenants/NAME"),
        "Provider" if id != "none" && id.parse::<ProviderName>().is_err() => wrong("providers/NAME"),
        "Client" if id != "none" && id.parse::<ClientName>().is_err() => {
            wrong("tenants/TENANT/clients/NAME\" or Client::\"platform/clients/NAME")
        }
        "Connection" if id.parse::<ConnectionName>().is_err() => wrong("tenants/TENANT/connections/NAME"),
        "KeyChain" if id.parse::<Chain>().is_err() => {
            wrong("tenants/NAME/keyChain\", \"platform/keyChain\", \"keyChains/root\" or \"keyChains/kek")
        }
        "Workload" => {
            let known = ["spiffe://", "dns:", "oidc:", "unix:"].iter().any(|kind| id.starts_with(kind));
            let problem = || {
                format!(
                    "{kind}::{id:?} names nobody: ids of callers begin with spiffe://, dns:, oidc: or unix:, or are \
                     `local`"
                )
            };
            (id != "local" && !known).then(problem)
        }
        _ => None,
    }
}

impl Written {
    pub fn id(&self) -> &str {
        self.policy.id().as_ref()
    }

    /// Whether the scope leaves room for this caller, with these groups. The scope is not all of it.
    pub fn may_concern(&self, principal: &EntityUid, groups: &[EntityUid]) -> bool {
        match &self.who {
            Who::Anybody => true,
            Who::Only(one) => one == principal,
            Who::In(one) => one == principal || groups.contains(one),
        }
    }

    /// Whether the scope has this action.
    pub fn covers(&self, action: Action) -> bool {
        self.what.contains(&action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entities::Kind;

    #[test]
    fn a_literal_names_something_that_there_can_be_or_is_a_mistake() {
        for (kind, good, bad) in [
            (Kind::Platform, vec!["platform"], "none"),
            (Kind::Tenant, vec!["tenants/a"], "none"),
            (Kind::Provider, vec!["none", "providers/okta"], "okta"),
            (Kind::Client, vec!["none", "tenants/a/clients/x", "platform/clients/x"], "tenants/a"),
            (Kind::Connection, vec!["tenants/a/connections/x"], "none"),
            (
                Kind::KeyChain,
                vec!["keyChains/kek", "keyChains/root", "platform/keyChain", "tenants/a/keyChain"],
                "none",
            ),
            (Kind::Workload, vec!["local", "spiffe://a/b", "dns:a", "oidc:a:b", "unix:1"], "web"),
        ] {
            for id in good {
                assert_eq!(literal_problem(&entities::uid(kind, id)), None, "{kind:?} {id}");
            }
            let problem = literal_problem(&entities::uid(kind, bad)).expect(bad);
            assert!(problem.starts_with(&format!("{}::{bad:?} names no", kind.word())), "{problem}");
        }
        for anything in [Kind::Group, Kind::Action] {
            assert_eq!(literal_problem(&entities::uid(anything, "anything")), None);
        }
    }

    #[test]
    fn a_name_tells_whose_a_thing_is_where_it_does() {
        let a = || Some(Owner::Tenant("tenants/a".parse().unwrap()));
        for (kind, id, owner) in [
            (Kind::Platform, "platform", Some(Owner::Platform)),
            (Kind::Provider, "providers/okta", Some(Owner::Platform)),
            (Kind::Tenant, "tenants/a", a()),
            (Kind::Client, "tenants/a/clients/x", a()),
            (Kind::Client, "platform/clients/x", Some(Owner::Platform)),
            (Kind::Client, "none", None),
            (Kind::Connection, "tenants/a/connections/x", a()),
            (Kind::KeyChain, "tenants/a/keyChain", None),
        ] {
            assert_eq!(owner_of(&entities::uid(kind, id)), owner, "{kind:?} {id}");
        }
    }
}
