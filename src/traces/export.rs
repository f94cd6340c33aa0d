//! The way to the collector: OTLP over gRPC, in batches, from a thread of its own. What cannot be delivered is dropped,
//! and told of once; nobody waits for it.

use super::Tracer;
use hyper_util::rt::TokioIo;
use opentelemetry::{InstrumentationScope, KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData,
        SpanExporter, SpanLimits,
    },
};
use opentelemetry_semantic_conventions::{SCHEMA_URL, resource};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use url::Url;

/// The port of OTLP over gRPC, where none is written.
const PORT: u16 = 4317;
/// Name resolution, TCP and TLS together.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Longest delivery of a batch, with what the library tries again.
const DELIVERY_MAX: Duration = Duration::from_secs(10);
/// How long spans are gathered.
const GATHERED: Duration = Duration::from_secs(1);
/// Most spans that wait to be delivered, 1 to 2 KiB each; more are dropped.
const WAITING_MAX: usize = 8192;
/// Most spans in one message.
const BATCH_MAX: usize = 512;

/// Where spans go.
pub struct Collector {
    /// `https`, or `http` to this machine; no path.
    pub address: Url,
    /// For `https`: whom to believe.
    pub tls: Option<Arc<ClientConfig>>,
    /// Names this process among its replicas.
    pub instance: String,
    /// Of the traces that begin here, one in so many is recorded.
    pub sample_one_in: u32,
}

/// Why nothing can be delivered to a collector, whether it is there or not.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("`{0}` is no address of a collector")]
    Address(Url),
    /// What the OTEL_ variables of the environment ask for cannot be had.
    #[error("export of traces cannot be set up: {0}")]
    Setup(String),
}

/// Tells of a collector that is away, once, and of its return.
#[derive(Debug)]
struct Noted<E> {
    to: E,
    away: AtomicBool,
    lost: AtomicU64,
}

impl Tracer {
    /// Has to be called on a runtime. Connects when there is something to deliver, and again when the connection broke.
    pub fn to(collector: Collector) -> Result<Self, ExportError> {
        let channel = channel(&collector)?;
        let exporter = OtlpExporter::builder().with_tonic().with_timeout(DELIVERY_MAX).with_channel(channel);
        let exporter = exporter.build().map_err(|err| ExportError::Setup(err.to_string()))?;
        let noted = Noted { to: exporter, away: AtomicBool::new(false), lost: AtomicU64::new(0) };
        let batches = BatchConfigBuilder::default()
            .with_scheduled_delay(GATHERED)
            .with_max_queue_size(WAITING_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .build();
        let processor = BatchSpanProcessor::builder(noted).with_batch_config(batches).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler(collector.sample_one_in))
            .with_span_limits(SpanLimits::default())
            .with_resource(described(collector.instance))
            .build();
        Ok(Self::over(provider))
    }
}

pub(super) fn tracer(provider: &SdkTracerProvider) -> SdkTracer {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL);
    provider.tracer_with_scope(scope.build())
}

/// A trace that was begun elsewhere goes on as it was begun.
pub(super) fn sampler(one_in: u32) -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(1.0 / f64::from(one_in.max(1)))))
}

fn described(instance: String) -> Resource {
    Resource::builder_empty()
        .with_schema_url(
            [
                KeyValue::new(resource::SERVICE_NAME, env!("CARGO_PKG_NAME")),
                KeyValue::new(resource::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
                KeyValue::new(resource::SERVICE_INSTANCE_ID, instance),
            ],
            SCHEMA_URL,
        )
        .build()
}

/// The library's own connections know other trust roots than the rest of this program, so this one is ours.
fn channel(collector: &Collector) -> Result<Channel, ExportError> {
    let refused = || ExportError::Address(collector.address.clone());
    let host = collector.address.host_str().ok_or_else(refused)?;
    let port = collector.address.port().unwrap_or(PORT);
    let at = |scheme: &str| format!("{scheme}://{host}:{port}").parse::<Uri>().map_err(|_| refused());
    // The layer below speaks no TLS of its own: what it is told to connect to is plain, what it says is not.
    let endpoint = Endpoint::from(at("http")?)
        .origin(at(collector.address.scheme())?)
        .connect_timeout(CONNECT_MAX)
        .timeout(DELIVERY_MAX);
    let Some(tls) = &collector.tls else { return Ok(endpoint.connect_lazy()) };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| refused())?;
    let mut tls = ClientConfig::clone(tls);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(tls));
    let connect = tower::service_fn(move |_: Uri| {
        let (tls, name, address) = (tls.clone(), name.clone(), (host.clone(), port));
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    Ok(endpoint.connect_with_connector_lazy(connect))
}

impl<E: SpanExporter> SpanExporter for Noted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let outcome = self.to.export(batch).await;
        let was_away = self.away.swap(outcome.is_err(), Ordering::AcqRel);
        match &outcome {
            Err(cause) => {
                self.lost.fetch_add(spans, Ordering::AcqRel);
                if !was_away {
                    tracing::warn!(%cause, "traces cannot be delivered and are dropped; check tracing.otlp_endpoint and the collector");
                }
            }
            Ok(()) if was_away => {
                let lost = self.lost.swap(0, Ordering::AcqRel);
                tracing::info!(lost, "traces can be delivered again");
            }
            Ok(()) => {}
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.to.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.to.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.to.set_resource(resource);
    }
}
