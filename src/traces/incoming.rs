//! The trace that a caller brings (W3C Trace Context). Most bring none, or one that nobody records: these are told apart
//! by one byte, before anything is parsed.

use http::HeaderMap;
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Longest that is carried on, in bytes; what is longer is left out, as section 3.3.1.5 allows beyond 512.
const TRACESTATE_MAX: usize = 512;
/// Where the last digit of the flags stands, in this version and, section 4.3, in later ones.
const FLAGS_AT: usize = 54;

/// Both headers, each as one.
struct Brought<'a> {
    parent: &'a str,
    state: String,
}

/// Where the caller's trace stands, if it is recorded. What is malformed counts as nothing.
pub(super) fn recorded(headers: &HeaderMap) -> Option<SpanContext> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    let (value, None) = (all.next()?, all.next()) else { return None };
    let flags = value.as_bytes().get(FLAGS_AT).and_then(|digit| char::from(*digit).to_digit(16))?;
    if flags & 1 == 0 {
        return None;
    }
    let brought = Brought { parent: value.to_str().ok()?, state: state(headers) };
    let context =
        TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &brought);
    let parent = context.span().span_context().clone();
    (parent.is_valid() && parent.is_sampled()).then_some(parent)
}

/// Section 3.3.1: headers of this name are one list.
fn state(headers: &HeaderMap) -> String {
    let all: Vec<_> = headers.get_all(TRACESTATE).iter().filter_map(|part| part.to_str().ok()).collect();
    let state = all.join(",");
    if state.len() > TRACESTATE_MAX { String::new() } else { state }
}

impl Extractor for Brought<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.parent),
            TRACESTATE => Some(&self.state),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}
