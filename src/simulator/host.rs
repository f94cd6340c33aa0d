//! Serves a world: listeners, the lock, the state file and shutdown, the same for every simulated server.
//! Decides nothing: what is answered is the world's business.

use super::{
    SimulatorError, control,
    exchange::{Answer, Delivery, Request},
    fault::Fault,
    journal::{Counters, Event},
    line::{Lines, Scissors},
    state_file,
    world::{self, World},
};
use crate::clock::{Clock, Timestamp};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    response::Response,
};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Bytes of a request body at most.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// How long a shutdown waits for clients that neither finish nor hang up.
pub const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// Where to listen; port 0 is any.
pub(super) struct Plan {
    pub(super) sites: Vec<(String, u16)>,
    pub(super) control_port: u16,
    pub(super) state_file: Option<PathBuf>,
}

/// A running simulated server. It ends when this is dropped; [`Simulator::shutdown`] also waits for the end.
pub struct Simulator<W> {
    host: Arc<Host<W>>,
    bases: BTreeMap<String, String>,
    control: String,
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
    control_port: u16,
    world: W,
}

/// Takes up the world of the state file, or else `fresh`, and serves it.
pub(super) async fn start<W: World>(
    plan: Plan,
    clock: Arc<dyn Clock>,
    fresh: W,
) -> Result<Simulator<W>, SimulatorError> {
    let stored = plan.state_file.as_deref().map(state_file::load::<Kept<W>>).transpose()?.flatten();
    let fresh = Kept { ports: BTreeMap::new(), control_port: 0, world: fresh };
    let mut kept = stored.unwrap_or(fresh);
    let (mut listeners, mut bases) = (Vec::new(), BTreeMap::new());
    for (site, port) in plan.sites {
        let (listener, port) = listen(port, kept.ports.get(&site).copied()).await?;
        kept.ports.insert(site.clone(), port);
        bases.insert(site.clone(), base(port));
        listeners.push((site, listener));
    }
    let (control, port) = listen(plan.control_port, Some(kept.control_port)).await?;
    kept.control_port = port;
    kept.world.basics_mut().bases.clone_from(&bases);

    let stop = CancellationToken::new();
    let kept = Mutex::new(kept);
    let host = Arc::new(Host { kept, clock, state_file: plan.state_file, stop: stop.clone() });
    host.change(|_, _| ())?;
    let tracker = TaskTracker::new();
    tracker.spawn(serve(control, control::router(&host), stop.clone()));
    for (site, listener) in listeners {
        tracker.spawn(serve(listener, router(&host, site), stop.clone()));
    }
    tracker.close();
    Ok(Simulator { host, bases, control: base(port), tracker, stop: stop.drop_guard() })
}

fn base(port: u16) -> String {
    format!("http://{}:{port}", Ipv4Addr::LOCALHOST)
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

impl<W: World> Simulator<W> {
    /// The base URI of a site, `http://127.0.0.1:PORT`.
    pub fn base_url(&self, site: &str) -> Result<String, SimulatorError> {
        self.bases.get(site).cloned().ok_or_else(|| SimulatorError::unknown("site", site))
    }

    /// The control endpoint is at `/control/` below.
    pub fn control_url(&self) -> String {
        self.control.clone()
    }

    /// Queues a failure.
    pub fn break_next(&self, fault: Fault<W::Refusal>) -> Result<(), SimulatorError> {
        self.host.change(|world, _| world.basics_mut().faults().push(fault))?
    }

    /// Turns the switches that `change` names: `{"refresh": {"rotation": "rotate_every"}}`.
    pub fn change_behaviour(&self, change: &serde_json::Value) -> Result<(), SimulatorError> {
        self.host.change(|world, _| world.basics_mut().change_behaviour(change))?
    }

    pub fn behaviour(&self) -> W::Behaviour {
        self.host.look(|world| world.basics().behaviour.clone())
    }

    pub fn counters(&self) -> Counters {
        self.host.look(|world| world.basics().journal().counters().clone())
    }

    /// The latest events, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.host.look(|world| world.basics().journal().events().cloned().collect())
    }

    /// Forgets clients, principals, tokens, faults and the journal; keeps sites, keys and behaviour.
    pub fn reset(&self) -> Result<(), SimulatorError> {
        self.host.change(|world, _| reset(world))
    }

    /// Stops listening, lets running answers end and drops delayed ones; waits [`SHUTDOWN_MAX`] at most.
    pub async fn shutdown(self) {
        drop(self.stop);
        tokio::time::timeout(SHUTDOWN_MAX, self.tracker.wait()).await.ok();
    }

    pub(super) fn host(&self) -> &Host<W> {
        &self.host
    }
}

pub(super) fn reset<W: World>(world: &mut W) {
    world.basics_mut().forget();
    world.forget();
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

    pub(super) fn look<T>(&self, look: impl FnOnce(&W) -> T) -> T {
        look(&self.kept.lock().world)
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
            host.change(|world, now| world::answer(world, now, &request)).unwrap_or_else(|error| {
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
    match answer.delivery {
        Delivery::Endless => flowing(answer, &host.stop, None),
        Delivery::Drip { gap } => flowing(answer, &host.stop, Some(gap)),
        Delivery::Whole | Delivery::Truncated | Delivery::Dropped => deliver(answer, &scissors),
    }
}

/// A body without an end, or one that takes its time; the end of the simulator ends it.
fn flowing(answer: Answer, stop: &CancellationToken, gap: Option<Duration>) -> Response {
    const BLANKS: Bytes = Bytes::from_static(&[b' '; 4096]);
    let body = Bytes::from(answer.body);
    let pieces = stream::unfold(body, move |mut left| async move {
        let piece = match gap {
            None if left.is_empty() => {
                // Blanks are no work: without a pause they would take all of a processor.
                tokio::time::sleep(Duration::from_millis(1)).await;
                BLANKS
            }
            None => left.split_to(left.len()),
            Some(_) if left.is_empty() => return None,
            Some(gap) => {
                tokio::time::sleep(gap).await;
                left.split_to(1)
            }
        };
        Some((Ok::<_, io::Error>(piece), left))
    });
    let pieces = pieces.take_until(stop.clone().cancelled_owned());
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    response.body(Body::from_stream(pieces)).unwrap_or_default()
}

/// Turns an answer into what the server library sends, or into a cut connection.
pub(super) fn deliver(answer: Answer, scissors: &Scissors) -> Response {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let body = match answer.delivery {
        Delivery::Whole | Delivery::Endless | Delivery::Drip { .. } => Body::from(answer.body),
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
