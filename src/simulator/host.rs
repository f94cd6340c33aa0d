//! Serves a world: listeners, the lock, the state file and shutdown, the same for every simulated server.
//! Decides nothing: what is answered is the world's business.

use super::{
    SimulatorError, control,
    exchange::{Answer, Delivery, Request},
    line::{Lines, Scissors},
    state_file,
};
use crate::clock::{Clock, Timestamp};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    response::Response,
};
use futures_util::stream;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, io, net::Ipv4Addr, path::PathBuf, sync::Arc};
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Bytes of a request body at most.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// The control endpoint's entry among the remembered ports.
const CONTROL: &str = "control";

/// Everything an authorization server knows, and how it decides. Plain data: no clock, no socket, no task.
pub(super) trait World: Serialize + DeserializeOwned + Send + 'static {
    /// What the control endpoint can be asked (GET).
    type Question: DeserializeOwned;
    /// What the control endpoint can be told (POST).
    type Order: DeserializeOwned;

    /// Learns the base URI of each site; comes first after a start.
    fn settle(&mut self, bases: BTreeMap<String, String>);
    fn answer(&mut self, now: Timestamp, request: &Request) -> Answer;
    fn tell(&self, now: Timestamp, question: Self::Question) -> Result<serde_json::Value, SimulatorError>;
    fn obey(&mut self, now: Timestamp, order: Self::Order) -> Result<serde_json::Value, SimulatorError>;
}

/// Where to listen; port 0 is any.
pub(super) struct Plan {
    pub(super) sites: Vec<(String, u16)>,
    pub(super) control_port: u16,
    pub(super) state_file: Option<PathBuf>,
}

/// A served world. Serving stops when it is dropped; [`Running::shutdown`] also waits.
pub(super) struct Running<W> {
    host: Arc<Host<W>>,
    bases: BTreeMap<String, String>,
    tracker: TaskTracker,
    stop: DropGuard,
}

pub(super) struct Host<W> {
    kept: Mutex<Kept<W>>,
    clock: Arc<dyn Clock>,
    state_file: Option<PathBuf>,
    stop: CancellationToken,
}

/// What the state file holds.
#[derive(Serialize, Deserialize)]
struct Kept<W> {
    ports: BTreeMap<String, u16>,
    world: W,
}

/// Takes up the world of the state file, or else `fresh`, and serves it.
pub(super) async fn start<W: World>(
    plan: Plan,
    clock: Arc<dyn Clock>,
    fresh: W,
) -> Result<Running<W>, SimulatorError> {
    let stored = plan.state_file.as_deref().map(state_file::load::<Kept<W>>).transpose()?.flatten();
    let mut kept = stored.unwrap_or(Kept { ports: BTreeMap::new(), world: fresh });
    let mut sites = plan.sites;
    sites.push((CONTROL.to_owned(), plan.control_port));
    let (mut listeners, mut bases) = (Vec::new(), BTreeMap::new());
    for (site, port) in sites {
        let (listener, port) = listen(port, kept.ports.get(&site).copied()).await?;
        kept.ports.insert(site.clone(), port);
        bases.insert(site.clone(), format!("http://{}:{port}", Ipv4Addr::LOCALHOST));
        listeners.push((site, listener));
    }
    kept.world.settle(
        bases.iter().filter(|(site, _)| *site != CONTROL).map(|(s, b)| (s.clone(), b.clone())).collect(),
    );

    let stop = CancellationToken::new();
    let host =
        Arc::new(Host { kept: Mutex::new(kept), clock, state_file: plan.state_file, stop: stop.clone() });
    host.change(|_, _| ())?;
    let tracker = TaskTracker::new();
    for (site, listener) in listeners {
        let router = if site == CONTROL { control::router(&host) } else { router(&host, site) };
        tracker.spawn(serve(listener, router, stop.clone()));
    }
    tracker.close();
    Ok(Running { host, bases, tracker, stop: stop.drop_guard() })
}

