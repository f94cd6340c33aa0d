//! Tells in traces what is done at a provider, around whichever [`Provider`] does it. Changes nothing of it.

use super::{
    Answer, Check, Endpoint, Exchange, Managed, ManagingSecrets, Preparation, Prepared, Provider, Question,
    Revocation, Revoked,
};
use crate::{
    domain::{asking::Known, failure::Failure, finding::Finding, profile::Profile},
    store::claim::Claim,
    traces::{self, Fault, Shape, Span, names},
};
use async_trait::async_trait;
use std::sync::Arc;
use uuid::Uuid;

pub struct Traced<P>(pub P);

#[async_trait]
impl<P: Provider> Provider for Traced<P> {
    async fn exchange(&self, claim: &Claim, exchange: &Exchange<'_>) -> Result<Answer, Failure> {
        let span = begun(&names::EXCHANGE, exchange.profile, Some(exchange.correlation_id));
        let answered = span.told(self.0.exchange(claim, exchange)).await;
        match &answered {
            // It can be a success that is of no use.
            Ok(answer) => match &answer.access {
                Ok(_) => correlated(&span, answer.correlation_id.as_deref()),
                Err(failure) => {
                    span.failed(failure.word());
                    ended(&span, failure);
                }
            },
            Err(failure) => ended(&span, failure),
        }
        answered
    }

    async fn resolved(&self, profile: &Arc<Profile>, needed: Endpoint) -> Result<Arc<Profile>, Failure> {
        // As a rule nothing is asked; where something is, the request is told of.
        self.0.resolved(profile, needed).await
    }

    async fn introspect(&self, claim: &Claim, question: &Question<'_>) -> Known {
        let span = begun(&names::INTROSPECT, question.profile, None);
        let known = span.around(self.0.introspect(claim, question)).await;
        span.say(
            names::OUTCOME,
            match known {
                Known::Active => "active",
                Known::Inactive => "inactive",
                Known::Nothing => "nothing",
            },
        );
        known
    }

    async fn check(&self, check: &Check<'_>) -> Vec<Finding> {
        self.0.check(check).await
    }

    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<Revoked, Failure> {
        let span = begun(&names::REVOKE, revocation.profile, Some(revocation.correlation_id));
        let revoked = span.told(self.0.revoke(revocation)).await;
        match &revoked {
            Ok(Revoked::AccessTokenLives(Some(failure))) | Err(failure) => ended(&span, failure),
            Ok(Revoked::Whole | Revoked::AccessTokenLives(None)) => {}
        }
        revoked
    }

    async fn prepare(&self, preparation: &Preparation<'_>) -> Result<Prepared, Failure> {
        let span = begun(&names::BEGIN_CONSENT, preparation.profile, None);
        let prepared = span.told(self.0.prepare(preparation)).await;
        prepared.inspect_err(|failure| ended(&span, failure))
    }

    async fn manage_secrets(&self, managing: &ManagingSecrets<'_>) -> Result<Managed, Failure> {
        let span = begun(&names::MANAGE_SECRETS, managing.profile, Some(managing.correlation_id));
        let managed = span.told(self.0.manage_secrets(managing)).await;
        managed.inspect_err(|failure| ended(&span, failure))
    }
}

fn begun(shape: &'static Shape, profile: &Profile, attempt: Option<Uuid>) -> Span {
    let span = traces::step(shape);
    span.say(names::PROVIDER, &profile.name);
    if let Some(attempt) = attempt {
        span.say(names::ATTEMPT, &attempt);
    }
    span
}

fn ended(span: &Span, failure: &Failure) {
    correlated(span, failure.correlation_id.as_deref());
    if let Some(code) = &failure.code {
        span.say(names::CODE, code);
    }
}

fn correlated(span: &Span, id: Option<&str>) {
    if let Some(id) = id {
        span.say(names::CORRELATION_ID, id);
    }
}

impl Fault for Failure {
    fn word(&self) -> &'static str {
        self.class.word()
    }
}
