//! What a call or a refresh goes through, as spans for a collector (OpenTelemetry). There are spans only in a trace that
//! is recorded; outside of one each function here is a look at the thread and no more. Takes names, words and numbers:
//! never a secret, an address, a header or a body. Never fails, and never holds anybody up.

mod export;
mod incoming;
pub mod names;

pub use export::{Collector, ExportError};
pub use names::{Key, Kind, Shape};

use crate::clock::Timestamp;
use futures_util::future::Either;
use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue, Value,
    context::FutureExt as _,
    trace::{SpanContext, SpanId, Status, TraceContextExt as _, TraceId, Tracer as _},
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::{
    borrow::Cow,
    fmt::Display,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Longest wait for a collector to take the last spans.
const FLUSH_MAX: Duration = Duration::from_secs(3);
/// Longest text of an attribute, in characters.
const TEXT_MAX: usize = 256;

/// Begins traces, or goes on with those of callers. Cheap to clone; by default it does neither.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Recorder>>);

struct Recorder {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// One step on the way, until it is dropped; nothing where no trace is recorded.
#[derive(Default)]
pub struct Span(Option<Open>);

struct Open {
    context: Context,
    shape: &'static Shape,
}

/// What lies in the context of a span, for those below it.
struct Around(Tracer);

/// Where a span stands, to point at it from another one.
#[derive(Debug, Clone)]
pub struct Mark(SpanContext);

/// By what a log line is found from a span, and a span from a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    pub trace: TraceId,
    pub span: SpanId,
}

/// An error, by the word that spans have for it.
pub trait Fault {
    fn word(&self) -> &'static str;
}

impl Tracer {
    fn over(provider: SdkTracerProvider) -> Self {
        let tracer = export::tracer(&provider);
        Self(Some(Arc::new(Recorder { provider, tracer })))
    }

    /// The call of a caller whose trace is recorded. Of any other call there is no span: what nobody asked for costs
    /// nothing.
    pub fn call(&self, path: &'static str, headers: &HeaderMap) -> Span {
        let Some(recorder) = &self.0 else { return Span::default() };
        let Some(parent) = incoming::recorded(headers) else { return Span::default() };
        let method = path.trim_start_matches('/');
        let parent = Context::new().with_remote_span_context(parent);
        let span = self.open(recorder, &names::CALL, method.into(), None, &parent);
        span.say(names::RPC_SYSTEM, &"grpc");
        span.say(names::RPC_METHOD, &method);
        span
    }

    /// Goes on with the trace in which this is called; without one, begins one, and records it if it is its turn.
    pub fn begin(&self, shape: &'static Shape, since: Option<Timestamp>) -> Span {
        let Some(recorder) = &self.0 else { return Span::default() };
        let since = since.map(|at| SystemTime::UNIX_EPOCH + Duration::from_millis(at.0));
        self.open(recorder, shape, shape.name.into(), since, &Context::current())
    }

    fn open(
        &self,
        recorder: &Recorder,
        shape: &'static Shape,
        name: Cow<'static, str>,
        since: Option<SystemTime>,
        parent: &Context,
    ) -> Span {
        let mut builder = recorder.tracer.span_builder(name).with_kind(shape.kind.into());
        builder.start_time = since;
        let context = parent.with_span(recorder.tracer.build_with_context(builder, parent));
        if !context.span().is_recording() {
            return Span::default();
        }
        let context = if context.get::<Around>().is_some() {
            context
        } else {
            context.with_value(Around(self.clone()))
        };
        Span(Some(Open { context, shape }))
    }

    /// Delivers what is left, until then at most and not for long.
    pub async fn close(&self, deadline: Instant) {
        let Some(recorder) = self.0.clone() else { return };
        let most = deadline.saturating_duration_since(Instant::now()).min(FLUSH_MAX);
        let closing = tokio::task::spawn_blocking(move || recorder.provider.shutdown_with_timeout(most));
        // What could not be delivered was told when it could not.
        drop(tokio::time::timeout(most, closing).await);
    }
}

/// A step below the present one.
pub fn step(shape: &'static Shape) -> Span {
    named(shape, shape.name)
}

/// The same, with a name of its own.
pub fn named(shape: &'static Shape, name: &'static str) -> Span {
    let Some(context) = present() else { return Span::default() };
    let Some(Around(tracer)) = context.get::<Around>() else { return Span::default() };
    let Some(recorder) = &tracer.0 else { return Span::default() };
    tracer.open(recorder, shape, name.into(), None, &context)
}

/// Points from the present step to work that somebody else began and that is waited for.
pub fn joined(mark: Option<&Mark>) {
    let (Some(context), Some(Mark(other))) = (present(), mark) else { return };
    let span = context.span();
    if span.span_context().trace_id() != other.trace_id() {
        span.add_link(other.clone(), Vec::new());
    }
}

/// The trace goes on in work that is handed to another task.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    match present() {
        Some(context) => Either::Left(work.with_context(context)),
        None => Either::Right(work),
    }
}

/// Where in a recorded trace this thread is.
pub fn ids() -> Option<Ids> {
    Context::map_current(|context| {
        if !context.has_active_span() {
            return None;
        }
        let span = context.span();
        let at = span.span_context();
        (at.is_valid() && at.is_sampled()).then(|| Ids { trace: at.trace_id(), span: at.span_id() })
    })
}

/// Whether anything that is done here is told of.
pub fn is_recorded() -> bool {
    Context::map_current(Context::has_active_span)
}

fn present() -> Option<Context> {
    Context::map_current(|context| context.has_active_span().then(|| context.clone()))
}

impl Span {
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Does the work within this step.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        match &self.0 {
            Some(open) => Either::Left(work.with_context(open.context.clone())),
            None => Either::Right(work),
        }
    }

    /// The same for work that can fail, which is told.
    pub async fn told<T, E: Fault>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let outcome = self.around(work).await;
        if let Err(fault) = &outcome {
            self.failed(fault.word());
        }
        outcome
    }

    /// Texts that the house has written or judged harmless, as its logs have them.
    pub fn say(&self, key: Key, text: &(impl Display + ?Sized)) {
        if self.is_recorded() {
            self.set(key, text.to_string().chars().take(TEXT_MAX).collect::<String>());
        }
    }

    pub fn count(&self, key: Key, number: u64) {
        self.set(key, i64::try_from(number).unwrap_or(i64::MAX));
    }

    pub fn failed(&self, word: &'static str) {
        self.error(word.into());
    }

    /// The same by a number, as HTTP has it.
    pub fn failed_with(&self, status: Option<u16>) {
        if self.is_recorded() {
            self.error(status.map_or_else(|| "_OTHER".into(), |status| status.to_string().into()));
        }
    }

    fn error(&self, word: Value) {
        self.set(names::ERROR_TYPE, word);
        if let Some(open) = &self.0 {
            open.context.span().set_status(Status::error(""));
        }
    }

    pub fn mark(&self) -> Option<Mark> {
        self.0.as_ref().map(|open| Mark(open.context.span().span_context().clone()))
    }

    fn set(&self, key: Key, value: impl Into<Value>) {
        let Some(Open { context, shape }) = &self.0 else { return };
        debug_assert!(shape.attributes.contains(&key), "{} has no attribute {}", shape.name, key.as_str());
        context.span().set_attribute(KeyValue::new(key.as_str(), value));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = &self.0 {
            open.context.span().end();
        }
    }
}

#[cfg(test)]
#[path = "traces_tests.rs"]
pub(crate) mod tests;
