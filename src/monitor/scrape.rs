//! What exists anyway, looked at when somebody asks: nothing here reads the store, and nothing takes longer with more
//! connections.

use super::{
    catalogue::{self, Metric},
    census::{Census, Count},
    labels::{ClaimOutcome, Look, Past},
    process::Process,
    readiness::{Hearing, Reach, Readiness},
    standing::Standing,
    store::Backlog,
};
use crate::{
    audit::Recorder,
    broker::{Broker, warm::Looks},
    clock::Timestamp,
    domain::{lifecycle::Degraded, validity::Validity},
    store::ledger::Claims,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet},
    metrics::MetricType,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock, Weak},
};

/// Where to look. Holds nothing up that ends.
pub struct Sources {
    pub broker: Weak<Broker>,
    pub recorder: Weak<Recorder>,
    pub census: Arc<Census>,
    pub metrics: Weak<super::Metrics>,
    pub certificate: Certificate,
}

/// For how long the certificate is good that callers are shown at present; `None` where there is none.
pub type Certificate = Box<dyn Fn() -> Option<Validity> + Send + Sync>;

pub(super) struct Scrape {
    standing: Arc<Standing>,
    sources: OnceLock<Sources>,
}

impl Scrape {
    pub(super) fn new(standing: Arc<Standing>) -> Self {
        Self { standing, sources: OnceLock::new() }
    }

    pub(super) fn look_at(&self, sources: Sources) {
        // There is one broker in a process.
        let _ = self.sources.set(sources);
    }
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page(encoder);
        self.standing(page)?;
        page.process(Process::now())?;
        let Some(sources) = self.sources.get() else { return Ok(()) };
        if let Some(metrics) = sources.metrics.upgrade() {
            page.backlog(metrics.store.backlog())?;
        }
        if let Some(broker) = sources.broker.upgrade() {
            page.broker(&broker)?;
            let now = broker.clock.now();
            if let Some(count) = sources.census.last() {
                page.count(&count, now)?;
            }
            if let Some(certificate) = (sources.certificate)() {
                page.gauge(&catalogue::CERTIFICATE_LEFT, &remaining(certificate.until, now))?;
                page.gauge(&catalogue::CERTIFICATE_SOON, &certificate.soon().as_secs_f64())?;
            }
        }
        if let Some(recorder) = sources.recorder.upgrade() {
            page.counter(&catalogue::AUDIT_SUMMARIES, &recorder.summaries())?;
        }
        Ok(())
    }
}

impl Scrape {
    fn standing(&self, page: &mut Page<'_>) -> fmt::Result {
        let facts = self.standing.facts();
        let answers = match facts.store {
            Reach::Answers => 1,
            Reach::Unknown | Reach::Away(_) => 0,
        };
        let writable = u64::from(facts.writes.refused(self.standing.now()).is_none());
        let hears = match facts.feed {
            Hearing::Hears => 1,
            Hearing::NotYet | Hearing::Deaf(_) => 0,
        };
        let ready = match self.standing.report().readiness() {
            Readiness::Ready => 1,
            Readiness::NotReady => 0,
        };
        page.gauge(&catalogue::STORE_UP, &answers)?;
        page.gauge(&catalogue::STORE_WRITABLE, &writable)?;
        page.gauge(&catalogue::FEED_UP, &hears)?;
        page.gauge(&catalogue::READY, &ready)
    }
}

/// Writes metrics as the catalogue has them.
struct Page<'a>(DescriptorEncoder<'a>);

/// Series of one metric: the values of its labels, in their order, and its own.
type Series<'a, const N: usize, V> = Vec<([&'a str; N], V)>;

