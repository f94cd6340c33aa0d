//! The gRPC server. Wire types stop here: handlers check and translate, and the broker does the rest.

pub mod clients;
pub mod connections;
pub mod errors;
pub mod filter;
mod finishing;
pub mod from_proto;
pub mod gate;
pub mod guard;
pub mod keys;
pub mod listening;
pub mod problem;
pub mod providers;
pub mod recording;
pub mod tenants;
pub mod to_proto;
pub mod tokens;
mod traced;
pub mod waiting;

use crate::{
    access::{Access, Authenticate},
    api::{
        self, ErrorReason, client_service_server::ClientServiceServer,
        connection_service_server::ConnectionServiceServer, key_service_server::KeyServiceServer,
        provider_service_server::ProviderServiceServer, tenant_service_server::TenantServiceServer,
        token_service_server::TokenServiceServer,
    },
    broker::{
        Broker,
        admin::{Admin, AdminError},
        custodian::Custodian,
        heartbeat::Heartbeat,
        knowing::Knowing,
    },
    limits::{self, Rules},
    monitor::{Measuring, Readiness},
    provider::catalogue::Catalogue,
    traces::Tracer,
};
use futures_util::stream::BoxStream;
use gate::Gate;
use guard::Guard;
use listening::{Bounds, Door};
use problem::Problem;
use recording::Recording;
use std::{fmt::Display, future::Future, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status, transport::Server};
use tonic_health::{ServingStatus, server::HealthReporter};

/// A stream that is never opened: its method is in the API and not in this version.
pub type Unimplemented<T> = BoxStream<'static, Result<T, Status>>;

/// What the server serves with.
pub struct Services {
    pub broker: Arc<Broker>,
    pub admin: Arc<Admin>,
    pub custodian: Arc<Custodian>,
    pub heartbeat: Arc<Heartbeat>,
    /// Streams that last end with it.
    pub stopping: CancellationToken,
    pub catalogue: Arc<Catalogue>,
    pub access: Arc<Access>,
    pub authenticate: Arc<dyn Authenticate>,
    /// What the health service tells.
    pub readiness: watch::Receiver<Readiness>,
    pub tracer: Tracer,
    /// Counts calls, also those that are refused before anything else.
    pub measuring: Measuring,
}

/// Bounds of the server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What is counted by callers and tenants.
    pub rules: Rules,
    /// Calls at once on one connection, open streams included.
    pub concurrent_requests_per_connection: u32,
    /// Largest request, in bytes.
    pub message_bytes: usize,
    /// Longest unary call.
    pub request_timeout: Duration,
    /// A connection is closed gently after this long, so that load spreads over new replicas. A peer that does not leave is
    /// put out by [`Bounds::longest`].
    pub connection_age: Duration,
    pub listening: Bounds,
}

/// Idle connections are asked whether they live, this often and this long.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest set of request headers, in bytes.
const HEADERS_MAX: u32 = 16 * 1024;

/// The name by which the health service knows each service; the empty one is the whole server.
const SERVICES: [&str; 7] = [
    "",
    "bursar.v1.TokenService",
    "bursar.v1.ConnectionService",
    "bursar.v1.ClientService",
    "bursar.v1.TenantService",
    "bursar.v1.ProviderService",
    "bursar.v1.KeyService",
];

