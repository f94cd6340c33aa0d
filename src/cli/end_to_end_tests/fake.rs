//! A server that implements the generated traits, answers from a function, and notes every call;
//! and the command line run against it with streams, secrets and a present of the test's own.

use crate::{
    api::{
        self, client_service_server as clients, connection_service_server as connections,
        key_service_server as keys, provider_service_server as providers, tenant_service_server as tenants,
        token_service_server as tokens,
    },
    cli::{
        self, Console, Exit,
        console::{Input, Screen},
    },
};
use parking_lot::Mutex;
use prost::Message;
use prost_types::Timestamp;
use std::{
    ffi::OsString,
    io::{self, Write},
    sync::Arc,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// 2027-01-15T08:00:00Z, the present of every test.
pub(super) const NOW: Timestamp = Timestamp { seconds: 1_800_000_000, nanos: 0 };

/// One call as it came in.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) request: Vec<u8>,
    pub(super) timeout: Option<String>,
}

type Answer = Arc<dyn Fn(&Call) -> Result<Vec<u8>, Status> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Fake {
    answer: Answer,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// What came of a run.
pub(super) struct Outcome {
    pub(super) exit: Exit,
    pub(super) out: String,
    pub(super) err: String,
    pub(super) calls: Vec<Call>,
}

/// What a person or a script gives besides arguments.
#[derive(Debug, Default, Clone)]
pub(super) struct Given {
    pub(super) stdin: Vec<u8>,
    pub(super) typed: Option<&'static str>,
    pub(super) variables: Vec<(&'static str, &'static str)>,
    /// Where opened URLs are noted; without it there is no browser.
    pub(super) browser: Option<Arc<Mutex<Vec<String>>>>,
}

impl Call {
    pub(super) fn decode<M: Message + Default>(&self) -> M {
        M::decode(self.request.as_slice()).unwrap()
    }
}

impl Fake {
    /// Answers every call with what the function gives.
    pub(super) fn new<M: Message>(
        answer: impl Fn(&Call) -> Result<M, Status> + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(move |call: &Call| answer(call).map(|message| message.encode_to_vec()));
        Self { answer, calls: Arc::default() }
    }

    /// The same, with messages of whatever type a method answers with, as bytes.
    pub(super) fn encoded(answer: impl Fn(&Call) -> Result<Vec<u8>, Status> + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), calls: Arc::default() }
    }

    fn take<I: Message, O: Message + Default>(
        &self,
        method: &'static str,
        request: &Request<I>,
    ) -> Result<Response<O>, Status> {
        let timeout = request.metadata().get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned());
        let call = Call { method, request: request.get_ref().encode_to_vec(), timeout };
        self.calls.lock().push(call.clone());
        (self.answer)(&call).map(|bytes| Response::new(O::decode(bytes.as_slice()).unwrap()))
    }

    async fn serve(self, listener: TcpListener) {
        tonic::transport::Server::builder()
            .add_service(tokens::TokenServiceServer::new(self.clone()))
            .add_service(tenants::TenantServiceServer::new(self.clone()))
            .add_service(clients::ClientServiceServer::new(self.clone()))
            .add_service(connections::ConnectionServiceServer::new(self.clone()))
            .add_service(providers::ProviderServiceServer::new(self.clone()))
            .add_service(keys::KeyServiceServer::new(self))
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .unwrap();
    }

    pub(super) async fn run(self, arguments: &[&str]) -> Outcome {
        self.run_given(arguments, Given::default()).await
    }

    pub(super) async fn run_given(self, arguments: &[&str], given: Given) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let calls = self.calls.clone();
        let mut outcome = tokio::select! {
            outcome = Box::pin(run_at(&endpoint, arguments, given)) => outcome,
            () = Box::pin(self.serve(listener)) => unreachable!("the server serves until it is dropped"),
        };
        outcome.calls = calls.lock().clone();
        outcome
    }
}

/// Runs the command line against any endpoint.
pub(super) async fn run_at(endpoint: &str, arguments: &[&str], given: Given) -> Outcome {
    let (mut console, out, err) = console(given);
    let program = ["bursar", "--endpoint", endpoint];
    let arguments = program.iter().chain(arguments).map(OsString::from);
    let exit = cli::run(arguments, &mut console).await;
    Outcome { exit, out: out.text(), err: err.text(), calls: Vec::new() }
}

/// A console with what it will have written to standard output and standard error.
pub(super) fn console(given: Given) -> (Console, Buffer, Buffer) {
    let (out, err) = (Buffer::default(), Buffer::default());
    let console = Console {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        input: Box::new(given),
        now: || NOW,
        screen: Screen::Lines,
    };
    (console, out, err)
}

