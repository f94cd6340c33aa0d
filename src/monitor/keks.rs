//! The key-encryption key's owner as it is looked at from outside.

use super::{
    catalogue,
    labels::{KekFailure, KekOperation},
    metrics::{Durations, FAST, Making, Metrics},
};
use crate::seal::{Kek, KekError, KekKey, KekKind, KeyBytes};
use async_trait::async_trait;
use prometheus_client::{encoding::EncodeLabelSet, metrics::gauge::Gauge};
use std::sync::Arc;
use tokio::time::Instant;

/// A KEK that is watched.
pub struct WatchedKek {
    pub inner: Arc<dyn Kek>,
    pub metrics: Arc<Metrics>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation: KekOperation,
    error_type: KekFailure,
}

#[derive(Debug)]
pub(super) struct Keks {
    durations: Durations<Labels>,
    up: Gauge,
}

impl Keks {
    pub(super) fn new(making: &mut Making<'_>) -> Self {
        let up = Gauge::default();
        making.registered(&catalogue::KEK_UP, up.clone());
        Self { durations: making.durations(&catalogue::KEK, FAST), up }
    }
}

impl WatchedKek {
    async fn noted<T>(
        &self,
        operation: KekOperation,
        asked: impl Future<Output = Result<T, KekError>> + Send,
    ) -> Result<T, KekError> {
        let begun = Instant::now();
        let outcome = asked.await;
        let error_type = outcome.as_ref().err().map_or(KekFailure::Nothing, KekFailure::of);
        let kek = &self.metrics.kek;
        kek.durations.get_or_create(&Labels { operation, error_type }).observe(begun.elapsed().as_secs_f64());
        kek.up.set(i64::from(outcome.is_ok()));
        outcome
    }
}

#[async_trait]
impl Kek for WatchedKek {
    fn kind(&self) -> KekKind {
        self.inner.kind()
    }

    async fn present(&self) -> Result<KekKey, KekError> {
        self.noted(KekOperation::Present, self.inner.present()).await
    }

    async fn wrap(&self, context: &[u8], key: &KeyBytes) -> Result<Vec<u8>, KekError> {
        self.noted(KekOperation::Wrap, self.inner.wrap(context, key)).await
    }

    async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<KeyBytes, KekError> {
        self.noted(KekOperation::Unwrap, self.inner.unwrap(context, wrapped)).await
    }

    async fn probe(&self) -> Result<KekKey, KekError> {
        self.noted(KekOperation::Probe, self.inner.probe()).await
    }
}
