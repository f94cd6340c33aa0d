//! The gRPC server. Wire types stop here: handlers check and translate, and the broker does the rest.

pub mod clients;
pub mod connections;
pub mod errors;
pub mod filter;
pub mod from_proto;
pub mod keys;
pub mod problem;
pub mod providers;
pub mod tenants;
pub mod to_proto;
pub mod tokens;

use crate::{
    access::Access,
    api::{
        self, ErrorReason, client_service_server::ClientServiceServer,
        connection_service_server::ConnectionServiceServer, key_service_server::KeyServiceServer,
        provider_service_server::ProviderServiceServer, tenant_service_server::TenantServiceServer,
        token_service_server::TokenServiceServer,
    },
    broker::{
        Broker,
        admin::{Admin, AdminError},
    },
    provider::catalogue::Catalogue,
};
use futures_util::stream::BoxStream;
use problem::Problem;
use std::{fmt::Display, future::Future, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tonic::{
    Response, Status,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};

/// A stream that is never opened: its method is in the API and not in this version.
pub type Unimplemented<T> = BoxStream<'static, Result<T, Status>>;

/// What the server serves with.
pub struct Services {
    pub broker: Arc<Broker>,
    pub admin: Arc<Admin>,
    pub catalogue: Arc<Catalogue>,
    pub access: Arc<Access>,
}

/// Bounds of the server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Calls at once, on one connection and in all.
    pub concurrent_requests: usize,
    pub concurrent_requests_per_connection: u32,
    /// Largest request, in bytes.
    pub message_bytes: usize,
    /// Longest unary call.
    pub request_timeout: Duration,
    /// A connection is closed gently after this long, so that load spreads over new replicas.
    pub connection_age: Duration,
}

/// Idle connections are asked whether they live, this often and this long.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest set of request headers, in bytes.
const HEADERS_MAX: u32 = 16 * 1024;

/// When to ask again a replica that answers as many calls as it may.
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);

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
    listener: TcpListener,
    services: Services,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    say(&health, ServingStatus::Serving).await;
    let Services { broker, admin, catalogue, access } = services;
    let size = limits.message_bytes;
    // The builder's own setting is for sockets that it opens itself. Without this, an answer in two packets waits
    // until the peer has acknowledged the first, which a peer may put off for 40 ms (RFC 896, RFC 1122 §4.2.3.2).
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .timeout(limits.request_timeout)
        .concurrency_limit_per_connection(limits.concurrent_requests_per_connection as usize)
        .max_concurrent_streams(limits.concurrent_requests_per_connection)
        .max_connection_age(limits.connection_age)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADERS_MAX)
        // More are refused at once: a queue of callers would only make all of them late.
        .layer(tower::util::MapErrLayer::new(overloaded))
        .layer(tower::load_shed::LoadShedLayer::new())
        .layer(tower::limit::GlobalConcurrencyLimitLayer::new(limits.concurrent_requests))
        .add_service(health_service)
        .add_service(reflection_v1())
        .add_service(reflection_v1alpha())
        .add_service(
            TokenServiceServer::new(tokens::Tokens { broker, access, longest: limits.request_timeout })
                .max_decoding_message_size(size),
        )
        .add_service(
            ConnectionServiceServer::new(connections::Connections { admin: admin.clone() })
                .max_decoding_message_size(size),
        )
        .add_service(
            ClientServiceServer::new(clients::Clients { admin: admin.clone() })
                .max_decoding_message_size(size),
        )
        .add_service(TenantServiceServer::new(tenants::Tenants { admin }).max_decoding_message_size(size))
        .add_service(
            ProviderServiceServer::new(providers::Providers { catalogue }).max_decoding_message_size(size),
        )
        .add_service(KeyServiceServer::new(keys::Keys).max_decoding_message_size(size))
        .serve_with_incoming_shutdown(incoming, async move {
            shutdown.await;
            say(&health, ServingStatus::NotServing).await;
        })
        .await
}

/// What is refused for want of room says so with a reason, as every error does.
fn overloaded(err: tower::BoxError) -> tower::BoxError {
    if err.is::<tower::load_shed::error::Overloaded>() {
        let text = "this replica answers as many calls as it may: ask again, or another replica";
        return Status::from(Problem::new(ErrorReason::Overloaded, text).retry_in(OVERLOADED_RETRY)).into();
    }
    err
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
