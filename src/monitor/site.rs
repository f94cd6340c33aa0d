//! What is answered to probes. Knows three paths, and asks nobody who they are.

use super::{metrics::Metrics, readiness::Readiness, standing::Standing};
use crate::http1::{self, Answer, Bounds, Incoming};
use async_trait::async_trait;
use http::{HeaderValue, Method, Request, StatusCode, header};
use std::{fmt, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const BOUNDS: Bounds = Bounds {
    connections: 64,
    headers: 64,
    head_bytes: 16 * 1024,
    head_timeout: Duration::from_secs(5),
    request_timeout: Duration::from_secs(10),
};

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is served.
pub struct Site {
    pub standing: Arc<Standing>,
    pub metrics: Arc<Metrics>,
}

impl Site {
    /// Until `shutdown`.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        http1::serve(listener, self, BOUNDS, shutdown).await;
    }

    fn of(&self, path: &str) -> Answer {
        match path {
            // That an answer comes is the answer.
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => {
                let report = self.standing.report();
                let status = match report.readiness() {
                    Readiness::Ready => StatusCode::OK,
                    Readiness::NotReady => StatusCode::SERVICE_UNAVAILABLE,
                };
                text(status, report.to_string())
            }
            "/metrics" => match self.metrics.text() {
                Ok(metrics) => typed(StatusCode::OK, METRICS, metrics),
                // A `String` takes whatever is written to it.
                Err(fmt::Error) => text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n"),
            },
            _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n"),
        }
    }
}

#[async_trait]
impl http1::Site for Site {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        if request.method() == Method::GET || request.method() == Method::HEAD {
            return self.of(request.uri().path());
        }
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        answer
    }
}

fn text(status: StatusCode, body: impl Into<bytes::Bytes>) -> Answer {
    typed(status, TEXT, body)
}

fn typed(status: StatusCode, media_type: &'static str, body: impl Into<bytes::Bytes>) -> Answer {
    let mut answer = http1::answer(status, body);
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
