//! What is written, and what never is.

use super::*;
use crate::traces::{self, names};
use parking_lot::Mutex;
use std::{io, sync::Arc};
use tracing::{debug, error, info, trace, warn};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `work` runs.
fn written(format: Format, filter: &str, work: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = subscriber(format, &filter.parse().unwrap(), move || writer.clone(), false);
    tracing::subscriber::with_default(subscriber, work);
    let bytes = lines.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}

macro_rules! say_as {
    ($($target:literal)*) => {$(
        trace!(target: $target, secret = "canary", "canary");
        debug!(target: $target, secret = "canary", "canary");
        info!(target: $target, "spoke");
    )*};
}

#[test]
fn no_library_speaks_below_info_whatever_is_configured() {
    let greedy = "trace,hyper=trace,h2=trace,reqwest=trace,redis=trace,oauth2=trace,tonic=trace,\
                  hyper::proto=trace,h2::codec=debug,h=trace,rustls=trace,tower=debug,bursarish=trace";
    let shown = written(Format::Json, greedy, || {
        say_as!("hyper" "hyper::proto::h1::io" "h2::codec::framed_write" "reqwest::connect" "redis::client");
        say_as!("oauth2::reqwest" "tonic::transport" "rustls::client::hs" "tower::buffer" "bursarish::x");
        trace!("own words");
    });
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(shown.matches("spoke").count(), 10, "{shown}");
    assert_eq!(shown.matches("own words").count(), 1, "{shown}");
}

#[test]
fn a_level_without_a_module_is_that_of_bursar_alone() {
    let cases = [
        ("info", "bursar::app", Level::INFO, true),
        ("info", "bursar::app", Level::DEBUG, false),
        ("trace", "bursar", Level::TRACE, true),
        ("trace", "h2::proto", Level::WARN, true),
        ("trace", "h2::proto", Level::INFO, false),
        ("error", "h2::proto", Level::WARN, false),
        ("off", "bursar", Level::ERROR, false),
        ("off", "h2", Level::ERROR, false),
        ("warn,bursar::store=debug", "bursar::store::redis", Level::DEBUG, true),
        ("warn,bursar::store=debug", "bursar::grpc", Level::INFO, false),
        ("bursar::store=debug", "bursar::grpc", Level::INFO, true),
        ("info,tonic=debug", "tonic::transport", Level::INFO, true),
        ("info,tonic=debug", "tonic::transport", Level::DEBUG, false),
        ("info,tonic=off", "tonic::transport", Level::ERROR, false),
        (" info , bursar=debug ", "bursar", Level::DEBUG, true),
    ];
    for (filter, target, level, want) in cases {
        let filter_read: Filter = filter.parse().unwrap();
        assert_eq!(filter_read.allows(target, level), want, "{filter} {target} {level}");
    }
    assert_eq!(Filter::default(), "info".parse().unwrap());
}

#[test]
fn what_is_no_filter_is_refused_with_its_word() {
    let cases = [
        ("", "`` is neither a level nor module=level"),
        ("inof", "`inof` is neither a level nor module=level"),
        ("INFO", "`INFO` is neither a level nor module=level"),
        ("info,", "`` is neither a level nor module=level"),
        ("info,debug", "two levels are given for the same modules"),
        ("bursar=loud", "`loud` is not a level"),
        ("bursar=", "`` is not a level"),
        ("=info", "`=info` is neither a level nor module=level"),
        ("[span{x=1}]=info", "`[span{x=1}]=info` is neither a level nor module=level"),
        ("bursar=\x1b[2J", "`\\u{1b}[2J` is not a level"),
    ];
    for (given, want) in cases {
        assert_eq!(given.parse::<Filter>().unwrap_err().to_string(), want);
    }
    let many = vec!["bursar=info"; DIRECTIVES_MAX + 1].join(",");
    assert_eq!(many.parse::<Filter>(), Err(FilterError::TooMany));
}