#[derive(Clone, Default)]
pub(super) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Input for Given {
    fn stdin(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let take = self.stdin.len().min(limit + 1);
        Ok(self.stdin.drain(..take).collect())
    }

    fn prompt(&mut self, _question: &str) -> io::Result<String> {
        self.typed.map(str::to_owned).ok_or_else(|| io::Error::other("no such device"))
    }

    fn browse(&mut self, url: &str) -> io::Result<()> {
        let Some(opened) = &self.browser else { return Err(io::ErrorKind::Unsupported.into()) };
        opened.lock().push(url.to_owned());
        Ok(())
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }
}

macro_rules! serve {
    ($room:ident::$trait:ident { $($method:ident: $request:ident => $answer:ty,)+ $(; $stream:ident $watch:ident: $watched:ident => $event:ident)? }) => {
        #[tonic::async_trait]
        impl $room::$trait for Fake {
            $(async fn $method(&self, request: Request<api::$request>) -> Result<Response<$answer>, Status> {
                self.take(stringify!($method), &request)
            })+
            $(
                type $stream = tokio_stream::Empty<Result<api::$event, Status>>;

                async fn $watch(&self, _: Request<api::$watched>) -> Result<Response<Self::$stream>, Status> {
                    Ok(Response::new(tokio_stream::empty()))
                }
            )?
        }
    };
}

serve! { tokens::TokenService {
    get_token: GetTokenRequest => api::Token,
    report_rejected_token: ReportRejectedTokenRequest => api::ReportRejectedTokenResponse,
    ; WatchTokenStream watch_token: WatchTokenRequest => WatchTokenResponse
} }

serve! { tenants::TenantService {
    create_tenant: CreateTenantRequest => api::Tenant,
    get_tenant: GetTenantRequest => api::Tenant,
    list_tenants: ListTenantsRequest => api::ListTenantsResponse,
    update_tenant: UpdateTenantRequest => api::Tenant,
    delete_tenant: DeleteTenantRequest => api::Tenant,
    undelete_tenant: UndeleteTenantRequest => api::Tenant,
} }

serve! { clients::ClientService {
    create_client: CreateClientRequest => api::Client,
    get_client: GetClientRequest => api::Client,
    list_clients: ListClientsRequest => api::ListClientsResponse,
    update_client: UpdateClientRequest => api::Client,
    delete_client: DeleteClientRequest => (),
    add_client_secret: AddClientSecretRequest => api::Client,
    retire_client_secret: RetireClientSecretRequest => api::Client,
    rotate_client_secret: RotateClientSecretRequest => api::Client,
} }

serve! { connections::ConnectionService {
    create_connection: CreateConnectionRequest => api::Connection,
    get_connection: GetConnectionRequest => api::Connection,
    list_connections: ListConnectionsRequest => api::ListConnectionsResponse,
    update_connection: UpdateConnectionRequest => api::Connection,
    delete_connection: DeleteConnectionRequest => (),
    start_authorization: StartAuthorizationRequest => api::StartAuthorizationResponse,
    complete_authorization: CompleteAuthorizationRequest => api::Connection,
    refresh_connection: RefreshConnectionRequest => api::Connection,
    disable_connection: DisableConnectionRequest => api::Connection,
    enable_connection: EnableConnectionRequest => api::Connection,
    revoke_connection: RevokeConnectionRequest => api::Connection,
    ; WatchConnectionsStream watch_connections: WatchConnectionsRequest => WatchConnectionsResponse
} }

serve! { providers::ProviderService {
    get_provider: GetProviderRequest => api::Provider,
    list_providers: ListProvidersRequest => api::ListProvidersResponse,
    check_provider: CheckProviderRequest => api::CheckProviderResponse,
} }

/// A watch tells one chain, and then what `after_watch_key_chain` is answered with: its end, or why it broke off.
#[tonic::async_trait]
impl keys::KeyService for Fake {
    type WatchKeyChainStream = tokio_stream::Iter<std::vec::IntoIter<Result<api::KeyChain, Status>>>;

    async fn get_key_chain(
        &self,
        request: Request<api::GetKeyChainRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        self.take("get_key_chain", &request)
    }

    async fn watch_key_chain(
        &self,
        request: Request<api::WatchKeyChainRequest>,
    ) -> Result<Response<Self::WatchKeyChainStream>, Status> {
        let first: api::KeyChain = self.take("watch_key_chain", &request)?.into_inner();
        let after = self.take::<_, api::KeyChain>("after_watch_key_chain", &request).err();
        let told: Vec<_> = [Ok(first)].into_iter().chain(after.map(Err)).collect();
        Ok(Response::new(tokio_stream::iter(told)))
    }

    async fn rotate_tenant_key(
        &self,
        request: Request<api::RotateTenantKeyRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        self.take("rotate_tenant_key", &request)
    }

    async fn rotate_root_key(
        &self,
        request: Request<api::RotateRootKeyRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        self.take("rotate_root_key", &request)
    }

    async fn rotate_kek(
        &self,
        request: Request<api::RotateKekRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        self.take("rotate_kek", &request)
    }

    async fn retire_key_version(
        &self,
        request: Request<api::RetireKeyVersionRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        self.take("retire_key_version", &request)
    }
}
