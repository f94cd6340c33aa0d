//! All that is counted as it happens, and the text that it is shown as. What exists anyway is not counted a second time:
//! `scrape` looks at it when somebody asks.

use super::{
    audit::Trail,
    calls::{Calls, Measuring},
    catalogue::{self, Metric},
    exchanges::Exchanges,
    keks::Keks,
    scrape::{Scrape, Sources},
    standing::Standing,
    store::Operations,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};
use std::{fmt, hash::Hash, sync::Arc};

/// Bounds in seconds, for what takes microseconds to seconds.
pub(super) const FAST: Buckets = Buckets(&[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
]);
/// The same, for what goes over the Internet.
pub(super) const SLOW: Buckets =
    Buckets(&[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0]);

/// Where the buckets of a histogram end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

pub(super) type Durations<L> = Family<L, Histogram, Buckets>;

pub struct Metrics {
    registry: Registry,
    scrape: Arc<Scrape>,
    calls: Arc<Calls>,
    pub(super) store: Operations,
    pub(super) exchanges: Exchanges,
    pub(super) kek: Keks,
    pub(super) trail: Trail,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    store: &'static str,
}

impl Metrics {
    /// `store`: which kind it is.
    pub fn new(standing: Arc<Standing>, store: &'static str) -> Arc<Self> {
        let mut registry = Registry::default();
        let making = &mut Making(&mut registry);
        let calls = Arc::new(Calls::new(making));
        let exchanges = Exchanges::new(making);
        let operations = Operations::new(making, store);
        let kek = Keks::new(making);
        let trail = Trail::new(making);
        let version = env!("CARGO_PKG_VERSION");
        making.registered(&catalogue::BUILD, Info::new(Build { version, store }));
        let scrape = Arc::new(Scrape::new(standing));
        registry.register_collector(Box::new(scrape.clone()));
        Arc::new(Self { registry, scrape, calls, store: operations, exchanges, kek, trail })
    }

    /// The layer that counts calls.
    pub fn calls(&self) -> Measuring {
        Measuring(self.calls.clone())
    }

    /// From now on there is something to look at.
    pub fn look_at(&self, sources: Sources) {
        self.scrape.look_at(sources);
    }

    /// `OpenMetrics` text, version 1.0.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut written = String::with_capacity(16 * 1024);
        text::encode(&mut written, &self.registry)?;
        Ok(written)
    }
}

/// Makes metrics as the catalogue has them.
pub(super) struct Making<'a>(pub(super) &'a mut Registry);

impl Making<'_> {
    pub(super) fn registered(&mut self, of: &Metric, metric: impl prometheus_client::registry::Metric) {
        match of.unit.written() {
            Some(unit) => self.0.register_with_unit(of.name, of.meaning, unit, metric),
            None => self.0.register(of.name, of.meaning, metric),
        }
    }

    pub(super) fn durations<L>(&mut self, of: &Metric, buckets: Buckets) -> Durations<L>
    where
        L: EncodeLabelSet + Clone + Hash + Eq + Send + Sync + fmt::Debug + 'static,
    {
        let made = Family::new_with_constructor(buckets);
        self.registered(of, made.clone());
        made
    }

    pub(super) fn counters<L>(&mut self, of: &Metric) -> Family<L, Counter>
    where
        L: EncodeLabelSet + Clone + Hash + Eq + Send + Sync + fmt::Debug + 'static,
    {
        let made = Family::default();
        self.registered(of, made.clone());
        made
    }

    pub(super) fn counter(&mut self, of: &Metric) -> Counter {
        let made = Counter::default();
        self.registered(of, made.clone());
        made
    }
}
