//! Who may do what. A caller is whoever [`Authenticate`] says; what it may is decided here by policies, and a
//! [`Permit`] is the proof. Knows neither the wire nor the store.

pub mod caller;
mod decisions;
pub mod policies;
pub mod rpcs;
mod shadow;
pub mod target;

pub use caller::{
    Authenticate, Caller, ClientCertificate, Identity, NoIdentity, Peer, Transport, Unauthenticated,
};
pub use rpcs::{Action, AuditClass, Rate, Rpc};
pub use target::{Asked, Chain, ClientFacts, ConnectionFacts, Facts, RecordId, Target};

use crate::domain::names::ConnectionName;
use arc_swap::ArcSwap;
use decisions::{About, Decisions};
use policies::{Outcome, Policies, Question};
use shadow::Shadow;
use std::sync::Arc;

/// Proof that this caller may do this to that. Made by [`Access`] only.
#[derive(Debug)]
#[must_use]
pub struct Permit<N = ConnectionName> {
    caller: Caller,
    action: Action,
    on: N,
}

/// The caller may not. Which of the two it is says nothing about whether there is such a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Where there were none, the caller might know: it is told that there is none.
    #[error("not found")]
    Hidden,
    #[error("not allowed")]
    Refused,
}

/// The policies in force.
pub struct Access(ArcSwap<Sets>);

/// What decides, and what is tried out beside it. Replaced as a whole, so that no decision outlives its policies.
struct Sets {
    policies: Arc<Policies>,
    shadow: Option<Shadow>,
    decisions: Decisions,
}

impl<N> Permit<N> {
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn action(&self) -> Action {
        self.action
    }

    /// What it is a permit for.
    pub fn on(&self) -> &N {
        &self.on
    }
}

impl Default for Access {
    /// Everything, to this machine: for where callers prove nothing.
    fn default() -> Self {
        Self::new(Arc::new(Policies::open()), None)
    }
}

impl Access {
    /// What these policies allow. `shadow` is asked too, and only its differences are told.
    pub fn new(policies: Arc<Policies>, shadow: Option<Arc<Policies>>) -> Self {
        Self(ArcSwap::from_pointee(Sets::new(policies, shadow)))
    }

    /// From the next call on these decide, and no decision of the former ones is remembered.
    pub fn put(&self, policies: &Arc<Policies>) {
        self.0.rcu(|sets| Sets::new(policies.clone(), sets.shadow.as_ref().map(Shadow::policies)));
    }

    /// From the next call on these are tried out. Decisions are made anew, so that each is compared.
    pub fn put_shadow(&self, shadow: &Arc<Policies>) {
        self.0.rcu(|sets| Sets::new(sets.policies.clone(), Some(shadow.clone())));
    }

    /// A permit for something of which `facts` are true now.
    pub fn permit<N>(
        &self,
        caller: &Caller,
        action: Action,
        on: N,
        facts: &Facts,
        asked: &Asked,
    ) -> Result<Permit<N>, Denied>
    where
        N: Clone + Into<Target>,
    {
        let target = on.clone().into();
        let outcome = self.decide(&Question { caller, action, target: &target, facts, asked });
        permit(outcome, caller, action, on)
    }

    /// The same for a connection, if it was decided lately: without facts, and in less than a microsecond.
    pub fn known(
        &self,
        caller: &Caller,
        action: Action,
        (on, record): (&ConnectionName, RecordId),
        asked: &Asked,
    ) -> Option<Result<Permit, Denied>> {
        let outcome = self.0.load().decisions.get(About { caller, action, record, asked })?;
        Some(permit(outcome, caller, action, on.clone()))
    }

    pub fn decide(&self, question: &Question<'_>) -> Outcome {
        let sets = self.0.load();
        let Question { caller, action, asked, .. } = *question;
        let about = match question.facts {
            Facts::Connection(facts) => facts.record.map(|record| About { caller, action, record, asked }),
            Facts::Nothing | Facts::Client(_) => None,
        };
        if let Some(outcome) = about.and_then(|about| sets.decisions.get(about)) {
            return outcome;
        }
        let ruling = sets.policies.decide(question);
        if let Some(shadow) = &sets.shadow {
            shadow.compare(question, &ruling);
        }
        if let Some(about) = about {
            sets.decisions.keep(about, ruling.outcome);
        }
        ruling.outcome
    }

    /// Called now and then: differences of the shadow set are told again, so many at a time.
    pub fn tick(&self) {
        if let Some(shadow) = &self.0.load().shadow {
            shadow.tick();
        }
    }
}

fn permit<N>(outcome: Outcome, caller: &Caller, action: Action, on: N) -> Result<Permit<N>, Denied> {
    match outcome {
        Outcome::Allowed => Ok(Permit { caller: caller.clone(), action, on }),
        Outcome::Hidden => Err(Denied::Hidden),
        Outcome::Refused => Err(Denied::Refused),
    }
}

impl Sets {
    fn new(policies: Arc<Policies>, shadow: Option<Arc<Policies>>) -> Self {
        Self { policies, shadow: shadow.map(Shadow::new), decisions: Decisions::default() }
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
