//! The source against an agent of the test's own, which speaks the published protocol over a Unix socket and replaces
//! what it gives.

use super::{
    super::{Anchors, Clients, Parts, Rules, authority::*},
    *,
};
use crate::{access::caller::Identity, clock::TokioClock};
use futures_util::{
    StreamExt,
    future::{BoxFuture, Ready, ready},
    stream::BoxStream,
};
use rustls::{pki_types::ServerName, version::TLS13};
use std::{collections::HashMap, convert::Infallible, task};
use tokio::{net::UnixListener, sync::watch, time::timeout};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::{Request, Response, Status, body::Body};

/// Messages of the SPIFFE Workload API, as `workload.proto` of the standard writes them.
#[derive(Clone, PartialEq, prost::Message)]
struct SvidRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct SvidResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<Svid>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    crl: Vec<Vec<u8>>,
    #[prost(map = "string, bytes", tag = "3")]
    federated_bundles: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Svid {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bytes = "vec", tag = "2")]
    chain: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    hint: String,
}

#[derive(Clone)]
struct Agent(watch::Receiver<SvidResponse>);

impl tonic::server::NamedService for Agent {
    const NAME: &'static str = "SpiffeWorkloadAPI";
}

impl tower::Service<http::Request<Body>> for Agent {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let agent = self.clone();
        Box::pin(async move {
            assert_eq!(request.uri().path(), "/SpiffeWorkloadAPI/FetchX509SVID");
            let mut grpc = tonic::server::Grpc::new(tonic_prost::ProstCodec::default());
            Ok(grpc.server_streaming(agent, request).await)
        })
    }
}

impl tonic::server::ServerStreamingService<SvidRequest> for Agent {
    type Response = SvidResponse;
    type ResponseStream = BoxStream<'static, Result<SvidResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<SvidRequest>) -> Self::Future {
        // SPIFFE Workload Endpoint, section 6.2: calls without it are refused.
        if request.metadata().get("workload.spiffe.io").is_none() {
            return ready(Err(Status::invalid_argument("security header missing")));
        }
        ready(Ok(Response::new(WatchStream::new(self.0.clone()).map(Ok).boxed())))
    }
}

const OURS: &str = "spiffe://example.org/bursar";
const BILLING: &str = "spiffe://example.org/billing";
/// For what takes milliseconds, on a machine that builds something else meanwhile.
const SOON: Duration = Duration::from_secs(20);

/// Good on the machine's own clock too, which the library looks at.
fn issued(by: &Authority, id: &str) -> Issued {
    by.issue(&[uri(id), dns(SERVER_NAME)], |params| {
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    })
}

fn given(by: &Authority, federated: &[(&str, &Authority)]) -> SvidResponse {
    let own = issued(by, OURS);
    let svid = Svid {
        id: OURS.into(),
        chain: own.der().to_vec(),
        key: own.key_der().secret_der().to_vec(),
        bundle: by.der().to_vec(),
        hint: String::new(),
    };
    let federated_bundles =
        federated.iter().map(|(domain, by)| (format!("spiffe://{domain}"), by.der().to_vec())).collect();
    SvidResponse { svids: vec![svid], crl: Vec::new(), federated_bundles }
}

/// Who the server takes this client for, if they trust each other.
async fn known(server: &Server, believed: &Authority, identity: &Issued) -> Option<Identity> {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let config = client(believed, Some(identity), &[&TLS13]);
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let (accepted, connected) = tokio::join!(server.accept(there), connector.connect(name, here));
    connected.ok()?;
    accepted.ok()?.1.map(|client| client.certificate.identity)
}

#[tokio::test]
async fn certificate_and_bundles_follow_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let (old, new, partner) = (Authority::new(), Authority::new(), Authority::new());
    let (tell, told) = watch::channel(given(&old, &[("partner.example", &partner)]));
    let listener = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let agent = tonic::transport::Server::builder().add_service(Agent(told)).serve_with_incoming(listener);
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(agent);

    let address = format!("unix://{}", socket.display());
    let source = timeout(SOON, WorkloadApi::connect(&address, Taken::Both)).await.unwrap().unwrap();
    let first = source.given().unwrap();
    let mut parts = Parts { certificate: first.certificate(), anchors: Anchors::default() };
    source.put(first, &mut parts);
    let rules = Rules { clients: Clients::Required, names: [].into() };
    let clock = Arc::new(TokioClock::starting_at(NOW));
    let server = Arc::new(Server::new(parts, rules, clock).unwrap());
    let stop = CancellationToken::new();
    let following = tasks.spawn(source.follow(server.clone(), stop.clone()));

    let billing = || Some(Identity::Spiffe(BILLING.into()));
    let foreign = "spiffe://partner.example/x";
    assert_eq!(known(&server, &old, &issued(&old, BILLING)).await, billing());
    let theirs = issued(&partner, foreign);
    assert_eq!(known(&server, &old, &theirs).await, Some(Identity::Spiffe(foreign.into())));
    assert_eq!(known(&server, &new, &issued(&new, BILLING)).await, None);

    // Another authority, and the partner is gone.
    tell.send(given(&new, &[])).unwrap();
    timeout(SOON, async {
        while known(&server, &new, &issued(&new, BILLING)).await != billing() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(known(&server, &new, &issued(&old, BILLING)).await, None);
    assert_eq!(known(&server, &new, &theirs).await, None);
    stop.cancel();
    timeout(SOON, following).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_not_asked_of_the_agent_is_not_taken_from_it() {
    let authority = Authority::new();
    let before = authority.server().certified();
    for (taken, certificate_stays, bundles) in
        [(Taken::Certificate, false, 0), (Taken::Bundles, true, 1), (Taken::Both, false, 1)]
    {
        let given = Given {
            certificate: authority.server().certified(),
            bundles: [("example.org".parse().unwrap(), authority.roots())].into(),
        };
        let mut parts = Parts { certificate: before.clone(), anchors: Anchors::default() };
        put(taken, given, &mut parts);
        assert_eq!(Arc::ptr_eq(&parts.certificate, &before), certificate_stays, "{taken:?}");
        assert_eq!(parts.anchors.workload_api.len(), bundles, "{taken:?}");
    }
}
