//! A small HTTP/1.1 server in which everything has a bound: for people's browsers, and for probes. What is answered is
//! decided by others; no body of a request is ever read.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
pub use hyper::body::Incoming;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// After an error of the listener, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What is taken.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// At once; more wait in the system's queue.
    pub connections: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// All its lines together.
    pub head_bytes: usize,
    /// How long a client may take to say what it wants.
    pub head_timeout: Duration,
    /// How long one request may take in all.
    pub request_timeout: Duration,
}

pub type Answer = Response<Full<Bytes>>;

/// What is served.
#[async_trait]
pub trait Site: Send + Sync + 'static {
    async fn answer(&self, request: &Request<Incoming>) -> Answer;
}

/// An answer without headers.
pub fn answer(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
}

/// Serves until `shutdown`; then lets requests in flight finish.
pub async fn serve(listener: TcpListener, site: impl Site, bounds: Bounds, shutdown: CancellationToken) {
    let (site, places, tasks) =
        (Arc::new(site), Arc::new(Semaphore::new(bounds.connections)), TaskTracker::new());
    loop {
        let place = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match stream {
            Ok((stream, _)) => {
                let (site, shutdown) = (site.clone(), shutdown.clone());
                tasks.spawn(async move {
                    let talking = talk(stream, &site, bounds, shutdown);
                    drop(tokio::time::timeout(bounds.request_timeout, talking).await);
                    drop(place);
                });
            }
            Err(err) => {
                tracing::warn!(cause = %err, "an HTTP connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn talk(stream: TcpStream, site: &Arc<impl Site>, bounds: Bounds, shutdown: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_headers(bounds.headers)
        .max_buf_size(bounds.head_bytes)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // Clients break off as they like.
        done = connection.as_mut() => drop(done),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}
