//! What is recorded, under what, and what is not; and that the documents name all of it.

use super::*;
use http::HeaderValue;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{InMemorySpanExporter, InMemorySpanExporterBuilder, SpanData};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Of the traces that begin here, one in so many; and where to look at what was recorded.
pub(crate) fn recording(one_in: u32) -> (Tracer, InMemorySpanExporter) {
    let kept = InMemorySpanExporterBuilder::new().build();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(kept.clone())
        .with_sampler(export::sampler(one_in))
        .build();
    (Tracer::over(provider), kept)
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

fn named<'s>(spans: &'s [SpanData], name: &str) -> &'s SpanData {
    spans.iter().find(|span| span.name == name).unwrap()
}

#[test]
fn only_a_trace_that_its_caller_records_goes_on() {
    let with = |value: &str| headers(&[("traceparent", value)]);
    let mut twice = with(PARENT);
    twice.append("traceparent", HeaderValue::from_static(PARENT));
    let cases = [
        (with(PARENT), true),
        // Flags that are not known yet, with ours among them (Trace Context, 3.2.2.5.2).
        (with(&PARENT.replace("-01", "-0b")), true),
        // A later version, with more to say (4.3).
        (with(&format!("{}-more", PARENT.replace("00-0a", "01-0a"))), true),
        (with(&PARENT.replace("-01", "-00")), false),
        (with(&PARENT.replace("-01", "-0a")), false),
        (HeaderMap::new(), false),
        (twice, false),
        (with(&PARENT.replace("00-0a", "ff-0a")), false),
        (with(&PARENT.to_uppercase()), false),
        (with("00-00000000000000000000000000000000-b7ad6b7169203331-01"), false),
        (with("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"), false),
        (with(&format!("{PARENT}-more")), false),
        (with(&PARENT[..54]), false),
        (with(""), false),
        (with("1111111111111111111111111111111111111111111111111111111111111111111"), false),
    ];
    for (headers, want) in cases {
        let (tracer, kept) = recording(1);
        let span = tracer.call("/bursar.v1.TokenService/GetToken", &headers);
        assert_eq!(span.is_recorded(), want, "{headers:?}");
        drop(span);
        let spans = kept.get_finished_spans().unwrap();
        assert_eq!(spans.len(), usize::from(want), "{headers:?}");
        for span in spans {
            assert_eq!(
                (&*span.name, &span.span_kind),
                ("bursar.v1.TokenService/GetToken", &SpanKind::Server)
            );
            assert_eq!(span.span_context.trace_id().to_string(), &PARENT[3..35]);
            assert_eq!(span.parent_span_id.to_string(), &PARENT[36..52]);
            assert!(span.parent_span_is_remote);
        }
    }
}

#[test]
fn what_vendors_say_of_a_trace_is_carried_on_up_to_its_bound() {
    let long = format!("vendor={}", "x".repeat(600));
    for (lines, want) in [
        (vec![("tracestate", "a=1,b=2")], "a=1,b=2"),
        (vec![("tracestate", "a=1"), ("tracestate", "b=2")], "a=1,b=2"),
        (vec![("tracestate", "not a list of members")], ""),
        (vec![("tracestate", long.as_str())], ""),
        (vec![], ""),
    ] {
        let mut all = headers(&[("traceparent", PARENT)]);
        for (name, value) in lines {
            all.append(name, HeaderValue::from_str(value).unwrap());
        }
        let (tracer, kept) = recording(1);
        drop(tracer.call("/a.B/C", &all));
        let spans = kept.get_finished_spans().unwrap();
        assert_eq!(spans[0].span_context.trace_state().header(), want);
    }
}

