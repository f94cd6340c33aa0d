//! A connection to the server for one command: one deadline over all of its calls, pages fetched to a bound.

use super::{
    ApiArgs,
    connect::{Fault, connect, root, unreachable},
    failure::{Failure, known_reason, reason},
};
use crate::api::{
    ErrorReason, client_service_client::ClientServiceClient,
    connection_service_client::ConnectionServiceClient, key_service_client::KeyServiceClient,
    provider_service_client::ProviderServiceClient, tenant_service_client::TenantServiceClient,
    token_service_client::TokenServiceClient,
};
use std::{fs::File, io::Read, path::Path, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_health::pb::health_client::HealthClient;
use zeroize::Zeroizing;

/// Longest wait for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much later than the server, which can say why, the client gives up.
const GRACE: Duration = Duration::from_millis(500);
/// Resources asked for at once: pages of that many fit [`ANSWER_BYTES_MAX`] even with all labels.
const PAGE_SIZE_MAX: usize = 200;
/// Longest time for which something is watched.
const WATCHED_FOR: Duration = Duration::from_hours(7 * 24);
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;
/// Longest answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) type Wire = InterceptedService<Channel, Call>;

/// Until when the answer is of use.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

/// What goes with each call: its deadline, and who calls.
#[derive(Debug, Clone)]
pub(super) struct Call {
    deadline: Deadline,
    /// A file, read each time: whoever issues tokens replaces it.
    token: Option<Arc<Path>>,
}

#[derive(Clone)]
pub(super) struct Session {
    channel: Channel,
    wire: Wire,
    deadline: Deadline,
    token: Option<Arc<Path>>,
    timeout: Duration,
    endpoint: String,
    fault: Fault,
}

/// What is said of something that is to be created and is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Refused,
    /// It is left as it is.
    Allowed,
}

impl From<bool> for Existing {
    /// Of the flag `--allow-existing`.
    fn from(allowed: bool) -> Self {
        if allowed { Self::Allowed } else { Self::Refused }
    }
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

impl Interceptor for Call {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(self.deadline.0.saturating_duration_since(Instant::now()));
        if let Some(file) = &self.token {
            let bearer = bearer(file)
                .map_err(|problem| Status::unauthenticated(format!("--token-file: {problem}")))?;
            request.metadata_mut().insert("authorization", bearer);
        }
        Ok(request)
    }
}

/// The header of RFC 6750 section 2.1. What the file holds is in no error.
fn bearer(file: &Path) -> Result<MetadataValue<Ascii>, String> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(file).and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|err| format!("the file cannot be read: {}", err.kind()))?;
    let token = text.trim();
    if token.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let other = || "the file holds something else than one token".to_owned();
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(other());
    }
    let header = Zeroizing::new(format!("Bearer {token}"));
    let mut value = MetadataValue::try_from(header.as_str()).map_err(|_| other())?;
    value.set_sensitive(true);
    Ok(value)
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
        let fault = Fault::default();
        let most = CONNECT_TIMEOUT.min(api.timeout);
        let channel = connect(api.endpoint(), &api.reach, most, &fault).await?;
        let token = api.reach.token_file.clone().map(Arc::from);
        let wire = InterceptedService::new(channel.clone(), Call { deadline, token: token.clone() });
        let (timeout, endpoint) = (api.timeout, api.endpoint().to_owned());
        Ok(Self { channel, wire, deadline, token, timeout, endpoint, fault })
    }

    /// The same server, and the whole time anew: for a call after a wait that is nobody's fault.
    pub(super) fn renewed(&self) -> Self {
        let deadline = Deadline(Instant::now() + self.timeout);
        let call = Call { deadline, token: self.token.clone() };
        Self { wire: InterceptedService::new(self.channel.clone(), call), deadline, ..self.clone() }
    }

    /// The same server, for something that is watched until it ends.
    pub(super) fn lasting(&self) -> Self {
        Self { timeout: WATCHED_FOR, ..self.clone() }.renewed()
    }

    services! {
        tokens: TokenServiceClient,
        tenants: TenantServiceClient,
        clients: ClientServiceClient,
        connections: ConnectionServiceClient,
        providers: ProviderServiceClient,
        keys: KeyServiceClient,
        health: HealthClient,
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

    /// What a call creates; or, where that exists and `existing` says so, what is there: `get` fetches it, and it is
    /// refused all the same unless it `fits`. Calls come boxed: two of them would make whoever waits for this large.
    pub(super) async fn created<T>(
        &self,
        create: impl Future<Output = Result<Response<T>, Status>>,
        existing: Existing,
        get: impl Future<Output = Result<Response<T>, Status>>,
        fits: impl FnOnce(&T) -> bool,
    ) -> Result<T, Failure> {
        let refused = match (self.wait(create).await, existing) {
            (Err(Failure::Refused(status)), Existing::Allowed) => status,
            (outcome, Existing::Refused | Existing::Allowed) => return outcome,
        };
        if known_reason(&refused) != Some(ErrorReason::AlreadyExists) {
            return Err(Failure::Refused(refused));
        }
        let found = self.wait(get).await?;
        if fits(&found) { Ok(found) } else { Err(Failure::Refused(refused)) }
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

    /// The next message of a stream; `None` at its end.
    pub(super) async fn next<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>, Failure> {
        stream.message().await.map_err(|status| self.failure(status))
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
        unreachable(&self.endpoint, &self.fault, cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_anew_for_each_call_and_is_in_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let deadline = Deadline(Instant::now() + Duration::from_secs(5));
        let mut call = Call { deadline, token: Some(file.as_path().into()) };
        let mut sent = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let called = call.call(Request::new(()));
            called.map(|request| {
                let header = request.metadata().get("authorization").unwrap();
                assert!(header.is_sensitive());
                header.to_str().unwrap().to_owned()
            })
        };
        assert_eq!(sent("first\n").unwrap(), "Bearer first");
        assert_eq!(sent("second").unwrap(), "Bearer second");
        for bad in ["", "\n", "hunter2\nhunter3", "hunter2\u{e4}"] {
            let refused = sent(bad).unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated);
            assert!(refused.message().starts_with("--token-file: the file"), "{refused}");
            assert!(!refused.message().contains("hunter"), "{refused}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(call.call(Request::new(())).unwrap_err().message().contains("cannot be read"));
        call.token = None;
        assert!(call.call(Request::new(())).unwrap().metadata().get("authorization").is_none());
    }
}
