//! Receivers of traces: one in this process that keeps what it is given, on the service that OpenTelemetry publishes;
//! and, between a broker and that, a collector that is not ours.

use super::{foreign, ports::free_port, until};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::Span,
};
use parking_lot::Mutex;
use prost::Message;
use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, codec::CompressionEncoding, transport::Server};

/// Keeps every message, until it is dropped.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    kept: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    _ends: DropGuard,
}

struct Keeper(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (kept, stop) = (Arc::default(), CancellationToken::new());
        let service = TraceServiceServer::new(Keeper(Arc::clone(&kept)));
        let serving = Server::builder()
            .add_service(service.accept_compressed(CompressionEncoding::Gzip))
            .serve_with_incoming_shutdown(
                tokio_stream::wrappers::TcpListenerStream::new(listener),
                stop.clone().cancelled_owned(),
            );
        tokio_util::task::TaskTracker::new().spawn(serving);
        Self { address, kept, _ends: stop.drop_guard() }
    }

    /// Lines for a broker's configuration.
    pub(crate) fn lines(&self) -> String {
        format!("[tracing]\notlp_endpoint = \"http://{}\"\n", self.address)
    }

    /// Every span so far, with what it says of its process.
    pub(crate) fn spans(&self) -> Vec<(Resource, Span)> {
        let kept = self.kept.lock();
        let all = kept.iter().flat_map(|message| &message.resource_spans).flat_map(|of| {
            let resource = of.resource.clone().unwrap();
            of.scope_spans
                .iter()
                .flat_map(|scope| &scope.spans)
                .map(move |span| (resource.clone(), span.clone()))
        });
        all.collect()
    }

    /// Everything as it came.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.kept.lock().iter().flat_map(Message::encode_to_vec).collect()
    }

    /// The trace of the first span, of those so far and to come, that is meant; its spans, when it has so many.
    pub(crate) async fn trace(&self, what: &str, spans: usize, meant: impl Fn(&Span) -> bool) -> Trace {
        let look = || async {
            let all = self.spans();
            let id = all.iter().find(|(_, span)| meant(span))?.1.trace_id.clone();
            let of: Vec<_> = all.into_iter().filter(|(_, span)| span.trace_id == id).collect();
            (of.len() >= spans).then_some(Trace(of))
        };
        until(what, look).await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let spans = self.spans();
            let of = |span: &Span| {
                (span.name.clone(), hex(&span.trace_id), attribute(span, "bursar.refresh.trigger"))
            };
            let all: Vec<_> = spans.iter().map(|(_, span)| of(span)).collect();
            println!("the collector has {} spans: {all:#?}", all.len());
        }
    }
}

/// The spans of one trace.
#[derive(Debug)]
pub(crate) struct Trace(pub(crate) Vec<(Resource, Span)>);

impl Trace {
    pub(crate) fn id(&self) -> String {
        hex(&self.0[0].1.trace_id)
    }

    /// The one span of this name.
    pub(crate) fn span(&self, name: &str) -> &Span {
        let mut named = self.0.iter().filter(|(_, span)| span.name == name);
        let (_, span) = named.next().unwrap_or_else(|| panic!("no {name} in {:?}", self.names()));
        assert!(named.next().is_none(), "two of {name}");
        span
    }

    /// Names of those right below this one, as they began.
    pub(crate) fn below(&self, name: &str) -> Vec<&str> {
        let id = &self.span(name).span_id;
        let mut below: Vec<_> =
            self.0.iter().map(|(_, span)| span).filter(|span| span.parent_span_id == *id).collect();
        below.sort_by_key(|span| span.start_time_unix_nano);
        below.into_iter().map(|span| span.name.as_str()).collect()
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(_, span)| span.name.as_str()).collect()
    }
}

/// An attribute as text.
pub(crate) fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|one| one.key == key)?;
    Some(text(found.value.as_ref()))
}

pub(crate) fn of_resource(resource: &Resource, key: &str) -> Option<String> {
    let found = resource.attributes.iter().find(|one| one.key == key)?;
    Some(text(found.value.as_ref()))
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("an attribute of another type: {other:?}"),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Rotel, a collector by Streamfold (PyPI `rotel`), which passes on what it takes.
pub(crate) struct Rotel {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Rotel {
    pub(crate) async fn before(collector: &Collector, folder: &Path) -> Self {
        let [grpc, http] = [free_port(), free_port()];
        let at = |port: u16| format!("127.0.0.1:{port}");
        let process = Command::new(foreign::python_package("rotel").join("rotel-agent"))
            .args(["start", "--otlp-grpc-endpoint", &at(grpc), "--otlp-http-endpoint", &at(http)])
            .args(["--exporter", "otlp", "--otlp-exporter-protocol", "grpc"])
            .args(["--otlp-exporter-endpoint", &format!("http://{}", collector.address)])
            .arg("--pid-file")
            .arg(folder.join("rotel.pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], grpc));
        until("rotel serves", || async { TcpStream::connect(address).await.ok() }).await;
        Self { address, process }
    }

    pub(crate) fn lines(&self) -> String {
        format!("[tracing]\notlp_endpoint = \"http://{}\"\n", self.address)
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
