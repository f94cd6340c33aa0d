//! What a replica answers before it is ready: that it is not, and that its store or its key service is the reason. Health
//! says NOT_SERVING, every other method NOT_READY. What exactly is the matter stands in the log: nobody is authenticated here.

use super::{
    SERVICES,
    listening::{self, Bounds, Door},
    problem::Problem,
};
use crate::api::ErrorReason;
use std::{future::Future, time::Duration};
use tonic::{Status, body::Body, service::Routes, transport::Server};
use tonic_health::ServingStatus;

/// When to ask again.
const RETRY: Duration = Duration::from_secs(5);
/// How long calls may take to end once the replica is ready: those that watch its health would never.
const PARTING: Duration = Duration::from_secs(1);

/// Until `ready` resolves.
pub async fn serve(doors: Vec<Door>, bounds: Bounds, ready: impl Future<Output = ()> + Send + 'static) {
    let (health, health_service) = tonic_health::server::health_reporter();
    for service in SERVICES {
        health.set_service_status(service, ServingStatus::NotServing).await;
    }
    let routes = Routes::new(health_service).into_axum_router().fallback(async || not_ready());
    let (parting, parted) = tokio::sync::oneshot::channel::<()>();
    let serving = Server::builder().add_routes(Routes::from(routes)).serve_with_incoming_shutdown(
        listening::incoming(doors, bounds),
        async move {
            ready.await;
            drop(parting);
        },
    );
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::error!(%error, "nobody can be told that this replica is not ready");
        },
        () = async {
            drop(parted.await);
            tokio::time::sleep(PARTING).await;
        } => {}
    }
}

fn not_ready() -> http::Response<Body> {
    let text = "this replica is not ready, as its store or its key service cannot be used: ask another replica; its log \
                says why";
    Status::from(Problem::new(ErrorReason::NotReady, text).retry_in(RETRY)).into_http()
}
