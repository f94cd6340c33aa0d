//! Where traces go, by the configuration.

use crate::{
    config::Config,
    tls::outgoing::{self, OutgoingError},
    traces::{Collector, Tracer},
};
use anyhow::anyhow;
use rustls::ClientConfig;
use std::sync::Arc;

/// Has to be called on a runtime.
pub(super) fn tracer(config: &Config, instance: String) -> anyhow::Result<Tracer> {
    let Some(tracing) = &config.tracing else { return Ok(Tracer::default()) };
    let collector = Collector {
        address: tracing.endpoint.clone(),
        tls: tls(config)?,
        instance,
        sample_one_in: tracing.sample_one_in,
    };
    Ok(Tracer::to(collector)?)
}

/// What can be said of the configuration without asking the collector.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    tls(config).map(drop)
}

fn tls(config: &Config) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    let Some(tracing) = config.tracing.as_ref().filter(|tracing| tracing.endpoint.scheme() == "https") else {
        return Ok(None);
    };
    let client = outgoing::client(tracing.ca.as_deref(), None);
    client.map(Some).map_err(|error| match error {
        OutgoingError::Pem(_, error) => anyhow!("tracing.ca_file: {error}\n    mend: {}", error.mend()),
        OutgoingError::NoSystemAuthorities => anyhow!(
            "tracing.ca_file: this system has no authorities of its own\n    mend: name a file with those that vouch \
             for the collector"
        ),
    })
}
