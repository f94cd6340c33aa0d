//! Providers as they are looked at from outside: how long an exchange takes, and what its answer was taken for.

use super::{
    catalogue,
    labels::{Grant, Outcome},
    metrics::{Durations, Making, Metrics, SLOW},
};
use crate::{
    domain::{asking::Known, failure::Failure, finding::Finding, profile::Profile},
    provider::{
        Answer, Check, Endpoint, Exchange, Managed, ManagingSecrets, Provider, Question, Revocation, Revoked,
        authorization::{Preparation, Prepared},
    },
    store::claim::Claim,
};
use async_trait::async_trait;
use prometheus_client::encoding::EncodeLabelSet;
use std::sync::Arc;
use tokio::time::Instant;

/// Providers that are watched.
pub struct WatchedProvider {
    pub inner: Arc<dyn Provider>,
    pub metrics: Arc<Metrics>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    /// Of the catalogue: as many as there are profiles.
    provider: String,
    grant: Grant,
    outcome: Outcome,
}

#[derive(Debug)]
pub(super) struct Exchanges {
    durations: Durations<Labels>,
}

impl Exchanges {
    pub(super) fn new(making: &mut Making<'_>) -> Self {
        Self { durations: making.durations(&catalogue::EXCHANGES, SLOW) }
    }
}

/// One under way; counted when it is dropped: whoever gives it up at its deadline does just that.
struct Begun<'a> {
    exchanges: &'a Exchanges,
    labels: Labels,
    at: Instant,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let took = self.at.elapsed().as_secs_f64();
        self.exchanges.durations.get_or_create(&self.labels).observe(took);
    }
}

#[async_trait]
impl Provider for WatchedProvider {
    async fn exchange(&self, claim: &Claim, exchange: &Exchange<'_>) -> Result<Answer, Failure> {
        let labels = Labels {
            provider: exchange.profile.name.0.to_string(),
            grant: Grant::of(exchange.grant.stage()),
            outcome: Outcome::Timeout,
        };
        let mut begun = Begun { exchanges: &self.metrics.exchanges, labels, at: Instant::now() };
        let answered = self.inner.exchange(claim, exchange).await;
        begun.labels.outcome = match &answered {
            Ok(Answer { access: Ok(_), .. }) => Outcome::Ok,
            Ok(Answer { access: Err(failure), .. }) | Err(failure) => Outcome::of(failure.class),
        };
        answered
    }

    async fn resolved(&self, profile: &Arc<Profile>, needed: Endpoint) -> Result<Arc<Profile>, Failure> {
        self.inner.resolved(profile, needed).await
    }

    async fn introspect(&self, claim: &Claim, question: &Question<'_>) -> Known {
        self.inner.introspect(claim, question).await
    }

    async fn check(&self, check: &Check<'_>) -> Vec<Finding> {
        self.inner.check(check).await
    }

    async fn revoke(&self, revocation: &Revocation<'_>) -> Result<Revoked, Failure> {
        self.inner.revoke(revocation).await
    }

    async fn prepare(&self, preparation: &Preparation<'_>) -> Result<Prepared, Failure> {
        self.inner.prepare(preparation).await
    }

    async fn manage_secrets(&self, managing: &ManagingSecrets<'_>) -> Result<Managed, Failure> {
        self.inner.manage_secrets(managing).await
    }
}