/// Serves until `shutdown` resolves, then lets calls in flight finish.
pub async fn serve(
    doors: Vec<Door>,
    services: Services,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let Services {
        broker,
        admin,
        custodian,
        heartbeat,
        stopping,
        catalogue,
        access,
        authenticate,
        readiness,
        tracer,
        measuring,
    } = services;
    let telling = tell(health.clone(), readiness, stopping.clone());
    let recording = Recording { audit: broker.audit.clone(), clock: broker.clock.clone() };
    let knowing = Knowing::new(broker.clone());
    let guard = Arc::new(Guard { access, knowing, recording: recording.clone() });
    let (size, longest) = (limits.message_bytes, limits.request_timeout);
    let tokens = tokens::Tokens { broker, guard: guard.clone(), longest };
    let connections = connections::Connections { guard: guard.clone(), admin: admin.clone() };
    let clients = clients::Clients { guard: guard.clone(), admin: admin.clone() };
    let tenants = tenants::Tenants { guard: guard.clone(), admin: admin.clone() };
    let providers = providers::Providers { guard: guard.clone(), catalogue, admin };
    let keys = keys::Keys { guard, custodian, heartbeat, stopping };
    let serving = Server::builder()
        .timeout(limits.request_timeout)
        .max_concurrent_streams(limits.concurrent_requests_per_connection)
        .max_connection_age(limits.connection_age)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADERS_MAX)
        .layer(measuring)
        // Whoever finds no room is refused at once: a queue of callers would only make all of them late.
        .layer(Gate { authenticate, recording, limits: limits::Limits::new(limits.rules), tracer })
        .add_service(health_service)
        .add_service(reflection_v1())
        .add_service(reflection_v1alpha())
        .add_service(TokenServiceServer::new(tokens).max_decoding_message_size(size))
        .add_service(ConnectionServiceServer::new(connections).max_decoding_message_size(size))
        .add_service(ClientServiceServer::new(clients).max_decoding_message_size(size))
        .add_service(TenantServiceServer::new(tenants).max_decoding_message_size(size))
        .add_service(ProviderServiceServer::new(providers).max_decoding_message_size(size))
        .add_service(KeyServiceServer::new(keys).max_decoding_message_size(size))
        .serve_with_incoming_shutdown(listening::incoming(doors, limits.listening), async move {
            shutdown.await;
            say(&health, ServingStatus::NotServing).await;
        });
    tokio::select! {
        served = serving => served,
        () = telling => Ok(()),
    }
}

/// Tells for ever what probes are told, too. From `stopping` on nothing but that this replica does not serve.
async fn tell(
    health: HealthReporter,
    mut readiness: watch::Receiver<Readiness>,
    stopping: CancellationToken,
) {
    loop {
        let status = match (*readiness.borrow_and_update(), stopping.is_cancelled()) {
            (Readiness::Ready, false) => ServingStatus::Serving,
            (Readiness::Ready, true) | (Readiness::NotReady, _) => ServingStatus::NotServing,
        };
        say(&health, status).await;
        if readiness.changed().await.is_err() {
            // Nobody will change it any more.
            std::future::pending::<()>().await;
        }
    }
}

async fn say(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(api::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

fn reflection_v1()
-> tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection> {
    reflection().build_v1().expect("the generated descriptors are whole")
}

/// Older clients, grpcurl among them, know this version only.
fn reflection_v1alpha() -> tonic_reflection::server::v1alpha::ServerReflectionServer<
    impl tonic_reflection::server::v1alpha::ServerReflection,
> {
    reflection().build_v1alpha().expect("the generated descriptors are whole")
}

/// A method that is designed and not there yet.
fn unimplemented(method: &str) -> Status {
    Problem::new(ErrorReason::MethodNotImplemented, format!("{method} is not implemented in this version"))
        .into()
}

/// What is hidden looks as if it were missing, also to who does not mind if it is.
fn hidden(refused: &Status, allow_missing: bool) -> bool {
    allow_missing && refused.code() == tonic::Code::NotFound
}

/// The answer to a deletion; what was not there counts as deleted if the caller says so.
fn deleted(
    name: &dyn Display,
    outcome: Result<(), AdminError>,
    allow_missing: bool,
) -> Result<Response<()>, Status> {
    match outcome {
        Err(AdminError::NotFound { name: missing, .. }) if allow_missing && missing == name.to_string() => {
            Ok(Response::new(()))
        }
        Ok(()) => Ok(Response::new(())),
        Err(err) => Err(errors::admin(name, err)),
    }
}
