//! A connection to the server for one command: one deadline over all of its calls, pages fetched to a bound.

use super::{
    ApiArgs,
    failure::{Failure, reason},
};
use crate::api::{
    client_service_client::ClientServiceClient, connection_service_client::ConnectionServiceClient,
    provider_service_client::ProviderServiceClient, tenant_service_client::TenantServiceClient,
    token_service_client::TokenServiceClient,
};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tonic::{
    Code, Request, Response, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// Longest wait for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that is silent for so long is asked whether it is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait for the answer to that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much later than the server, which can say why, the client gives up.
const GRACE: Duration = Duration::from_millis(500);
/// Resources asked for at once: pages of that many fit [`ANSWER_BYTES_MAX`] even with all labels.
const PAGE_SIZE_MAX: usize = 200;
/// Longest answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) type Wire = InterceptedService<Channel, Deadline>;

/// Tells the server until when the answer is of use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

pub(super) struct Session {
    wire: Wire,
    deadline: Deadline,
    endpoint: String,
}

/// What a list came to.
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    pub(super) rest: Rest,
}

/// Whether there is more than was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    More,
}

impl Interceptor for Deadline {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(self.0.saturating_duration_since(Instant::now()));
        Ok(request)
    }
}

macro_rules! services {
    ($($name:ident: $client:ident,)+) => {$(
        pub(super) fn $name(&self) -> $client<Wire> {
            $client::new(self.wire.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
        }
    )+};
}

impl Session {
    /// Connects. The time for the command begins here, after every prompt.
    pub(super) async fn open(api: &ApiArgs) -> Result<Self, Failure> {
        let deadline = Deadline(Instant::now() + api.timeout);
        let channel =
            endpoint(&api.endpoint)?.connect_timeout(CONNECT_TIMEOUT.min(api.timeout)).connect().await;
        let channel = channel.map_err(|cause| Failure::Unreachable {
            endpoint: api.endpoint.clone(),
            cause: root(&cause).to_string(),
        })?;
        let wire = InterceptedService::new(channel, deadline);
        Ok(Self { wire, deadline, endpoint: api.endpoint.clone() })
    }

    services! {
        tokens: TokenServiceClient,
        tenants: TenantServiceClient,
        clients: ClientServiceClient,
        connections: ConnectionServiceClient,
        providers: ProviderServiceClient,
    }

    /// Waits for a call, at most until the deadline.
    pub(super) async fn wait<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match timeout_at(self.deadline.0 + GRACE, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.failure(status)),
            Err(_) => Err(Failure::TimedOut { endpoint: self.endpoint.clone() }),
        }
    }

    /// Fetches pages until the last one or until there are `limit` resources. `page` is given a page size and
    /// a page token, and returns resources and the next token.
    pub(super) async fn pages<T, F, Call>(&self, limit: usize, mut page: F) -> Result<Listed<T>, Failure>
    where
        F: FnMut(i32, String) -> Call,
        Call: Future<Output = Result<Response<(Vec<T>, String)>, Status>>,
    {
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let size = i32::try_from((limit - items.len()).min(PAGE_SIZE_MAX)).unwrap_or(i32::MAX);
            let (found, following) = self.wait(page(size, next.clone())).await?;
            items.extend(found);
            let overfull = items.len() > limit;
            items.truncate(limit);
            if following.is_empty() && !overfull {
                return Ok(Listed { items, rest: Rest::Nothing });
            }
            if items.len() == limit {
                return Ok(Listed { items, rest: Rest::More });
            }
            if following == next {
                return Err(Failure::Local(anyhow::anyhow!("the server answered the same page token twice")));
            }
            next = following;
        }
    }

    /// A status without a source came from the server; one with a source was made on the way to it.
    fn failure(&self, status: Status) -> Failure {
        let Some(source) = std::error::Error::source(&status) else {
            // A server that sees the deadline first, without a word of its own why.
            let late = matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded);
            if late && reason(&status).is_none() {
                return Failure::TimedOut { endpoint: self.endpoint.clone() };
            }
            return Failure::Refused(Box::new(status));
        };
        let cause = root(source);
        if cause.is::<tonic::TimeoutExpired>() {
            return Failure::TimedOut { endpoint: self.endpoint.clone() };
        }
        Failure::Unreachable { endpoint: self.endpoint.clone(), cause: cause.to_string() }
    }
}

fn endpoint(url: &str) -> Result<Endpoint, Failure> {
    let form = || Failure::Usage("the endpoint must be a URL such as http://127.0.0.1:7600".into());
    let parsed = url::Url::parse(url).map_err(|_| form())?;
    if parsed.scheme() == "https" {
        return Err(Failure::Usage(
            "this build speaks HTTP/2 without TLS only: use an http:// endpoint".into(),
        ));
    }
    let bare = parsed.username().is_empty()
        && parsed.password().is_none()
        && matches!(parsed.path(), "" | "/")
        && parsed.query().is_none();
    if parsed.scheme() != "http" || parsed.host().is_none() || !bare {
        return Err(form());
    }
    Endpoint::from_shared(parsed.to_string())
        .map_err(|_| form())?
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .user_agent(concat!("bursar-cli/", env!("CARGO_PKG_VERSION")))
        .map_err(|_| form())
}

/// The first cause of a chain: `Connection refused`, not `transport error`.
fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}