impl Page<'_> {
    fn process(&mut self, process: Process) -> fmt::Result {
        self.gauge(&catalogue::STARTED, &process.started)?;
        self.counter(&catalogue::PROCESSOR, &process.processor_seconds)?;
        self.gauge(&catalogue::MEMORY, &process.resident_bytes)
    }

    fn backlog(&mut self, backlog: Backlog) -> fmt::Result {
        self.gauge(&catalogue::DUE, &(backlog.count as u64))?;
        self.gauge(&catalogue::DUE_LAG, &backlog.lag.as_secs_f64())
    }

    fn broker(&mut self, broker: &Broker) -> fmt::Result {
        let told = [
            (None, "none"),
            (Some(Degraded::NeedsReauthorization), "needs_reauthorization"),
            (Some(Degraded::GrantAtRisk), "grant_at_risk"),
            (Some(Degraded::ProviderFailing), "provider_failing"),
            (Some(Degraded::ConfigurationRefused), "configuration_refused"),
            (Some(Degraded::RefreshSlow), "refresh_slow"),
            (Some(Degraded::StoreUnavailable), "store_unavailable"),
        ];
        let told = told.map(|(degraded, word)| ([word], broker.tally.told(degraded)));
        self.counters(&catalogue::SERVED, told.to_vec())?;
        let (soft, hard) = broker.tally.late();
        let late = vec![([Past::Soft.word()], soft), ([Past::Hard.word()], hard)];
        self.counters(&catalogue::LATE, late)?;
        let Looks { current, doubtful, missing } = broker.warm.looks();
        let looks = vec![
            ([Look::Current.word()], current),
            ([Look::Doubtful.word()], doubtful),
            ([Look::Missing.word()], missing),
        ];
        self.counters(&catalogue::LOOKS, looks)?;
        self.gauge(&catalogue::COPIES, &(broker.warm.count() as u64))?;
        self.gauge(&catalogue::UNDER_WAY, &(broker.refresher.under_way() as u64))?;
        self.gauge(&catalogue::SHUNNED, &(broker.refresher.shunned().count() as u64))?;
        let Claims { won, busy, moved, held, ended } = broker.ledger.claims();
        let claims = vec![
            ([ClaimOutcome::Won.word()], won),
            ([ClaimOutcome::Busy.word()], busy),
            ([ClaimOutcome::Moved.word()], moved),
            ([ClaimOutcome::Held.word()], held),
            ([ClaimOutcome::Ended.word()], ended),
        ];
        self.counters(&catalogue::CLAIMS, claims)
    }

    fn count(&mut self, count: &Count, now: Timestamp) -> fmt::Result {
        let states = count.connections.iter().flat_map(|(provider, states)| {
            states.iter().map(move |(state, number)| ([provider.as_str(), *state], *number))
        });
        self.gauges(&catalogue::CONNECTIONS, states.collect())?;
        self.gauge(&catalogue::UNREADABLE, &count.unreadable)?;
        self.gauges(&catalogue::TOKEN_LEFT, left(&count.token_ends, now))?;
        self.gauges(&catalogue::REFRESH_TOKEN_LEFT, left(&count.refresh_token_ends, now))?;
        self.gauge(&catalogue::CENSUS_AGE, &count.at.until(now).as_secs_f64())
    }

    fn gauge(&mut self, of: &Metric, value: &impl EncodeGaugeValue) -> fmt::Result {
        let (help, unit) = (format!("{}.", of.meaning), of.unit.written());
        self.0.encode_descriptor(of.name, &help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(value)
    }

    fn gauges<const N: usize>(
        &mut self,
        of: &Metric,
        series: Series<'_, N, impl EncodeGaugeValue>,
    ) -> fmt::Result {
        if series.is_empty() {
            return Ok(());
        }
        let (help, unit) = (format!("{}.", of.meaning), of.unit.written());
        let mut encoder = self.0.encode_descriptor(of.name, &help, unit.as_ref(), MetricType::Gauge)?;
        for (values, value) in series {
            encoder.encode_family(&labelled(of, values))?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter(&mut self, of: &Metric, value: &impl EncodeCounterValue) -> fmt::Result {
        let (help, unit) = (format!("{}.", of.meaning), of.unit.written());
        let mut encoder = self.0.encode_descriptor(of.name, &help, unit.as_ref(), MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, f64>(value, None)
    }

    fn counters<const N: usize>(&mut self, of: &Metric, series: Series<'_, N, u64>) -> fmt::Result {
        let (help, unit) = (format!("{}.", of.meaning), of.unit.written());
        let mut encoder = self.0.encode_descriptor(of.name, &help, unit.as_ref(), MetricType::Counter)?;
        for (values, value) in series {
            let labels = labelled(of, values);
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }
}

/// Values with the names of their labels.
fn labelled<'a, const N: usize>(of: &Metric, values: [&'a str; N]) -> Vec<(&'static str, &'a str)> {
    of.labels.iter().copied().zip(values).collect()
}

/// Negative where the end is over.
fn left(ends: &BTreeMap<String, Timestamp>, now: Timestamp) -> Series<'_, 1, f64> {
    ends.iter().map(|(provider, end)| ([provider.as_str()], remaining(*end, now))).collect()
}

/// Seconds, below nothing when it is over.
fn remaining(end: Timestamp, now: Timestamp) -> f64 {
    now.until(end).as_secs_f64() - end.until(now).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_goes_below_nothing() {
        let now = Timestamp::from_secs(1_000);
        let ends = [("a", 1_090), ("b", 1_000), ("c", 990)];
        let ends = ends.map(|(name, end)| (name.to_owned(), Timestamp::from_secs(end))).into();
        assert_eq!(left(&ends, now), [(["a"], 90.0), (["b"], 0.0), (["c"], -10.0)]);
    }
}