#[tokio::test]
async fn steps_lie_below_what_they_are_done_in_also_in_another_task() {
    let (tracer, kept) = recording(1);
    let refresh = tracer.begin(&names::REFRESH, Some(Timestamp(5_000)));
    let within = refresh.around(async {
        let claim = step(&names::CLAIM);
        claim.say(names::OUTCOME, "claimed");
        let inside = claim.around(async { ids() }).await;
        let tasks = tokio_util::task::TaskTracker::new();
        let elsewhere = tasks.spawn(carried(async {
            let exchange = step(&names::EXCHANGE);
            exchange.failed("down");
            exchange.around(async { super::named(&names::REQUEST, "POST").failed_with(Some(503)) }).await;
        }));
        elsewhere.await.unwrap();
        (inside, ids())
    });
    let (inside, below) = within.await;
    assert_eq!(ids(), None);
    drop(refresh);

    let spans = kept.get_finished_spans().unwrap();
    let [refresh, claim, exchange, request] =
        ["refresh", "claim", "exchange", "POST"].map(|name| named(&spans, name));
    let id = |span: &SpanData| span.span_context.span_id();
    assert_eq!(refresh.start_time, SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    assert_eq!(refresh.parent_span_id, SpanId::INVALID);
    assert_eq!([claim.parent_span_id, exchange.parent_span_id], [id(refresh), id(refresh)]);
    assert_eq!(request.parent_span_id, id(exchange));
    assert_eq!((&request.span_kind, &claim.span_kind), (&SpanKind::Client, &SpanKind::Internal));
    let trace = refresh.span_context.trace_id();
    assert!(spans.iter().all(|span| span.span_context.trace_id() == trace));
    assert_eq!(inside, Some(Ids { trace, span: id(claim) }));
    assert_eq!(below, Some(Ids { trace, span: id(refresh) }));
    assert_eq!(claim.attributes, [KeyValue::new("bursar.outcome", "claimed")]);
    assert_eq!((&claim.status, &exchange.status), (&Status::Unset, &Status::error("")));
    assert_eq!(request.attributes, [KeyValue::new("error.type", "503")]);
}

#[tokio::test]
async fn one_in_so_many_is_recorded_and_the_rest_is_not_there_at_all() {
    let (tracer, kept) = recording(u32::MAX);
    for _ in 0..100 {
        let span = tracer.begin(&names::REFRESH, None);
        assert!(!span.is_recorded());
        assert!(span.around(async { step(&names::CLAIM).is_recorded() || ids().is_some() }).await.eq(&false));
    }
    // That of a caller who records it goes on all the same.
    let call = tracer.call("/a.B/C", &headers(&[("traceparent", PARENT)]));
    call.around(async { drop(tracer.begin(&names::REFRESH, None)) }).await;
    drop(call);
    let spans = kept.get_finished_spans().unwrap();
    assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["refresh", "a.B/C"]);

    let (tracer, kept) = recording(4);
    (0..4000).for_each(|_| drop(tracer.begin(&names::REFRESH, None)));
    // A thousand are to be expected; less than one in 10^10 runs is so far off.
    let recorded = kept.get_finished_spans().unwrap().len();
    assert!((800..1200).contains(&recorded), "{recorded}");
}

#[tokio::test]
async fn who_waits_for_the_work_of_another_trace_points_at_it() {
    let (tracer, kept) = recording(1);
    let refresh = tracer.begin(&names::REFRESH, None);
    let call = tracer.call("/a.B/C", &headers(&[("traceparent", PARENT)]));
    call.around(async { joined(refresh.mark().as_ref()) }).await;
    // Within its own trace it is seen anyway, and outside of any there is nobody to point.
    refresh.around(async { joined(refresh.mark().as_ref()) }).await;
    joined(refresh.mark().as_ref());
    drop((refresh, call));
    let spans = kept.get_finished_spans().unwrap();
    let refresh = named(&spans, "refresh");
    let links = &named(&spans, "a.B/C").links.links;
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].span_context.span_id(), refresh.span_context.span_id());
    assert!(refresh.links.links.is_empty());
}

#[tokio::test]
async fn a_text_has_a_bound() {
    let (tracer, kept) = recording(1);
    tracer.begin(&names::REFRESH, None).say(names::CONNECTION, &"x".repeat(10_000));
    let spans = kept.get_finished_spans().unwrap();
    assert_eq!(spans[0].attributes[0].value.as_str().len(), TEXT_MAX);
}

#[test]
#[should_panic(expected = "claim has no attribute bursar.connection")]
fn a_span_takes_no_attribute_that_is_not_in_its_table() {
    let (tracer, _) = recording(1);
    tracer.begin(&names::CLAIM, None).say(names::CONNECTION, "tenants/a/connections/b");
}

#[tokio::test]
async fn without_a_collector_there_is_nothing() {
    let tracer = Tracer::default();
    let call = tracer.call("/a.B/C", &headers(&[("traceparent", PARENT)]));
    assert!(!call.is_recorded() && !tracer.begin(&names::REFRESH, None).is_recorded());
    assert!(!call.around(async { step(&names::CLAIM).is_recorded() }).await);
    assert!(call.mark().is_none() && ids().is_none());
    tracer.close(Instant::now() + FLUSH_MAX).await;
}

/// `| name | kind | attributes | … |`, each in backticks.
#[test]
fn the_documents_list_every_span_and_attribute() {
    let page = include_str!("../docs/tracing.md");
    let words = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| row.split('|').map(str::trim).collect())
        .collect();
    let spans: Vec<_> = rows
        .iter()
        .filter(|row| ["server", "client", "internal"].contains(&row[1]))
        .map(|row| (words(&format!("`{}", row[0])).remove(0), row[1].to_owned(), words(row[2])))
        .collect();
    let ours: Vec<_> = names::ALL
        .iter()
        .map(|shape| {
            let attributes = shape.attributes.iter().map(|key| key.as_str().to_owned()).collect::<Vec<_>>();
            (shape.name.to_owned(), shape.kind.word().to_owned(), attributes)
        })
        .collect();
    assert_eq!(spans, ours);
    let described: Vec<_> =
        rows.iter().filter(|row| row[0].contains('.')).map(|row| row[0].trim_end_matches('`')).collect();
    for key in names::ALL.iter().flat_map(|shape| shape.attributes) {
        assert!(described.contains(&key.as_str()), "{} is not described", key.as_str());
    }
}
