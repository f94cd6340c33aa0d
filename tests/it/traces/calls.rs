//! Calls: those of callers who record their traces are told of in these, and no others.

use super::{Stage, failed, nested};
use crate::support::{
    api::name,
    collector::{Collector, Trace, attribute, hex},
    scene::Settings,
};
use bursar::{
    api::{GetTokenRequest, RefreshConnectionRequest},
    simulator::fault::{Fault, Trouble},
};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use std::time::Duration;
use tonic::{Request, Status};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const GET_TOKEN: &str = "bursar.v1.TokenService/GetToken";
const REFRESH_CONNECTION: &str = "bursar.v1.ConnectionService/RefreshConnection";

fn traced<T>(message: T, trace: &str, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    let traceparent = format!("00-{trace}-{PARENT}-{flags}");
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request.metadata_mut().insert("tracestate", "vendor=canary".parse().unwrap());
    request
}

async fn get_token(stage: &Stage, id: &str, trace: &str, flags: &str) -> Result<(), Status> {
    let request = traced(GetTokenRequest { name: name(id), ..GetTokenRequest::default() }, trace, flags);
    stage.api.tokens.clone().get_token(request).await.map(drop)
}

async fn whole(collector: &Collector, spans: usize) -> Trace {
    collector.trace("the caller's trace", spans, |span| hex(&span.trace_id) == TRACE).await
}

#[tokio::test]
async fn the_trace_of_a_caller_goes_on() {
    let collector = Collector::start().await;
    let stage = Stage::new(Settings::default(), &collector.lines()).await;
    let request = RefreshConnectionRequest { name: name(&stage.held.id) };
    stage.api.connections.clone().refresh_connection(traced(request, TRACE, "01")).await.unwrap();
    let trace = whole(&collector, 7).await;

    let call = trace.span(REFRESH_CONNECTION);
    assert_eq!((call.kind(), hex(&call.parent_span_id).as_str()), (SpanKind::Server, PARENT));
    assert_eq!(call.trace_state, "vendor=canary");
    assert_eq!(attribute(call, "rpc.system.name").as_deref(), Some("grpc"));
    assert_eq!(attribute(call, "rpc.method").as_deref(), Some(REFRESH_CONNECTION));
    assert_eq!(attribute(call, "rpc.response.status_code").as_deref(), Some("OK"));
    assert_eq!(attribute(call, "bursar.target"), Some(name(&stage.held.id)));
    assert_eq!(trace.below(REFRESH_CONNECTION), ["refresh"]);
    assert_eq!(trace.below("refresh"), ["prepare", "claim", "exchange", "commit"]);
    nested(&trace);
}

/// Ten calls of which each could have been told of before the one that is.
#[tokio::test]
async fn nothing_is_told_of_a_call_that_nobody_records() {
    let collector = Collector::start().await;
    // Of what begins here nothing is recorded either, for all that chance can do.
    let lines = format!("{}sample_one_in = 1000000\n", collector.lines());
    let stage = Stage::new(Settings::default(), &lines).await;
    let id = &stage.held.id;
    stage.api.refresh(id).await.unwrap();
    for _ in 0..5 {
        stage.api.token(id).await.unwrap();
        get_token(&stage, id, "11111111111111111111111111111111", "00").await.unwrap();
    }
    get_token(&stage, id, "not-a-trace-id-but-just-as-long-!", "01").await.unwrap();
    get_token(&stage, id, TRACE, "01").await.unwrap();
    let trace = whole(&collector, 1).await;
    let call = trace.span(GET_TOKEN);
    assert_eq!(attribute(call, "rpc.response.status_code").as_deref(), Some("OK"));
    assert_eq!(attribute(call, "bursar.target"), Some(name(id)));
    // Warm: nothing was done for it but to hand out what is there.
    assert_eq!(collector.spans().len(), 1, "{:?}", collector.spans());
}

#[tokio::test]
async fn a_refused_call_is_told_with_its_code_and_is_no_fault() {
    let collector = Collector::start().await;
    let stage = Stage::new(Settings::default(), &collector.lines()).await;
    get_token(&stage, "nobody", TRACE, "01").await.unwrap_err();
    let trace = whole(&collector, 1).await;
    let call = trace.span(GET_TOKEN);
    assert_eq!(attribute(call, "rpc.response.status_code").as_deref(), Some("NOT_FOUND"));
    assert_eq!(failed(call), None);
}

/// Two wait for one refresh: it is below the first, and the second points at it.
#[tokio::test]
async fn who_waits_for_somebody_elses_refresh_points_at_it() {
    let collector = Collector::start().await;
    let stage = Stage::new(Settings::default(), &collector.lines()).await;
    let slow = Fault::once(Trouble::Slow).late(Duration::from_secs(3));
    stage.scene.simulator.break_next(slow).unwrap();
    let refreshed = |trace: &'static str| {
        let request = RefreshConnectionRequest { name: name(&stage.held.id) };
        let mut client = stage.api.connections.clone();
        async move { client.refresh_connection(traced(request, trace, "01")).await }
    };
    let second = "22222222222222222222222222222222";
    let (one, other) = tokio::join!(refreshed(TRACE), refreshed(second));
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    let is_refresh =
        |span: &Span| span.name == "refresh" && [TRACE, second].contains(&hex(&span.trace_id).as_str());
    let flown = collector.trace("the refresh", 7, is_refresh).await;
    let begun_by = flown.id();
    let other = if begun_by == TRACE { second } else { TRACE };
    let waited = collector.trace("who waited", 1, |span| hex(&span.trace_id) == other).await;
    let call = waited.span(REFRESH_CONNECTION);
    assert_eq!(call.links.len(), 1, "{call:?}");
    assert_eq!(hex(&call.links[0].trace_id), begun_by);
    assert_eq!(call.links[0].span_id, flown.span("refresh").span_id);
}