#[test]
fn a_json_line_is_one_flat_object() {
    let shown = written(Format::Json, "info", || {
        info!(
            connection.name = "tenants/a/connections/b",
            wait.ms = 7,
            detail = "two\nlines",
            "token refreshed"
        );
        warn!("second");
    });
    let [first, second] = shown.lines().collect::<Vec<_>>().try_into().unwrap();
    let first: serde_json::Map<String, serde_json::Value> = serde_json::from_str(first).unwrap();
    assert_eq!(first["message"], "token refreshed");
    assert_eq!(first["level"], "INFO");
    assert_eq!(first["target"], "bursar::telemetry::tests");
    assert_eq!(first["connection.name"], "tenants/a/connections/b");
    assert_eq!(first["wait.ms"], 7);
    assert_eq!(first["detail"], "two\nlines");
    let time = first["timestamp"].as_str().unwrap();
    assert!(time.len() == 27 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{time}");
    assert_eq!(first.len(), 7);
    assert!(second.contains("\"second\""));
}

#[test]
fn a_pretty_line_is_short_and_stays_one_line() {
    let shown = written(Format::Pretty, "info,bursar::telemetry=trace", || {
        info!(listen.address = %"127.0.0.1:7600", store.kind = "embedded", "serving started");
        error!(cause = "went\n\x1b[31maway", empty = "", bell = "a\x07b", "store \x07failed");
        let span = tracing::error_span!("call", call.id = 7);
        span.in_scope(|| trace!("asked"));
        debug!("done");
    });
    let lines: Vec<_> = shown.lines().map(|line| line.split_at(13)).collect();
    let want = [
        "I serving started listen.address=127.0.0.1:7600 store.kind=embedded",
        "E store \\u{7}failed cause=\"went\\n\\u{1b}[31maway\" empty=\"\" bell=\"a\\u{7}b\"",
        "T asked call.id=7",
        "D done",
    ];
    assert_eq!(lines.iter().map(|(_, rest)| *rest).collect::<Vec<_>>(), want);
    for (time, _) in lines {
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "00:00:00.000 ");
    }
}

/// Spans of traces are no spans of the log: nothing of theirs shows but where the line belongs.
#[tokio::test]
async fn a_line_says_where_in_a_recorded_trace_it_was_written() {
    let (tracer, kept) = traces::tests::recording(1);
    let (unrecorded, _) = traces::tests::recording(u32::MAX);
    for format in [Format::Json, Format::Pretty] {
        let shown = written(format, "error,bursar=info", || {
            let say = async || {
                info!(connection = "tenants/a/connections/b", "refreshed");
                error!(target: "hyper", "spoke");
            };
            let refresh = tracer.begin(&names::REFRESH, None);
            refresh.say(names::CONNECTION, "tenants/canary/connections/canary");
            futures_util::FutureExt::now_or_never(refresh.around(say())).unwrap();
            drop(refresh);
            let not = unrecorded.begin(&names::REFRESH, None);
            futures_util::FutureExt::now_or_never(not.around(say())).unwrap();
            info!("outside");
        });
        let spans = kept.get_finished_spans().unwrap();
        let at = &spans.last().unwrap().span_context;
        let (trace, span) = (at.trace_id().to_string(), at.span_id().to_string());
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 5, "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
        for line in &lines[..2] {
            match format {
                Format::Json => {
                    let line: serde_json::Map<String, serde_json::Value> =
                        serde_json::from_str(line).unwrap();
                    assert_eq!(
                        (&line["trace_id"], &line["span_id"]),
                        (&trace.clone().into(), &span.clone().into())
                    );
                    assert_eq!(line.len(), 6 + usize::from(line.contains_key("connection")));
                }
                Format::Pretty => {
                    assert!(line.ends_with(&format!(" trace_id={trace} span_id={span}")), "{line}");
                }
            }
        }
        assert!(lines[2..].iter().all(|line| !line.contains("trace_id")), "{shown}");
    }
}

#[test]
fn colour_is_for_terminals_only() {
    let lines = Lines::default();
    let writer = lines.clone();
    let plain = subscriber(Format::Pretty, &Filter::default(), move || writer.clone(), false);
    tracing::subscriber::with_default(plain, || warn!("plain"));
    assert!(!lines.0.lock().contains(&0x1b));

    let writer = lines.clone();
    let layer = fmt::layer().with_ansi(true).with_writer(move || writer.clone());
    let coloured = Registry::default().with(layer.event_format(pretty::Line(SystemTime)));
    tracing::subscriber::with_default(coloured, || warn!("coloured"));
    let shown = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert!(shown.ends_with("\x1b[0m \x1b[33mW\x1b[0m coloured\n"), "{shown:?}");
}
