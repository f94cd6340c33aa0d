//! Why: which policies decided, and where nothing allowed, what came nearest and what it lacks.

use super::{
    Outcome, Policies, Question, Ruling,
    entities::{self, Kind},
    mistake::At,
    workloads::About,
    written::{BUILT_IN, Written},
};
use crate::access::rpcs::Action;
use cedar_policy::{Effect, EntityUid, ResourceConstraint};
use std::fmt;

/// Most policies that are told as nearly allowing.
const NEAR_MAX: usize = 5;

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    pub ruling: Ruling,
    pub deciding: Vec<Deciding>,
    /// Where nothing allowed: permits for this action, those that lack least first.
    pub near: Vec<Near>,
    pub about: About,
}

/// A policy that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deciding {
    pub id: String,
    pub at: At,
    pub says: Says,
    /// What stands before it as `@reason("…")`.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    Permit,
    Forbid,
}

/// A permit that does not hold, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    pub id: String,
    pub at: At,
    pub lacks: Vec<Lack>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    Condition,
    Resource,
    Principal,
    Action,
}

impl Policies {
    pub fn explain(&self, question: &Question<'_>) -> Explained {
        let ruling = self.decide(question);
        let about = self.workloads.about(question.caller.id());
        let find = |id: &String| self.all.iter().find(|written| written.id() == id);
        let deciding = ruling.by.iter().filter_map(find).map(Deciding::of).collect::<Vec<_>>();
        let allowed = ruling.outcome == Outcome::Allowed;
        // Behind a wall there may be nothing that allows it, either.
        let walls = deciding.iter().all(|deciding| deciding.id.starts_with(BUILT_IN));
        let lacking = !allowed && walls && !self.permits(question);
        let near = if lacking { self.near(question, &about) } else { Vec::new() };
        Explained { ruling, deciding, near, about }
    }

    fn near(&self, question: &Question<'_>, about: &About) -> Vec<Near> {
        let groups = about.groups.iter().chain(question.caller.groups());
        let groups: Vec<EntityUid> = groups.map(|group| entities::uid(Kind::Group, group)).collect();
        let scope = Scope {
            principal: entities::uid(Kind::Workload, question.caller.id()),
            groups,
            action: question.action,
            resource: entities::resource(question.target),
            owner: match question.target.owner() {
                crate::domain::names::Owner::Platform => entities::platform(),
                crate::domain::names::Owner::Tenant(name) => entities::tenant(&name),
            },
        };
        let permits = self.all.iter().filter(|written| written.policy.effect() == Effect::Permit);
        let mut near: Vec<Near> = permits.map(|written| scope.near(written)).collect();
        near.sort_by(|a, b| (a.lacks.len(), &a.lacks, &a.at).cmp(&(b.lacks.len(), &b.lacks, &b.at)));
        near.truncate(NEAR_MAX);
        near
    }
}

struct Scope {
    principal: EntityUid,
    groups: Vec<EntityUid>,
    action: Action,
    resource: EntityUid,
    owner: EntityUid,
}

impl Scope {
    fn near(&self, written: &Written) -> Near {
        let mut lacks = Vec::new();
        if !self.resource_fits(&written.policy.resource_constraint()) {
            lacks.push(Lack::Resource);
        }
        if !written.may_concern(&self.principal, &self.groups) {
            lacks.push(Lack::Principal);
        }
        if !written.covers(self.action) {
            lacks.push(Lack::Action);
        }
        if lacks.is_empty() {
            lacks.push(Lack::Condition);
        }
        Near { id: written.id().to_owned(), at: written.at.clone(), lacks }
    }

    fn resource_fits(&self, constraint: &ResourceConstraint) -> bool {
        let inside = |one: &EntityUid| *one == self.resource || *one == self.owner;
        match constraint {
            ResourceConstraint::Any => true,
            ResourceConstraint::Is(kind) => kind == self.resource.type_name(),
            ResourceConstraint::Eq(one) => *one == self.resource,
            ResourceConstraint::In(one) => inside(one),
            ResourceConstraint::IsIn(kind, one) => kind == self.resource.type_name() && inside(one),
        }
    }
}

impl Deciding {
    fn of(written: &Written) -> Self {
        let says = match written.policy.effect() {
            Effect::Permit => Says::Permit,
            Effect::Forbid => Says::Forbid,
        };
        let reason = written.policy.annotation("reason").map(str::to_owned);
        Self { id: written.id().to_owned(), at: written.at.clone(), says, reason }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Condition => "its conditions do not hold",
            Self::Resource => "it is for other things",
            Self::Principal => "it is for other callers",
            Self::Action => "it is for other actions",
        })
    }
}
