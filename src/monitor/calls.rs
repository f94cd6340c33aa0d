//! Calls of the API as they are seen from outside: a layer before everything else, with a handle kept for each method and
//! status, so that a call costs two looks at the clock and one lock that nobody else holds for long.

use super::{
    catalogue,
    metrics::{Durations, FAST, Making},
};
use crate::{
    access::{Rpc, rpcs::RPCS},
    api::STATUS_CODES,
};
use futures_util::future::BoxFuture;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::histogram::Histogram,
    registry::Registry,
};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};
use tokio::time::Instant;
use tower::{Layer, Service};

/// Services that are asked by machines, all the time and for nothing.
const NOT_COUNTED: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];

/// The place of a code in [`STATUS_CODES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Code(usize);

impl Code {
    const OK: Self = Self(0);
    /// Of a call that nobody waited for to its end.
    const CANCELLED: Self = Self(1);
    const UNKNOWN: Self = Self(2);

    /// Of an answer that has just begun. Without a status in its head it goes well, or is a stream.
    fn of(headers: &http::HeaderMap) -> Self {
        let Some(value) = headers.get("grpc-status") else { return Self::OK };
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        number.filter(|number| *number < STATUS_CODES.len()).map_or(Self::UNKNOWN, Self)
    }
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        STATUS_CODES[self.0].encode(encoder)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Method(Option<&'static str>);

impl Method {
    fn of(rpc: Option<&Rpc>) -> Self {
        Self(rpc.map(|rpc| rpc.path.trim_start_matches('/')))
    }
}

impl EncodeLabelValue for Method {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.unwrap_or("_OTHER").encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    rpc_method: Method,
    rpc_response_status_code: Code,
}

/// The durations of all methods.
#[derive(Debug)]
pub(super) struct Calls {
    family: Durations<Labels>,
    /// By method, the unknown one last, and by code.
    kept: Vec<[OnceLock<Histogram>; STATUS_CODES.len()]>,
}

impl Calls {
    pub(super) fn new(making: &mut Making<'_>) -> Self {
        let kept = (0..=RPCS.len()).map(|_| std::array::from_fn(|_| OnceLock::new())).collect();
        Self { family: making.durations(&catalogue::CALLS, FAST), kept }
    }

    /// Which method is called; `None`: it is not counted.
    fn number(path: &str) -> Option<usize> {
        if NOT_COUNTED.iter().any(|start| path.starts_with(start)) {
            return None;
        }
        Some(RPCS.iter().position(|rpc| rpc.path == path).unwrap_or(RPCS.len()))
    }

    fn took(&self, method: usize, code: Code, seconds: f64) {
        let kept = &self.kept[method][code.0];
        kept.get_or_init(|| {
            let rpc_method = Method::of(RPCS.get(method));
            self.family.get_or_create_owned(&Labels { rpc_method, rpc_response_status_code: code })
        })
        .observe(seconds);
    }
}

/// The layer. Belongs before all others, so that it sees what they refuse.
#[derive(Debug, Clone)]
pub struct Measuring(pub(super) Arc<Calls>);

impl Default for Measuring {
    /// Counts for nobody.
    fn default() -> Self {
        Self(Arc::new(Calls::new(&mut Making(&mut Registry::default()))))
    }
}

impl<S> Layer<S> for Measuring {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { calls: self.0.clone(), inner }
    }
}

/// A service behind the layer.
#[derive(Debug, Clone)]
pub struct Measured<S> {
    calls: Arc<Calls>,
    inner: S,
}

/// A call under way; counted when it is dropped, however it ends.
struct Begun {
    calls: Arc<Calls>,
    method: usize,
    at: Instant,
    code: Code,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.calls.took(self.method, self.code, self.at.elapsed().as_secs_f64());
    }
}

impl<S, I, O> Service<http::Request<I>> for Measured<S>
where
    S: Service<http::Request<I>, Response = http::Response<O>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<I>) -> Self::Future {
        let begun = Calls::number(request.uri().path()).map(|method| Begun {
            calls: self.calls.clone(),
            method,
            at: Instant::now(),
            code: Code::CANCELLED,
        });
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut begun = begun;
            let answer = answer.await;
            if let Some(begun) = &mut begun {
                begun.code = answer.as_ref().map_or(Code::UNKNOWN, |answer| Code::of(answer.headers()));
            }
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_from_the_head_of_an_answer() {
        for (status, want) in [
            (None, "OK"),
            (Some("0"), "OK"),
            (Some("7"), "PERMISSION_DENIED"),
            (Some("16"), "UNAUTHENTICATED"),
            (Some("17"), "UNKNOWN"),
            (Some("x"), "UNKNOWN"),
        ] {
            let headers =
                status.map(|status| (http::HeaderName::from_static("grpc-status"), status.parse().unwrap()));
            assert_eq!(STATUS_CODES[Code::of(&headers.into_iter().collect()).0], want, "{status:?}");
        }
    }

    #[test]
    fn every_method_is_known_by_its_path_and_probes_are_not_counted() {
        for (number, rpc) in RPCS.iter().enumerate() {
            assert_eq!(Calls::number(rpc.path), Some(number));
        }
        assert_eq!(Calls::number("/bursar.v1.TokenService/Steal"), Some(RPCS.len()));
        assert_eq!(Calls::number("/grpc.health.v1.Health/Check"), None);
        assert_eq!(Calls::number("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), None);
    }
}
