//! What a collector is told: the trace of a refresh, from when it was due until it was committed, by a real broker to a
//! collector that is not ours; traces of callers, which go on; and nothing of calls that nobody records.

mod away;
mod calls;

use crate::support::{
    api::{Api, name},
    collector::{Collector, Rotel, Trace, attribute, of_resource},
    process::Broker,
    scene::{Held, Place, Scene, Settings},
};
use bursar::simulator::fault::{Fault, Only, Trouble};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::SpanKind, status::StatusCode};
use std::time::Duration;

/// Tokens that have to be renewed while a test looks on.
const SHORT: Duration = Duration::from_secs(8);

/// A broker with one connection that is in order, and these lines about traces.
struct Stage {
    scene: Scene,
    broker: Broker,
    api: Api,
    held: Held,
}

impl Stage {
    async fn new(settings: Settings, lines: &str) -> Self {
        let scene = Scene::new(settings).await;
        Self::on(scene, lines).await
    }

    async fn on(scene: Scene, lines: &str) -> Self {
        let broker = Broker::serve(&scene.config_with("one", &Place::Embedded, lines)).await;
        let api = Api::of(broker.address());
        let held = scene.connect(&api, 1).await.pop().unwrap();
        Self { scene, broker, api, held }
    }

    fn break_next(&self, trouble: Trouble<bursar::simulator::concur::Refusal>) {
        let fault = Fault::once(trouble).only(Only::principal(&self.held.company.company));
        self.scene.simulator.break_next(fault).unwrap();
    }
}

fn is(span: &Span, name: &str, key: &str, value: &str) -> bool {
    span.name == name && attribute(span, key).as_deref() == Some(value)
}

fn is_failed_refresh(span: &Span) -> bool {
    is(span, "refresh", "bursar.refresh.trigger", "operator") && failed(span).is_some()
}

/// Every span lies within the one above it, and begins no earlier.
fn nested(trace: &Trace) {
    for (_, span) in &trace.0 {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        let above = trace.0.iter().map(|(_, above)| above).find(|above| above.span_id == span.parent_span_id);
        if let Some(above) = above {
            assert!(above.start_time_unix_nano <= span.start_time_unix_nano, "{above:?} {span:?}");
            assert!(span.end_time_unix_nano <= above.end_time_unix_nano, "{above:?} {span:?}");
        }
    }
}

fn failed(span: &Span) -> Option<String> {
    let code = span.status.as_ref().map_or(StatusCode::Unset, Status::code);
    let word = attribute(span, "error.type");
    assert_eq!(code == StatusCode::Error, word.is_some(), "{span:?}");
    word
}

#[tokio::test]
async fn a_refresh_is_one_trace_from_due_to_committed() {
    let collector = Collector::start().await;
    let scene = Scene::new(Settings { lifetime: SHORT, ..Settings::default() }).await;
    let rotel = Rotel::before(&collector, &scene.path("")).await;
    let stage = Stage::on(scene, &rotel.lines()).await;
    let of_schedule = |span: &Span| {
        is(span, "refresh", "bursar.refresh.trigger", "schedule")
            && attribute(span, "bursar.generation").is_some_and(|generation| generation != "1")
    };
    let trace = collector.trace("a refresh by the schedule", 6, of_schedule).await;

    let refresh = trace.span("refresh");
    assert_eq!(refresh.parent_span_id, b"");
    assert_eq!(refresh.kind(), SpanKind::Internal);
    assert_eq!(attribute(refresh, "bursar.connection"), Some(name(&stage.held.id)));
    assert_eq!(attribute(refresh, "bursar.provider").as_deref(), Some("providers/concur-here"));
    assert_eq!(attribute(refresh, "bursar.outcome").as_deref(), Some("renewed"));
    assert_eq!(trace.below("refresh"), ["prepare", "claim", "exchange", "commit"]);
    assert_eq!(attribute(trace.span("claim"), "bursar.outcome").as_deref(), Some("claimed"));
    assert_eq!(attribute(trace.span("commit"), "bursar.outcome").as_deref(), Some("committed"));
    assert_eq!(trace.below("exchange"), ["POST"]);
    let exchange = trace.span("exchange");
    // The simulated server repeats the id that it was given.
    let attempt = attribute(exchange, "bursar.attempt").unwrap();
    assert_eq!(attribute(exchange, "bursar.provider.correlation_id"), Some(attempt));
    let request = trace.span("POST");
    assert_eq!(request.kind(), SpanKind::Client);
    assert_eq!(attribute(request, "http.request.method").as_deref(), Some("POST"));
    assert_eq!(attribute(request, "http.response.status_code").as_deref(), Some("200"));
    let port = attribute(request, "server.port").unwrap();
    assert_eq!(format!("http://127.0.0.1:{port}"), stage.scene.base("us2"));
    assert_eq!(attribute(request, "server.address").as_deref(), Some("127.0.0.1"));
    assert_eq!(trace.0.len(), 6, "{:?}", trace.names());
    for (resource, span) in &trace.0 {
        assert_eq!(failed(span), None);
        assert_eq!(of_resource(resource, "service.name").as_deref(), Some("bursar"));
        assert_eq!(of_resource(resource, "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(of_resource(resource, "service.instance.id").as_deref(), Some("one"));
    }
    nested(&trace);

    // From a log line to its trace, and back.
    let log = stage.broker.logged();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let line = lines.into_iter().find(|line| line["trace_id"] == trace.id().as_str()).unwrap();
    assert_eq!(line["message"], "token refreshed");
    let of_line = line["span_id"].as_str().unwrap();
    assert_eq!(of_line, crate::support::collector::hex(&refresh.span_id));
}

#[tokio::test]
async fn what_failed_is_told_by_the_same_words_as_in_the_log() {
    let collector = Collector::start().await;
    let stage = Stage::new(Settings::default(), &collector.lines()).await;
    stage.break_next(Trouble::Status { status: 502, body: None, retry_after_seconds: None });
    stage.api.refresh(&stage.held.id).await.unwrap_err();
    let trace = collector.trace("a refresh that failed", 6, is_failed_refresh).await;

    let logged = stage.broker.logged();
    let line = logged.lines().find(|line| line.contains("exchange failed")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["trace_id"], trace.id().as_str());
    let class = line["class"].as_str().unwrap();
    assert_eq!(failed(trace.span("refresh")).as_deref(), Some(class));
    assert_eq!(attribute(trace.span("refresh"), "bursar.outcome").as_deref(), Some(class));
    assert_eq!(failed(trace.span("exchange")).as_deref(), Some(class));
    assert_eq!(failed(trace.span("POST")).as_deref(), Some("502"));
    assert_eq!(attribute(trace.span("POST"), "http.response.status_code").as_deref(), Some("502"));
    assert_eq!(trace.below("refresh"), ["prepare", "claim", "exchange", "set_back"]);
    assert_eq!(failed(trace.span("set_back")), None);
    nested(&trace);
}

#[tokio::test]
async fn an_answer_that_never_came_is_told_without_a_status() {
    let collector = Collector::start().await;
    let stage = Stage::new(Settings::default(), &collector.lines()).await;
    stage.break_next(Trouble::DropBefore);
    stage.api.refresh(&stage.held.id).await.unwrap_err();
    let trace = collector.trace("a refresh that got no answer", 6, is_failed_refresh).await;
    assert_eq!(failed(trace.span("POST")).as_deref(), Some("reset"));
    assert_eq!(attribute(trace.span("POST"), "http.response.status_code"), None);
    assert_eq!(failed(trace.span("refresh")).as_deref(), Some("ambiguous"));
}