/// A wanted port must be free; a remembered one is only preferred.
async fn listen(wanted: u16, remembered: Option<u16>) -> Result<(TcpListener, u16), SimulatorError> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let bound = match remembered.filter(|_| wanted == 0) {
        Some(port) => match bind(port).await {
            Ok(listener) => Ok(listener),
            Err(_) => bind(0).await,
        },
        None => bind(wanted).await,
    };
    let failed = |source: io::Error| SimulatorError::Listen { port: wanted, source };
    let listener = bound.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, port))
}

async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let service = router.into_make_service_with_connect_info::<Scissors>();
    let serving = axum::serve(Lines(listener), service).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::warn!(error = %error, "simulator stopped listening");
    }
}

impl<W: World> Running<W> {
    pub(super) fn base_url(&self, site: &str) -> Result<String, SimulatorError> {
        let known = self.bases.get(site).filter(|_| site != CONTROL);
        known.cloned().ok_or_else(|| SimulatorError::unknown("site", site))
    }

    pub(super) fn control_url(&self) -> String {
        self.bases.get(CONTROL).cloned().unwrap_or_default()
    }

    pub(super) fn host(&self) -> &Host<W> {
        &self.host
    }

    /// Stops listening, lets running answers end and drops delayed ones.
    pub(super) async fn shutdown(self) {
        drop(self.stop);
        self.tracker.wait().await;
    }
}

impl<W: World> Host<W> {
    /// Changes the world under its lock and writes the state file before anybody learns the result.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut W, Timestamp) -> T) -> Result<T, SimulatorError> {
        let mut kept = self.kept.lock();
        let result = change(&mut kept.world, self.clock.now());
        if let Some(path) = &self.state_file {
            state_file::save(path, &*kept)?;
        }
        Ok(result)
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&W, Timestamp) -> T) -> T {
        look(&self.kept.lock().world, self.clock.now())
    }
}

fn router<W: World>(host: &Arc<Host<W>>, site: String) -> Router {
    Router::new().fallback(handle::<W>).with_state((Arc::clone(host), Arc::<str>::from(site)))
}

type Site<W> = (Arc<Host<W>>, Arc<str>);

async fn handle<W: World>(
    State((host, site)): State<Site<W>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: axum::extract::Request,
) -> Response {
    let (head, body) = request.into_parts();
    let answer = match axum::body::to_bytes(body, REQUEST_BYTES_MAX).await {
        Err(_) => Answer::text(413, "request body too large or unreadable"),
        Ok(body) => {
            let request = Request {
                site: site.to_string(),
                method: head.method,
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                headers: head.headers,
                body: body.to_vec(),
            };
            host.change(|world, now| world.answer(now, &request)).unwrap_or_else(|error| {
                tracing::error!(error = %error, "simulator could not keep its state");
                Answer::text(500, "state not kept")
            })
        }
    };
    // Even an empty sleep costs a tick of the timer.
    if !answer.delay.is_zero() {
        tokio::select! {
            biased;
            () = tokio::time::sleep(answer.delay) => {}
            () = host.stop.cancelled() => scissors.cut(),
        }
    }
    deliver(answer, &scissors)
}

/// Turns an answer into what the server library sends, or into a cut connection.
pub(super) fn deliver(answer: Answer, scissors: &Scissors) -> Response {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let body = match answer.delivery {
        Delivery::Whole => Body::from(answer.body),
        Delivery::Dropped => {
            scissors.cut();
            Body::empty()
        }
        Delivery::Truncated => {
            response = response.header("content-length", answer.body.len());
            half(answer.body)
        }
    };
    response.body(body).unwrap_or_else(|_| Response::new(Body::from("an answer with an invalid header")))
}

/// The first half, then the end of the connection.
fn half(mut body: Vec<u8>) -> Body {
    body.truncate(body.len() / 2);
    let pieces = stream::unfold(Some(Bytes::from(body)), |piece| async {
        match piece {
            Some(piece) if !piece.is_empty() => Some((Ok(piece), Some(Bytes::new()))),
            Some(_) => {
                // Lets the server flush the first half before it learns of the end.
                tokio::task::yield_now().await;
                Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None))
            }
            None => None,
        }
    });
    Body::from_stream(pieces)
}
