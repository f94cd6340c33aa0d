//! What counting costs a call for a token, piece by piece, and what a scrape costs. Prints times for docs/metrics.md;
//! asserts nothing about speed, as machines differ.

#![expect(clippy::unwrap_used, reason = "in a measurement a panic is the report")]
#![expect(clippy::print_stdout, reason = "it is what this is for")]

use async_trait::async_trait;
use bursar::{
    access::{Access, Action, Asked, Caller, Facts, Identity, Permit, Transport},
    audit::{Audit, AuditDown, Event, Leaving},
    broker::warm::WarmCopies,
    clock::{SystemClock, Timestamp},
    domain::{
        names::ConnectionName,
        token::{AccessToken, Secret},
    },
    monitor::{Metrics, Standing, WatchedAudit},
};
use futures_util::FutureExt;
use std::{
    collections::BTreeSet, convert::Infallible, future::ready, hint::black_box, sync::Arc, time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service};
use uuid::Uuid;

/// Calls of a batch, and batches of which the fastest counts: what else runs on the machine only adds.
const CALLS: u32 = 2_000;
const BATCHES: usize = 2_000;
/// Processors that do the same at once.
const THREADS: usize = 2;

/// Nanoseconds of one call.
fn measured(mut call: impl FnMut()) -> f64 {
    let batch = |call: &mut dyn FnMut()| {
        let begun = Instant::now();
        (0..CALLS).for_each(|_| call());
        begun.elapsed()
    };
    let fastest: Duration = (0..BATCHES).map(|_| batch(&mut call)).min().unwrap();
    fastest.as_secs_f64() * 1e9 / f64::from(CALLS)
}

/// The same on several processors at once: the slowest of them.
fn together(make: impl Fn() -> Box<dyn FnMut() + Send> + Sync) -> f64 {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| measured(make()))).collect();
        running.into_iter().map(|one| one.join().unwrap()).fold(0.0, f64::max)
    })
}

/// Puts nothing on record.
struct Nothing;

#[async_trait]
impl Audit for Nothing {
    async fn release(&self, _: &Permit, _: &Leaving<'_>, _: &AccessToken) -> Result<(), AuditDown> {
        Ok(())
    }

    async fn record(&self, _: Event) -> Result<(), AuditDown> {
        Ok(())
    }
}

fn request() -> http::Request<()> {
    http::Request::builder().uri("http://bursar/bursar.v1.TokenService/GetToken").body(()).unwrap()
}

fn answering()
-> impl Service<http::Request<()>, Response = http::Response<()>, Future: Send + 'static> + Clone + Send {
    tower::service_fn(|_| ready(Ok::<_, Infallible>(http::Response::new(()))))
}

fn released(audit: &dyn Audit, permit: &Permit, token: &AccessToken, name: &ConnectionName) {
    let leaving =
        Leaving { connection: name, family: Uuid::nil(), generation: 1, expires_at: Timestamp::from_secs(1) };
    black_box(audit.release(permit, &leaving, token).now_or_never().unwrap().is_ok());
}

fn main() {
    let standing = Standing::new(Arc::new(SystemClock), Duration::ZERO, CancellationToken::new());
    let metrics = Metrics::new(standing, "redis");
    let layer = metrics.calls();

    let mut bare = answering();
    let without = measured(|| drop(black_box(bare.call(request()).now_or_never())));
    let mut layered = layer.layer(answering());
    let with = measured(|| drop(black_box(layered.call(request()).now_or_never())));
    println!(
        "layer: {:.0} ns (a request made and answered: {without:.0} ns without, {with:.0} ns with)",
        with - without
    );
    let busy = together(|| {
        let mut layered = layer.layer(answering());
        Box::new(move || drop(black_box(layered.call(request()).now_or_never())))
    });
    let idle = together(|| {
        let mut bare = answering();
        Box::new(move || drop(black_box(bare.call(request()).now_or_never())))
    });
    println!("layer, {THREADS} processors at once: {:.0} ns", busy - idle);

    let name: ConnectionName = "tenants/t0/connections/concur".parse().unwrap();
    let caller = Caller::new(Identity::Local, Transport::Loopback, BTreeSet::new());
    let permit = Access::default()
        .permit(&caller, Action::GetToken, name.clone(), &Facts::Nothing, &Asked::default())
        .unwrap();
    let token = AccessToken(Secret::new("t"));
    let inner: Arc<dyn Audit> = Arc::new(Nothing);
    let watched = WatchedAudit::new(inner.clone(), metrics.clone());
    let without = measured(|| released(&*inner, &permit, &token, &name));
    let with = measured(|| released(&watched, &permit, &token, &name));
    println!("trail: {:.0} ns", with - without);

    let warm = WarmCopies::default();
    println!("look into memory, with its count: {:.0} ns", measured(|| drop(black_box(warm.get(&name)))));

    let begun = Instant::now();
    let scrapes = 200;
    let bytes: usize = (0..scrapes).map(|_| metrics.text().unwrap().len()).sum();
    println!(
        "scrape: {:.0} µs, {} bytes",
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(scrapes),
        bytes / 200
    );
}
