//! Who calls is known, and that there is room for it, before any handler sees the call; and what comes of it is on record
//! before it is answered.

use super::{
    errors,
    guard::Call,
    listening::Joined,
    problem::Problem,
    recording::{Note, Recording},
    traced,
};
use crate::{
    access::{AuditClass, Authenticate, Caller, Rate, Rpc, Unauthenticated, rpcs},
    api::ErrorReason,
    limits::{Bound, Entered, Full, Limits, Seat, Stream},
    traces::Tracer,
};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use http_body_util::BodyExt as _;
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{Code, Status, body::Body, codegen::BoxFuture};
use tower::{Layer, Service};

/// For whom the caller says that it works: for policies and the audit trail; it proves nothing.
const ON_BEHALF_OF: &str = "bursar-on-behalf-of";
/// Its longest value, in bytes.
const ON_BEHALF_OF_MAX: usize = 256;
/// Longest header `authorization`, in bytes.
const AUTHORIZATION_MAX: usize = 16 * 1024;
/// Which program answers: told to whoever is known.
const VERSION: HeaderName = HeaderName::from_static("bursar-version");
/// Services that anybody may ask who reaches the listener: probes have no credentials.
const OPEN: &str = "/grpc.health.v1.Health/";
/// Services for whoever is known, and that tell what is published anyway.
const REFLECTION: [&str; 2] =
    ["/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// Recognises callers, and counts what they have had, before any handler sees the call. In this order: is there room for one
/// more; who is it; has it had its share. All of that costs less than any handler, and only then is a message read.
#[derive(Clone)]
pub struct Gate {
    pub authenticate: Arc<dyn Authenticate>,
    pub recording: Recording,
    pub limits: Arc<Limits>,
    pub tracer: Tracer,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

/// A service behind the [`Gate`].
#[derive(Clone)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

/// A call that goes on.
enum Recognised {
    /// Of anybody; nothing is counted.
    Anybody,
    /// Of somebody, and of nothing that is on record.
    Somebody(Seat),
    /// Of somebody, and what is to be on record of it.
    Known { caller: Caller, rpc: &'static Rpc, note: Arc<Note>, seat: Seat },
}

/// What a path asks for.
enum Way {
    /// Anybody may.
    Open,
    /// Whoever is known may.
    Known,
    Method(&'static Rpc),
    Nowhere,
}

fn way(path: &str) -> Way {
    if path.starts_with(OPEN) {
        return Way::Open;
    }
    if REFLECTION.iter().any(|service| path.starts_with(service)) {
        return Way::Known;
    }
    rpcs::by_path(path).map_or(Way::Nowhere, Way::Method)
}

impl Gate {
    async fn recognise<B>(&self, request: &mut http::Request<B>) -> Result<Recognised, Status> {
        let rpc = match way(request.uri().path()) {
            // Whoever looks whether this replica lives is told, however busy it is.
            Way::Open => return Ok(Recognised::Anybody),
            Way::Known => None,
            Way::Method(rpc) => Some(rpc),
            Way::Nowhere => {
                let text = "there is no such method here: compare the versions of client and server";
                return Err(Problem::new(ErrorReason::MethodNotImplemented, text).into());
            }
        };
        let entered = self.limits.enter().map_err(errors::full)?;
        let class = rpc.map_or(AuditClass::Read, |rpc| rpc.audit);
        let caller = self.caller((request.extensions(), request.headers()), class, &entered).await?;
        let on_behalf_of = on_behalf_of(request.headers())?;
        // No handler has a use for it, and what nobody holds nobody logs.
        request.headers_mut().remove(AUTHORIZATION);
        let rate = rpc.map_or(Rate::Watch, |rpc| rpc.rate);
        let seat = match self.limits.admit(entered, &caller, rate) {
            Ok(seat) => seat,
            Err(full) => {
                self.recording.throttled(&caller, full).await;
                return Err(errors::full(full));
            }
        };
        let Some(rpc) = rpc else { return Ok(Recognised::Somebody(seat)) };
        let note = Arc::new(Note::default());
        let (action, audit) = (rpc.action, rpc.audit);
        request.extensions_mut().insert(Call {
            caller: caller.clone(),
            action,
            audit,
            rate,
            on_behalf_of,
            note: note.clone(),
            seat: seat.clone(),
        });
        Ok(Recognised::Known { caller, rpc, note, seat })
    }

    /// Who calls. A connection that brings nobody again and again is not listened to for a while.
    async fn caller(
        &self,
        (extensions, headers): (&http::Extensions, &http::HeaderMap),
        class: AuditClass,
        entered: &Entered,
    ) -> Result<Caller, Status> {
        let Some(Joined { peer, strikes }) = extensions.get::<Joined>() else {
            self.recording.stranger(None, "no_peer").await;
            return Err(unauthenticated("the connection does not tell who is at its other end"));
        };
        let transport = Some(peer.transport());
        if let Some(retry) = strikes.closed_for() {
            self.recording.stranger(transport, "too_many").await;
            return Err(errors::full(Full { which: Bound::Strangers, retry }));
        }
        let bearer = match bearer(headers) {
            Ok(bearer) => bearer,
            Err(status) => {
                strikes.add(self.limits.rules().strangers);
                self.recording.stranger(transport, "malformed_header").await;
                return Err(status);
            }
        };
        let asked = entered.recognised(self.authenticate.authenticate(peer, bearer, class)).await;
        let (word, status) = match asked.map_err(errors::full)? {
            Ok(caller) => return Ok(caller),
            Err(Unauthenticated::Refused { word, mend }) => {
                strikes.add(self.limits.rules().strangers);
                (word, unauthenticated(mend))
            }
            // That it could not be found out is nothing that the connection did.
            Err(Unauthenticated::Unavailable { word, mend, retry_in }) => {
                (word, Problem::new(ErrorReason::IdentityUnavailable, mend).retry_in(retry_in).into())
            }
        };
        self.recording.stranger(transport, word).await;
        Err(status)
    }
}

fn unauthenticated(mend: impl Into<String>) -> Status {
    Problem::new(ErrorReason::Unauthenticated, mend).into()
}

/// RFC 6750 section 2.1: one header, one token.
fn bearer(headers: &http::HeaderMap) -> Result<Option<&str>, Status> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let refused = || unauthenticated("the header `authorization` is to be one `Bearer` and a token");
    let text = value.to_str().ok().filter(|text| text.len() <= AUTHORIZATION_MAX).ok_or_else(refused)?;
    let (scheme, token) = text.split_once(' ').ok_or_else(refused)?;
    if all.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(refused());
    }
    Ok(Some(token.trim()))
}

fn on_behalf_of(headers: &http::HeaderMap) -> Result<String, Status> {
    let mut all = headers.get_all(ON_BEHALF_OF).iter();
    let Some(value) = all.next() else { return Ok(String::new()) };
    let text = value.to_str().ok().filter(|text| text.len() <= ON_BEHALF_OF_MAX && all.next().is_none());
    let mend = format!("is one value of at most {ON_BEHALF_OF_MAX} printable ASCII characters");
    text.map(str::to_owned).ok_or_else(|| Problem::field(ON_BEHALF_OF, mend).into())
}

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let next = self.inner.clone();
        // The one that is ready is called; the clone is not.
        let mut ready = std::mem::replace(&mut self.inner, next);
        let gate = self.gate.clone();
        Box::pin(async move {
            match gate.recognise(&mut request).await {
                Ok(Recognised::Anybody) => ready.call(request).await,
                Ok(Recognised::Somebody(seat)) => {
                    let answer = ready.call(request).await?;
                    Ok(held_open(with_version(answer), seat.stream()))
                }
                Ok(Recognised::Known { caller, rpc, note, seat }) => {
                    let span = gate.tracer.call(rpc.path, request.headers());
                    let answer = with_reason(span.around(ready.call(request)).await?);
                    traced::told(&span, &note, answer.headers());
                    let what = (rpc.action, rpc.audit);
                    match gate.recording.ended(&caller, what, &note, answer.headers()).await {
                        Ok(()) => Ok(held_open(with_version(answer), seat.stream())),
                        Err(status) => Ok(status.into_http()),
                    }
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

fn with_version(mut answer: http::Response<Body>) -> http::Response<Body> {
    answer.headers_mut().insert(VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    answer
}

/// What the library says of a message that is too large, in words of this API.
fn with_reason(answer: http::Response<Body>) -> http::Response<Body> {
    match Status::from_header_map(answer.headers()) {
        Some(status) if status.code() == Code::OutOfRange && status.details().is_empty() => {
            errors::too_large().into_http()
        }
        Some(_) | None => answer,
    }
}

/// A stream counts for as long as it is open; any other call until its answer is there.
fn held_open(answer: http::Response<Body>, stream: Option<Stream>) -> http::Response<Body> {
    let Some(stream) = stream else { return answer };
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _open = &stream;
            frame
        }))
    })
}
